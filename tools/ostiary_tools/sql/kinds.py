"""Types of expressions, as far as they are certain without the server.

Asked only where an owner's operator or cast might be meant: one whose operands cannot
have its types is not. What is not certain is `UNKNOWN`, and could be anything.
"""

from collections.abc import Callable, Iterable
from typing import Any

from pglast import ast, enums

from ostiary_tools.snapshot import ColumnInfo, Snapshot
from ostiary_tools.sql import scope
from ostiary_tools.sql.inventory import FUNCTIONS, TYPES
from ostiary_tools.sql.scope import Env, Field
from ostiary_tools.sql.work import Work

Kind = tuple[str, str] | None
"""Schema and name of a type; `UNKNOWN` or `BUILT_IN` when it is not certain."""

UNKNOWN: Kind = None
CATALOG = "pg_catalog"
BUILT_IN: Kind = (CATALOG, "")
"""Some type of `pg_catalog`."""
_BOOL: Kind = (CATALOG, "bool")
_TEXT: Kind = (CATALOG, "text")
_LITERALS: dict[str, Kind] = {
    "Integer": (CATALOG, "int4"),
    "Float": BUILT_IN,  # numeric, or bigint when it fits
    "Boolean": _BOOL,
    "BitString": (CATALOG, "bit"),
}
_TRUE_OR_FALSE = frozenset(
    {
        enums.A_Expr_Kind.AEXPR_BETWEEN,
        enums.A_Expr_Kind.AEXPR_BETWEEN_SYM,
        enums.A_Expr_Kind.AEXPR_DISTINCT,
        enums.A_Expr_Kind.AEXPR_IN,
        enums.A_Expr_Kind.AEXPR_NOT_BETWEEN,
        enums.A_Expr_Kind.AEXPR_NOT_BETWEEN_SYM,
        enums.A_Expr_Kind.AEXPR_NOT_DISTINCT,
        enums.A_Expr_Kind.AEXPR_OP_ALL,
        enums.A_Expr_Kind.AEXPR_OP_ANY,
    }
)
"""The server takes no operator here that gives anything else."""
_PLAIN = frozenset({"base", "enum", "range", "multirange"})


def fits(kind: Kind, wanted: Kind, snapshot: Snapshot) -> bool:
    """Whether a value of the kind could stand where the other is wanted, by itself or by a cast the server makes."""
    if kind is None or wanted is None:
        return True
    known = snapshot.types.get(wanted)
    if known is not None and known.base is not None:
        return fits(kind, known.base, snapshot)
    if wanted[0] == CATALOG and (wanted[1].startswith("any") or wanted[1] == "record"):
        return True
    if kind == BUILT_IN:
        # It may be an array or a row, whose parts the server casts too.
        scalar = known is not None and known.kind in _PLAIN
        return not scalar or any(to == wanted and made[0] == CATALOG for made, to in snapshot.implicit_casts)
    return kind == wanted or (kind, wanted) in snapshot.implicit_casts


def is_kind(kind: Kind, wanted: Kind) -> bool:
    """Whether a value of the kind could be of the other itself."""
    return kind is None or wanted is None or kind == wanted or (kind == BUILT_IN and wanted[0] == CATALOG)


def of(node: Any, env: Env, work: Work) -> Kind:
    """The kind of an expression, judged already or not yet."""
    known = work.kinds.get(id(node))
    if known is None:
        known = work.kinds[id(node)] = (node, _of(node, env, work))
    return known[1]


def before_cast(node: Any, env: Env, work: Work) -> Kind:
    """The kind of what is cast. A literal without a type is read as the one it becomes, by no cast."""
    return BUILT_IN if _is_untyped(node) else of(node, env, work)


def of_field(field: Field, work: Work) -> Kind:
    """The kind of a column in scope."""
    if field.kind is not None:
        return field.kind()
    return together([of_column(column, work.view.snapshot) for _, column in field.sources])


def of_column(column: ColumnInfo, snapshot: Snapshot) -> Kind:
    """The kind of a relation's column."""
    return _base(column.kind, snapshot)


def together(kinds: Iterable[Kind]) -> Kind:
    """The kind of a value that is one of these."""
    found = set(kinds)
    if len(found) == 1:
        return found.pop()
    return BUILT_IN if found and all(kind is not None and kind[0] == CATALOG for kind in found) else UNKNOWN


def _base(kind: Kind, snapshot: Snapshot) -> Kind:
    """A domain as what it is made of; what has parts of an owner's types (an array, a row) as unknown."""
    while kind is not None and kind[0] != CATALOG:
        known = snapshot.types.get(kind)
        if known is None or (known.kind not in _PLAIN and known.base is None):
            return UNKNOWN
        if known.base is None:
            return kind
        kind = known.base
    return BUILT_IN if kind is not None and kind[1].startswith("_") else kind


def _of(node: Any, env: Env, work: Work) -> Kind:
    finder = _FINDERS.get(type(node).__name__)
    return UNKNOWN if finder is None else finder(node, env, work)


def _of_literal(node: Any, _env: Env, _work: Work) -> Kind:
    return _LITERALS.get(type(node.val).__name__, UNKNOWN)


def _of_cast(node: Any, _env: Env, work: Work) -> Kind:
    return _of_type_name(node.typeName, work)


def _of_truth(_node: Any, _env: Env, _work: Work) -> Kind:
    return _BOOL


def _of_session(_node: Any, _env: Env, _work: Work) -> Kind:
    return BUILT_IN


def _of_choice(node: Any, env: Env, work: Work) -> Kind:
    return of_one_among(node.args, env, work)


def _of_case(node: Any, env: Env, work: Work) -> Kind:
    return of_one_among((*(when.result for when in node.args), *((node.defresult,) if node.defresult else ())), env, work)


def _of_array(node: Any, env: Env, work: Work) -> Kind:
    return _array_of(of_one_among(node.elements or (), env, work))


def _of_collated(node: Any, env: Env, work: Work) -> Kind:
    return of(node.arg, env, work)


def _of_reference(node: Any, env: Env, work: Work) -> Kind:
    if isinstance(node.fields[-1], ast.A_Star):
        return UNKNOWN
    words = [str(part.sval) for part in node.fields]
    if len(words) == 1:
        found = scope.find_column(env, words[0])
        return together([of_field(field, work) for field in found.fields]) if found.certain else UNKNOWN
    items = scope.find_items(env, words[-2], words[-3] if len(words) > 2 else None)  # noqa: PLR2004 -- schema, table, column
    if any(item.unbounded for item in items):
        return UNKNOWN
    return together([of_field(field, work) for item in items for field in item.fields if field.name == words[-1]])


def _of_type_name(node: Any, work: Work) -> Kind:
    words = [str(part.sval) for part in node.names or ()]
    snapshot = work.view.snapshot
    if words[:-1] in ([], [CATALOG]) and words[-1] in TYPES:
        return BUILT_IN if node.arrayBounds else (CATALOG, words[-1])
    if node.arrayBounds:
        return UNKNOWN
    schemas = words[-2:-1] or snapshot.search_path
    return next((_base((schema, words[-1]), snapshot) for schema in schemas if (schema, words[-1]) in snapshot.types), UNKNOWN)


def of_one_among(nodes: Iterable[Any], env: Env, work: Work) -> Kind:
    """The kind of a value that is one of these. Literals without a type take that of the others; among themselves they are text."""
    kinds = [of(node, env, work) for node in nodes if not _is_untyped(node)]
    return together(kinds) if kinds else _TEXT


def _is_untyped(node: Any) -> bool:
    """A literal text, NULL, or a parameter: beside a built-in type it becomes one."""
    return isinstance(node, ast.ParamRef) or (isinstance(node, ast.A_Const) and (node.isnull or isinstance(node.val, ast.String)))


def _of_call(node: Any, env: Env, work: Work) -> Kind:
    """A built-in function of built-in values gives one."""
    words = [str(part.sval) for part in node.funcname]
    name, snapshot = words[-1], work.view.snapshot
    overloads = [snapshot.functions.get((schema, name), ()) for schema in snapshot.search_path if len(words) == 1]
    extended = any(each and all(f.extension for f in each) for each in overloads)
    if name not in FUNCTIONS or extended or words[:-1] not in ([], [CATALOG]):
        return UNKNOWN
    inputs = (*(node.args or ()), *(sort.node for sort in node.agg_order or ()))
    return BUILT_IN if all(_is_built_in(each, env, work) for each in inputs) else UNKNOWN


def _of_operation(node: Any, env: Env, work: Work) -> Kind:
    """A built-in operator of built-in values gives one; whether an owner's is meant is not asked twice."""
    if node.kind in _TRUE_OR_FALSE:
        return _BOOL
    if node.kind not in (enums.A_Expr_Kind.AEXPR_OP, enums.A_Expr_Kind.AEXPR_NULLIF) or len(node.name) != 1:
        return UNKNOWN
    operands = [each for each in (node.lexpr, node.rexpr) if each is not None]
    if all(_is_untyped(each) for each in operands) or not all(_is_built_in(each, env, work) for each in operands):
        return UNKNOWN
    known = work.view.snapshot.operators.get(str(node.name[0].sval), ())
    own = (each for each in known if each.schema in work.view.snapshot.search_path)
    sides = (None if node.lexpr is None else of(node.lexpr, env, work), of(node.rexpr, env, work))
    meant = any(fits(sides[0], o.left, work.view.snapshot) and fits(sides[1], o.right, work.view.snapshot) for o in own)
    return UNKNOWN if meant else BUILT_IN


def _is_built_in(node: Any, env: Env, work: Work) -> bool:
    if _is_untyped(node):
        return True
    kind = of(node, env, work)
    return kind is not None and kind[0] == CATALOG


def _array_of(kind: Kind) -> Kind:
    return BUILT_IN if kind is not None and kind[0] == CATALOG else UNKNOWN


Pair = tuple[Kind, Kind]


def operands(node: Any, env: Env, work: Work) -> list[Pair]:
    """What each operator of an expression with operators (A_Expr) stands between."""
    left: Any = node.lexpr
    rights = node.rexpr if isinstance(node.rexpr, tuple) else (node.rexpr,)
    if node.kind in (enums.A_Expr_Kind.AEXPR_OP_ANY, enums.A_Expr_Kind.AEXPR_OP_ALL):
        return [(of(left, env, work), _array_of(of(node.rexpr, env, work)))]
    return [pair for right in rights for pair in between(left, right, env, work)]


def between(left: Any, right: Any, env: Env, work: Work) -> list[Pair]:
    """Rows are compared member by member; no operand on the left or one that is not known yet is `None`."""
    if isinstance(left, ast.RowExpr) and isinstance(right, ast.RowExpr):
        rows = zip(left.args or (), right.args or (), strict=False)
        return [(of(one, env, work), of(other, env, work)) for one, other in rows]
    if isinstance(left, ast.RowExpr) and right is None:
        return [(of(one, env, work), UNKNOWN) for one in left.args or ()]
    return [(UNKNOWN if left is None else of(left, env, work), UNKNOWN if right is None else of(right, env, work))]


_FINDERS: dict[str, Callable[[Any, Env, Work], Kind]] = {
    "A_ArrayExpr": _of_array,
    "A_Const": _of_literal,
    "A_Expr": _of_operation,
    "BoolExpr": _of_truth,
    "BooleanTest": _of_truth,
    "CaseExpr": _of_case,
    "CoalesceExpr": _of_choice,
    "CollateClause": _of_collated,
    "ColumnRef": _of_reference,
    "FuncCall": _of_call,
    "JsonIsPredicate": _of_truth,
    "MinMaxExpr": _of_choice,
    "NullTest": _of_truth,
    "SQLValueFunction": _of_session,
    "TypeCast": _of_cast,
}
