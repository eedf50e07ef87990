"""Whether an expression may give another value for every row, so that it cannot be kept once for all."""

from typing import Any

from pglast import ast

from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql.calls import parts
from ostiary_tools.sql.inventory import INVENTORY
from ostiary_tools.sql.tree import levels


def is_volatile(expression: Any, snapshot: Snapshot) -> bool:
    """Whether it calls a volatile function; one that nobody knows counts as volatile."""
    return any(
        isinstance(node, ast.FuncCall) and _volatile(parts(node.funcname), snapshot)
        for level in levels(expression)
        for node in level
    )


def _volatile(words: tuple[str, ...], snapshot: Snapshot) -> bool:
    if len(words) > 1 and words[0] != "pg_catalog":
        known = snapshot.functions.get((words[-2], words[-1]), ())
    else:
        if (built_in := INVENTORY.get(words[-1])) is not None:
            return built_in.volatility == "volatile"
        known = tuple(each for schema in snapshot.search_path for each in snapshot.functions.get((schema, words[-1]), ()))
    return not known or any(each.volatility == "volatile" for each in known)
