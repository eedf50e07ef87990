"""A scan of an offered catalog becomes a scan of a value made from the caller's own view.

The value is one more parameter of the statement, numbered after the caller's own and
supplied by the judge; the real catalog lends its row type and is never read. The text
of such a scan names its catalog: whoever writes that text himself means the same by it.
"""

from copy import deepcopy
from functools import cache
from typing import Any

from pglast import ast, parse_sql

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Datasource
from ostiary_tools.catalogs import BEHIND, OFFERED, STATED, Name
from ostiary_tools.errors import Refused
from ostiary_tools.sql.tree import same
from ostiary_tools.sql.work import Work

__all__ = ["Name", "check_closed", "columns", "find", "number", "parameter", "scan", "scanned", "use"]

_SCHEMAS = ("information_schema", "pg_catalog", "pg_toast", "pg_temp")
_MARKS = {f"{schema}.{name}": (schema, name) for schema, name in STATED}
_HINT = "`information_schema`, `pg_class`, `pg_attribute` and others show what you may see; so do search_schema and describe"


def find(node: Any, work: Work) -> Name | None:
    """The offered catalog that a name in FROM means, as the server finds it; `pg_catalog` is first on its path."""
    for schema in (node.schemaname,) if node.schemaname else ("pg_catalog", *work.view.snapshot.search_path):
        name = (schema, node.relname)
        if name in OFFERED and schema != BEHIND and columns(name, work):
            return name
        if work.view.relation(*name) is not None:
            return None
    return None


def columns(name: Name, work: Work) -> tuple[str, ...]:
    """The catalog's columns, which are the server's own where we state none."""
    stated = STATED.get(name)
    return tuple(column for column, _ in stated) if stated else work.view.snapshot.details.catalogs.get(name, ())


def check_closed(schema: str | None, name: str) -> None:
    """Raises Refused for a catalog, all of which are closed that are not offered."""
    if schema.startswith(_SCHEMAS) if schema is not None else name.startswith("pg_"):
        written = name if schema is None else f"{schema}.{name}"
        open_ones = sorted(n for s, n in OFFERED if s == schema == "information_schema")
        hint = f"of this schema you may read {', '.join(f'`{n}`' for n in open_ones)}" if open_ones else _HINT
        raise Refused("catalog", f"the catalog `{written}` is closed", hint)


def scan(name: Name) -> Any:
    """A subselect of the catalog's rows, without an alias."""
    return ast.RangeSubselect(lateral=False, subquery=deepcopy(_template(name)))


def scanned(node: Any) -> Name | None:
    """Which catalog a subselect in FROM is a scan of, if it is one to the letter."""
    given = parameter(node)
    if given is None:
        return None
    source = node.subquery.fromClause[0]
    marked = source.coldeflist and source.alias is not None
    name = _MARKS.get(str(source.alias.aliasname)) if marked else _lender(source.functions[0][0].args[0])
    if name is None or name not in OFFERED:
        return None
    number, given.number = given.number, 1
    try:
        return name if same(_template(name), node.subquery) else None
    finally:
        given.number = number


def parameter(node: Any) -> Any:
    """The parameter that a scan reads, or `None` where the subselect cannot be one."""
    sources: Any = node.subquery.fromClause if isinstance(node.subquery, ast.SelectStmt) else None
    if not sources or not isinstance(sources[0], ast.RangeFunction):
        return None
    function: Any = sources[0].functions
    call = function[0][0]
    last = call.args[-1] if isinstance(call, ast.FuncCall) and call.args else None
    return last if isinstance(last, ast.ParamRef) else None


def use(name: Name, node: Any, work: Work) -> None:
    """State what the scan shows: the datasource, as far as the caller sees it."""
    work.supplied.setdefault(name, []).append(parameter(node))
    work.accesses.add(Access(Action.SEE, Datasource(work.view.datasource)))


def number(work: Work, own: int) -> tuple[Name, ...]:
    """Number the supplied values after the caller's `own` parameters, and return what they are values of."""
    names = tuple(sorted(work.supplied))
    for place, name in enumerate(names, own + 1):
        for each in work.supplied[name]:
            each.number = place
    return names


@cache
def _template(name: Name) -> Any:
    schema, relation = name
    text = f"SELECT * FROM pg_catalog.jsonb_populate_recordset(NULL::{schema}.{relation}, $1) AS {relation}"  # noqa: S608  names of ours
    if name in STATED:
        listed = ", ".join(f"{column} {kind}" for column, kind in STATED[name])
        text = f'SELECT * FROM pg_catalog.jsonb_to_recordset($1) AS "{schema}.{relation}"({listed})'  # noqa: S608  names of ours
    return parse_sql(text)[0].stmt


def _lender(node: Any) -> Name | None:
    """The catalog whose row type a NULL has."""
    kind: Any = node.typeName if isinstance(node, ast.TypeCast) else None
    words = [str(part.sval) for part in kind.names] if kind is not None else []
    return (words[0], words[1]) if len(words) == 2 else None  # noqa: PLR2004  schema and name
