"""Trees of PostgreSQL's grammar: which fields of a node hold nodes, every node of a tree, whether two trees say the same.

The binding declares the type of each field, so no value has to be looked at to know that it is a leaf. It also checks
and converts whatever a field is set to, even by its own parser, which hands over the right form already; that was most of
the time of parsing, so it is not done in this process: who makes a node gives it the declared types.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from pglast import ast

if (checked := vars(ast.Node).get("__setattr__")) is not None:
    # Only this kind gets from the parser what is not yet in form: 1 for true.
    setattr(ast.Boolean, "__setattr__", checked)  # noqa: B010  assigned plainly, a type checker takes it for a mistake
    delattr(ast.Node, "__setattr__")

_NOT_SAID = frozenset(
    {
        "location",
        "rexpr_list_start",
        "rexpr_list_end",
        "list_start",
        "list_end",
        "stmt_len",
        "name_location",
        "funcformat",
        "arg_location",
    }
)
"""Positions, and whether a call was written in SQL's own words."""


def _is_leaf(declared: Any) -> bool:
    kinds = declared if isinstance(declared, tuple) else (declared,)
    # A dict is how a node or an enum is spelt in JSON; it is never what the field holds.
    return all(kind is dict or issubclass(kind, (bool, int, float, str, Enum)) for kind in kinds)


_FIELDS: Mapping[type, Mapping[str, Any]] = {
    kind: fields
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.Node) and isinstance(fields := getattr(kind, "__slots__", None), dict)
}
CHILDREN: Mapping[type, tuple[str, ...]] = {
    kind: tuple(name for name, (_, declared, *_) in fields.items() if not _is_leaf(declared)) for kind, fields in _FIELDS.items()
}
"""Kind of node → names of the fields in which one may hold nodes."""
_SAYINGS = {kind: tuple(name for name in fields if name not in _NOT_SAID) for kind, fields in _FIELDS.items()}


def put(node: Any, name: str, value: Any) -> None:
    """Set a field that changed."""
    if value is not getattr(node, name):
        setattr(node, name, value)


def levels(root: Any) -> Iterator[list[Any]]:
    """Every node, level by level from the root down, without recursion."""
    level = [root]
    while level:
        yield level
        level = [part for node in level for name in CHILDREN[type(node)] for part in nodes(getattr(node, name))]


def nodes(value: Any) -> Sequence[Any]:
    """The nodes in a field's value, which is a node, nothing, or a tuple of these and of such tuples."""
    if value is None:
        return ()
    if isinstance(value, tuple):
        held = [part for part in value if isinstance(part, ast.Node)]
        return held if len(held) == len(value) else [node for part in value for node in nodes(part)]
    return (value,) if isinstance(value, ast.Node) else ()


def same(left: Any, right: Any) -> bool:
    """Whether two trees say the same."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, ast.Node) and type(one) is type(other):
            for name in _SAYINGS[type(one)]:
                mine, theirs = getattr(one, name), getattr(other, name)
                if mine is not theirs:
                    pairs.append((mine, theirs))
        elif one != other and (one or other):
            return False
    return True
