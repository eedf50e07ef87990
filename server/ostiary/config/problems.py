"""What is wrong with a configuration: one sentence each, where it stands, and the mend.

ConfigError              every problem that was found, at once
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from ostiary.config.document import toml
from ostiary.config.sources import variable
from ostiary.config.table import SECTIONS, TABLE, Kind, setting_of

_TYPE_ERROR = re.compile(r"\w+_type|int_from_float|is_instance_of")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake."""

    where: str
    """`ostiary.toml:12`, `environment variable `…`` or `command line`."""
    message: str

    def __str__(self) -> str:
        """The line the operator reads."""
        return f"{self.where}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; nothing was started."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def in_order(problems: list[Problem]) -> list[Problem]:
    """By line of the file, then the rest as found."""

    def line(problem: Problem) -> float:
        found = re.search(r":(\d+)(?:,|$)", problem.where)
        return int(found[1]) if found else float("inf")

    return sorted(problems, key=line)


def from_validation(failure: ValidationError, origins: Mapping[tuple[str, ...], str]) -> list[Problem]:
    """The models' complaints in our words; the values themselves are left out of all of them."""
    found: dict[Problem, None] = {}
    for error in failure.errors(include_url=False, include_input=False, include_context=False):
        key = tuple(str(part) for part in error["loc"] if part != "[key]")
        where = origin_of(key, origins)
        message = _unknown(key, where) if error["type"] == "extra_forbidden" else _wrong(key, error["type"], error["msg"])
        found[Problem(where, message)] = None
    return list(found)


def origin_of(key: tuple[str, ...], origins: Mapping[tuple[str, ...], str]) -> str:
    """Where the key, or what stands nearest to it, came from."""
    for length in range(len(key), 0, -1):
        for known, origin in origins.items():
            if known[:length] == key[:length]:
                return origin
    return "default"


def _wrong(key: tuple[str, ...], kind: str, text: str) -> str:
    setting = next((s for n in range(len(key), 0, -1) if (s := setting_of(key[:n]))), None)
    name = ".".join(setting.key if setting and "<name>" not in setting.key else key)
    if kind == "missing":
        mend = f"; add `{key[-1]} = {toml(setting.example)}`" if setting else ""
        return f"`{name}` is missing{mend}"
    if _TYPE_ERROR.fullmatch(kind):
        return f"`{name}` must be {setting.kind}" if setting else f"`{name}` must be a table; write `[{name}]`"
    message = re.sub(r"^(Value error, |\w+ should |Value should )", lambda m: "must " if "should" in m[1] else "", text)
    return f"`{name}` {message}".replace("'", "`")


def _unknown(key: tuple[str, ...], where: str) -> str:
    if where.startswith("environment"):
        return "no such setting" + _meant(variable(key), [variable(_like(s.key, key)) for s in TABLE])
    name, section = key[-1], key[:-1]
    if not section:
        return f"unknown section or key `{name}`" + _meant(name, [path[0] for path, _ in SECTIONS]) + _elsewhere(name)
    siblings = [s.name for s in TABLE if len(s.section) == len(section) and _like(s.section, section) == section]
    meant = _meant(name, siblings) or _meant(name, [path[0] for path, _ in SECTIONS])
    return f"unknown key `{name}` in [{'.'.join(section)}]" + (meant or _elsewhere(name))


def _like(key: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """`key` with `<name>` replaced by what stands at that place in `given`."""
    return tuple(given[n] if part == "<name>" and n < len(given) else part for n, part in enumerate(key))


def _meant(word: str, candidates: list[str]) -> str:
    close = difflib.get_close_matches(word, candidates, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _elsewhere(name: str) -> str:
    homes = [".".join(s.section) for s in TABLE if s.name == name and s.kind not in (Kind.SECRET, Kind.KEY)]
    return f"; it belongs in [{homes[0]}]" if homes else ""
