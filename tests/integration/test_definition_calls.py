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
CREATE INDEX products_price ON products (price DESC) WHERE price > 1;
CREATE TABLE vault (id int PRIMARY KEY, product int REFERENCES products);
CREATE TABLE labels (id int PRIMARY KEY, kept int CONSTRAINT kept REFERENCES vault);
"""
SCHEMA = """
SELECT string_agg(told, chr(10) ORDER BY told) FROM (
    SELECT concat_ws(' ', oid::regclass, relkind, obj_description(oid, 'pg_class'), pg_get_indexdef(oid)) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
        pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', typname, (SELECT string_agg(enumlabel, ',') FROM pg_enum WHERE enumtypid = pg_type.oid))
    FROM pg_type WHERE typnamespace = 'public'::regnamespace
) AS all_of_it (told)
"""
POLICY = """
@id("engineer") permit (principal in Role::"engineer", action, resource);
@id("writer") permit (principal in Role::"writer", action, resource) unless { action == Action::"define" };
@id("builder") permit (principal in Role::"builder", action, resource);
@id("designer") permit (principal in Role::"designer", action, resource)
    unless { action == Action::"update" || action == Action::"delete" };
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


async def revert(client: Client, applied: str) -> str:
    found = _CHANGE.search(applied)
    assert found is not None, applied
    return text_of(await client.call_tool("revert_change", {"change": found[1]}))


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
            await opened.owner("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'") == 3
        )


@pytest.mark.slow
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


BACK = (
    (
        "alter table products add column x int not null default 7 check (x > 0), add constraint dear check (price > 0)",
        "create index products_name on products (name)",
        "create table notes (id int generated always as identity primary key, words text unique)",
        "create type size as enum ('s', 'l')",
    ),
    (
        "alter table products alter name drop not null, alter price set default 1",
        "drop index products_price",
        "comment on table products is 'all we sell'",
    ),
    ("alter table products rename column name to title",),
)


@pytest.mark.asyncio
async def test_definitions_are_undone_by_their_reverse(shop: Any):
    async with shop() as opened, opened.client("builder") as client:
        before = await opened.owner(SCHEMA)
        for statements in BACK:
            proposed = await propose(client, *statements)
            assert "can be undone" in proposed, proposed
            applied = await apply(client, proposed)
            assert "can be undone" in applied, applied
            assert await opened.owner(SCHEMA) != before, statements
            reverted = await revert(client, applied)
            assert ": reverted" in reverted, reverted
            assert await opened.owner(SCHEMA) == before, statements
        assert "nothing is changed yet" in await propose(client, "alter table products add column x int"), (
            "the name is free at once"
        )


@pytest.mark.asyncio
async def test_a_definition_that_cannot_be_undone_says_why(shop: Any):
    async with shop() as opened, opened.client("builder") as client:
        for sql, why in (
            ("alter table products drop column name", "its values are gone"),
            ("alter table products add unique (name)", "give it one"),
            ("alter table products alter price type numeric(6,1)", "may not come back"),
            ("alter table products add w int; alter table products rename column name to title", "all of the change"),
        ):
            proposed = await propose(client, *sql.split(";"))
            assert "cannot be undone" in proposed, proposed
            assert why in proposed, proposed
        applied = await apply(client, await propose(client, "alter table products drop column name"))
        assert "its values are gone" in applied
        assert "its values are gone" in await revert(client, applied)


@pytest.mark.asyncio
async def test_what_came_since_goes_only_with_a_say_and_a_right(shop: Any):
    async with shop() as opened:
        async with opened.client("builder") as client:
            made = await propose(client, "create table notes (id int primary key)")
            assert "drops table public.notes with its rows" in made
            applied = await apply(client, made)
            await opened.owner("INSERT INTO notes VALUES (1)")
            assert ": reverted" in await revert(client, applied)
            assert "it was undone" in await revert(client, applied), "once"
            assert await opened.owner("SELECT to_regclass('notes')") is None
        async with opened.client("designer") as client:
            added = await propose(client, "alter table products add column x int")
            assert "drops column public.products.x with what was written to it since" in added
            said = await revert(client, await apply(client, added))
            assert said.startswith("denied: you may not update column `public.products.x`"), said
            assert await opened.owner("SELECT count(*) FROM products WHERE x IS NULL") == 10


@pytest.mark.asyncio
async def test_a_reverse_that_fits_no_more_is_refused_and_names_nothing_hidden(shop: Any):
    async with shop() as opened, opened.client("builder") as client:
        made = await apply(client, await propose(client, "create index products_name on products (name)"))
        dropped = await apply(client, await propose(client, "drop index products_name", "alter table labels drop constraint kept"))
        assert "unknown index `public.products_name`" in await revert(client, made)
        said = await revert(client, dropped)
        assert "cannot be undone by you" in said, said
        assert "vault" not in dropped + said
