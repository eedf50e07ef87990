"""The configuration: file, over it the environment, over that the command line.

`load` answers with a frozen `Config` or raises one ConfigError with everything that
is wrong. This module is the only reader of the process's environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ostiary.config.combinations import complaints
from ostiary.config.problems import ConfigError, Problem, from_validation, in_order, origin_of
from ostiary.config.secrets import has_password, is_reference, revealed
from ostiary.config.section import Section
from ostiary.config.settings import Config, Datasource
from ostiary.config.sources import (
    COMMAND_LINE,
    CONFIG_VARIABLE,
    Entry,
    SyntaxProblem,
    from_command_line,
    from_environment,
    from_file,
    references,
)
from ostiary.config.table import Kind, setting_of
from ostiary.places import places
from ostiary_tools.backup.storage.opening import SCHEME

__all__ = ["FILE_NAME", "Config", "ConfigError", "Datasource", "Problem", "Section", "environment", "find", "load"]

FILE_NAME = "ostiary.toml"
_UNKNOWN_SECRET = "postgresql://unknown.until.it.can.be.read"  # noqa: S105 a login and a key; stands in while the problem of the real one is reported


def environment() -> Mapping[str, str]:
    """A copy of the process's environment."""
    return dict(os.environ)


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """The configuration in force.

    `path` is the file that was asked for, or `None` to `find` one; `overrides` holds
    options by dotted name. Reads the file and the secrets it refers to, and nothing
    else. Raises ConfigError.
    """
    found = find(path, environ)
    stored = _stored(found) if found else ()
    variables = from_environment(environ, references(stored, environ))
    return _validated([*_defaults(environ), *stored, *variables, *from_command_line(overrides)], environ)


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that `load` reads: the one asked for, `OSTIARY_CONFIG`, here, or in the user's configuration folder.

    Raises ConfigError when a file that was asked for is not there, or the one here belongs to somebody else.
    """
    asked = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    if asked is not None:
        if not asked.is_file():
            raise ConfigError(Problem(str(asked), "no such file; `ostiary init` writes one"))
        return asked
    here = Path(FILE_NAME)
    if here.is_file():
        # A desktop client may start us in any folder: what a stranger left there configures nothing.
        if here.stat().st_uid not in (0, os.geteuid()):
            raise ConfigError(Problem(FILE_NAME, f"belongs to another user; name it with `--config {FILE_NAME}` if you trust it"))
        return here
    own = places(environ, os.geteuid()).config / FILE_NAME
    return own if own.is_file() else None


def _stored(path: Path) -> tuple[Entry, ...]:
    try:
        if path.stat().st_mode & 0o002:
            raise ConfigError(Problem(str(path), f"can be changed by anyone; run `chmod o-w {path}`"))
        return from_file(path.read_text(encoding="utf-8"), path)
    except OSError as failure:
        raise ConfigError(Problem(str(path), f"cannot be read: {(failure.strerror or 'failed').lower()}")) from None
    except UnicodeDecodeError:
        raise ConfigError(Problem(str(path), "is not UTF-8 text")) from None
    except SyntaxProblem as failure:
        raise ConfigError(Problem(f"{path}:{failure.line}", f"not valid TOML: {failure}")) from None


def _defaults(environ: Mapping[str, str]) -> list[Entry]:
    ours = places(environ, os.geteuid())
    named = {"data": ours.data, "state": ours.state, "runtime": ours.runtime}
    entries = [Entry(("home", name), str(path), "default", Path("/")) for name, path in named.items() if path]
    return [*entries, Entry(("examples", "directory"), str(ours.config / "examples"), "default", Path("/"))]


def _validated(entries: list[Entry], environ: Mapping[str, str]) -> Config:
    winners = {entry.key: entry for entry in entries}  # the last source of a key wins
    origins = {key: _origin(entry) for key, entry in winners.items()}
    problems: list[Problem] = []
    tree: dict[str, Any] = {}
    for key, entry in winners.items():
        try:
            value = _value(entry, environ)
        except ValueError as failure:
            problems.append(Problem(entry.origin, f"`{'.'.join(key)}`: {failure}"))
            value = _UNKNOWN_SECRET
        _place(tree, key, value)
    try:
        config = Config.model_validate(tree, context={".".join(key): origin for key, origin in origins.items()})
    except ValidationError as failure:
        # Not chained: the models' own error may quote values.
        raise ConfigError(*in_order(problems + from_validation(failure, origins))) from None
    if not problems:
        problems = [Problem(origin_of(key, origins), message) for key, message in complaints(config)]
    if problems:
        raise ConfigError(*in_order(problems))
    return config


def _origin(entry: Entry) -> str:
    setting = setting_of(entry.key)
    secret = setting is not None and setting.kind in (Kind.SECRET, Kind.KEY)
    return f"{entry.origin}, from `{entry.value}`" if secret and is_reference(str(entry.value)) else entry.origin


def _value(entry: Entry, environ: Mapping[str, str]) -> Any:
    """The value as the models want it: secrets revealed, paths absolute, arrays as tuples. Raises ValueError for a secret."""
    setting = setting_of(entry.key)
    if setting is not None and isinstance(entry.value, str):
        if setting.kind in (Kind.SECRET, Kind.KEY):
            return _secret(entry, setting.kind, environ)
        if setting.kind is Kind.PATH and not entry.value.startswith(SCHEME):  # else it is no path, and whose it is says so
            return entry.folder / Path(entry.value).expanduser()
    return tuple(entry.value) if isinstance(entry.value, list) else entry.value


def _secret(entry: Entry, kind: Kind, environ: Mapping[str, str]) -> str:
    value = str(entry.value)
    if is_reference(value):
        return revealed(value, environ, entry.folder)
    seen = entry.stored or entry.origin == COMMAND_LINE
    if seen and kind is Kind.KEY:
        raise ValueError('a secret stands in it; write `"env:NAME"` or `"file:/path"` instead')
    if seen and has_password(value):
        raise ValueError('a password stands in it; write `"env:NAME"` or `"file:/path"` instead, or name a `passfile` in the URL')
    return value


def _place(tree: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    for part in key[:-1]:
        below = tree.setdefault(part, {})
        if not isinstance(below, dict):
            return  # a value where a table belongs: that is reported, and what would stand in it is moot
        tree = below
    if not (key[-1] in tree and value == {}):
        tree[key[-1]] = value
