"""JSON as lines of `path: value`, so that each value stands beside what it is the value of."""

import json
from collections.abc import Iterator
from typing import Any

from ostiary_tools.chunking.sections import Section
from ostiary_tools.errors import Refused

_PATH_CHARS = 120
"""Of a path the end is shown: it stands before each value, and must not multiply the document."""
_CHARS = 100_000_000


class _Members(list[tuple[str, Any]]):
    """An object with its members as they were written, also those that stand twice."""


def sections(text: str) -> Iterator[Section]:
    """Values on one line each, together; a text of many lines or much length as a section of its own, below its path.

    Raises Refused for what is no JSON.
    """
    held: list[str] = []
    total = 0
    for path, value in _values(_parsed(text)):
        total += len(path) + len(value)
        if total > _CHARS:
            raise Refused("too_large", "the document is too large once it is written line by line", "cut it into several")
        if len(value) > _PATH_CHARS or "\n" in value:
            yield from _together(held)
            held = []
            yield Section(1, path, f"{path}: {value}" if path else value)
        else:
            held.append(f"{path}: {value}\n" if path else value)
    yield from _together(held)


def _together(lines: list[str]) -> Iterator[Section]:
    if lines:
        yield Section(0, "", "".join(lines))


def _parsed(text: str) -> Any:
    try:
        # Numbers as they are written: their digits are text here.
        return json.loads(text, object_pairs_hook=_Members, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise Refused("not_json", "the text is no JSON document", "state another `kind`, such as `text`") from None


def _values(root: Any) -> Iterator[tuple[str, str]]:
    """Each value with its path, in the order of the document."""
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Members):
            for name, _ in value:
                if len(name) > _PATH_CHARS:
                    yield path, name
            members = [(_below(path, name), each) for name, each in value]
        elif isinstance(value, list):
            members = [(_below(path, f"[{n}]"), each) for n, each in enumerate(value)]
        else:
            yield path, _written(value)
            continue
        if not members:
            yield path, "{}" if isinstance(value, _Members) else "[]"
        waiting += reversed(members)


def _below(path: str, name: str) -> str:
    whole = f"{path}{name}" if name.startswith("[") or not path else f"{path}.{name}"
    return whole if len(whole) <= _PATH_CHARS else f"…{whole[-_PATH_CHARS:]}"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else {True: "true", False: "false", None: "null"}[value]
