"""Types of columns as a tree names them: as the catalog spells them, and whether changing one to another writes every row anew."""

from typing import Any

from pglast import ast

from ostiary_tools.snapshot import Name, Snapshot
from ostiary_tools.sql.calls import parts

_CATALOG = "pg_catalog"
_SERIAL = {"smallserial": "int2", "serial2": "int2", "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8"}
_SAME = frozenset(
    {
        ("varchar", "text"),
        ("text", "varchar"),
        ("cidr", "inet"),
        ("xml", "text"),
        ("xml", "varchar"),
        ("int4", "oid"),
        ("oid", "int4"),
        ("bit", "varbit"),
        ("varbit", "bit"),
    }
)
"""From and to: the bytes of a value are the same, so no row is written anew where nothing is cut."""
_LENGTHS = frozenset({"varchar", "varbit"})
_PRECISIONS = frozenset({"timestamp", "timestamptz", "time", "timetz"})
_NARROWER = (("int8", "int4", "int2"), ("numeric", "int8", "int4", "int2"), ("float8", "float4"), ("text", "varchar", "bpchar"))


def is_serial(node: Any) -> bool:
    """Whether the column gets a sequence of its own."""
    return parts(node.names)[-1] in _SERIAL


def name_of(node: Any, snapshot: Snapshot) -> Name:
    """Schema and name as `pg_type` spells them."""
    words = parts(node.names)
    bare = _SERIAL.get(words[-1], words[-1])
    array = "_" if node.arrayBounds else ""
    if len(words) > 1:
        return words[-2], array + bare
    own = next(((s, bare) for s in snapshot.search_path if (s, bare) in snapshot.types), None)
    return (own[0], array + bare) if own else (_CATALOG, array + bare)


def modifiers(node: Any) -> tuple[int, ...]:
    """The numbers behind a type's name."""
    found = []
    for each in node.typmods or ():
        value = each.val if isinstance(each, ast.A_Const) else None
        if not isinstance(value, ast.Integer):
            return ()
        found.append(int(value.ival or 0))
    return tuple(found)


def modifiers_in(words: str) -> tuple[int, ...]:
    """The same of a type as `format_type` writes it: `numeric(12,2)`."""
    inside = words.partition("(")[2].partition(")")[0]
    return tuple(int(each) for each in inside.split(",") if each.strip().lstrip("-").isdigit())


def rewrites(old: Name | None, old_words: str, new: Name, new_modifiers: tuple[int, ...]) -> bool:
    """Whether the server writes every row anew when a column becomes of the new type, by its own cast."""
    if old is None or (old != new and not (old[0] == new[0] == _CATALOG and (old[1], new[1]) in _SAME)):
        return True
    before = modifiers_in(old_words)
    if not new_modifiers:
        return bool(before) and new[1] in {"bit", "bpchar"}
    if before == new_modifiers and old == new:
        return False
    return not _holds(new[1], before, new_modifiers, same=old == new)


def _holds(name: str, before: tuple[int, ...], after: tuple[int, ...], *, same: bool) -> bool:
    """Whether every value of the old modifiers is one of the new ones, as it is."""
    if name in _LENGTHS:
        return bool(before) and after[0] >= before[0]
    if name == "numeric" and same and before:
        return (after[1:] or (0,)) == (before[1:] or (0,)) and after[0] >= before[0]
    return name in _PRECISIONS and same and after[0] >= (before or (6,))[0]


def narrows(old: Name | None, old_words: str, new: Name, new_modifiers: tuple[int, ...]) -> bool:
    """Whether values that were may be no values of the new type."""
    if old is None or old[0] != _CATALOG or new[0] != _CATALOG:
        return False
    if old == new:
        before = modifiers_in(old_words)
        return bool(new_modifiers) and (not before or new_modifiers[0] < before[0])
    return any(old[1] in order and new[1] in order and order.index(old[1]) < order.index(new[1]) for order in _NARROWER)
