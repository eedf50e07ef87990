"""A process of ours that stands still in the middle of a call: PostgreSQL keeps the bounds without it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_waiting import until

pytestmark = pytest.mark.fault

READS = """
import asyncio, sys
from ostiary_policies.model import Statement
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.postgres import PostgresSettings, open_postgres
from ostiary_tools.powers import Power

async def main(dsn, statement):
    settings = PostgresSettings(
        "data", dsn, accepted_powers=frozenset({Power.SUPERUSER}), snapshot_ttl_s=600, lock_timeout_s=3, idle_timeout_s=3
    )
    datasource = await open_postgres(settings)
    await datasource.snapshot()
    async with datasource.read(ReadLimits(timeout_s=float(sys.argv[3]), max_rows=10, max_chars=1000)) as reader:
        await reader.rows(Statement("SELECT 'standing'"))
        if statement:
            await reader.rows(Statement(statement))
        await asyncio.Event().wait()  # stands until it is killed

asyncio.run(main(*sys.argv[1:3]))
"""


@asynccontextmanager
async def reading(
    server: PostgresServer, database: str, statement: str, timeout_s: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs the statement in a transaction of ours, or stands idle in it."""
    dsn = server.dsn(database=database)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", READS, dsn, statement, str(timeout_s))
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # the server's answer may have ended it
            process.kill()
        await process.wait()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("statement", "timeout_s", "standing"),
    [
        ("", 600, "state = 'idle in transaction' AND query LIKE '%standing%'"),
        ("SELECT pg_sleep(600)", 3, "state = 'active' AND wait_event = 'PgSleep'"),
        ("SELECT a FROM locked", 600, "state = 'active' AND wait_event_type = 'Lock'"),
    ],
    ids=["idle", "running", "waiting for a lock"],
)
async def test_a_stopped_process_holds_no_transaction(
    postgres_server: PostgresServer, fresh_database: Callable[..., str], statement: str, timeout_s: float, standing: str
) -> None:
    database = fresh_database()
    owner = await asyncpg.connect(postgres_server.dsn(database=database))
    watch = await asyncpg.connect(postgres_server.dsn(database=database))  # a transaction would see one moment for ever
    try:
        await owner.execute("CREATE TABLE locked (a int)")
        async with owner.transaction():
            await owner.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")

            async def stands() -> bool:
                look = f"SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'ostiary' AND {standing}"
                return bool(await watch.fetchval(look, database))

            async def ended() -> bool:
                look = """
                    SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'ostiary'
                    AND (backend_xmin IS NOT NULL
                        OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_stat_activity.pid AND l.relation IS NOT NULL))
                """
                return not await watch.fetchval(look, database)

            async with reading(postgres_server, database, statement, timeout_s) as process:
                await until(stands)
                process.send_signal(signal.SIGSTOP)
                await until(ended)
    finally:
        await watch.close()
        await owner.close()
