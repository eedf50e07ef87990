"""The clock table: a row a beat, ids that only grow, and nothing that is written where somebody else has laid something."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from fix_custody import KEEPER, SHOP
from fix_postgres import PostgresServer

from ostiary_tools.backup.restoring import clock as in_copy
from ostiary_tools.backup.wal_archive import clock
from ostiary_tools.errors import Refused, Unavailable

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def admin(server: PostgresServer, database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        yield connection
    finally:
        await connection.close()


async def test_each_beat_is_a_row_and_a_transaction_of_its_own(
    any_server: PostgresServer, made_in: Callable[[PostgresServer, str], str]
):
    database = made_in(any_server, SHOP)
    for round_ in range(2):  # the second finds what the first has made
        async with clock.ticking(any_server.dsn(KEEPER, database)) as session:
            beats = [await clock.beat(session) for _ in range(3)]
        assert [one.id for one in beats] == [3 * round_ + n for n in (1, 2, 3)]
    async with admin(any_server, database) as connection:
        rows = await connection.fetch(f"SELECT {clock.COLUMNS}, xmin::text FROM {clock.TABLE} ORDER BY id")
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert len({row["xmin"] for row in rows}) == 6
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)


async def test_ids_grow_although_the_clock_of_the_server_was_set_back(
    postgres_server: PostgresServer, made_in: Callable[[PostgresServer, str], str]
):
    database = made_in(postgres_server, SHOP)
    async with clock.ticking(postgres_server.dsn(KEEPER, database)) as session:
        await clock.beat(session)
        async with admin(postgres_server, database) as connection:
            # What rows from before are like, once it was set back by a year.
            await connection.execute("UPDATE ostiary.clock SET at = at + interval '1 year'")
        second = await clock.beat(session)
        assert second.id == 2
        assert await session.fetchval("SELECT max(at) FROM ostiary.clock WHERE id = 1") > second.at


async def test_old_rows_go(postgres_server: PostgresServer, made_in: Callable[[PostgresServer, str], str]):
    database = made_in(postgres_server, SHOP)
    async with clock.ticking(postgres_server.dsn(KEEPER, database)) as session:
        await clock.beat(session)
        await session.execute("INSERT INTO ostiary.clock SELECT $1::bigint, now(), '0/1'", clock.KEPT + 1)
        assert (await clock.beat(session)).id == clock.KEPT + 2
        assert await session.fetchval("SELECT min(id) FROM ostiary.clock") == clock.KEPT + 1


async def test_a_login_that_may_not_make_it_is_told_the_statement_that_a_superuser_runs(
    postgres_server: PostgresServer, made_in: Callable[[PostgresServer, str], str]
):
    database = made_in(postgres_server, SHOP)
    dsn = postgres_server.dsn(KEEPER, database)
    async with admin(postgres_server, database) as connection:
        await connection.execute(f'REVOKE CREATE ON DATABASE "{database}" FROM {KEEPER}')
        with pytest.raises(Unavailable, match="may not make") as told:
            async with clock.ticking(dsn):
                pass
        await connection.execute(told.value.hint.split("`")[1])
    async with clock.ticking(dsn) as session:
        assert (await clock.beat(session)).id == 1


TABLE = "CREATE TABLE ostiary.clock (id bigint, at timestamptz, lsn pg_lsn); GRANT ALL ON ostiary.clock TO PUBLIC"
VIEW = "CREATE VIEW ostiary.clock AS SELECT 1::bigint id, now() at, '0/1'::pg_lsn lsn"
LAID = {
    "schema": "CREATE SCHEMA ostiary; GRANT ALL ON SCHEMA ostiary TO PUBLIC",
    "both": f"CREATE SCHEMA ostiary; GRANT ALL ON SCHEMA ostiary TO PUBLIC; {TABLE}",
    "table": f"CREATE SCHEMA ostiary AUTHORIZATION {KEEPER}; {TABLE}",
    "view": f"CREATE SCHEMA ostiary AUTHORIZATION {KEEPER}; {VIEW}; ALTER VIEW ostiary.clock OWNER TO {KEEPER}",
}


@pytest.mark.parametrize("laid", LAID.values(), ids=LAID)
async def test_nothing_is_written_to_what_somebody_else_has_laid_there(
    postgres_server: PostgresServer, made_in: Callable[[PostgresServer, str], str], laid: str
):
    database = made_in(postgres_server, f"{SHOP};{laid};")
    with pytest.raises(Refused, match="is not the login's own"):
        async with clock.ticking(postgres_server.dsn(KEEPER, database)):
            pass


STRANGER = """
CREATE SCHEMA ostiary;
CREATE TABLE ostiary.clock (id bigint, at timestamptz, lsn pg_lsn);
INSERT INTO ostiary.clock VALUES (1, '2099-01-01', 'FFFFFFFF/FFFFFFFF')
"""


async def test_a_copy_believes_the_clock_of_who_may_replicate_and_nobody_elses(
    postgres_server: PostgresServer, made_in: Callable[[PostgresServer, str], str]
):
    """Whoever may make a schema could lay one there that goes on after every moment, and no restore would be done."""
    database = made_in(postgres_server, SHOP)
    async with admin(postgres_server, database) as connection:
        async with clock.ticking(postgres_server.dsn(KEEPER, database)) as session:
            beat = await clock.beat(session)
        read = await in_copy.read(connection)
        assert read is not None
        assert (read.id, read.at) == (beat.id, beat.at)
        await connection.execute("DROP SCHEMA ostiary CASCADE; CREATE ROLE stranger_to_clocks")
        try:
            await connection.execute(f'GRANT CREATE ON DATABASE "{database}" TO stranger_to_clocks; SET ROLE stranger_to_clocks')
            await connection.execute(STRANGER)
            await connection.execute("RESET ROLE")
            assert await in_copy.read(connection) is None
        finally:
            await connection.execute("RESET ROLE; DROP OWNED BY stranger_to_clocks; DROP ROLE stranger_to_clocks")
