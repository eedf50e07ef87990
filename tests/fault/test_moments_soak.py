"""A cluster of 1 GB under write load: a full backup, two incremental ones, all of its log; and it comes to any moment, to the row.

The clock is a row every 20 ms, each a transaction of its own whose time of commit is known. The restores to a time, an LSN
and a name are whole ones. The 50 random ones share one copy of the full backup, which is stopped at each moment as a restore is,
looked at, and goes on to the next one.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_copies import EMBEDDED, ground_of
from fix_full import quiet
from fix_moments import keep_log
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.moment import Lsn, Moment, Name, Time
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.bases import Asked, ways
from ostiary_tools.backup.restoring.cluster import RECOVERY
from ostiary_tools.backup.restoring.folders import settle
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.restoring.moments import _held, _told, _unpacked, into_folder
from ostiary_tools.backup.restoring.survey import located
from ostiary_tools.backup.scratch import Scratch, serving
from ostiary_tools.backup.taking import Workshop, take

pytestmark = [pytest.mark.slow, pytest.mark.fault]
SCALE = 64
"""Of pgbench: 15 MB each."""
TARGETS = 50
LOAD_S = 25.0
SETTINGS = {
    "fsync": "off",
    "wal_keep_size": "16GB",
    "max_wal_size": "4GB",
    "summarize_wal": "on",
    "track_commit_timestamp": "on",
    "shared_buffers": "256MB",
}
TABLES = """
CREATE SCHEMA ostiary;
CREATE TABLE ostiary.clock (id bigint PRIMARY KEY, at timestamptz NOT NULL, lsn pg_lsn NOT NULL);
"""
BEAT = """
INSERT INTO ostiary.clock SELECT coalesce(max(id), 0) + 1, clock_timestamp(), pg_current_wal_insert_lsn() FROM ostiary.clock
"""


@dataclass(frozen=True)
class Beat:
    """A row of the clock."""

    id: int
    committed: datetime
    lsn: int


@dataclass
class Plant:
    """The cluster, what is kept of it, and its clock."""

    server: PostgresServer
    vault: Vault
    spools: Path
    sought: Sought

    @property
    def dsn(self) -> str:
        """Its database."""
        return self.server.dsn(database="bench")

    async def back_up(self, kind: Kind) -> StoredBackup:
        """One more backup."""
        source = Source("shop", kind, self.dsn)
        manifest = await take(self.vault.repository, source, secrets.token_hex(8), Workshop(self.sought, self.spools), quiet)
        assert manifest.kind is kind
        return self.vault.repository.load(manifest.id)

    async def beats(self) -> list[Beat]:
        """All of the clock, by when each row was committed."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch(
                "SELECT id, pg_xact_commit_timestamp(xmin) AS at, lsn::text FROM ostiary.clock ORDER BY id"
            )
            return [Beat(row["id"], row["at"], wal.position(row["lsn"])) for row in rows]
        finally:
            await connection.close()

    async def asked(self, sql: str) -> str:
        """One value."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return str(await connection.fetchval(sql))
        finally:
            await connection.close()

    def asking(self, moment: Moment) -> Asked:
        """For it."""
        return Asked(self.vault.repository, "shop", moment)


@asynccontextmanager
async def load(plant: Plant) -> AsyncIterator[None]:
    """`pgbench` and the clock, while the block lasts."""
    words = ("-h", str(plant.server.root), "-U", "ostiary_admin", "-n", "-c", "2", "-j", "1", "-T", "86400", "-R", "300", "bench")
    process = await asyncio.create_subprocess_exec(plant.server.binaries / "pgbench", *words, stdout=-3, stderr=-3)
    ticking = asyncio.create_task(_ticking(plant.dsn))
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        process.terminate()
        await process.wait()


async def _ticking(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        while True:
            await connection.execute(BEAT)
            await asyncio.sleep(0.02)  # the clock's beat, by which moments are told apart
    finally:
        connection.terminate()


async def clock_of(server: Scratch) -> int:
    """The newest row that a copy has; none is missing before it."""
    connection = await server.connect("bench")
    try:
        row = await connection.fetchrow("SELECT count(*) AS rows, max(id) AS newest FROM ostiary.clock")
        assert row["rows"] == (row["newest"] or 0), "rows of the clock are missing"
        return int(row["newest"] or 0)
    finally:
        connection.terminate()


def by_time(beats: list[Beat], at: datetime) -> int:
    """The row that a copy ends with which is at that time."""
    return max((beat.id for beat in beats if beat.committed <= at), default=0)


def test_fifty_random_moments_and_three_whole_restores_are_exact_to_the_row(tmp_path: Path, site: Path, sought: Sought):
    root = short_directory()
    server = new_server(root, SETTINGS)
    server.start()
    try:
        server.sql("CREATE DATABASE bench")
        server.run("pgbench", "-h", str(root), "-U", "ostiary_admin", "-i", "-q", "-s", str(SCALE), "bench")
        server.sql(TABLES, "bench")
        spools = tmp_path / "spools"
        spools.mkdir()
        plant = Plant(server, new_vault(tmp_path), spools, sought)
        name, before = asyncio.run(lived(plant))
        keep_log(plant.vault.repository, server, "shop")
        beats = asyncio.run(plant.beats())
        asyncio.run(whole(plant, beats, (name, before), site))
        asyncio.run(random(plant, beats, site))
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


async def lived(plant: Plant) -> tuple[str, int]:
    """A name, and the newest row of the clock that was committed before it was given, while nothing beat.

    What is waited for is the load itself: moments are drawn from the whole of these stretches.
    """
    async with load(plant):
        await plant.back_up(Kind.FULL)
        await asyncio.sleep(LOAD_S / 3)
        await plant.back_up(Kind.INCREMENTAL)
        await asyncio.sleep(LOAD_S / 3)
    before = (await plant.beats())[-1].id
    await plant.asked("SELECT pg_create_restore_point('before_the_mistake')::text")
    async with load(plant):
        await asyncio.sleep(LOAD_S / 6)
        await plant.back_up(Kind.INCREMENTAL)
        await asyncio.sleep(LOAD_S / 3)
    return "before_the_mistake", before


async def whole(plant: Plant, beats: list[Beat], named: tuple[str, int], site: Path) -> None:
    """To a time, to the place of a beat, and to a name; each started once more and asked."""
    one, other = beats[len(beats) * 3 // 4], beats[-20]
    asked: list[tuple[Moment, int]] = [
        (Time(one.committed), by_time(beats, one.committed)),
        (Lsn(other.lsn), other.id - 1),
        (Name(named[0]), named[1]),
    ]
    for number, (moment, newest) in enumerate(asked):
        target = site / str(number)
        made = await into_folder(plant.asking(moment), target, plant.sought, quiet)
        async with serving(target, ground_of(EMBEDDED, plant.sought), "ostiary_admin") as server:
            assert await clock_of(server) == newest, made.reached.words
            await server.stop()
        print(f"{moment}: exact, row {newest}, from {made.reached.base.manifest.kind}; {made.reached.words}")  # noqa: T201 the evidence
        shutil.rmtree(target)


async def random(plant: Plant, beats: list[Beat], site: Path) -> None:
    """Fifty moments after the full backup, one after the other; recovery stops at each, and goes on to the next from there."""
    ground = ground_of(EMBEDDED, plant.sought)
    way = ways(plant.asking(Time(beats[-1].committed)))[-1]
    assert way.base.manifest.kind is Kind.FULL
    able = [beat for beat in beats[:-1] if beat.committed > way.base.manifest.ended_at]
    moments = sorted(_near(secrets.choice(able), beats[-1].committed) for _ in range(TARGETS))
    copy = await _unpacked(way.base, site / "data", ground, quiet)
    settle(copy.data_dir, ground.account)
    stretch, newest = copy.stretch, 0
    for at in moments:
        feed = Feed(way.archive, copy.data_dir / "pg_wal", ground.account, stretch, way.timeline)
        stop = await asyncio.to_thread(located, Time(at), feed, lambda _: None)
        if stop.last is not None or not newest:  # else nothing has ended since the one before, and the copy is there already
            chosen = {**RECOVERY, **await _told(stop, way, copy.data_dir, ground), "fsync": "off"}
            async with serving(copy.data_dir, ground, "ostiary_admin", chosen) as server:
                await _held(server, stop, quiet)
                newest = await clock_of(server)
                await server.stop()
        assert newest == by_time(beats, at), f"{at}: {newest} where {by_time(beats, at)} was the last before"
        stretch = replace(stretch, start=stop.end, end=stop.end)
    print(f"{TARGETS} random moments among {len(able)} beats: each exact to the row")  # noqa: T201 the evidence


def _near(beat: Beat, end: datetime) -> datetime:
    at = beat.committed + timedelta(microseconds=secrets.randbelow(20_000))
    return at if at < end else beat.committed
