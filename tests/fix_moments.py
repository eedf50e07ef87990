"""A cluster with a history: a backup, moments that are known to the row, and all of its log kept."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, copied, flip, new_vault
from fix_full import backed_up, quiet
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import ClusterFacts
from ostiary_tools.backup.moment import Moment
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.restoring.bases import Asked
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.restoring.moments import Restored, into_folder
from ostiary_tools.backup.restoring.unpacking import unpack_log
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrived import Arrived
from ostiary_tools.embedded.account import ourselves

SEGMENT = 16 << 20
SETTINGS = {
    "fsync": "off",
    "autovacuum": "off",
    "wal_keep_size": "2GB",
    "track_commit_timestamp": "on",
    "max_prepared_transactions": "5",
    "allow_in_place_tablespaces": "on",
}
DATABASE = "history"
CLOCK = "clock"
_FAKED = {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1"}
TABLES = """
CREATE TABLE events (id int PRIMARY KEY, words text, at timestamptz DEFAULT clock_timestamp());
CREATE SCHEMA ostiary;
CREATE TABLE ostiary.clock (id bigserial PRIMARY KEY, at timestamptz, lsn pg_lsn);
"""


@dataclass(frozen=True)
class Mark:
    """A commit: after it the table has events up to this one."""

    id: int
    xid: int
    at: datetime
    """When it was committed, by the server."""
    after: int
    """An LSN behind it and before whatever comes next."""


@dataclass
class History:
    """A server, and what is kept of it."""

    server: PostgresServer
    vault: Vault
    spool: Path
    sought: Sought
    bases: list[StoredBackup] = field(default_factory=list)
    marks: dict[int, Mark] = field(default_factory=dict)
    """In the order in which they were committed."""
    rolled_back: int = 0
    """A transaction."""

    @property
    def dsn(self) -> str:
        """Its database."""
        return self.server.dsn(database=DATABASE)

    @property
    def archive(self) -> Archive:
        """Its log."""
        return Archive(self.vault.repository, self.cluster(0).system_identifier)

    def cluster(self, number: int) -> ClusterFacts:
        """What a base says of its cluster."""
        found = self.bases[number].manifest.cluster
        assert found is not None
        return found

    async def back_up(self) -> StoredBackup:
        """One more full backup."""
        (spool := self.spool / str(len(self.bases))).mkdir()
        self.bases.append(await backed_up(self.vault, self.dsn, spool, self.sought, f"job {len(self.bases)}"))
        return self.bases[-1]

    async def event(self, *ids: int, words: str = "") -> Mark:
        """Each in a transaction of its own, with a row of the clock in one more."""
        connection = await asyncpg.connect(self.dsn)
        try:
            for id_ in ids:
                await connection.execute(
                    "INSERT INTO ostiary.clock (at, lsn) VALUES (clock_timestamp(), pg_current_wal_insert_lsn())"
                )
                await connection.execute("INSERT INTO events (id, words) VALUES ($1, $2)", id_, words)
                self.marks[id_] = await self._mark(connection, id_)
        finally:
            await connection.close()
        return self.marks[ids[-1]]

    def until(self, id_: int) -> list[int]:
        """Which events are there right after this one was committed."""
        order = list(self.marks)
        return sorted(order[: order.index(id_) + 1])

    async def _mark(self, connection: asyncpg.Connection, id_: int) -> Mark:
        row = await connection.fetchrow(
            "SELECT xmin::text::bigint AS xid, pg_xact_commit_timestamp(xmin) AS at, pg_current_wal_insert_lsn()::text AS lsn"
            " FROM events WHERE id = $1",
            id_,
        )
        return Mark(id_, row["xid"], row["at"], wal.position(row["lsn"]))

    async def asked(self, sql: str) -> str:
        """Of the server, one value as text."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return str(await connection.fetchval(sql))
        finally:
            await connection.close()

    def keep(self) -> None:
        """All of the log that the server has, up to where it stands."""
        keep_log(self.vault.repository, self.server, "shop")

    def asking(self, moment: Moment) -> Asked:
        """For it."""
        return Asked(self.vault.repository, "shop", moment)

    async def restored(self, moment: Moment, target: Path) -> Restored:
        """To it."""
        return await into_folder(self.asking(moment), target, self.sought, quiet)


def keep_log(repository: Repository, server: PostgresServer, datasource: str) -> Archive:
    """All of the log that a server has, up to where it stands, under the newest of its timelines."""

    async def standing() -> tuple[str, int]:
        connection = await asyncpg.connect(server.dsn())
        try:
            facts = "SELECT system_identifier::text AS id, pg_current_wal_flush_lsn()::text AS lsn FROM pg_control_system()"
            row = await connection.fetchrow(facts)
            return row["id"], wal.position(row["lsn"])
        finally:
            await connection.close()

    identifier, end = asyncio.run(standing())
    archive = Archive(repository, identifier)
    for path in sorted((server.data / "pg_wal").iterdir()):
        if path.name.endswith(".history"):
            archive.keep_history(int(path.name[:8], 16), path.read_bytes(), datasource)
        if wal.is_segment(path.name) and (begin := wal.begin(path.name, SEGMENT)) < end:
            archive.keep(Arrived(path, path.name, min(end, begin + SEGMENT), SEGMENT), datasource)
    return archive


async def events_in(data_dir: Path, ground: Ground, database: str = DATABASE) -> list[int]:
    """Of a data directory, by a server of its own."""
    async with serving(data_dir, ground, "ostiary_admin") as server:
        connection = await server.connect(database)
        try:
            return [row["id"] for row in await connection.fetch("SELECT id FROM public.events ORDER BY id")]
        finally:
            await connection.close()
            with suppress(Exception):
                await server.stop()


@dataclass
class Logged:
    """The log of the first base in a folder, to be fed from a copy of the repository."""

    feed: Feed
    root: Path
    """Of that copy."""

    def lost(self, number: int) -> str:
        """One of the kept segments, its name."""
        segment = list(self.feed.archive.segments(1))[number]
        shutil.rmtree(self.root / segment.folder)
        return segment.name

    def flipped(self, number: int) -> None:
        """A bit of one."""
        flip(self.root / list(self.feed.archive.segments(1))[number].folder / "segment.zst.age", 0.5)

    def of_another_cluster(self) -> wal.Stretch:
        """The same stretch, if the base were of another cluster."""
        return replace(self.feed.brought, system_identifier="7300000000000000001")


def logged(history: History, folder: Path) -> Logged:
    """In a new folder."""
    (folder / "data" / "pg_wal").mkdir(parents=True)
    vault = copied(history.vault, folder)
    copy = unpack_log(history.bases[0], folder / "data", ourselves(), lambda _: None)
    archive = replace(history.archive, repository=vault.repository)
    return Logged(Feed(archive, folder / "data" / "pg_wal", ourselves(), copy.stretch, 1), vault.root)


@contextmanager
def begun(folder: Path, sought: Sought, binaries: Path | None = None, preload: Path | None = None) -> Iterator[History]:
    """One that has nothing yet but its tables; of the embedded PostgreSQL unless programs are named.

    With a library to `preload` the server's clock is ahead by as many seconds as `clock` says in its folder.
    """
    root = short_directory()
    server = new_server(root, SETTINGS, binaries)
    if preload is not None:
        (root / CLOCK).write_text("+0\n")
        server.environ = {"LD_PRELOAD": str(preload), "FAKETIME_TIMESTAMP_FILE": str(root / CLOCK), **_FAKED}
    server.start()
    try:
        server.sql(f"CREATE DATABASE {DATABASE}")
        server.sql(TABLES, DATABASE)
        (folder / "spool").mkdir()
        yield History(server, new_vault(folder), folder / "spool", sought)
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, sought: Sought) -> Iterator[History]:
    """A base, events 1 to 9 with moments between them, a second base, events 11 to 19. It is not to be changed."""
    with begun(tmp_path_factory.mktemp("history"), sought) as made:
        asyncio.run(_lived(made))
        made.keep()
        yield made


@pytest.fixture
def own_history(tmp_path: Path, sought: Sought) -> Iterator[History]:
    """A base and events 1 to 3."""
    with begun(tmp_path, sought) as made:
        asyncio.run(made.back_up())
        asyncio.run(made.event(1, 2, 3))
        yield made


async def _lived(made: History) -> None:
    await made.back_up()
    await made.event(1, 2, 3)
    await made.asked("SELECT pg_create_restore_point('before_four')")
    await made.event(4)
    await made.asked("SELECT pg_create_restore_point('twice')")
    await made.event(5)
    await made.asked("SELECT pg_create_restore_point('twice')")
    await made.asked("SELECT pg_switch_wal()")
    await _late(made)
    await made.asked("SELECT pg_switch_wal()")
    await made.event(8, 9)
    await made.back_up()
    await made.event(11, 12)
    await made.asked("SELECT pg_switch_wal()")
    await made.event(13, 14)
    await made.asked("SELECT pg_switch_wal()")
    await made.event(15, 19)


async def _late(made: History) -> None:
    """Event 70 is written before 6 and 7, and committed after them; another one was rolled back."""
    connection = await asyncpg.connect(made.dsn)
    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO events VALUES (70)")
            await made.event(6, 7)
        made.marks[70] = await made._mark(connection, 70)
        rolled_back = connection.transaction()
        await rolled_back.start()
        made.rolled_back = await connection.fetchval("INSERT INTO events VALUES (71) RETURNING pg_current_xact_id()::text::bigint")
        await rolled_back.rollback()
    finally:
        await connection.close()
