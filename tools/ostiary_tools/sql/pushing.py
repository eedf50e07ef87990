"""Conditions of a statement that may also stand inside a fence, so that an index of the table serves them.

Inside, a condition meets rows that the caller does not have. So only such are taken as compare one column with a constant
by an operator of the server's own that fails for no value of its type: the server calls these leakproof. Nor may the value
fail to be made: it is stored, and not computed for the comparison by a view or by another server. They are true
of no NULL either, and stay where they were as well, so it does not matter on which side of an outer join the table
stands. A masked column is never compared inside.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pglast import ast, enums

from ostiary_tools.snapshot import ColumnInfo, Relation, Snapshot
from ostiary_tools.sql import calls
from ostiary_tools.view import SchemaView

_ORDERED = frozenset({"int2", "int4", "int8", "date", "timestamp", "timestamptz", "uuid"})
_EQUAL = frozenset({"bool", "text", "varchar"})
_COMPARISONS = frozenset({"=", "<", "<=", ">", ">="})
_DATES = frozenset({"date", "timestamp", "timestamptz"})
_INTEGERS = frozenset({"int2", "int4", "int8"})
_FORMS = enums.A_Expr_Kind
_OPERATORS: Mapping[Any, tuple[str, ...]] = {_FORMS.AEXPR_BETWEEN: (">=", "<=")}
"""Of a form that is called otherwise."""
_LISTED = (_FORMS.AEXPR_IN, _FORMS.AEXPR_BETWEEN)
_ONE_OF = (_FORMS.AEXPR_IN, _FORMS.AEXPR_OP_ANY)
_QUALIFIED = 2


def pushed(nodes: Sequence[Any], view: SchemaView) -> Mapping[int, tuple[Any, ...]]:
    """By the identity of a scan's node, the conditions of its own level that may stand in its fence, over bare names.

    `nodes` are all of the statement; only scans of relations with row rules are asked about.
    """
    once = _used_once(nodes)
    found: dict[int, tuple[Any, ...]] = {}
    for select in nodes:
        beside = select.usingClause if isinstance(select, ast.DeleteStmt) else getattr(select, "fromClause", None)
        if beside and select.whereClause is not None:
            for scan, condition in _of_level(select.whereClause, beside, view, once):
                if (scan.schemaname, scan.relname) in view.rows:
                    found[id(scan)] = (*found.get(id(scan), ()), condition)
    return found


def is_and(node: Any) -> bool:
    """Whether a condition is several joined by AND."""
    return isinstance(node, ast.BoolExpr) and node.boolop == enums.BoolExprType.AND_EXPR


def is_of_key(condition: Any, relation: Relation) -> bool:
    """Whether a condition that may be pushed says which value a key of one column has, or which of the values in a parameter.

    The planner then expects one row for each, whatever rows there are. A parent's keys are not its children's.
    """
    keys = () if relation.has_children else (relation.primary_key, *relation.unique_keys)
    is_equal = condition.kind in (_FORMS.AEXPR_OP, _FORMS.AEXPR_OP_ANY) and calls.parts(condition.name)[-1] == "="
    return is_equal and calls.parts(condition.lexpr.fields) in keys


def _used_once(nodes: Sequence[Any]) -> frozenset[int]:
    """The server infers a parameter's type where it meets it first; one that stands elsewhere too could change its type."""
    counted = Counter(int(node.number or 0) for node in nodes if isinstance(node, ast.ParamRef))
    return frozenset(number for number, times in counted.items() if times == 1)


def _of_level(where: Any, beside: Iterable[Any], view: SchemaView, once: frozenset[int]) -> Iterator[tuple[Any, Any]]:
    scans, others = _entries(beside)
    for condition in where.args if is_and(where) else (where,):
        compared = _compared(condition)
        scan = None if compared is None else _meant(compared, scans, view, bare=not others)
        if compared is None or scan is None:
            continue
        relation = view.snapshot.relations[scan.schemaname, scan.relname]
        column = relation.column(calls.parts(compared.fields)[-1])
        if column is not None and view.mask(relation, column) is None and _fits(condition, column, once, view.snapshot):
            yield scan, _over_bare_name(condition, column.name)


def _entries(nodes: Iterable[Any]) -> tuple[list[Any], bool]:
    """The scans of a FROM list, and whether it holds anything else."""
    scans: list[Any] = []
    others = False
    waiting = list(nodes)
    while waiting:
        node: Any = waiting.pop()
        if isinstance(node, ast.JoinExpr) and node.alias is None and node.join_using_alias is None:
            waiting += [node.larg, node.rarg]
        elif isinstance(node, ast.RangeTableSample):
            waiting.append(node.relation)
        elif isinstance(node, ast.RangeVar):
            scans.append(node)
            others = others or node.schemaname is None
        else:
            others = True
    return scans, others


def _compared(condition: Any) -> Any:
    """The column on the left of a comparison."""
    if not isinstance(condition, ast.A_Expr) or not isinstance(condition.lexpr, ast.ColumnRef):
        return None
    fields: Any = condition.lexpr.fields
    return condition.lexpr if all(isinstance(part, ast.String) for part in fields) and len(fields) <= _QUALIFIED else None


def _meant(reference: Any, scans: list[Any], view: SchemaView, *, bare: bool) -> Any:
    """The only scan whose column is meant, or `None`."""
    *qualifier, name = calls.parts(reference.fields)
    if not qualifier and not bare:
        return None
    known = [scan for scan in scans if not qualifier or _name(scan) == qualifier[0]]
    owners = [scan for scan in known if (relation := _relation(scan, view)) is None or relation.column(name) is not None]
    return owners[0] if len(owners) == 1 and _relation(owners[0], view) is not None else None


def _name(scan: Any) -> Any:
    return scan.alias.aliasname if scan.alias is not None else scan.relname


def _relation(scan: Any, view: SchemaView) -> Relation | None:
    if scan.alias is not None and scan.alias.colnames:
        return None
    return view.snapshot.relations.get((scan.schemaname, scan.relname)) if scan.schemaname else None


def _fits(condition: Any, column: ColumnInfo, once: frozenset[int], snapshot: Snapshot) -> bool:
    """Whether it is a comparison that no value of the column can make fail."""
    schema, kind = column.kind or ("", "")
    *qualifier, operator = calls.parts(condition.name)
    if column.computed or schema != calls.CATALOG or qualifier not in ([], [calls.CATALOG]):
        return False
    meant = _OPERATORS.get(condition.kind, (operator,))
    if not _is_total(kind, operator, condition.kind, column) or not _is_the_servers(meant, snapshot):
        return False
    if condition.kind == _FORMS.AEXPR_OP_ANY and not isinstance(condition.rexpr, ast.ParamRef):
        return False
    constants = condition.rexpr if condition.kind in _LISTED else (condition.rexpr,)
    return all(_is_constant(one, kind, once) for one in constants)


def _is_the_servers(names: Sequence[str], snapshot: Snapshot) -> bool:
    """Whether nobody has made an operator of that name for a type of the server's, which could be meant before its own."""
    kinds = (kind for name in names for each in snapshot.operators.get(name, ()) for kind in (each.left, each.right))
    return all(kind is not None and kind[0] != calls.CATALOG for kind in kinds)


def _is_total(kind: str, operator: str, form: Any, column: ColumnInfo) -> bool:
    """Whether the operator of that type has an answer for every value."""
    if kind in _EQUAL:
        return operator == "=" and form in (_FORMS.AEXPR_OP, *_ONE_OF) and (kind == "bool" or column.deterministic)
    if form == _FORMS.AEXPR_OP:
        return kind in _ORDERED and operator in _COMPARISONS
    return kind in _ORDERED and (form == _FORMS.AEXPR_BETWEEN or (form in _ONE_OF and operator == "="))


def _is_constant(node: Any, kind: str, once: frozenset[int]) -> bool:
    """Whether it is one value of the column's own type, which the server reads before it looks at any row."""
    if isinstance(node, ast.ParamRef):
        # What a date means depends on settings, so the server may read it anew for each row, and fail there.
        return node.number in once and kind not in _DATES
    if isinstance(node, ast.TypeCast):
        made: Any = node.typeName
        plain = calls.parts(made.names) in ((kind,), ("pg_catalog", kind)) and not made.arrayBounds and not made.typmods
        return plain and isinstance(node.arg, ast.A_Const) and isinstance(node.arg.val, ast.String)
    if not isinstance(node, ast.A_Const) or node.isnull:
        return False
    wanted = ast.Integer if kind in _INTEGERS else ast.Boolean if kind == "bool" else ast.String
    return isinstance(node.val, wanted)


def _over_bare_name(condition: Any, name: str) -> Any:
    return ast.A_Expr(
        kind=condition.kind,
        name=condition.name,
        lexpr=ast.ColumnRef(fields=(ast.String(name),)),
        rexpr=condition.rexpr,
    )
