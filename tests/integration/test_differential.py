"""Honest queries under masks and row rules: each is answered as over secure views that say the same, written by hand.

Under a policy that allows everything, test_honest holds them against the tables themselves.
"""

from collections.abc import Awaitable, Callable

import asyncpg
import mcp.types as t
import pytest
from fix_answers import Table, agrees, answered, connected, read
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
            block = reply.content[0]
            assert isinstance(block, t.TextContent)
            expected: Table | str | None
            try:
                expected = await answered(bare, case.sql)
            except asyncpg.PostgresError as error:
                expected = str(error)
            found = block.text if reply.is_error else read(block.text)
            if expected is None or (isinstance(found, str) and isinstance(expected, str)):
                continue
            compared += 1
            alike = isinstance(found, Table) and isinstance(expected, Table)
            if isinstance(found, Table) and isinstance(expected, Table) and agrees(found, expected, cut="TRUNCATED" in block.text):
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
CREATE TABLE docs (id integer PRIMARY KEY, region text NOT NULL, body text);
INSERT INTO docs SELECT n, CASE WHEN n % 40 = 0 THEN 'north' ELSE 'south' END, 'body ' || n FROM generate_series(1, 20000) n;
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
