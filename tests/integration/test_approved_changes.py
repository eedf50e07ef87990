"""Changes that wait for people: by the rows of all tables that they change, and never when they are only looked at."""

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp.types as t
import pytest
from fix_answers import text_of
from fix_postgres import ADMIN, PostgresServer
from fix_server import MakeSite, Site
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.control.people import PeopleTable, Waiting

SHOP = """
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, price numeric(8,2) NOT NULL);
INSERT INTO products SELECT n, 'product ' || n, n FROM generate_series(1, 10) n;
CREATE TABLE orders (id int PRIMARY KEY, product int REFERENCES products ON DELETE CASCADE, note text);
INSERT INTO orders SELECT n, n, 'note ' || n FROM generate_series(1, 10) n;
CREATE TABLE entries (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, said text);
"""
POLICY = """
@id("engineer") permit (principal in Role::"engineer", action, resource);
@id("many-rows") @approval("human above 3 rows, two humans above 6 rows")
permit (principal in Role::"engineer", action in [Action::"insert", Action::"update", Action::"delete"], resource is Table);
"""
_CHANGE = re.compile(r"change ([A-Za-z0-9_-]{24}) on")
WAITS = re.compile(r"approval_waiting: rule `many-rows` wants (.*); it waits for people until .* UTC as `([a-z2-7]{8})`\n")


@dataclass(frozen=True)
class Shop:
    """A server over a database that its agents change."""

    site: Site
    house: House

    def client(self, human: Any = None) -> Client:
        """An agent, and the human at its client if there is one."""
        app = McpApp(self.house.gate, lambda _: Principal("ada", ("engineer",)))
        return Client(app.server, elicitation_callback=human)

    @asynccontextmanager
    async def people(self) -> AsyncIterator[PeopleTable]:
        """What the command does, as people of any name."""
        table = PeopleTable(self.site.server.dsn(ADMIN, self.site.control))
        try:
            yield table
        finally:
            await table.close()

    async def granted(self, waits: str, *people: str) -> Waiting:
        """What these people were shown."""
        found = WAITS.match(waits)
        assert found, waits
        async with self.people() as table:
            [one] = [one for one in await table.waiting() if one.id == found[2]]
            assert [await table.grant(one.id, person, one.shown) for person in people] == [True] * len(people)
        return one


OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(policy: str = POLICY, **wishes: Any) -> AsyncIterator[Shop]:
        dsn = postgres_server.dsn(database=await make_database(SHOP))
        site = await make_site({"shop": dsn}, policy=policy, writers={"shop": dsn}, **wishes)
        async with open_house(site.config, lambda _: None) as house:
            yield Shop(site, house)

    return opened


async def propose(client: Client, sql: str) -> str:
    return text_of(await client.call_tool("propose_change", {"statements": [{"sql": sql}]}))


async def call(client: Client, tool: str, proposed: str) -> str:
    found = _CHANGE.search(proposed)
    assert found is not None, proposed
    return text_of(await client.call_tool(tool, {"change": found[1]}))


@pytest.mark.asyncio
async def test_a_change_of_few_rows_asks_nobody_and_one_of_more_waits_cascades_counted(shop: OpenShop):
    async with shop() as opened, opened.client() as client:
        few = await call(client, "apply_change", await propose(client, "update products set price = 0 where id <= 3"))
        proposed = await propose(client, "delete from products where id in (9, 10)")
        waits = await call(client, "apply_change", proposed)
        again = await call(client, "apply_change", proposed)
        one = await opened.granted(waits, "ann")
        applied = await call(client, "apply_change", proposed)
        undo = await call(client, "revert_change", proposed)
        shown = await opened.granted(undo, "ann")
        undone = await call(client, "revert_change", proposed)
        records = await opened.site.records()
    assert "applied" in few
    assert "which waits for a human's approval\n" in f"{proposed}\n"
    assert waits == again
    assert "| DELETE FROM public.products" in one.question
    assert "4 rows in all; if anything else would be, nothing is:\n" in one.question
    assert "\n| public.products: -2\n" in one.question
    assert "\n| public.orders: -2 (cascade)\n" in one.question
    assert "product 9" in one.question
    assert _CHANGE.search(proposed)[1] not in one.question + shown.question  # type: ignore[index]
    assert "applied" in applied
    assert "This is what was done, and would be taken back, 4 rows in all" in shown.question
    assert "reverted" in undone
    used = [record["approval"]["id"] for record in records if record["kind"] == "i" and "approval" in record]
    assert used == [one.id, shown.id]


@pytest.mark.asyncio
async def test_more_rows_than_the_second_threshold_want_two_and_the_client_is_asked_for_one(shop: OpenShop):
    asked: list[str] = []

    async def human(_: Any, params: Any) -> t.ElicitResult:
        asked.append(params.message)
        return t.ElicitResult(action="accept", content={"approve": True})

    async with shop() as opened, opened.client(human) as client:
        four = await call(client, "apply_change", await propose(client, "update products set price = 0 where id <= 4"))
        proposed = await propose(client, "update products set price = 0 where id > 3")
        waits = await call(client, "apply_change", proposed)
        one = await opened.granted(waits, "ann")
        still = await call(client, "apply_change", proposed)
        await opened.granted(waits, "bob")
        seven = await call(client, "apply_change", proposed)
    assert "applied" in four
    assert len(asked) == 1
    assert "\n| public.products: ~4\n" in asked[0]
    assert "wants the approval of two humans" in waits
    assert one.people == 2
    assert still == waits
    assert "applied" in seven


@pytest.mark.asyncio
async def test_a_change_that_waits_stands_no_longer_than_its_proposal(shop: OpenShop):
    async with shop(more="[changes]\nproposal_s = 900") as opened, opened.client() as client:
        waits = await call(client, "apply_change", await propose(client, "update products set price = 0"))
        one = await opened.granted(waits)
    assert 0 < (one.expires_at - one.asked_at).total_seconds() <= 900


ROWS = {"table": "products", "action": "insert", "columns": ["id", "name", "price"]}
MANY = {**ROWS, "rows": [[n, f"crate {n}", "2.50"] for n in range(1001, 1501)]}
ONE_PERSON = POLICY.replace(", two humans above 6 rows", "")
NAMES = "{" + ",".join(f'"crate {n}"' for n in range(1001, 1501)) + "}"


@pytest.mark.asyncio
async def test_people_who_are_asked_about_an_undo_see_what_was_committed(shop: OpenShop):
    async with shop() as opened, opened.client() as client:
        statement = "insert into entries (said) select 'entry ' || n from generate_series(1, 5) n"
        proposed = await propose(client, statement)
        question = (await opened.granted(await call(client, "apply_change", proposed), "ann")).question
        assert "applied" in await call(client, "apply_change", proposed)
        undone = (await opened.granted(await call(client, "revert_change", proposed), "ann")).question
    assert "\n| 1,entry 1\n" in question
    assert "\n| 11,entry 1\n" in undone, "numbers of two looks stay drawn"


@pytest.mark.asyncio
async def test_five_hundred_given_rows_wait_for_a_person_who_grants_them_and_are_applied(shop: OpenShop):
    async with shop(ONE_PERSON) as opened, opened.client() as client:
        proposed = text_of(await client.call_tool("propose_change", {"rows": [MANY]}))
        waits = await call(client, "apply_change", proposed)
        one = await opened.granted(waits, "ann")
        applied = await call(client, "apply_change", proposed)
        there = text_of(await client.call_tool("query", {"sql": "select count(*) as n from products where name like 'crate %'"}))
    lines = one.question.split("\n")
    place = lines.index(f"Of $2 these are the first 100 of {len(NAMES)} characters, which together have the digest")
    assert lines[place + 1] == f"sha256:{hashlib.sha256(NAMES.encode()).hexdigest()}."
    assert "| public.products: +500" in lines
    assert "crate 1001" in one.question
    assert "crate 1400" not in one.question
    assert len(one.question) < 10_000
    assert "applied" in applied
    assert "500" in there


@pytest.mark.asyncio
async def test_five_hundred_given_rows_are_asked_about_at_the_client_too(shop: OpenShop):
    asked: list[str] = []

    async def human(_: Any, params: Any) -> t.ElicitResult:
        asked.append(params.message)
        return t.ElicitResult(action="accept", content={"approve": True})

    async with shop(ONE_PERSON) as opened, opened.client(human) as client:
        applied = await call(client, "apply_change", text_of(await client.call_tool("propose_change", {"rows": [MANY]})))
    assert "applied" in applied
    assert len(asked) == 1
    assert f"of {len(NAMES)} characters" in asked[0]
