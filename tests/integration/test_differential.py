"""Honest queries under masks and row rules: each is answered as over secure views that say the same, written by hand.

Under a policy that allows everything, test_honest holds them against the tables themselves.
"""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from fix_answers import Table, agrees, answered, connected, read, text_of
from fix_attacks import CASES
from fix_postgres import PostgresServer
from fix_server import MakeSite
from fix_sql import CASES as JUDGE_CASES
from fix_sql import cases
from mcp import Client

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.sql import judge

FOLDER = CASES / "differential"
_NAMELESS = "rows of a fenced table are records, whose fields have no names once they went through an aggregate or a subquery"
OTHERWISE = {
    "functions: a function of the owner's over a row": "rows of a view are not of the table's type, and no function takes them",
    "joins: a field of an aggregate of rows": _NAMELESS,
    "joins: a field of a row from a subquery": _NAMELESS,
    "joins: every field of a row from a subquery": _NAMELESS,
}
"""Statements that only one of the two can answer → the reason."""


@pytest.mark.slow
@pytest.mark.asyncio
async def test_masks_and_row_rules_answer_as_secure_views_written_by_hand(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    shop = (JUDGE_CASES / "shop.sql").read_text("utf-8")
    tables = postgres_server.dsn(database=await make_database(shop + "ANALYZE;"))
    views = postgres_server.dsn(database=await make_database(shop + (FOLDER / "views.sql").read_text("utf-8")))
    site = await make_site({"shop": tables}, policy=(FOLDER / "shop.cedar").read_text("utf-8"))
    who = Principal("honest", ("reader",))
    wrong, compared, otherwise = [], 0, set()
    async with (
        open_house(site.config, lambda _: None) as house,
        connected(views) as bare,
        Client(McpApp(house.gate, lambda _: who).server) as client,
    ):
        for case in cases("honest"):
            if case.sql.lower().startswith("explain"):
                continue
            reply = await client.call_tool("query", {"sql": case.sql})
            said = text_of(reply)
            expected: Table | str | None
            try:
                expected = await answered(bare, case.sql)
            except asyncpg.PostgresError as error:
                expected = str(error)
            found = said if reply.is_error else read(said)
            if expected is None or (isinstance(found, str) and isinstance(expected, str)):
                continue
            compared += 1
            alike = isinstance(found, Table) and isinstance(expected, Table)
            if isinstance(found, Table) and isinstance(expected, Table) and agrees(found, expected, cut="TRUNCATED" in said):
                continue
            if case.title in OTHERWISE and not alike:
                otherwise.add(case.title)
            else:
                wrong.append(f"{case.title}: {found} and not {expected}")
    assert wrong == [], "\n".join(wrong)
    assert otherwise == OTHERWISE.keys()
    assert compared >= 380


PLANS = {
    "select * from docs where id = 42": "Index Cond: (id = 42)",
    "select d.* from docs d where d.id between 40 and 50 and d.body <> 'x'": "Index Cond: ((id >= 40) AND (id <= 50))",
    "select * from docs where id in (1, 5, 7)": "Index Cond: (id = ANY",
    "select * from docs": "Index Cond: (region = 'north'::text)",
    "select l.label from links l join docs d on d.id = l.doc_id where d.id = 7": "Index Cond: (id = 7)",
    "select * from people where id = 42": "Index Cond: (id = 42)",
    "select * from people where id = 42 and email like 'a%'": "Index Cond: (id = 42)",
}
"""Statements under a mask or a row rule → the condition by which an index of the table serves them."""
_HALL = """
CREATE TABLE docs (id integer PRIMARY KEY, region text NOT NULL, body text, owner text NOT NULL, serial bigint);
INSERT INTO docs SELECT n, CASE WHEN n % 40 = 0 THEN 'north' ELSE 'south' END, 'body ' || n,
    CASE WHEN n % 40 = 0 THEN 'ana' WHEN n % 40 < 30 THEN 'often' ELSE 'bo ' || n END, CASE WHEN n % 40 > 0 THEN 500000 + n END
FROM generate_series(1, 20000) n;
CREATE INDEX docs_region ON docs (region);
CREATE TABLE links (doc_id integer, label text);
INSERT INTO links SELECT n, 'link' FROM generate_series(1, 20) n;
CREATE TABLE people (id integer PRIMARY KEY, email text);
INSERT INTO people SELECT n, 'p' || n || '@mail.example' FROM generate_series(1, 20000) n;
ANALYZE;
"""
_RULES = """
@id("does") permit (principal in Role::"reader", action in [Action::"call", Action::"see"], resource);
@id("reads-tables") permit (principal in Role::"reader", action == Action::"read", resource is Table);
@id("reads-columns") permit (principal in Role::"reader", action == Action::"read", resource is Column)
unless { resource == Column::"shop.public.people.email" };
@id("mask") @mask("email")
permit (principal in Role::"reader", action == Action::"read_masked", resource == Column::"shop.public.people.email");
@id("rows") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::docs)
when { resource.region == "north" };
"""


@pytest.mark.asyncio
async def test_an_index_serves_what_is_asked_and_what_a_row_rule_asks(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """The text that is run, planned by the server."""
    dsn = postgres_server.dsn(database=await make_database(_HALL))
    site = await make_site({"shop": dsn}, policy=_RULES)
    who = Principal("honest", ("reader",))
    lacking = {}
    async with open_house(site.config, lambda _: None) as house, connected(dsn) as bare:
        world = await house.worlds.world(house.policies.engine, who)
        for sql, condition in PLANS.items():
            statement = judge(sql, world.view("shop")).statement
            plan = "\n".join(row[0] for row in await bare.fetch(f"EXPLAIN {statement.fenced or statement.text}"))
            if condition not in plan:
                lacking[sql] = plan
    assert lacking == {}


ALIKE = [
    [f"select id from docs where owner = '{name}'" for name in ("often", "bo 39", "never")],
    [f"select id from docs where serial > {least}" for least in (0, 510_000, 600_000)],
    [f"select id from docs where owner in ('{name}', 'zoe') or owner like '{name}%'" for name in ("often", "never")],
    [f"select count(*) from docs d join docs e on d.owner = e.owner where e.owner <> '{name}'" for name in ("often", "never")],
    [f"select l.label from links l join docs d on d.id = l.doc_id where d.owner = '{name}'" for name in ("often", "never")],
    [f"select id from docs where id = {one}" for one in (40, 41, 42)],
]
"""Statements that differ in what they guess of rows that a rule withholds."""


@pytest.mark.asyncio
async def test_an_estimate_that_is_held_against_a_term_tells_no_value_of_withheld_rows(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """The planner knows how frequent values are among all rows, and is not asked about any but those of the caller's rules."""
    dsn = postgres_server.dsn(database=await make_database(_HALL))
    site = await make_site({"shop": dsn}, policy=_RULES)
    who = Principal("honest", ("reader",))
    told: list[str] = []
    apart = 0
    async with open_house(site.config, lambda _: None) as house, connected(dsn) as bare:
        view = (await house.worlds.world(house.policies.engine, who)).view("shop")

        async def estimate(text: str) -> tuple[str, ...]:
            plan = [row[0] for row in await bare.fetch(f"EXPLAIN {text}")]
            return tuple(line.partition("(cost")[2] for line in plan)

        for group in ALIKE:
            statements = [judge(sql, view).statement for sql in group]
            estimates = {await estimate(statement.estimated) for statement in statements}
            told += group if len(estimates) > 1 else []
            apart += len({await estimate(statement.fenced) for statement in statements}) > 1
        keyed = judge("select id from docs where id = 42", view).statement.estimated
        plan = "\n".join(row[0] for row in await bare.fetch(f"EXPLAIN {keyed}"))
    assert told == []
    assert apart >= 4, "the texts that run would tell"
    assert "Index Cond: (id = 42)" in plan, "a key is expected once, whatever rows there are"
