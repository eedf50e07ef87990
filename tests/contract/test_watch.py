"""The second connection of a datasource: what it says of relations, and when it says nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_waiting import until

from ostiary_tools.datasources.watch import Instance, Watch, instance_of

QUERY = "SELECT c.oid::int8 AS oid, c.relname::text AS mark FROM pg_class c WHERE c.oid = ANY ($1::oid[])"

SLOW = "SELECT 1::int8 AS oid, pg_sleep(60)::text AS mark WHERE $1::oid[] IS NOT NULL"


@asynccontextmanager
async def watching(server: PostgresServer, query: str = QUERY) -> AsyncIterator[tuple[Watch, Instance, asyncpg.Connection]]:
    """A connected watch, where it leads to, and a connection beside it."""
    beside = await asyncpg.connect(server.dsn())
    watch = Watch(lambda: asyncpg.connect(server.dsn(), server_settings={"application_name": "watch"}), query)
    try:
        await watch.connect()
        yield watch, await instance_of(beside), beside
    finally:
        await watch.close()
        await beside.close()


@pytest.mark.asyncio
async def test_what_is_so_when_it_is_asked_is_told(postgres_server: PostgresServer) -> None:
    async with watching(postgres_server) as (watch, here, beside):
        await beside.execute("CREATE TABLE told ()")
        oid = await beside.fetchval("SELECT 'told'::regclass::oid::int8")
        before = await watch.marks(here, [oid])
        await beside.execute("ALTER TABLE told RENAME TO retold")
        after = await watch.marks(here, [oid])
        await beside.execute("DROP TABLE retold")
        gone = await watch.marks(here, [oid])

    assert (before, after, gone) == ({oid: "told"}, {oid: "retold"}, {})


@pytest.mark.asyncio
async def test_calls_that_ask_at_once_are_each_told_all_they_asked(postgres_server: PostgresServer) -> None:
    async with watching(postgres_server) as (watch, here, beside):
        known = {row["oid"]: row["name"] for row in await beside.fetch("SELECT oid::int8 AS oid, relname AS name FROM pg_class")}
        told = await asyncio.gather(*(watch.marks(here, [oid]) for oid in known))

    assert [(found or {}).get(oid) for oid, found in zip(known, told, strict=True)] == list(known.values())


@pytest.mark.asyncio
async def test_nothing_is_told_of_another_server_run_or_database(postgres_server: PostgresServer) -> None:
    async with watching(postgres_server) as (watch, here, _):
        others = [
            here._replace(started="2026-01-01 00:00:00.000001+00"),
            here._replace(address="192.0.2.1"),
            here._replace(port=1),
            here._replace(database="another"),
        ]

        assert [await watch.marks(other, [1259]) for other in others] == [None] * 4


@pytest.mark.asyncio
async def test_nothing_is_told_when_the_connection_is_lost_and_no_call_waits_for_another(postgres_server: PostgresServer) -> None:
    async with watching(postgres_server) as (watch, here, beside):
        await beside.fetch("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'watch'")

        assert await asyncio.gather(*(watch.marks(here, [1259]) for _ in range(3))) == [None] * 3


@pytest.mark.asyncio
async def test_whoever_waits_when_it_closes_is_told_nothing(postgres_server: PostgresServer) -> None:
    async with watching(postgres_server, SLOW) as (watch, here, beside):
        waiting = asyncio.create_task(watch.marks(here, [1259]))
        await until(partial(_runs, beside, "watch"))
        await watch.close()

        assert await waiting is None


@pytest.mark.asyncio
async def test_a_connection_of_which_it_is_not_known_where_it_leads_is_closed(postgres_server: PostgresServer) -> None:
    async with watching(postgres_server) as (_, _, beside):
        connection = await asyncpg.connect(postgres_server.dsn(), server_settings={"application_name": "busy"})
        busy = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        await until(partial(_runs, beside, "busy"))  # now another statement on it fails

        async def connect() -> asyncpg.Connection:
            return connection

        watch = Watch(connect, QUERY)
        await watch.connect()

        assert connection.is_closed()
        await watch.close()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await busy


async def _runs(beside: asyncpg.Connection, name: str) -> bool:
    """Whether the server is busy with a statement of the connection so called."""
    asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'"
    return bool(await beside.fetchval(asked, name))
