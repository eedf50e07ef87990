"""Everything in a statement that runs code: functions, operators and types, each resolved to its schema.

Built-ins pass by the reviewed inventory; whatever an owner or an extension defined
becomes an `execute` access for policy. What is known to neither is refused.
"""

from collections.abc import Callable
from typing import Any

from pglast import ast

from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import FunctionInfo
from ostiary_tools.sql import kinds, suggestions
from ostiary_tools.sql.inventory import FUNCTIONS, REFUSED_FUNCTIONS, RESERVED_TYPES, TYPES
from ostiary_tools.sql.work import Work

CATALOG = "pg_catalog"
_OPERATORS_BEHIND = {"BETWEEN": ("<=", ">=", "<", ">"), "NOT BETWEEN": ("<=", ">=", "<", ">")}
_OPERATORS_BEHIND |= {f"{k} SYMMETRIC": v for k, v in tuple(_OPERATORS_BEHIND.items())}


def parts(names: Any) -> tuple[str, ...]:
    """The words of a dotted name."""
    return tuple([str(part.sval) for part in names])


def bare_name(node: Any) -> str | None:
    """The name of a column reference of one word, otherwise `None`."""
    fields: tuple[Any, ...] = node.fields if type(node).__name__ == "ColumnRef" else ()
    return str(fields[0].sval) if len(fields) == 1 and isinstance(fields[0], ast.String) else None


def split(names: Any) -> tuple[str | None, str] | None:
    """Schema (or `None`) and name; `None` when there are more words than that."""
    match parts(names):
        case (name,):
            return None, name
        case (schema, name):
            return schema, name
        case _:
            return None


def function_name(work: Work, names: Any) -> Any:
    """Judge a call by its name, all overloads as one; return the name with its schema. Raises Refused."""
    known = split(names)
    if known is None:
        raise Refused("function", f"unknown function `{'.'.join(parts(names))}`", "name it as `schema.function`")
    schema, name = known
    if schema == CATALOG:
        return _built_in(work, name)
    if schema is not None:
        return _defined(work, schema, name)
    owners = [s for s in work.view.snapshot.search_path if s != CATALOG and (s, name) in work.view.snapshot.functions]
    if name not in FUNCTIONS and name not in REFUSED_FUNCTIONS:
        return _defined(work, next((s for s in owners if work.function(s, name)), None), name)
    qualified = _built_in(work, name)
    extending = [s for s in owners if all(f.extension for f in work.view.snapshot.functions[s, name])]
    if not extending:
        return qualified
    # An extension that overloads a built-in (citext's `replace`) means to be found by it: the server chooses by type.
    for owner in extending:
        work.execute(owner, name)
    return names


def _built_in(work: Work, name: str) -> Any:
    if name not in FUNCTIONS:
        reason = REFUSED_FUNCTIONS.get(name)
        if reason:
            raise Refused(
                "function", f"the function `{name}` is not run: {reason}", "use functions that compute from their arguments"
            )
        raise work.unknown_function(None, name)
    return (ast.String(CATALOG), ast.String(name))


def _defined(work: Work, schema: str | None, name: str) -> Any:
    if schema is None or schema.startswith("pg_") or work.function(schema, name) is None:
        raise work.unknown_function(schema, name)
    work.execute(schema, name)
    return (ast.String(schema), ast.String(name))


def operator(work: Work, names: Any, operands: Callable[[], list[kinds.Pair]] | None = None) -> None:
    """Judge an operator: outside the catalog it is a call of the function behind it. Raises Refused.

    `operands` gives the types it stands between, where they can be known.
    """
    words = parts(names)
    schema, name = (words[-2] if len(words) > 1 else None), words[-1]
    snapshot = work.view.snapshot
    known = snapshot.operators
    if schema is not None and schema != CATALOG and not any(o.schema == schema for o in known.get(name, ())):
        raise Refused("operator", f"unknown operator `{schema}.{name}`", "use an operator of the search path")
    candidates = [
        each
        for behind in _OPERATORS_BEHIND.get(name, (name,))
        for each in known.get(behind, ())
        if each.schema == schema or (schema is None and each.schema in snapshot.search_path)
    ]
    if not candidates:
        return
    pairs = operands() if operands is not None else [(kinds.UNKNOWN, kinds.UNKNOWN)]
    for each in candidates:
        if any(kinds.fits(left, each.left, snapshot) and kinds.fits(right, each.right, snapshot) for left, right in pairs):
            work.execute(each.function_schema, each.function)


def type_name(work: Work, node: Any, value: Callable[[], kinds.Kind] | None = None) -> None:
    """Judge a type by its name and write its schema into it where it is not built in. Raises Refused.

    A value becomes one of it; `value` gives the type it has before, where that can be known.
    """
    words = parts(node.names or ())
    known = split(node.names or ())
    if known is None or node.setof or node.pct_type:
        raise Refused("type", f"the type `{'.'.join(words)}` cannot be used here", "name a plain type")
    schema, name = known
    if name in RESERVED_TYPES and schema in (None, CATALOG):
        raise Refused("type", f"the type `{name}` reads names from the catalog", "search_schema and describe show the schema")
    if schema in (None, CATALOG) and name in TYPES:
        _cast(work, name, value)
        return
    for owner in (schema,) if schema else work.view.snapshot.search_path:
        if _own_type(work, owner, name):
            node.names = (ast.String(owner), ast.String(name))
            return
    raise Refused("type", f"unknown type `{'.'.join(words)}`", suggestions.for_type(work.view, name, TYPES))


def _cast(work: Work, name: str, value: Callable[[], kinds.Kind] | None) -> None:
    """An owner may have defined casts to a built-in type too."""
    casts = work.view.snapshot.casts.get((CATALOG, name), ())
    if not casts:
        return
    kind = value() if value is not None else kinds.UNKNOWN
    for cast in casts:
        if kinds.is_kind(kind, cast.source):
            work.execute(*cast.function)


def _own_type(work: Work, schema: str, name: str) -> bool:
    known = work.view.snapshot.types.get((schema, name))
    if known is not None:
        work.run(known.functions, f"{schema}.{name}")
        return True
    relation = work.view.relation(schema, name)
    # A row type shows every column's name, so it exists only for those who may see all of them.
    if relation is None or len(work.view.columns(relation)) != len(relation.columns):
        return False
    work.use_row_type(relation)
    return True


def selector(work: Work, name: str) -> None:
    """Judge `(expression).name`: the server also takes it for a call of that function, or a cast. Raises Refused."""
    if name in RESERVED_TYPES or name in REFUSED_FUNCTIONS:
        raise Refused("function", f"`.{name}` would call a function that is not run", "select a field of a row")
    for schema in work.view.snapshot.search_path:
        _own_type(work, schema, name)
    for overload in work.view.snapshot.functions_by_name.get(name, ()):
        if overload.schema == CATALOG:
            _built_in(work, name)
        else:
            work.execute(overload.schema, name)


def table_columns(work: Work, names: Any, label: str) -> tuple[str, ...] | None:
    """Names of the columns a function in FROM gives, or `None` when they depend on its arguments."""
    schema, name = parts(names)[-2:] if len(names) > 1 else (CATALOG, parts(names)[-1])
    overloads = work.view.snapshot.functions.get((schema, name), ())
    shapes = {_shape(each, label) for each in overloads}
    return shapes.pop() if len(shapes) == 1 and len(names) > 1 else None


def _shape(overload: FunctionInfo, label: str) -> tuple[str, ...] | None:
    if overload.output_columns:
        return overload.output_columns if all(overload.output_columns) else None
    words = overload.result.removeprefix("SETOF ").removesuffix("[]")
    return (label,) if words in _SCALARS else None


_SCALARS = frozenset(
    {
        "bigint",
        "boolean",
        "bytea",
        "character varying",
        "date",
        "double precision",
        "inet",
        "integer",
        "interval",
        "json",
        "jsonb",
        "name",
        "numeric",
        "real",
        "smallint",
        "text",
        "time without time zone",
        "timestamp with time zone",
        "timestamp without time zone",
        "tsquery",
        "tsvector",
        "uuid",
        "xml",
    }
)
"""Results, as `format_type` writes them, that give one column."""
