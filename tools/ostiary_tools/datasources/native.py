"""Looks at what one login has natively, and holds the expressions of its policies against predicates; changes nothing.

The server itself says whether two expressions are the same: it plans a SELECT of both over no table and prints them as
it understood them. Only what a predicate of ours can be made of is put to it, so nothing that somebody wrote into a
policy runs with the rights of whoever looks.
"""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
from pglast import ast

from ostiary_tools.datasources.failures import DRIVER_ERRORS, connect_problem
from ostiary_tools.datasources.opening import SESSION, PostgresSettings, opening
from ostiary_tools.datasources.powers import reached, read_findings
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.identifiers import qualified, quoted
from ostiary_tools.native.agreement import Rows
from ostiary_tools.native.facts import Default, Facts, Grant, Held, RowPolicy
from ostiary_tools.native.installation import Wanted
from ostiary_tools.snapshot import Name, Relation
from ostiary_tools.sql.parse import parse
from ostiary_tools.sql.printing import print_tree
from ostiary_tools.sql.row_types import TYPES
from ostiary_tools.sql.tree import levels, put, same

_QUERIES = {name: section.query for name, section in load_sections("native.sql").items()}
_TIMEOUT_S = 60.0
_NODES = (
    ast.A_ArrayExpr, ast.A_Const, ast.A_Expr, ast.BoolExpr, ast.Boolean, ast.ColumnRef, ast.FuncCall, ast.Integer, ast.Float,
    ast.NullTest, ast.String, ast.TypeCast, ast.TypeName,
)  # fmt: skip
"""What predicates are made of."""
_FUNCTIONS = frozenset({"date_trunc", "isfinite", "timezone"})


class Looking:
    """One read-only transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def facts(self, login: str) -> Facts:
        """What the login has now. Raises as the driver does."""
        [found] = await self._ask("login", login)
        oid = found["oid"] or 0
        reach = await reached(self._connection, None, login) if oid else []
        schemas = await self._ask("schemas", oid)
        return Facts(
            login=login,
            exists=bool(oid),
            asking=found["asking"],
            database=found["database"],
            connects=found["connects"],
            memberships=tuple((row["name"], row["grantor"]) for row in await self._ask("memberships", oid)),
            usable=frozenset(row["name"] for row in schemas if row["usable"]),
            own_schemas=frozenset(row["name"] for row in schemas if row["own"]),
            defaults=tuple(Default(**row) for row in await self._ask("defaults", oid)),
            everything=tuple(row["name"] for row in await self._ask("everything", oid)),
            relations=await self._relations(oid, reach),
            findings=await read_findings(self._connection, None, reach=reach),
        )

    async def same(self, relation: Relation, predicate: str, expression: str) -> bool:
        """Whether the server understands the expression of a policy on the relation as it does the predicate."""
        columns = {column.name: column.type for column in relation.columns if _is_askable(column.kind)}
        plain = as_plain(expression, columns)
        if plain is None:
            return False
        listed = ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns.items())
        rows = f" FROM pg_catalog.json_to_recordset('[]') AS here ({listed})" if columns else ""
        await self._connection.execute("SAVEPOINT here")
        try:
            said = await self._connection.fetchval(
                f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT ({predicate}), ({plain}){rows}"
            )
        except (asyncpg.DataError, asyncpg.SyntaxOrAccessError):  # such as a constant that is none of its type
            await self._connection.execute("ROLLBACK TO here")
            return False
        first, second = json.loads(said)[0]["Plan"]["Output"]
        return bool(first == second)

    async def lock(self, names: Iterable[Name]) -> None:
        """Keep tables and their policies as they are, before anything is looked at. Raises Unavailable."""
        try:
            for name in names:
                await self._connection.execute(f"LOCK TABLE {_table(name)} IN ACCESS SHARE MODE")
        except asyncpg.PostgresError as error:
            raise Unavailable(
                f"the tables cannot be kept as they are ({type(error).__name__})", "see that nobody alters them"
            ) from None

    async def rows(self, login: str, name: Name, wanted: Wanted) -> Rows | None:
        """What the login reads of a table, and what the predicate keeps of all its rows; `None` where we may not see both.

        For locked tables whose policies are ours alone: others could run what they like, as the login and then as ourselves.
        Raises Unavailable where it takes too long.
        """
        columns = ", ".join(map(quoted, wanted.columns))
        await self._connection.execute("SAVEPOINT here")
        try:
            # Without row security a query that it would filter is an error, and no answer.
            await self._connection.execute("SET LOCAL row_security = off")
            kept = await self._digest(f"SELECT {columns} FROM {_table(name)} WHERE {wanted.rows}")  # noqa: S608  quoted, or printed by us
            await self._connection.execute(f"SET LOCAL row_security = on; SET LOCAL ROLE {quoted(login)}")
            read = await self._digest(f"SELECT {columns} FROM {_table(name)}")  # noqa: S608  names are quoted
        except asyncpg.QueryCanceledError:
            raise Unavailable(f"the rows of `{qualified(*name)}` cannot be compared within {_TIMEOUT_S:g} seconds") from None
        except asyncpg.InsufficientPrivilegeError:
            return None
        finally:
            await self._connection.execute("ROLLBACK TO here")
        return Rows(read[0], kept[0], alike=read == kept)

    async def _digest(self, query: str) -> tuple[int, str]:
        digest = "pg_catalog.sum(pg_catalog.hashtextextended(here::pg_catalog.text, 0))::pg_catalog.text"
        row = await self._connection.fetchrow(f"SELECT pg_catalog.count(*), {digest} FROM ({query}) AS here")  # noqa: S608  see rows
        return tuple(row)

    async def _relations(self, oid: int, reach: list[int]) -> Mapping[Name, Held]:
        columns: defaultdict[Name, dict[str, bool]] = defaultdict(dict)
        for row in await self._ask("columns", oid):
            columns[row["schema"], row["relation"]][row["name"]] = row["readable"]
        grants = _by_relation(
            (row, Grant(row["name"], row["grantee"], row["privilege"], row["grantor"]))
            for row in await self._connection.fetch(_QUERIES["grants"])
        )
        policies = _by_relation((row, _policy(row)) for row in await self._ask("policies", reach))
        return {
            name: Held(
                row["kind"],
                row["row_security"],
                row["invoker"],
                row["barrier"],
                row["whole"],
                columns[name],
                tuple(grants[name]),
                tuple(policies[name]),
            )
            for row in await self._ask("relations", oid)
            for name in [(row["schema"], row["name"])]
        }

    async def _ask(self, query: str, *values: Any) -> list[Any]:
        return list(await self._connection.fetch(_QUERIES[query], *values))


@asynccontextmanager
async def looking(settings: PostgresSettings) -> AsyncIterator[Looking]:
    """Connect as the datasource does, in a transaction that can change nothing. Raises Unavailable."""
    try:
        connection = await asyncpg.connect(
            settings.dsn, timeout=settings.acquire_timeout_s, statement_cache_size=0, server_settings=SESSION
        )
    except DRIVER_ERRORS as error:
        raise _unavailable(settings.name, connect_problem(error)) from None
    try:
        await connection.execute(opening(settings, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", _TIMEOUT_S))
        # With nothing else on the path, what is not built in is printed with its schema.
        await connection.execute(
            "SET LOCAL search_path = pg_catalog; SET LOCAL TimeZone = 'UTC'; SET LOCAL quote_all_identifiers = off"
        )
        yield Looking(connection)
    except DRIVER_ERRORS as error:
        raise _unavailable(settings.name, f"its catalog cannot be read ({type(error).__name__})") from None
    finally:
        with suppress(*DRIVER_ERRORS):
            await connection.close(timeout=settings.acquire_timeout_s)


def _table(name: Name) -> str:
    schema, table = name
    return f"{quoted(schema)}.{quoted(table)}"


def _policy(row: Any) -> RowPolicy:
    return RowPolicy(row["name"], row["permissive"], row["command"], tuple(row["roles"]), row["applies"], row["expression"])


def _by_relation(pairs: Iterable[tuple[Any, Any]]) -> defaultdict[Name, list[Any]]:
    found: defaultdict[Name, list[Any]] = defaultdict(list)
    for row, value in pairs:
        found[row["schema"], row["relation"]].append(value)
    return found


def _is_askable(kind: Name | None) -> bool:
    return kind is not None and kind[0] == "pg_catalog" and kind[1] in TYPES


def as_plain(expression: str, columns: Mapping[str, str]) -> str | None:
    """The same printed anew, if it is one expression over these columns of nothing but what predicates are made of."""
    try:
        statement = parse(f"SELECT ({expression})")
        nodes = [node for level in levels(statement) for node in level]
        if [type(node) for node in nodes[:2]] != [ast.SelectStmt, ast.ResTarget] or not same(_select(nodes[1]), statement):
            return None
        return print_tree(nodes[1].val) if all(_is_ours(node, columns) for node in nodes[2:]) else None
    except Refused:
        return None


def _select(target: Any) -> Any:
    """A SELECT of that and nothing else."""
    statement: Any = parse("SELECT 1")
    put(statement, "targetList", (target,))
    return statement


def _is_ours(node: Any, columns: Mapping[str, str]) -> bool:
    match node:
        case ast.ColumnRef():
            [*above, name] = node.fields or ()
            return not above and isinstance(name, ast.String) and name.sval in columns
        case ast.FuncCall():
            return _built_in(node.funcname) in _FUNCTIONS
        case ast.TypeName():
            return _built_in(node.names) in TYPES
        case ast.A_Expr():
            return _built_in(node.name) != ""
    return isinstance(node, _NODES)


def _built_in(names: Any) -> str:
    """The name of something in `pg_catalog`, which is all that the path has; empty for what stands elsewhere."""
    *schema, name = (part.sval for part in names)
    return str(name) if schema in ([], ["pg_catalog"]) else ""


def _unavailable(name: str, problem: str) -> Unavailable:
    hint = "see that it runs and that `dsn` and `set_role` of the datasource are right"
    return Unavailable(f"datasource `{name}` cannot be reached: {problem}", hint)
