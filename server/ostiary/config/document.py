"""The configuration in print: the commented file of `ostiary init`, and the listing of what is in force."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import SecretStr

from ostiary.config.secrets import KeyText, redacted
from ostiary.config.section import Section
from ostiary.config.settings import Config
from ostiary.config.table import SECTIONS, TABLE, Setting

_HEAD = """\
# Configuration of Ostiary. Every line that begins with `# ` and holds a `=` shows a default or an
# example; take the `# ` away to set it. What stands here is overruled by the environment
# (`OSTIARY_LIMITS__ROWS=100` for `rows` in [limits]), and that by the command line.
# Secrets never stand here: write "env:NAME" or "file:/path". `ostiary check` shows what is in force.
"""


def commented_file() -> str:
    """An `ostiary.toml` with every setting in a comment: it loads, and changes nothing."""
    return "\n".join([_HEAD, *(_commented(path, model) for path, model in SECTIONS)])


def _commented(path: tuple[str, ...], model: type[Section]) -> str:
    named = "<name>" in path
    header = ".".join(path).replace("<name>", "shop")
    # A datasource must have a `dsn`, so its header is a comment too.
    lines = [*_comment(cleandoc(model.__doc__ or "")), f"# [{header}]" if named else f"[{header}]"]
    for setting in TABLE:
        if setting.section == path:
            unit = f" In {setting.unit}." if setting.unit else ""
            default = f" Default: {setting.shown}." if setting.shown else ""
            lines += [*_comment(f"{setting.help}{unit}{default}"), f"# {setting.name} = {toml(_sample(setting))}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return wrap(text, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _sample(setting: Setting) -> Any:
    return setting.default if setting.example is None else setting.example


def toml(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {toml(item)}" for name, item in value.items()) + " }" if value else "{}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    # JSON's texts, numbers and booleans are TOML's.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting as it is now. Secrets are redacted."""

    name: str
    value: Any
    """JSON-plain; `None` when it is unset."""
    origin: str


def listing(config: Config) -> tuple[InForce, ...]:
    """Every setting in force and where it came from, in the order of the table."""
    return tuple(row for path, _ in SECTIONS for row in _section_in_force(config, path))


def _section_in_force(config: Config, path: tuple[str, ...]) -> Iterator[InForce]:
    found = getattr(config, path[0])
    holders: dict[tuple[str, ...], Section] = (
        {(path[0], name): each for name, each in found.items()} if "<name>" in path else {path: found}
    )
    for own, holder in holders.items():
        for setting in (s for s in TABLE if s.section == path):
            name = ".".join((*own, setting.name))
            yield InForce(name, _plain(getattr(holder, setting.name)), _origin(config, name))


def _origin(config: Config, name: str) -> str:
    """Of the setting, or of the entries in it."""
    found = dict.fromkeys(origin for key, origin in config.origins.items() if key == name or key.startswith(f"{name}."))
    return ", ".join(found) or "default"


def _plain(value: Any) -> Any:
    if isinstance(value, KeyText):
        return "***"
    if isinstance(value, SecretStr):  # every other is a URL, of which only the password is secret
        return redacted(value.get_secret_value())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
