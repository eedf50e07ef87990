"""Expressions: every node is visited; those that name something are judged and rewritten in place.

A node without a handler has no meaning of its own: its parts are visited in the same
scope. Nodes reach this module only after `grammar` allowed their kinds.
"""

from collections.abc import Callable
from functools import partial
from operator import is_not
from typing import Any

from pglast import ast, enums

from ostiary_tools.errors import Refused
from ostiary_tools.sql import calls, kinds, lookups, scope, statement
from ostiary_tools.sql.scope import Env, Item
from ostiary_tools.sql.tree import CHILDREN, put
from ostiary_tools.sql.work import Work

_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "xmax", "cmin", "cmax"})
_QUALIFIED = 2
"""Words of a column's name with its table's."""
_EQUALS = (ast.String("="),)


def visit(value: Any, env: Env, work: Work) -> Any:
    """Judge a node or a tuple of nodes and return what takes its place. Raises Refused."""
    kind = type(value)
    if (handler := _HANDLERS.get(kind)) is not None:
        return handler(value, env, work)
    if kind is tuple:
        parts = [visit(part, env, work) for part in value]
        return tuple(parts) if any(map(is_not, parts, value)) else value
    return visit_parts(value, env, work) if isinstance(value, ast.Node) else value


def visit_parts(node: Any, env: Env, work: Work) -> Any:
    """Visit what a node is made of."""
    for name in CHILDREN[type(node)]:
        if (part := getattr(node, name)) is not None:
            put(node, name, visit(part, env, work))
    return node


def whole_row(items: tuple[Item, ...], work: Work, *, star: bool = False) -> None:
    """All of a row is used: its scans are narrowed to the visible columns, which are read.

    A narrowed row is of no type, and an expression of it has no fields by name. So a row that is one value, and no `star`,
    stays as it is where such a field is asked for and no column is hidden.
    """
    for item in items:
        for scan in item.scans:
            scan.narrow = scan.narrow or star or not (work.keeps_rows and work.sees_all(scan.relation))
            work.read_all(scan.relation)


def _column(node: Any, env: Env, work: Work) -> Any:
    if isinstance(node.fields[-1], ast.A_Star):
        return _row_star(node, env, work)
    words = calls.parts(node.fields)
    if len(words) == 1:
        _bare_column(words[0], env, work)
        return _of_target(node, words[0], env)
    qualifier, name = words[:-1], words[-1]
    items = named_items(qualifier, env, work)
    found = [f for item in items for f in item.fields if f.name == name]
    for each in found:
        work.read(each, items, ".".join(words), env)
    if not found:
        _selected(name, items, ".".join(words), env, work)
    if len(words) > _QUALIFIED:
        node.fields = node.fields[-2:]
    return node


def _bare_column(name: str, env: Env, work: Work) -> None:
    items = tuple(i for level in env.levels() for i in level.items if i.by_column)
    found = scope.find_column(env, name)
    for each in found.fields:
        work.read(each, items, name, env)
    rows = () if found.fields and found.certain else scope.find_items(env, name)
    whole_row(rows, work)
    if not found.fields and not rows and found.certain and not (name == "ctid" and scope.has_ctid(env)):
        fenced = name == "ctid" and any(item.base for item in items)
        raise _system_column(name) if name in _SYSTEM_COLUMNS or fenced else work.unknown_column(name, items, env)


def _of_target(node: Any, name: str, env: Env) -> Any:
    """A bare name that means a column of what the statement changes, with that one's name. Raises Refused where it is shadowed."""
    found = scope.find_column(env, name)
    items = [item for level in env.levels() for item in level.items if item.target]
    owner = next((item for item in items if any(f is each for f in found.fields for each in item.fields)), None)
    if owner is None or owner.name is None:
        return node
    if len(found.fields) > 1 or not found.certain or scope.find_items(env, owner.name) != (owner,):
        raise Refused("ambiguous", f"`{name}` is ambiguous here", "give the tables aliases, and name them before columns")
    return ast.ColumnRef(fields=(ast.String(owner.name), ast.String(name)))


def _selected(name: str, items: tuple[Item, ...], written: str, env: Env, work: Work) -> None:
    """A qualified name that is no known column of its item."""
    if name == "ctid" and any(item.has_ctid for item in items):
        return
    if name in _SYSTEM_COLUMNS or (name == "ctid" and any(item.base for item in items)):
        raise _system_column(name)
    if not any(item.unbounded for item in items):
        raise work.unknown_column(written, items, env)
    # The server takes `f.name` for `name(f)` when f has no such column.
    calls.selector(work, name)
    whole_row(items, work)


def _system_column(name: str) -> Refused:
    hint = "of the system columns only `ctid` is, and not where masks or row rules stand before the table"
    return Refused("system_column", f"the system column `{name}` is not read here", hint)


def named_items(qualifier: tuple[str, ...], env: Env, work: Work) -> tuple[Item, ...]:
    """The range-table entries a qualifier names. Raises Refused when there is none."""
    *schema, name = qualifier
    if len(schema) > 1:
        raise work.unknown_table(".".join(qualifier))
    items = scope.find_items(env, name, schema[0] if schema else None)
    if not items:
        raise work.unknown_qualifier(".".join(qualifier), env)
    if schema and scope.find_items(env, name) != items:
        raise Refused("ambiguous", f"`{'.'.join(qualifier)}` is ambiguous here", "give the tables aliases")
    return items


def _row_star(node: Any, env: Env, work: Work) -> Any:
    """`t.*` where one value is expected: the whole row."""
    if len(node.fields) == 1:
        raise Refused("syntax", "a bare `*` stands where a value is expected", "name the columns")
    whole_row(named_items(calls.parts(node.fields[:-1]), env, work), work, star=True)
    node.fields = node.fields[-2:]
    return node


def _call(node: Any, env: Env, work: Work) -> Any:
    answer = lookups.call(node, work)
    if answer is not None:
        return visit(answer, env, work)
    node.funcname = calls.function_name(work, node.funcname)
    rows = _typed_rows(node, env, work)
    if node.args:
        node.args = tuple(arg if any(arg is row for row in rows) else visit(arg, env, work) for arg in node.args)
    for name in CHILDREN[ast.FuncCall]:
        if name != "args":
            put(node, name, visit(getattr(node, name), env, work))
    if calls.parts(node.funcname) == (calls.CATALOG, "pg_typeof"):
        # As regtype it could be compared with a name, and say whether that type exists.
        return ast.TypeCast(arg=node, typeName=_text())
    return node


def _typed_rows(node: Any, env: Env, work: Work) -> list[Any]:
    """Arguments that an owner's function takes as rows of a table; narrowed, they would lose their type.

    Only where the caller sees every column of the table.
    """
    if calls.parts(node.funcname)[0] == calls.CATALOG:
        return []
    rows = []
    for arg in node.args or ():
        name = calls.bare_name(arg)
        items = scope.find_items(env, name) if name is not None and not scope.find_column(env, name).fields else ()
        relations = [scan.relation for item in items if item.base for scan in item.scans if not scan.narrow]
        if len(items) == len(relations) == 1 and work.sees_all(relations[0]):
            work.read_all(relations[0])
            rows.append(arg)
    return rows


def _cast(node: Any, env: Env, work: Work) -> Any:
    if isinstance(node.arg, ast.FuncCall) and calls.parts(node.arg.funcname)[-1] == "pg_typeof" and is_text(node.typeName):
        return visit(node.arg, env, work)
    answer = lookups.cast(node, work)
    if answer is not None:
        return visit(answer, env, work)
    put(node, "arg", visit(node.arg, env, work))
    calls.type_name(work, node.typeName, partial(kinds.before_cast, node.arg, env, work))
    visit_parts(node.typeName, env, work)
    return node


def _text() -> Any:
    return ast.TypeName(names=(ast.String("text"),), typemod=-1)


def is_text(node: Any) -> bool:
    """Whether a type name is plain `text`."""
    return calls.parts(node.names)[-1] == "text" and not node.arrayBounds


def _type(node: Any, env: Env, work: Work) -> Any:
    calls.type_name(work, node)
    return visit_parts(node, env, work)


def _operator(node: Any, env: Env, work: Work) -> Any:
    lookups.compare(node, work)
    forms = enums.A_Expr_Kind
    equal = node.kind in (forms.AEXPR_DISTINCT, forms.AEXPR_NOT_DISTINCT, forms.AEXPR_NULLIF)
    calls.operator(work, _EQUALS if equal else node.name, partial(kinds.operands, node, env, work))
    return visit_parts(node, env, work)


def _sublink(node: Any, env: Env, work: Work) -> Any:
    if node.testexpr is not None:
        calls.operator(work, node.operName or _EQUALS, partial(kinds.between, node.testexpr, None, env, work))
    return visit_parts(node, env, work)


def _sort(node: Any, env: Env, work: Work) -> Any:
    if node.useOp:
        calls.operator(work, node.useOp, partial(kinds.between, node.node, node.node, env, work))
    return visit_parts(node, env, work)


def _case(node: Any, env: Env, work: Work) -> Any:
    for when in node.args if node.arg is not None else ():
        calls.operator(work, _EQUALS, partial(kinds.between, node.arg, when.expr, env, work))
    return visit_parts(node, env, work)


def _indirection(node: Any, env: Env, work: Work) -> Any:
    for part in node.indirection:
        if isinstance(part, ast.String):
            if part.sval in _SYSTEM_COLUMNS:
                raise _system_column(str(part.sval))
            calls.selector(work, str(part.sval))
    return visit_parts(node, env, work)


def _collation(node: Any, env: Env, work: Work) -> Any:
    words = calls.parts(node.collname)
    if len(words) > 1 and words[:-1] != (calls.CATALOG,):
        raise Refused("collation", f"unknown collation `{'.'.join(words)}`", "use a built-in collation")
    return visit_parts(node, env, work)


def _select(node: Any, env: Env, work: Work) -> Any:
    statement.select(node, env.child(), work)
    return node


def _forbidden(node: Any, _env: Env, _work: Work) -> Any:
    raise Refused("statement", f"`{type(node).__name__}` stands where a value is expected", "write a plain query")


_HANDLERS: dict[type, Callable[[Any, Env, Work], Any]] = {
    ast.A_Expr: _operator,
    ast.A_Indirection: _indirection,
    ast.CaseExpr: _case,
    ast.CollateClause: _collation,
    ast.ColumnRef: _column,
    ast.FuncCall: _call,
    ast.SelectStmt: _select,
    ast.SortBy: _sort,
    ast.SubLink: _sublink,
    ast.TypeCast: _cast,
    ast.TypeName: _type,
    # These open a scope or name a relation; only `relations` and `statement` know how.
    ast.JoinExpr: _forbidden,
    ast.JsonTable: _forbidden,
    ast.RangeFunction: _forbidden,
    ast.RangeSubselect: _forbidden,
    ast.RangeTableFunc: _forbidden,
    ast.RangeTableSample: _forbidden,
    ast.RangeVar: _forbidden,
    ast.WithClause: _forbidden,
}
