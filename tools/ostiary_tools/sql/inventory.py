"""The reviewed built-ins: which nodes of the grammar, functions and types of `pg_catalog` an agent may use.

The lists are data (`builtins.toml`); this module only reads them.
"""

import tomllib
from importlib.resources import files

_DATA = tomllib.loads(files("ostiary_tools.sql").joinpath("builtins.toml").read_text("utf-8"))

FUNCTIONS: frozenset[str] = frozenset(_DATA["allowed"].split())
"""Names of built-in functions that may be called."""

REFUSED_FUNCTIONS: dict[str, str] = {name: reason for reason, names in _DATA["refused"].items() for name in names.split()}
"""Name → what the function reaches, in a few words."""

TYPES: frozenset[str] = frozenset(_DATA["types"].split())
"""Built-in types a value may be cast to."""

RESERVED_TYPES: frozenset[str] = frozenset(_DATA["reserved_types"].split())
"""Types that turn a number into a name of the catalog, or a name into a number."""

NODES: frozenset[str] = frozenset(_DATA["nodes"].split())
"""Kinds of node of the grammar that a read may consist of."""
