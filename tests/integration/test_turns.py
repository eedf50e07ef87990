"""Turns: one at a time, and known to be lost."""

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_waiting import until

from ostiary_tools.control.connect import Unreachable
from ostiary_tools.control.turns import Turns

pytestmark = pytest.mark.asyncio


async def test_one_has_it_at_a_time_and_the_next_when_he_is_done(postgres_server: PostgresServer):
    turns = Turns(postgres_server.dsn())
    async with turns.turn("log 1") as first, turns.turn("log 1") as second, turns.turn("log 2") as other:
        assert first is not None
        assert second is None
        assert other is not None
    async with turns.turn("log 1") as again:
        assert again is not None


async def test_whoever_loses_it_is_told(postgres_server: PostgresServer):
    turns = Turns(postgres_server.dsn())
    async with turns.turn("log 3") as lost:
        assert lost is not None
        connection = await asyncpg.connect(postgres_server.dsn())
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            " AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('ostiary turn log 3', 0)"
        )
        await connection.close()
        await until(lost.is_set)
        async with turns.turn("log 3") as next_:
            assert next_ is not None


async def test_without_a_control_database_nobody_has_it():
    with pytest.raises(Unreachable):
        async with Turns("postgresql://nobody@127.0.0.1:1/none").turn("log 4"):
            pass
