"""Policy inside views: a view gives what its query gives over the rows and masks that the caller has."""

import tomllib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

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

INSIDE = CASES / "inside"
DIFFERENTIAL = CASES / "differential"

ANEW = """
CREATE OR REPLACE VIEW order_totals AS SELECT customer_id, sum(total) AS spent FROM public.orders GROUP BY customer_id;
"""
"""The shop's own view, over the views that stand in the tables' places."""
_HIDDEN = "the table has a column that the caller may not read, and the view uses it"
_NAMELESS = "behind a fence a row is a record, whose fields have no names once they went through an aggregate"
OTHERWISE = {
    "functions: select distinct c from customers c order by c limit 2": "a row in ORDER BY is another expression than its fields",
    "joins: a column list over a join counts what is seen": _HIDDEN,
    "joins: a column list over a table counts what is seen": _HIDDEN,
    "joins: natural join on what is seen": _HIDDEN,
    "joins: a field of an aggregate of rows": _NAMELESS,
    "questions: recursive: a cycle found": "the server writes such a query down in a way that it does not read itself",
}
"""Views that only one of the two can answer → the reason."""


async def _made(bare: asyncpg.Connection, name: str, sql: str) -> bool:
    try:
        await bare.execute(f"CREATE VIEW public.{name} AS {sql}")
    except asyncpg.PostgresError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.asyncio
async def test_views_of_every_honest_query_answer_as_over_secure_views_written_by_hand(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """Each honest statement is made a view, over the tables and over views that say the same as masks and rules."""
    shop = (JUDGE_CASES / "shop.sql").read_text("utf-8")
    tables = postgres_server.dsn(database=await make_database(shop + "ANALYZE;"))
    views = postgres_server.dsn(database=await make_database(shop + (DIFFERENTIAL / "views.sql").read_text("utf-8") + ANEW))
    names = {}
    async with connected(tables) as one, connected(views) as other:
        for number, case in enumerate(cases("honest")):
            if await _made(one, f"honest_{number}", case.sql) and await _made(other, f"honest_{number}", case.sql):
                names[case.title] = f"honest_{number}"
    site = await make_site({"shop": tables}, policy=(DIFFERENTIAL / "shop.cedar").read_text("utf-8"), views="as_queries")
    who = Principal("honest", ("reader",))
    wrong, compared, otherwise = [], 0, set()
    async with (
        open_house(site.config, lambda _: None) as house,
        connected(views) as bare,
        Client(McpApp(house.gate, lambda _: who).server) as client,
    ):
        for title, name in names.items():
            text, is_error = await asked(client, sql := f"select * from {name}")
            expected: Table | str | None
            try:
                expected = await answered(bare, sql)
            except asyncpg.PostgresError as error:
                expected = str(error)
            found = text if is_error else read(text)
            if expected is None or (isinstance(found, str) and isinstance(expected, str)):
                continue
            compared += 1
            alike = isinstance(found, Table) and isinstance(expected, Table)
            if isinstance(found, Table) and isinstance(expected, Table) and agrees(found, expected, cut="TRUNCATED" in text):
                continue
            if title in OTHERWISE and not alike:
                otherwise.add(title)
            else:
                wrong.append(f"{title}: {found} and not {expected}")
    assert wrong == [], "\n".join(wrong)
    assert otherwise == OTHERWISE.keys()
    assert compared >= 360


async def asked(client: Client, sql: str, tool: str = "query") -> tuple[str, bool]:
    """The answer, and whether it is an error."""
    reply = await client.call_tool(tool, {"sql": sql})
    return text_of(reply), reply.is_error


@dataclass(frozen=True)
class Case:
    """What is asked, and the rows or the words of the refusal."""

    sql: str
    rows: tuple[str, ...] = ()
    refused: str = ""


def views() -> Iterator[tuple[str, Case]]:
    """Each view as the statement that makes it, and what reading it gives."""
    for view in tomllib.loads((INSIDE / "views.toml").read_text("utf-8"))["view"]:
        words = (view.get("kind", "VIEW"), view["name"], view.get("options", ""), "AS", view["query"], view.get("behind", ""))
        case = Case(f"select * from {view['name']} order by 1", tuple(view.get("rows", ())), view.get("refused", ""))
        yield f"CREATE {' '.join(words)};", case


def questions() -> Iterator[Case]:
    """What is asked besides."""
    for question in tomllib.loads((INSIDE / "views.toml").read_text("utf-8"))["question"]:
        yield Case(question["sql"], tuple(question.get("rows", ())), question.get("refused", ""))


POLICY = (INSIDE / "house.cedar").read_text("utf-8")
NARROW = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'narrow') THEN CREATE ROLE narrow LOGIN; END IF;
END $$;
GRANT SELECT ON mails, plain TO narrow;
"""
"""A login that may read views and none of the tables."""
OpenHouse = Callable[..., AbstractAsyncContextManager[tuple[Client, asyncpg.Connection]]]


@pytest.fixture
def inside(make_site: MakeSite) -> OpenHouse:
    """The house with its views in a database of that server, an agent before it, and its owner."""

    @asynccontextmanager
    async def opened(
        server: PostgresServer, views_are: str = "as_queries", role: str = "", **wishes: Any
    ) -> AsyncIterator[tuple[Client, asyncpg.Connection]]:
        name = f"inside_{uuid.uuid4().hex[:8]}"
        server.sql(f"CREATE DATABASE {name}")
        try:
            server.sql((INSIDE / "house.sql").read_text("utf-8") + "\n".join(statement for statement, _ in views()), name)
            dsn = server.dsn(role, name) if role else server.dsn(database=name)
            if role:
                server.sql(NARROW, name)
            site = await make_site({"shop": dsn}, policy=POLICY, views=views_are, **wishes)
            async with (
                open_house(site.config, lambda _: None) as house,
                connected(server.dsn(database=name)) as owner,
                Client(McpApp(house.gate, lambda _: Principal("ada", ("reader",))).server) as client,
            ):
                yield client, owner
        finally:
            server.sql(f"DROP DATABASE {name} WITH (FORCE)")

    return opened


def wrong(case: Case, text: str, *, is_error: bool) -> str:
    """What is not as the case says."""
    rows = tuple(text.partition("\n</data-")[0].splitlines()[2:])
    as_said = case.refused in text if is_error else rows == case.rows
    return "" if as_said and is_error == bool(case.refused) else f"{case.sql}: {text}"


@pytest.mark.asyncio
@pytest.mark.parametrize("server", ["postgres_server", "server_15"])
async def test_each_form_of_view_is_answered_or_refused_in_words(inside: OpenHouse, request: pytest.FixtureRequest, server: str):
    cases_ = [*(case for _, case in views()), *questions()]
    async with inside(request.getfixturevalue(server)) as (client, _):
        found = [wrong(case, text, is_error=error) for case in cases_ for text, error in [await asked(client, case.sql)]]
    assert [one for one in found if one] == []


@pytest.mark.asyncio
async def test_views_as_tables_stay_what_they_were(inside: OpenHouse, postgres_server: PostgresServer):
    async with inside(postgres_server, views_are="as_tables") as (client, _):
        text, _ = await asked(client, "select email from mails order by id limit 1")
        assert "\nann@north.example\n" in text
        for name in ("north", "owners", "stored"):
            text, is_error = await asked(client, f"select * from {name}")
            assert is_error
            assert "shows rows of a table that has row rules, and no row rule speaks of" in text


REDEFINED = {
    "CREATE OR REPLACE VIEW mails AS SELECT id, salary::text AS email FROM people": Case(
        "select id, email from owners order by id limit 1", refused="`owners` shows more than you may read of what is behind it"
    ),
    "CREATE OR REPLACE VIEW north AS SELECT id, owner, region, lower(body) AS body FROM docs": Case(
        "select id, body from north order by id", rows=("2,n2", "4,n4", "5,n2")
    ),
    "CREATE OR REPLACE VIEW together AS SELECT 7 AS id, note AS body FROM free": Case("select * from together", rows=("7,plain",)),
    "CREATE OR REPLACE VIEW ranked AS SELECT id, salary::bigint AS rank FROM people": Case(
        "select id from ranked", refused="`ranked` shows more than you may read of what is behind it"
    ),
    "ALTER TABLE docs DROP COLUMN region CASCADE": Case(
        "select id from later", refused="`later` shows more than you may read of what is behind it"
    ),
}
"""What the owner does → what is answered then."""


@pytest.mark.asyncio
async def test_a_view_that_is_redefined_is_noticed_before_the_next_answer(inside: OpenHouse, postgres_server: PostgresServer):
    async with inside(postgres_server) as (client, owner):
        for redefinition, case in REDEFINED.items():
            assert not (await asked(client, case.sql))[1]
            await owner.execute(f"SET search_path = public; {redefinition}")
            text, _ = await asked(client, case.sql)
            assert text.startswith("schema_changed: ")
            text, is_error = await asked(client, case.sql)
            assert wrong(case, text, is_error=is_error) == ""


@pytest.mark.asyncio
async def test_what_holds_inside_is_told(inside: OpenHouse, postgres_server: PostgresServer):
    async with inside(postgres_server) as (client, _):
        plan, _ = await asked(client, "select * from owners", tool="explain")
        reply = await client.call_tool("describe", {"tables": ["owners", "mails", "plain", "paid"]})
    assert "\nrows: of public.docs only what the rules allow, by `rows-docs`\n" in plan
    assert "\nmask: of public.people.email only `email`, by `mask-email`\n" in plan
    said = text_of(reply)
    owners, mails, plain, paid = (described.split("\n")[1] for described in said.split("public.")[1:])
    assert owners == "inside: what you have of all that it reads, only rows that `rows-docs` allows"
    assert mails == "inside: what you have of all that it reads, masks"
    assert plain == "  id integer"
    assert paid == "rows: none, `paid` shows more than you may read of what is behind it"


@pytest.mark.asyncio
async def test_a_login_without_the_tables_is_refused_in_words(inside: OpenHouse, postgres_server: PostgresServer):
    async with inside(postgres_server, role="narrow") as (client, _):
        text, is_error = await asked(client, "select * from mails")
        assert is_error
        assert "or the database role lacks a privilege for it" in text
        text, is_error = await asked(client, "select * from plain")
        assert wrong(Case("", rows=("1,plain",)), text, is_error=is_error) == ""
