"""Arguments as the audit log may keep them: no value that is marked, no length without bound."""

import hashlib
from collections.abc import Mapping
from typing import Any

from ostiary.marks import marked
from ostiary_tools.api import Args, Redacted

_KEPT_CHARS = 500
"""A longer string is recorded by its length and digest."""


def redacted(args: Args) -> dict[str, Any]:
    """Canonical arguments: defaults left out, marked fields by their size, long text by its digest."""
    secret = marked(type(args), Redacted)
    plain = args.model_dump(mode="json", exclude_defaults=True)
    return {name: _size(value) if name in secret else _bounded(value) for name, value in plain.items()}


def unjudged(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments no model has accepted: their names and sizes, since nobody knows which of them is secret."""
    named = {printable(name)[:60]: _size(value) for name, value in list(arguments.items())[:20]}
    return named | ({"…": f"{len(arguments) - 20} more"} if len(arguments) > 20 else {})  # noqa: PLR2004 - the bound above


def printable(text: str) -> str:
    """The text with NUL and lone surrogates escaped, so that PostgreSQL can store it and take it out of JSON."""
    return text.encode(errors="backslashreplace").decode().replace("\0", r"\x00")


def one_line(text: str) -> str:
    """What was quoted of a file may hold anything; it goes to logs, records and terminals."""
    return " ".join("".join(c if c.isprintable() else " " for c in printable(text)).split())


def _size(value: object) -> str:
    match value:
        case str():
            return f"<{len(value)} chars>"
        case list() | tuple() | dict():
            return f"<{len(value)} items>"
        case _:
            return f"<{type(value).__name__}>"


def _bounded(value: Any) -> Any:
    match value:
        case str() if len(value) > _KEPT_CHARS:
            return f"<{len(value)} chars sha256:{hashlib.sha256(printable(value).encode()).hexdigest()[:16]}>"
        case str():
            return printable(value)
        case list():
            return [_bounded(item) for item in value[:50]]
        case dict():
            return {printable(str(name)): _bounded(item) for name, item in list(value.items())[:50]}
        case _:
            return value
