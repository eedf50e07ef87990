"""A primary and its streaming replicas: real ones, made when a test first asks, the primary once a session."""

import asyncio
import shutil
from collections.abc import Callable, Iterator

import asyncpg
import pytest
from fix_postgres import ADMIN, PostgresServer, new_server, short_directory
from fix_waiting import until

_SETTINGS = {"fsync": "off", "wal_level": "replica", "max_wal_senders": "10", "log_min_duration_statement": "0"}
"""The primary logs every statement that it analyses, binds or runs: what is not in its log never came to it."""


@pytest.fixture(scope="session")
def primary() -> Iterator[PostgresServer]:
    """A server that replicas can be made of."""
    root = short_directory()
    server = new_server(root, _SETTINGS)
    server.start()
    yield server
    _remove(server)


@pytest.fixture
def make_replica(primary: PostgresServer) -> Iterator[Callable[[], PostgresServer]]:
    """Makes and starts a streaming replica of this test's own, to be promoted, stopped or paused."""
    made: list[PostgresServer] = []

    def make() -> PostgresServer:
        made.append(_replica_of(primary))
        return made[-1]

    yield make
    for replica in made:
        _remove(replica)


@pytest.fixture(scope="session")
def replica(primary: PostgresServer) -> Iterator[PostgresServer]:
    """One that stays what it is."""
    server = _replica_of(primary)
    yield server
    _remove(server)


def _replica_of(primary: PostgresServer) -> PostgresServer:
    root = short_directory()
    settings = {"fsync": "off", "max_standby_streaming_delay": "0", "wal_retrieve_retry_interval": "50ms"}
    replica = PostgresServer(primary.binaries, root, primary.user, settings)
    shutil.chown(root, primary.user or root.stat().st_uid)
    copied = ("-h", str(primary.root), "-U", ADMIN, "-D", str(replica.data), "-X", "stream", "-R")
    primary.run("pg_basebackup", *copied, "--checkpoint=fast", "--no-sync")
    replica.start()
    return replica


def _remove(server: PostgresServer) -> None:
    server.stop("immediate")
    shutil.rmtree(server.root, ignore_errors=True)


async def ask(server: PostgresServer, statement: str, database: str = "postgres") -> object:
    """The one value, as the superuser."""
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def replayed(primary: PostgresServer, replica: PostgresServer) -> None:
    """Return when the replica has all that the primary had when this was called."""
    reached = await ask(primary, "SELECT pg_current_wal_flush_lsn()::text")

    async def there() -> bool:
        return bool(await ask(replica, f"SELECT pg_last_wal_replay_lsn() >= '{reached}'::pg_lsn"))

    await until(there)


async def run_on(server: PostgresServer, statements: str, database: str) -> None:
    """Run statements as the superuser."""
    await asyncio.to_thread(server.sql, statements, database)
