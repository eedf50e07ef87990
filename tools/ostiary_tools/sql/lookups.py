"""Functions and casts of the catalog, answered from what the caller sees.

Each becomes a subselect over one of the values behind the offered catalogs; the printed
text holds no call of the catalog's own function, which would answer about anything.
"""

import re
from typing import Any

from pglast import ast, enums

from ostiary_tools import catalogs as seen
from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import identifier
from ostiary_tools.sql import catalogs, statement
from ostiary_tools.sql.work import Work

_ARGUMENTS = {
    "col_description": (2, 2),
    "format_type": (2, 2),
    "obj_description": (1, 2),
    "pg_collation_is_visible": (1, 1),
    "pg_encoding_to_char": (1, 1),
    "pg_function_is_visible": (1, 1),
    "pg_get_constraintdef": (1, 2),
    "pg_get_function_arguments": (1, 1),
    "pg_get_function_identity_arguments": (1, 1),
    "pg_get_function_result": (1, 1),
    "pg_get_indexdef": (1, 3),
    "pg_get_serial_sequence": (2, 2),
    "pg_get_userbyid": (1, 1),
    "pg_get_viewdef": (1, 2),
    "pg_table_is_visible": (1, 1),
    "pg_type_is_visible": (1, 1),
}
"""How few and how many arguments each may have; those past the columns behind it only lay its text out."""
_NO_ARGUMENTS = (1, 0)
_KINDS = frozenset({"regclass", "regnamespace", "regproc", "regtype"})
_NUMBERS = frozenset({"oid", "int4", "int8"})
_TEXTS = frozenset({"text", "varchar", "name", "bpchar"})
_COMPARISONS = frozenset(
    {
        enums.A_Expr_Kind.AEXPR_OP,
        enums.A_Expr_Kind.AEXPR_OP_ANY,
        enums.A_Expr_Kind.AEXPR_OP_ALL,
        enums.A_Expr_Kind.AEXPR_IN,
        enums.A_Expr_Kind.AEXPR_DISTINCT,
        enums.A_Expr_Kind.AEXPR_NOT_DISTINCT,
    }
)
_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s".]+))\s*(?:\.|$)')


def call(node: Any, work: Work) -> Any | None:
    """What takes the place of a call that the catalog would answer, not yet judged; `None` for any other call. Raises Refused."""
    name = _built_in(node.funcname)
    args: tuple[Any, ...] = node.args or ()
    if name == "pg_get_expr" and args:
        # The column of expressions holds their text already.
        return _cast_to("text", args[0])
    if name == "current_schemas" and len(args) == 1 and isinstance(args[0], ast.A_Const) and isinstance(args[0].val, ast.Boolean):
        return _schemas(work, implicit=bool(args[0].val.boolval))
    if name.startswith("to_reg") and name[3:] in _KINDS and len(args) == 1:
        return _number(name[3:], args[0], work, strict=False)
    few, many = _ARGUMENTS.get(name, _NO_ARGUMENTS)
    return _answer(name, args, work) if few <= len(args) <= many else None


def cast(node: Any, work: Work) -> Any | None:
    """What takes the place of a cast that turns a number into a name or a name into a number; `None` for any other cast."""
    kind = _kind(node)
    if kind:
        return _number(kind, node.arg, work) if _is_constant(node.arg) else _printed(kind, node.arg)
    target = _target(node)
    inner = _kind(node.arg)
    if inner and target in _TEXTS:
        return _cast_to(target, _printed(inner, node.arg.arg))
    if inner and target in _NUMBERS:
        return _cast_to(target, _number(inner, node.arg.arg, work))
    return None


def compare(node: Any, work: Work) -> None:
    """Things are compared by their numbers: put those in the place of names on both sides of a comparison."""
    if node.kind not in _COMPARISONS:
        return
    sides = (node.lexpr, node.rexpr)
    kinds = {_target(each) for side in sides for each in _each(side) if isinstance(each, ast.TypeCast)} & _KINDS
    if len(kinds) != 1:
        return
    kind = kinds.pop()
    if any(_is_type_of(side) for side in sides):
        node.lexpr, node.rexpr = (_mapped(side, lambda each: _printed(kind, each.arg) if _kind(each) else each) for side in sides)
    else:
        node.lexpr, node.rexpr = (_mapped(side, lambda each: _numbered(kind, each, work)) for side in sides)


def _numbered(kind: str, node: Any, work: Work) -> Any:
    if _kind(node):
        return _number(kind, node.arg, work)
    return _number(kind, node, work) if _is_constant(node) else node


def _each(side: Any) -> tuple[Any, ...]:
    if isinstance(side, tuple):
        return side
    return tuple(side.elements or ()) if isinstance(side, ast.A_ArrayExpr) else (side,)


def _mapped(side: Any, change: Any) -> Any:
    if isinstance(side, tuple):
        return tuple(change(each) for each in side)
    if isinstance(side, ast.A_ArrayExpr):
        side.elements = tuple(change(each) for each in side.elements or ())
        return side
    return change(side)


def _answer(name: str, args: tuple[Any, ...], work: Work) -> Any:
    columns = seen.STATED[seen.BEHIND, name][:-1]
    given = tuple(_number(_kind(arg), arg.arg, work) if _kind(arg) else arg for arg in args)
    told = [f"l.{c} is not distinct from k.{c}::{kind}" for (c, kind), _ in zip(columns, given, strict=False)]
    if name == "pg_get_indexdef" and len(given) == 1:
        told.append("l.b = 0")
    text = f"select (select l.result from (select) as k, x as l where {' and '.join(told)} limit 1)"  # noqa: S608  names of ours
    return _subselect(text, given, name)


def _number(kind: str, node: Any, work: Work, *, strict: bool = True) -> Any:
    """The thing's number: found now when it is named by a constant, else in the server."""
    if isinstance(node, ast.A_Const) and isinstance(node.val, ast.String):
        written = str(node.val.sval)
        found = seen.oid(work.view, kind, _spelling(kind, written))
        if found is None and strict:
            raise (
                work.unknown_table(written)
                if kind == "regclass"
                else Refused("type", f"unknown name `{written}`", "search_schema lists what you may see")
            )
        return _cast_to("oid", ast.A_Const(isnull=True) if found is None else ast.A_Const(val=ast.Integer(found)))
    text = f"select (select l.oid from (select) as k, x as l where l.kind = '{kind}' and l.spelling = k.a::text limit 1)"  # noqa: S608
    return _subselect(text, (node,), "names")


def _printed(kind: str, node: Any) -> Any:
    """The thing's name as the server prints it."""
    text = f"select (select l.name from (select) as k, x as l where l.kind = '{kind}' and l.spelling = k.a::text limit 1)"  # noqa: S608
    return _subselect(text, (node,), "names")


def _subselect(text: str, args: tuple[Any, ...], name: str) -> Any:
    """The template with the arguments, which stand where none of its own names can be meant, and the scan in it."""
    link = statement.parse_template(text).targetList[0].val
    given, source = link.subselect.fromClause
    # An argument that only lays text out is carried along, so that its parameter keeps its place.
    given.subquery.targetList = tuple(ast.ResTarget(name=column, val=arg) for column, arg in zip("abc", args, strict=False))
    rows = catalogs.scan((seen.BEHIND, name))
    rows.alias = source.alias
    link.subselect.fromClause = (given, rows)
    return link


def _spelling(kind: str, written: str) -> str:
    """A written name as it is spelled among the known ones."""
    if kind == "regtype" and '"' not in written:
        return " ".join(written.lower().split())
    found, at = [], 0
    while at < len(written) and (match := _PART.match(written, at)):
        quoted, plain = match.groups()
        found.append(identifier(quoted.replace('""', '"') if quoted is not None else plain.lower()))
        at = match.end()
    return ".".join(found) if at == len(written) else written


def _schemas(work: Work, *, implicit: bool) -> Any:
    seen_schemas = seen.sight(work.view).schemas
    path = [s for s in work.view.snapshot.search_path if s in seen_schemas]
    names = (*(("pg_catalog",) if implicit and "pg_catalog" not in path else ()), *path)
    node = _cast_to("name", ast.A_ArrayExpr(elements=tuple(ast.A_Const(val=ast.String(name)) for name in names) or None))
    node.typeName.arrayBounds = (ast.Integer(-1),)
    return node


def _built_in(names: Any) -> str:
    """The name of a function of `pg_catalog`, which is first on the path, or an empty text."""
    words = tuple(str(part.sval) for part in names)
    return words[-1] if words[:-1] in ((), ("pg_catalog",)) else ""


def _target(node: Any) -> str:
    """What a cast makes of its argument; empty when the node is none or its type is no plain one."""
    kind: Any = node.typeName if isinstance(node, ast.TypeCast) else None
    return "" if kind is None or kind.arrayBounds or kind.typmods else _built_in(kind.names)


def _kind(node: Any) -> str:
    target = _target(node)
    return target if target in _KINDS else ""


def _is_constant(node: Any) -> bool:
    return isinstance(node, ast.ParamRef) or (isinstance(node, ast.A_Const) and isinstance(node.val, ast.String))


def _is_type_of(node: Any) -> bool:
    inner = node.arg if isinstance(node, ast.TypeCast) else node
    return isinstance(inner, ast.FuncCall) and _built_in(inner.funcname) == "pg_typeof"


def _cast_to(name: str, node: Any) -> Any:
    return ast.TypeCast(arg=node, typeName=ast.TypeName(names=(ast.String("pg_catalog"), ast.String(name)), typemod=-1))
