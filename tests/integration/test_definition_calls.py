"""Definitions through `propose_change` and `apply_change`: the same door as rows."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from mcp import Client

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

SHOP = """
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, price numeric(8,2) NOT NULL, cost numeric(8,2));
INSERT INTO products SELECT n, 'product ' || n, n, n FROM generate_series(1, 10) n;
CREATE TABLE vault (id int PRIMARY KEY, product int REFERENCES products);
"""
POLICY = """
@id("engineer") permit (principal in Role::"engineer", action, resource);
@id("writer") permit (principal in Role::"writer", action, resource) unless { action == Action::"define" };
@id("vault-is-hidden") forbid (principal, action, resource is Table) when { resource.name == "vault" };
@id("cost-is-hidden") forbid (principal, action, resource is Column) when { resource.name == "cost" };
"""
_CHANGE = re.compile(r"change ([A-Za-z0-9_-]{24}) on")


class Shop(NamedTuple):
    site: Site
    database: str
    app: McpApp
    caller: list[Principal]

    @asynccontextmanager
    async def client(self, role: str) -> AsyncIterator[Client]:
        """An agent in a role."""
        self.caller[:] = [Principal("ada", (role,))]
        async with Client(self.app.server) as client:
            yield client

    async def owner(self, query: str) -> Any:
        """What the owner sees."""
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> Any:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Shop]:
        database = await make_database(SHOP)
        dsn = postgres_server.dsn(database=database)
        site = await make_site({"shop": dsn}, policy=POLICY, writers={"shop": dsn})
        caller: list[Principal] = []
        async with open_house(site.config, lambda _: None) as house:
            yield Shop(site, database, McpApp(house.gate, lambda _: caller[0]), caller)

    return opened


async def propose(client: Client, *statements: str) -> str:
    return text_of(await client.call_tool("propose_change", {"statements": [{"sql": sql} for sql in statements]}))


async def apply(client: Client, proposed: str) -> str:
    found = _CHANGE.search(proposed)
    assert found is not None, proposed
    return text_of(await client.call_tool("apply_change", {"change": found[1]}))


@pytest.mark.asyncio
async def test_a_definition_is_proposed_and_applied(shop: Any):
    async with shop() as opened, opened.client("engineer") as client:
        proposed = await propose(
            client, "create table notes (id int primary key, words text)", "alter table products add column x int"
        )
        assert await opened.owner("SELECT to_regclass('notes')") is None, "a proposal leaves nothing"
        assert "applied" in await apply(client, proposed)
        assert await opened.owner("SELECT to_regclass('notes')::text") == "notes"
        assert await opened.owner("SELECT count(x) FROM products") == 0
        assert "+2" in await propose(client, "insert into notes values (1), (2)"), "what was defined is known to the next call"
        assert "nothing is changed yet" in await propose(client, "alter table products add constraint x check (x > 0)")


@pytest.mark.asyncio
async def test_without_define_or_past_what_is_read_nothing_is_defined(shop: Any):
    async with shop() as opened:
        async with opened.client("writer") as client:
            assert "define" in await propose(client, "create table notes (id int)")
        async with opened.client("engineer") as client:
            for sql in (
                "alter table vault add column x int",
                "alter table products rename column cost to price2",
                "alter table products add check (cost > 5)",
                "create index on products ((1 / (cost - 3)))",
                "drop table products",
                "create function f() returns int language sql as 'select 1'",
            ):
                said = await propose(client, sql)
                assert said.startswith("refused"), said
                assert "vault" in sql or "vault" not in said, said
        assert (
            await opened.owner("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'") == 2
        )


@pytest.mark.asyncio
async def test_a_definition_that_waits_for_a_lock_leaves_nothing(shop: Any):
    async with shop() as opened, opened.client("engineer") as client:
        other = await asyncpg.connect(opened.site.server.dsn(database=opened.database))
        try:
            await other.execute("BEGIN; LOCK TABLE products IN ACCESS SHARE MODE")
            said = await propose(client, "alter table products add column x int")
        finally:
            await other.close()
        assert "lock" in said
