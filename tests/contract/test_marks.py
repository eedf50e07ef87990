"""What a statement was judged by is what it runs on, or it does not run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from fix_postgres import PostgresServer

from ostiary_policies.model import Column, Function, Resource, Statement, Table
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.postgres import PostgresDatasource, PostgresSettings, open_postgres
from ostiary_tools.errors import DatabaseError, SchemaChanged
from ostiary_tools.powers import Power

LIMITS = ReadLimits(timeout_s=10, max_rows=100, max_chars=16_000)
SHOP = """
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders VALUES (1, 'plain');
CREATE TABLE vault (id int PRIMARY KEY, note text);
INSERT INTO vault VALUES (1, 'hidden');
CREATE VIEW shown AS SELECT id, note FROM orders;
CREATE MATERIALIZED VIEW kept AS SELECT id, note FROM orders;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
"""
ORDERS = (Table("data", "public", "orders"), Column("data", "public", "orders", "note"))
QUERIES: dict[str, tuple[str, tuple[Resource, ...]]] = {
    "table": ("SELECT id, note FROM public.orders", ORDERS),
    "view": ("SELECT id, note FROM public.shown", (Table("data", "public", "shown"),)),
    "kept": ("SELECT id, note FROM public.kept", (Table("data", "public", "kept"),)),
    "function": ("SELECT public.twice(21)", (Function("data", "public", "twice"),)),
}
REDEFINED = [
    ("table", "ALTER TABLE orders RENAME TO gone; ALTER TABLE vault RENAME TO orders"),
    ("table", "DROP TABLE orders CASCADE; CREATE TABLE orders (id int PRIMARY KEY, note text)"),
    ("table", "ALTER TABLE orders RENAME note TO old; ALTER TABLE orders ADD note text DEFAULT 'hidden'"),
    ("table", "DROP VIEW shown; DROP MATERIALIZED VIEW kept; ALTER TABLE orders ALTER note TYPE varchar USING 'hidden'"),
    ("table", "COMMENT ON COLUMN orders.note IS '@secret'"),
    ("table", "COMMENT ON TABLE orders IS '@secret'"),
    ("table", "ALTER TABLE orders ENABLE ROW LEVEL SECURITY"),
    ("view", "CREATE OR REPLACE VIEW shown AS SELECT id, note FROM vault"),
    ("view", "ALTER VIEW shown RENAME TO old; ALTER TABLE vault RENAME TO shown"),
    ("function", "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN 7; END'"),
    ("function", "CREATE FUNCTION twice(n bigint) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 7'"),
    ("function", "ALTER FUNCTION twice(int) SECURITY DEFINER"),
]
THE_SAME = [
    ("table", "INSERT INTO orders VALUES (2, 'more'); ANALYZE orders"),
    ("table", "TRUNCATE orders"),
    ("table", "CREATE INDEX ON orders (note)"),
    ("table", "GRANT SELECT ON orders TO PUBLIC"),
    ("kept", "REFRESH MATERIALIZED VIEW kept"),
    ("function", "CREATE FUNCTION thrice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 3'"),
]


@pytest.fixture(params=[True, False], ids=["watched", "unwatched"])
def watched(request: pytest.FixtureRequest) -> bool:
    """Whether the datasource's second connection says what has changed, or each call asks for itself."""
    return bool(request.param)


@asynccontextmanager
async def shop(
    server: PostgresServer, database: str, watched: bool = True
) -> AsyncIterator[tuple[asyncpg.Connection, PostgresDatasource]]:
    """A database under an owner's hand, and its snapshot taken."""
    owner = await asyncpg.connect(server.dsn(database=database))
    await owner.execute(SHOP)
    settings = PostgresSettings(
        "data", server.dsn(database=database), accepted_powers=frozenset({Power.SUPERUSER}), snapshot_ttl_s=600
    )
    datasource = await open_postgres(settings)
    try:
        await datasource.snapshot()
        await (datasource.watch.connect() if watched else datasource.watch.close())
        yield owner, datasource
    finally:
        await datasource.close()
        await owner.close()


async def ask(datasource: PostgresDatasource, query: str) -> tuple[tuple[str | None, ...], ...]:
    text, resources = QUERIES[query]
    relied = (await datasource.snapshot()).relied_on(resources)
    assert relied
    async with datasource.read(LIMITS, relied) as reader:
        return (await reader.rows(Statement(text))).rows


@pytest.mark.asyncio
async def test_what_was_redefined_since_it_was_judged_does_not_run(server: PostgresServer, database: str, watched: bool) -> None:
    """The next call is judged anew, and runs."""
    ran: list[str] = []
    async with shop(server, database, watched) as (owner, datasource):
        for query, redefinition in REDEFINED:
            await owner.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + SHOP)
            old = await datasource.refresh()
            await ask(datasource, query)
            await owner.execute(redefinition)
            try:
                await ask(datasource, query)
            except SchemaChanged:
                assert await datasource.snapshot() is not old
                await ask(datasource, query)
            else:
                ran.append(redefinition)
    assert ran == []


@pytest.mark.asyncio
async def test_what_is_only_filled_analysed_or_granted_is_the_same(server: PostgresServer, database: str, watched: bool) -> None:
    async with shop(server, database, watched) as (owner, datasource):
        old = await datasource.snapshot()
        for query, change in THE_SAME:
            await owner.execute(change)
            await ask(datasource, query)
        assert await datasource.snapshot() is old


@pytest.mark.asyncio
async def test_a_relation_cannot_be_redefined_between_the_look_and_the_run(
    server: PostgresServer, database: str, watched: bool
) -> None:
    """The lock of the analysis holds until the transaction ends."""
    async with shop(server, database, watched) as (owner, datasource):
        relied = (await datasource.snapshot()).relied_on(ORDERS)
        async with datasource.read(LIMITS, relied) as reader:
            prepared = await reader.prepare(Statement(QUERIES["table"][0]))
            await owner.execute("SET lock_timeout = '50ms'")
            for redefinition in (
                "ALTER TABLE orders RENAME TO gone",
                "DROP TABLE orders CASCADE",
                "ALTER TABLE orders DROP note CASCADE",
            ):
                with pytest.raises(asyncpg.LockNotAvailableError):
                    await owner.execute(redefinition)
            assert (await prepared.rows()).rows == (("1", "plain"),)


@pytest.mark.asyncio
async def test_a_function_replaced_between_the_look_and_the_run_still_cannot_write(server: PostgresServer, database: str) -> None:
    """The bound of the look: functions are not locked. What is put there runs read-only, under the login's rights."""
    async with shop(server, database) as (owner, datasource):
        relied = (await datasource.snapshot()).relied_on(QUERIES["function"][1])
        async with datasource.read(LIMITS, relied) as reader:
            prepared = await reader.prepare(Statement("SELECT public.twice(n) FROM public.orders AS o(n)"))
            await owner.execute(
                "CREATE OR REPLACE FUNCTION twice(n int) RETURNS int LANGUAGE plpgsql VOLATILE AS "
                "$$ BEGIN DELETE FROM public.orders; RETURN 7; END $$"
            )
            with pytest.raises(DatabaseError) as raised:
                await prepared.rows()
        assert raised.value.sqlstate == "25006"
        assert await owner.fetchval("SELECT count(*) FROM orders") == 1
