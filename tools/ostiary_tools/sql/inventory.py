"""The reviewed built-ins: which nodes of the grammar, functions and types of `pg_catalog` an agent may use.

The lists are data: `functions.tsv`, a line for every function that any supported server
has, and `builtins.toml`. This module only reads them.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

_FOLDER = files("ostiary_tools.sql")
_DATA = tomllib.loads(_FOLDER.joinpath("builtins.toml").read_text("utf-8"))
_ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """What is known of a name of `pg_catalog`, all overloads as one, and what was decided."""

    decision: str
    """`allowed`, or one of the groups of `REASONS`."""
    versions: frozenset[int]
    """Major versions of PostgreSQL in which it was seen."""
    volatility: str
    """Of the most volatile overload in any of these versions."""
    kinds: tuple[str, ...]
    """Of `function`, `aggregate`, `window`."""


def _inventory() -> dict[str, BuiltIn]:
    lines = _FOLDER.joinpath("functions.tsv").read_text("utf-8").splitlines()[1:]
    found = {}
    for line in lines:
        name, decision, versions, volatility, kinds = line.split("\t")
        found[name] = BuiltIn(decision, frozenset(map(int, versions.split())), volatility, tuple(kinds.split()))
    return found


INVENTORY: Mapping[str, BuiltIn] = _inventory()
"""Every built-in function by name. A name that is not in it is refused."""

REASONS: Mapping[str, str] = _DATA["reasons"]
"""Group of refused functions → what they reach, in a sentence."""

VOLATILE: Mapping[str, str] = _DATA["volatile"]
"""Allowed function that is volatile → why it is allowed all the same."""

FUNCTIONS: frozenset[str] = frozenset(name for name, one in INVENTORY.items() if one.decision == _ALLOWED)
"""Names of built-in functions that may be called."""

REFUSED_FUNCTIONS: Mapping[str, str] = {name: one.decision for name, one in INVENTORY.items() if one.decision != _ALLOWED}
"""Name → what the function reaches, in a few words."""

TYPES: frozenset[str] = frozenset(_DATA["types"].split())
"""Built-in types a value may be cast to."""

RESERVED_TYPES: frozenset[str] = frozenset(_DATA["reserved_types"].split())
"""Types that turn a number into a name of the catalog, or a name into a number."""

NODES: frozenset[str] = frozenset(_DATA["nodes"].split())
"""Kinds of node of the grammar that a read may consist of."""
