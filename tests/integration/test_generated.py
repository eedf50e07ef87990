"""Queries made by a grammar over a live schema: every one the server takes is judged, and answered as on a bare connection.

The caller sees everything, so nothing but the judge and the printer stands between the two answers.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite
from fix_sql import sees_everything
from gen_queries import Asked, generated
from pglast import ast, enums
from pglast.parser import parse_sql

from ostiary.app import open_house
from ostiary_policies.model import Principal
from ostiary_tools.datasources.port import Datasource, ReadLimits
from ostiary_tools.datasources.postgres import PostgresDatasource, PostgresSettings, open_postgres
from ostiary_tools.errors import ToolError
from ostiary_tools.powers import Power
from ostiary_tools.sql import bind, judge
from ostiary_tools.sql.inventory import NODES
from ostiary_tools.view import SchemaView

SCHEMA = Path(__file__).parent.parent / "cases" / "generated" / "schema.sql"
DIFFERENTIAL = SCHEMA.parents[1] / "differential"
LIMITS = ReadLimits(timeout_s=20, max_rows=100_000, max_chars=50_000_000)
LONGEST = 1_000_000
"""Bytes of an answer; a product of many tables shows no more than a smaller one."""
SESSION = {
    "search_path": "pg_catalog, public",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": "5s",
    "client_min_messages": "error",  # the driver loses a line of COPY when a notice comes between
}
NULL = "\ufffdNULL\ufffd"
XML = {"XmlExpr", "XmlSerialize", "RangeTableFunc", "RangeTableFuncCol"}
ENUMS: tuple[tuple[str, str, type[IntEnum], frozenset[str]], ...] = (
    ("A_Expr", "kind", enums.A_Expr_Kind, frozenset()),
    ("BoolExpr", "boolop", enums.BoolExprType, frozenset()),
    ("BooleanTest", "booltesttype", enums.BoolTestType, frozenset()),
    ("CommonTableExpr", "ctematerialized", enums.CTEMaterialize, frozenset()),
    ("GroupingSet", "kind", enums.GroupingSetKind, frozenset({"GROUPING_SET_SIMPLE"})),
    (
        "JoinExpr",
        "jointype",
        enums.JoinType,
        frozenset({"JOIN_SEMI", "JOIN_ANTI", "JOIN_RIGHT_SEMI", "JOIN_RIGHT_ANTI", "JOIN_UNIQUE_OUTER", "JOIN_UNIQUE_INNER"}),
    ),
    ("JsonFuncExpr", "op", enums.JsonExprOp, frozenset({"JSON_TABLE_OP"})),
    ("MinMaxExpr", "op", enums.MinMaxOp, frozenset()),
    ("NullTest", "nulltesttype", enums.NullTestType, frozenset()),
    ("SelectStmt", "limitOption", enums.LimitOption, frozenset()),
    ("SelectStmt", "op", enums.SetOperation, frozenset()),
    ("SortBy", "sortby_dir", enums.SortByDir, frozenset()),
    ("SortBy", "sortby_nulls", enums.SortByNulls, frozenset()),
    ("SubLink", "subLinkType", enums.SubLinkType, frozenset({"ROWCOMPARE_SUBLINK", "MULTIEXPR_SUBLINK", "CTE_SUBLINK"})),
)
"""Which member of an enumeration stands where in a tree, but for those that no parser gives."""

_UNSAID = ("is none that masks and row rules can be held to", "columns available but")
"""Of bits without a length our printer says too much, and some queries the server itself does not write so that it can read them:
with CYCLE or SEARCH, and VALUES in an order."""
Answer = tuple[list[str], list[tuple[str | None, ...]]]
Certain = Callable[[Asked, Answer], Awaitable[bool]]
"""Whether a statement has that answer alone."""
_ONLY = re.compile(r"ONLY\s+\"?measured|WITH TIES")
"""A view has no parts to leave out; and a server of version 18 fails on some forms of the other."""
_ANEW = """
DROP VIEW item_view;
CREATE VIEW item_view AS SELECT id, label, qty * 2 AS doubled, made FROM public.item WHERE active;
"""
"""The schema's own view, over the views that stand in the tables' places."""


@pytest.mark.asyncio
async def test_generated_queries_are_judged_and_answered_as_on_a_bare_connection(postgres_server: PostgresServer):
    async with _opened(postgres_server, "generated") as (datasource, bare):
        _, wrong = await _compared(datasource, bare, sees_everything(await datasource.refresh()), seed=20261120, wanted=300)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_two_thousand_generated_queries_have_every_form_and_are_answered_as_on_a_bare_connection(
    postgres_server: PostgresServer,
):
    async with _opened(postgres_server, "generated") as (datasource, bare):
        asked, wrong = await _compared(datasource, bare, sees_everything(await datasource.refresh()), seed=20261121, wanted=2_000)
    assert not wrong, "\n\n".join(wrong)
    found = _forms(asked)
    assert NODES - found - XML == set()
    assert _members() - found == set()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_generated_queries_are_judged_and_answered_by_an_older_server_that_knows_xml(server_15: PostgresServer):
    async with _opened(server_15, "generated") as (datasource, bare):
        asked, wrong = await _compared(
            datasource, bare, sees_everything(await datasource.refresh()), seed=20261122, wanted=2_000, without=""
        )
    assert not wrong, "\n\n".join(wrong)
    assert _forms(asked) >= XML


@pytest.mark.asyncio
@pytest.mark.parametrize("wanted", [150, pytest.param(2_000, marks=pytest.mark.slow)])
async def test_generated_queries_under_masks_and_row_rules_are_answered_as_over_secure_views(
    postgres_server: PostgresServer, make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], wanted: int
):
    """But for those whose answer depends on more than the data: masks make values equal that an order was told by."""
    schema, views, turned = (
        path.read_text("utf-8") for path in (SCHEMA, DIFFERENTIAL / "generated.sql", DIFFERENTIAL / "turned.sql")
    )
    policy = (DIFFERENTIAL / "generated.cedar").read_text("utf-8")
    site = await make_site({"shop": postgres_server.dsn(database=await make_database(schema))}, policy=policy)
    over_views = await make_database(schema + views)
    other_way = await make_database(schema + views + turned)
    async with AsyncExitStack() as stack:
        bare, other = [
            await stack.enter_async_context(_session(postgres_server.dsn(database=name))) for name in (over_views, other_way)
        ]
        house = await stack.enter_async_context(open_house(site.config, lambda _: None))
        world = await house.worlds.world(house.policies.engine, Principal("honest", ("reader",)))

        async def certain(asked: Asked, expected: Answer) -> bool:
            found = None if _ONLY.search(asked.text) else await bare_answer(other, asked)
            return found is not None and Counter(found[1]) == Counter(expected[1])

        asked, wrong = await _compared(
            house.datasources["shop"], bare, world.view("shop"), seed=wanted, wanted=wanted, certain=certain
        )
    assert not wrong, f"{len(wrong)} of {len(asked)}:\n" + "\n\n".join(wrong)


@pytest.mark.asyncio
@pytest.mark.parametrize("wanted", [60, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_views_of_generated_queries_are_answered_as_over_secure_views(
    postgres_server: PostgresServer, make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], wanted: int
):
    """With masks and row rules inside views; each query is made a view over the tables and over the secure views."""
    schema, views, turned = (
        path.read_text("utf-8") for path in (SCHEMA, DIFFERENTIAL / "generated.sql", DIFFERENTIAL / "turned.sql")
    )
    over_tables = postgres_server.dsn(database=await make_database(schema))
    site = await make_site({"shop": over_tables}, policy=(DIFFERENTIAL / "generated.cedar").read_text("utf-8"), views="as_queries")
    dsns = [
        over_tables,
        *[postgres_server.dsn(database=await make_database(schema + views + _ANEW + more)) for more in ("", turned)],
    ]
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(_session(dsn)) for dsn in dsns]
        house = await stack.enter_async_context(open_house(site.config, lambda _: None))
        source = house.datasources["shop"]
        made: list[tuple[Asked, str, Answer]] = []
        for asked in generated(await source.snapshot(), wanted, without="xml"):
            if asked.parameters or _ONLY.search(asked.text):
                continue
            if (answer := await _made_views(asked, sessions, len(made))) is not None:
                made.append((Asked(f"SELECT * FROM made_{len(made)}"), asked.text, answer))
            if len(made) >= wanted:
                break
        await source.refresh()
        world = await house.worlds.world(house.policies.engine, Principal("honest", ("reader",)))
        problems = [(await _problem(source, world.view("shop"), asked, answer), text) for asked, text, answer in made]
    closed = [text for problem, text in problems if any(words in problem for words in _UNSAID)]
    wrong = [f"{problem}\n{text}" for problem, text in problems if problem and text not in closed]
    assert not wrong, f"{len(wrong)} of {len(made)}:\n" + "\n\n".join(wrong)
    assert len(closed) <= wanted // 8


async def _made_views(asked: Asked, sessions: list[asyncpg.Connection], number: int) -> Answer | None:
    """What a view of the statement gives over secure views; `None` where not all take it, or its answer is not certain."""
    name = f"made_{number}"
    try:
        for session in sessions:
            await session.execute(f"CREATE OR REPLACE VIEW public.{name} AS {asked.text}")
    except asyncpg.PostgresError:
        answers: list[Answer | None] = []
    else:
        answers = [await bare_answer(session, Asked(f"SELECT * FROM {name}")) for session in sessions[1:]]
    if len(answers) == 2 and answers[0] and answers[1] and Counter(answers[0][1]) == Counter(answers[1][1]):
        return answers[0]
    for session in sessions:
        await session.execute(f"DROP VIEW IF EXISTS public.{name}")
    return None


@asynccontextmanager
async def _session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, server_settings=SESSION)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _opened(server: PostgresServer, name: str) -> AsyncIterator[tuple[PostgresDatasource, asyncpg.Connection]]:
    """A database of the generator's schema behind the port, and a bare connection to it."""
    server.sql(f"CREATE DATABASE {name}")
    server.sql(SCHEMA.read_text("utf-8"), name)
    settings = PostgresSettings("data", server.dsn(database=name), accepted_powers=frozenset({Power.SUPERUSER}))
    datasource = await open_postgres(settings)
    bare = await asyncpg.connect(server.dsn(database=name), server_settings=SESSION)
    try:
        yield datasource, bare
    finally:
        await bare.close()
        await datasource.close()
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")


async def _compared(
    datasource: Datasource,
    bare: asyncpg.Connection,
    view: SchemaView,
    *,
    seed: int,
    wanted: int,
    without: str = "xml",
    certain: Certain | None = None,
) -> tuple[list[Asked], list[str]]:
    """The statements that the server took, and in words whatever of them was refused or answered otherwise."""
    taken: list[Asked] = []
    wrong: list[str] = []
    for tried, asked in enumerate(generated(view.snapshot, seed, without=without)):
        assert tried < 2 * wanted, f"the server took only {len(taken)} of {tried} statements"
        expected = await bare_answer(bare, asked)
        if expected is None or (certain is not None and not await certain(asked, expected)):
            continue
        taken.append(asked)
        problem = await _problem(datasource, view, asked, expected)
        if problem:
            wrong.append(f"{problem}\n{asked.text}\n{asked.parameters}")
        if len(taken) >= wanted:
            break
    return taken, wrong


async def _problem(datasource: Datasource, view: SchemaView, asked: Asked, expected: Answer) -> str:
    """What is wrong with our answer, or nothing."""
    try:
        judged = judge(asked.text, view)
        async with datasource.read(LIMITS) as reader:
            rows = await reader.rows(bind(judged, [value for _, value in asked.parameters]))
    except ToolError as error:
        return f"{type(error).__name__}: {error}"
    names = [head.name for head in rows.columns]
    if names != expected[0]:
        return f"columns {names} and not {expected[0]}"
    if Counter(rows.rows) != Counter(expected[1]):
        return f"rows {rows.rows[:5]} and not {expected[1][:5]}"
    tree: Any = parse_sql(asked.text)[0].stmt
    return "the order differs" if tree.sortClause and list(rows.rows) != expected[1] else ""


async def bare_answer(bare: asyncpg.Connection, asked: Asked) -> Answer | None:
    """What the server answers to the text as it stands, or `None` when it does not take it or answers at length."""
    out = io.BytesIO()
    transaction = bare.transaction()
    await transaction.start()
    try:
        if asked.parameters:
            values = ", ".join("'" + value.replace("'", "''") + "'" for _, value in asked.parameters)
            await bare.execute(f"PREPARE asked ({', '.join(kind for kind, _ in asked.parameters)}) AS {asked.text}")
            await bare.execute(f"CREATE TEMPORARY TABLE answer AS EXECUTE asked ({values})")
        text = "SELECT * FROM answer" if asked.parameters else asked.text.removesuffix(";")
        await bare.copy_from_query(text, output=out, format="csv", header=True, null=NULL)
    except asyncpg.PostgresError:
        return None
    finally:
        await transaction.rollback()
        await bare.execute("DEALLOCATE ALL")
    if out.tell() > LONGEST:
        return None
    names, *rows = csv.reader(io.StringIO(out.getvalue().decode(), newline=""))
    # One empty text alone is an empty line.
    return names, [tuple(None if value == NULL else value for value in row or [""]) for row in rows]


def _forms(asked: list[Asked]) -> set[str]:
    """Kinds of node, and members of the enumerations, that occur in the statements."""
    found: set[str] = set()
    for each in asked:
        stack: list[object] = [parse_sql(each.text)[0].stmt]
        while stack:
            part = stack.pop()
            if isinstance(part, tuple):
                stack.extend(part)
            elif isinstance(part, ast.Node):
                kind = type(part).__name__
                found.add(kind)
                found.update(f"{kind}.{field}={getattr(part, field).name}" for name, field, _, _ in ENUMS if name == kind)
                stack.extend(getattr(part, name) for name in part)
    return found


def _members() -> set[str]:
    return {
        f"{kind}.{field}={member.name}" for kind, field, members, never in ENUMS for member in members if member.name not in never
    }
