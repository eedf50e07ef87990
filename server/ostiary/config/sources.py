"""The sources of settings: file, environment, command line; each value keeps where it came from.

They know the table well enough to read a text as a number or a list, and leave it
to the models to say what is wrong with a value.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary.config.secrets import ENV
from ostiary.config.table import Kind, setting_of

PREFIX = "OSTIARY_"
CONFIG_VARIABLE = "OSTIARY_CONFIG"
COMMAND_LINE = "command line"

_CLUSTER = re.compile(r"OSTIARY_(SERVICE_(HOST|PORT)(_[A-Z0-9_]+)?|PORT(_[0-9]+_[A-Z]+(_(PROTO|PORT|ADDR))?)?)")
"""What Kubernetes puts into every container beside a service that is called `ostiary`; it is not meant for us."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One value from one source, not validated yet."""

    key: tuple[str, ...]
    value: Any
    origin: str
    """`ostiary.toml:12`, `environment variable `…`` or `command line`."""
    folder: Path
    """What a relative path in it is relative to."""
    stored: bool = False
    """It stands in the file, where others may read it."""


class SyntaxProblem(Exception):
    """The file is no TOML. `line` counts from one, 0 when it is not known."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def from_file(text: str, path: Path) -> tuple[Entry, ...]:
    """The entries of a TOML text. Raises SyntaxProblem."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        found = re.search(r"at line (\d+)", str(failure))
        # tomllib's words name a character or a key, never a value.
        message = re.sub(r" \(at .*\)$", "", str(failure))
        raise SyntaxProblem(int(found[1]) if found else text.count("\n") + 1, message[:1].lower() + message[1:]) from None
    lines = key_lines(text)
    folder = path.absolute().parent
    return tuple(Entry(key, value, f"{path}:{_line(lines, key)}", folder, stored=True) for key, value in _leaves(tree))


def key_lines(text: str) -> Mapping[tuple[str, ...], int]:
    """The line, counted from one, on which each key and table of a valid TOML text begins.

    tomllib keeps no positions, so the text is parsed piece by piece: a piece ends where
    it is valid on its own, which is the end of one header or one key with its value.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    piece, start = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        piece += line
        try:
            tree = tomllib.loads(piece)
        except tomllib.TOMLDecodeError:
            continue
        keys = tuple(key for key, _ in _leaves(tree, tables=True))
        if piece.lstrip().startswith("[") and keys:
            table = max(keys, key=len)
            keys = (table,)
        else:
            keys = tuple(table + key for key in keys)
        for key in keys:
            found.setdefault(key, start)
        piece, start = "", number + 1
    return found


def _line(lines: Mapping[tuple[str, ...], int], key: tuple[str, ...]) -> int:
    return next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), 1)


def _leaves(tree: Mapping[str, Any], above: tuple[str, ...] = (), *, tables: bool = False) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        key = (*above, name)
        if isinstance(value, dict):
            if tables or not value:
                yield key, value
            yield from _leaves(value, key, tables=tables)
        else:
            yield key, value


def from_environment(environ: Mapping[str, str], referenced: Iterable[str]) -> tuple[Entry, ...]:
    """The entries of `OSTIARY_SECTION__NAME` variables; those that an `env:` reference names are no settings."""
    passed_over = {CONFIG_VARIABLE, *referenced}
    return tuple(
        _from_variable(name, text)
        for name, text in sorted(environ.items())
        if name.startswith(PREFIX) and name not in passed_over and not _CLUSTER.fullmatch(name)
    )


def _from_variable(name: str, text: str) -> Entry:
    key = tuple(name.removeprefix(PREFIX).lower().split("__"))
    setting = setting_of(key)
    value = _read(setting.kind, text) if setting else text
    return Entry(key, value, f"environment variable `{name}`", Path.cwd())


def _read(kind: Kind, text: str) -> Any:
    """A text as the kind of value it stands for; what does not read as one stays text and is refused with the rest."""
    if kind is Kind.LIST:
        return [item.strip() for item in text.split(",") if item.strip()]
    if kind in (Kind.INTEGER, Kind.NUMBER):
        try:
            return int(text) if kind is Kind.INTEGER else float(text)
        except ValueError:
            return text
    return text


def from_command_line(overrides: Mapping[str, object]) -> tuple[Entry, ...]:
    """The entries of options, by dotted name; an option that was not given is `None`."""
    return tuple(
        Entry(tuple(name.split(".")), value, COMMAND_LINE, Path.cwd()) for name, value in overrides.items() if value is not None
    )


def references(entries: Iterable[Entry], environ: Mapping[str, str]) -> frozenset[str]:
    """Names of the environment variables that secrets refer to, in the file or in a variable."""
    values = [e.value for e in entries if isinstance(e.value, str)]
    values += [value for name, value in environ.items() if name.startswith(PREFIX)]
    return frozenset(value.removeprefix(ENV) for value in values if value.startswith(ENV))


def variable(key: tuple[str, ...]) -> str:
    """The environment variable of a setting; `<name>` stays as it is."""
    return PREFIX + "__".join(part if part == "<name>" else part.upper() for part in key)
