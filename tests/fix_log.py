"""The log of a small server of the test's own, kept as it comes, and what a client was told meanwhile."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault, reopened
from fix_objects import reopened_there
from fix_postgres import PostgresServer
from fix_waiting import going_on, until

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.session import system_identifier
from ostiary_tools.backup.storage import lease
from ostiary_tools.backup.storage.bucket import Address
from ostiary_tools.backup.wal_archive import looking, standing
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.receiver import Pace, Work, keep
from ostiary_tools.backup.wal_archive.standing import Standing
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.errors import ToolError

SETTINGS = {"max_slot_wal_keep_size": "64MB", "min_wal_size": "2MB", "max_wal_size": "8MB", "autovacuum": "off"}
PACE = Pace(tail_s=0.5, beat_s=0.5)
_WRITE = "INSERT INTO acked DEFAULT VALUES RETURNING pg_current_xact_id()::text, id"
TABLE = "CREATE TABLE acked (id serial, filled text DEFAULT repeat(md5(random()::text), 40))"


@dataclass
class Kept:
    """A server, a vault, and what is kept of the one in the other."""

    server: PostgresServer
    vault: Vault
    work: Work
    acked: list[tuple[datetime, int]] = field(default_factory=list)
    """When, by the server's clock, a client was told of a commit, and which transaction that was."""

    @property
    def archive(self) -> Archive:
        """As another process sees it."""
        return Archive(self.vault.repository, self.work.system_identifier)

    @property
    def standing(self) -> Standing:
        """As it is told."""
        found = standing.read(self.work.root)
        assert found is not None
        return found

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """As the owner."""
        connection = await asyncpg.connect(self.server.dsn())
        try:
            yield connection
        finally:
            await connection.close()

    def keeping(self, work: Work | None = None) -> AbstractAsyncContextManager["asyncio.Task[None]"]:
        """While the block lasts, begun again when it cannot go on, as a worker does."""
        return going_on(_kept(work or self.work))

    async def write(self, count: int = 1) -> None:
        """Commits of which a client is told."""
        async with self.connection() as connection:
            for _ in range(count):
                await self._write(connection)

    def load(self) -> AbstractAsyncContextManager[object]:
        """Commits without end, through whatever happens to the server, while the block lasts."""
        return going_on(self._load())

    async def switch(self, count: int = 1) -> None:
        """Segments that become whole."""
        async with self.connection() as connection:
            for _ in range(count):
                await connection.fetchval("SELECT pg_logical_emit_message(false, 'test', 'x')")
                await connection.fetchval("SELECT pg_switch_wal()")

    async def fetch(self, statement: str) -> str | None:
        """One value as text."""
        async with self.connection() as connection:
            found = await connection.fetchval(statement)
            return None if found is None else str(found)

    async def caught_up(self, seconds: float = 60) -> None:
        """Return when all that was committed by now is kept."""
        now = await self.fetch("SELECT clock_timestamp()")
        assert now is not None
        at = datetime.fromisoformat(now)

        def there() -> bool:
            found = standing.read(self.work.root)
            return found is not None and found.kept_until is not None and found.kept_until >= at

        await until(there, seconds)

    def assert_gapless(self, start: int | None = None) -> None:
        """From the first segment on, through all timelines, every acknowledged commit is there that is said to be."""
        archive = self.archive
        first, last = archive.timelines()[0], archive.timelines()[-1]
        oldest = archive.oldest(first)
        assert oldest is not None
        begin = oldest.start_position if start is None else start
        segments = archive.continuous(last, begin, wal.position(self.standing.kept_to), origin=first)
        commits = {one.xid for one in looking.followed(archive, segments) if isinstance(one, looking.Commit)}
        until_ = self.standing.kept_until
        assert until_ is not None
        wanted = {xid for at, xid in self.acked if at <= until_}
        assert wanted <= commits

    async def _write(self, connection: asyncpg.Connection) -> None:
        row = await connection.fetchrow(_WRITE)
        self.acked.append((await connection.fetchval("SELECT clock_timestamp()"), int(row[0])))

    async def _load(self) -> None:
        while True:
            with suppress(*DRIVER_ERRORS):
                async with self.connection() as connection:
                    while True:
                        await self._write(connection)
            await asyncio.sleep(0.05)  # before a server is asked again that was killed


async def keeper(kept: Kept, home: Path, bucket: Address | None = None) -> asyncio.subprocess.Process:
    """A process that keeps it, to be killed; `home` is the vault's. In a `bucket` a second of silence counts as death."""
    where = [] if bucket is None else [json.dumps(asdict(bucket))]
    words = (str(home), kept.server.dsn(), kept.work.system_identifier, str(kept.work.root), *where)
    return await asyncio.create_subprocess_exec(sys.executable, __file__, *words, stdin=asyncio.subprocess.DEVNULL)


async def _kept(work: Work) -> None:
    while True:
        with suppress(ToolError, OSError):
            await keep(work)
        await asyncio.sleep(0.1)  # the worker's pause before it begins again, made short


MakeKept = Callable[..., Awaitable[Kept]]


@pytest.fixture
def make_kept(own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought) -> MakeKept:
    """`make_kept()` makes a server with segments of 1 MB, and what its log is to be kept with."""

    async def make(settings: Mapping[str, str] = SETTINGS, vault: Vault | None = None, binaries: Path | None = None) -> Kept:
        server = await asyncio.to_thread(own_server, initdb=("--wal-segsize=1",), binaries=binaries, **settings)
        await asyncio.to_thread(server.sql, TABLE)
        return await kept_of(server, vault or new_vault(tmp_path), sought, tmp_path)

    return make


async def kept_of(server: PostgresServer, vault: Vault, sought: Sought, home: Path, pace: Pace = PACE) -> Kept:
    """What a server's log is to be kept with."""
    system = await system_identifier(server.dsn())
    source = Source("shop", Kind.FULL, server.dsn())
    return Kept(server, vault, Work(source, vault.repository, sought, home / "logs" / system, system, pace))


def elsewhere(kept: Kept, server: PostgresServer) -> Kept:
    """The same log, of a server that goes on in the place of the first."""
    return replace(kept, server=server, work=replace(kept.work, source=Source("shop", Kind.FULL, server.dsn())))


if __name__ == "__main__":
    _home, _dsn, _system, _root, *_bucket = sys.argv[1:]
    _source = Source("shop", Kind.FULL, _dsn)
    lease.HELD_S = 1
    _there = [reopened_there(Path(_home), Address(**json.loads(one))) for one in _bucket] or [reopened(Path(_home))]
    asyncio.run(_kept(Work(_source, _there[0], Sought(), Path(_root), _system, PACE)))
