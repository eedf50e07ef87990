"""What other databases call things, and PostgreSQL's form of it: data of `dialects.toml`, consulted after a failure."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from pglast.parser import ParseError, scan

_READ_TOKENS = 2_000
_TEXTS = frozenset({"SCONST", "USCONST", "BCONST", "XCONST"})


def function(name: str) -> str:
    """PostgreSQL's form for another database's function, or an empty text."""
    return _form("functions", name)


def column(name: str) -> str:
    """For a name that stands for a value."""
    return _form("columns", name)


def table(name: str) -> str:
    """For a table every database of another kind has."""
    return _form("tables", name)


def type_name(name: str) -> str:
    """For a type."""
    return _form("types", name)


def operator(name: str) -> str:
    """For an operator."""
    return _form("operators", name)


def syntax(text: str) -> str:
    """For a statement that does not parse."""
    tokens = _tokens(text)
    return next((hint for pattern, hint in _patterns() if pattern.search(tokens)), "")


def _tokens(text: str) -> str:
    try:
        found = scan(text)[:_READ_TOKENS]
    except ParseError:
        return ""
    return " ".join("'…'" if t.name in _TEXTS else text[t.start : t.end + 1].lower() for t in found)


def _form(kind: str, name: str) -> str:
    form = _data()[kind].get(name.lower())
    return _sentence(form) if form else ""


def _sentence(form: str) -> str:
    return f"PostgreSQL writes {form}"


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("ostiary_tools.sql").joinpath("dialects.toml").read_text("utf-8"))


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rule["tokens"]), rule.get("say") or _sentence(rule["form"])) for rule in _data()["syntax"]]
