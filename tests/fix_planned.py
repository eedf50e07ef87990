"""An installation of a plan by which the log of a cluster under load is kept; each of its processes may be killed."""

import asyncio
import re
import secrets
import shutil
import sys
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from fix_custody import SHOP
from fix_killing import OWN, OpenYard, Process, Yard, environment, opened
from fix_retention import marked_at
from fix_server import MakeSite
from fix_waiting import going_on, until

from ostiary.log_keeping import cluster_folder, known_cluster
from ostiary_tools.backup import expiry, wal
from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.moment import Time
from ostiary_tools.backup.repository import BACKUPS, SIGNED, StoredBackup
from ostiary_tools.backup.retention import log_needed
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.backup.vanished import vanished
from ostiary_tools.backup.wal_archive import looking, standing
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.standing import Standing
from ostiary_tools.datasources.failures import DRIVER_ERRORS

SETTINGS = {
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "fsync": "off",  # who is killed loses nothing that the system was given
    "summarize_wal": "on",
    "track_commit_timestamp": "on",
    "max_slot_wal_keep_size": "512MB",
    "min_wal_size": "2MB",
    "max_wal_size": "32MB",
}
PLAN = """
[plans.shop]
full = "0 3 1 1 *"
incremental = "0 4 1 1 *"
wal = "kept"
recovery_point_s = 4
keep_last = 1
keep_days = 1
grace_days = 1
"""
TICKS = "CREATE TABLE ticks (id bigserial PRIMARY KEY, filled text DEFAULT repeat(md5(random()::text), 8));"
LONGEST = 4
"""Backups of a chain, before the next full one."""
_TICK_S = 0.02
_APART = timedelta(milliseconds=1)
"""Of two that commit at about the same time the log may have the later one first."""
_COMMITS = """
SELECT pg_xact_commit_timestamp(xmin) AS at, true AS tick, id, xmin::text::bigint AS xid FROM public.ticks
UNION ALL SELECT pg_xact_commit_timestamp(xmin), false, id, xmin::text::bigint FROM ostiary.clock ORDER BY at
"""
_ROWS = "SELECT array(SELECT id FROM public.ticks ORDER BY id), array(SELECT id FROM ostiary.clock ORDER BY id)"


@dataclass(frozen=True)
class Commit:
    """One row of the load's, or of the clock."""

    at: datetime
    tick: bool
    id: int
    xid: int


class Planned(Yard):
    """With the log that is kept, and the load."""

    slots: ClassVar[int] = 1
    sessions: ClassVar[int] = 3

    @property
    def log(self) -> Path:
        """Where the log arrives."""
        vault = self.it.house.vault
        system = known_cluster(vault, "shop")
        assert system is not None
        return cluster_folder(vault, system)

    @property
    def archive(self) -> Archive:
        """What is kept of it."""
        return Archive(self.repository, self.log.name)

    @property
    def standing(self) -> Standing:
        """As it is told."""
        found = standing.read(self.log)
        assert found is not None
        return found

    def receivers(self) -> list[Process]:
        """Who keeps the log beside the worker."""
        folder = str(self.it.house.vault.logs).encode()
        return [one for one in self.programs() if _has(one.pid, folder)]

    def at_work(self) -> list[Process]:
        """All but these."""
        folder = str(self.it.house.vault.logs).encode()
        return [one for one in self.programs() if not _has(one.pid, folder)]

    def load(self) -> AbstractAsyncContextManager[object]:
        """A row every now and then, each a transaction of its own, whatever happens to the cluster, while the block lasts."""
        return going_on(self._load())

    async def caught_up(self, seconds: float = 90) -> None:
        """Return when all that was committed by now is kept."""
        async with self.database() as shop:
            now = await shop.fetchval("SELECT clock_timestamp()")

        def there() -> bool:
            found = standing.read(self.log)
            return found is not None and found.kept_until is not None and found.kept_until >= now

        try:
            await until(there, seconds)
        except TimeoutError:
            raise AssertionError(f"the log does not come: {self.standing}") from None

    async def commits(self) -> list[Commit]:
        """All rows that there are, by when each was committed."""
        async with self.database() as shop:
            return [Commit(**row) for row in await shop.fetch(_COMMITS)]

    async def moment(self, after: datetime, dice: Random) -> datetime:
        """Some moment since then at which the log is kept, and at which nothing was just being committed."""
        commits, kept_until = await self.commits(), self.standing.kept_until
        assert kept_until is not None
        able = [(a.at, b.at) for a, b in pairwise(commits) if after < a.at and b.at < kept_until and b.at - a.at > 2 * _APART]
        begin, end = dice.choice(able)
        return begin + dice.random() * (end - begin - _APART)

    async def assert_exact(self, folder: Path, at: datetime, ground: Ground) -> None:
        """A restored copy has the rows that were committed by then, and no other."""
        by_then = [one for one in await self.commits() if one.at <= at]
        expected = [[one.id for one in by_then if one.tick is tick] for tick in (True, False)]
        async with serving(folder, ground, "ostiary_admin") as server:
            connection = await server.connect("shop")
            try:
                found = [list(ids) for ids in await connection.fetchrow(_ROWS)]
            finally:
                connection.terminate()
            await server.stop()
        assert found == [sorted(ids) for ids in expected], Time(at)

    def physical(self) -> list[StoredBackup]:
        """All backups, the oldest first; each is whole enough to be listed."""
        listed = self.repository.listed()
        assert [one.id for one in listed if one.kept is None] == []
        return [one.kept for one in listed if one.kept is not None]

    def newest(self) -> tuple[StoredBackup, ...]:
        """The newest chain, the full one first."""
        return chain(self.physical()[-1])

    async def assert_no_gap(self, doomed: Collection[str] = ()) -> None:
        """The log is kept from the oldest backup on; nothing that a backup needs is gone, and nobody says that something is.

        Of those that are `doomed` one may be said to lie there still: who let go of it was killed before it was deleted.
        """
        needed = log_needed(one.manifest for one in self.physical())[self.log.name]
        found = self.standing
        assert found.gap_at is None, found
        await asyncio.to_thread(self.archive.continuous, 1, needed, wal.position(found.kept_to))
        said = await asyncio.to_thread(vanished, await self.it.house.vault.recalled())
        undone = {one.manifest.id for one in self.physical()}.intersection(doomed)
        assert said == [one for one in said if one.what in undone and "lies there" in one.words][:1]

    async def assert_all_commits_are_kept(self) -> None:
        """Of those since the oldest backup each that is said to be is in the log's very bytes."""
        oldest, found = self.physical()[0].manifest, self.standing
        needed, kept_until = log_needed([oldest])[self.log.name], found.kept_until
        assert kept_until is not None
        segments = self.archive.continuous(1, needed, wal.position(found.kept_to))
        kept = {one.xid for one in looking.followed(self.archive, segments) if isinstance(one, looking.Commit)}
        ended = self.newest()[0].manifest.ended_at
        assert {one.xid for one in await self.commits() if ended < one.at <= kept_until} <= kept

    async def aged(self, days: int = 30) -> list[str]:
        """What there would be had time passed: all but the newest chain is old, and beside it there is one like it that is, too."""
        newest = self.newest()
        stays = {one.manifest.id for one in newest}
        rest = [one for one in self.physical() if one.manifest.id not in stays]
        made = self._copied((*rest, *newest), timedelta(days=days))
        for one in reversed(rest):
            await self._let_go(one.manifest)
            self.repository.delete(one.manifest.id)
        return made

    async def mark(self, ids: Sequence[str]) -> None:
        """As a worker would have marked them, long enough ago."""
        repository, then = self.repository, datetime.now(UTC) - timedelta(days=4)
        for id_ in ids:
            await marked_at(self.it.site, repository, repository.load(id_).manifest, then, timedelta(days=3))

    async def marked(self, ids: Sequence[str]) -> bool:
        """Whether all of them are."""
        repository = await self.it.house.vault.recalled()
        return set(ids) <= set(expiry.marks(repository, [repository.load(id_).manifest for id_ in ids], datetime.now(UTC)))

    async def expire_begun(self) -> asyncio.subprocess.Process:
        """`ostiary backup expire`, once it was told to go on, or had nothing to ask."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "backup", "expire", "--config", str(self.it.site.folder / "ostiary.toml")),
            env=environment(self.it),
            cwd=self.it.site.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        said = b""
        while piece := await process.stderr.read(4096):
            said += piece
            if found := re.search(rb"Type `(delete \d+)`", said):
                process.stdin.write(found[1] + b"\n")
                break
        return process

    def _copied(self, links: Sequence[StoredBackup], age: timedelta) -> list[str]:
        """Whole backups, each under a new id and dated back, that go on from one another as these do."""
        names: dict[str | None, str] = {}
        for one in links:
            manifest, then = one.manifest, one.manifest.started_at - age
            id_ = names[manifest.id] = f"{then:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
            made = replace(
                manifest, id=id_, job=id_, started_at=then, ended_at=manifest.ended_at - age, parent=names.get(manifest.parent)
            )
            text = encode(made)
            draft = shutil.copytree(self._backups / manifest.id, self.it.site.folder / id_)
            signature = self.repository.writer().sign(f"{BACKUPS}/{id_}/manifest.json", text)
            for name, data in zip(SIGNED, (text, signature), strict=True):
                (draft / name).write_bytes(data)
            draft.rename(self._backups / id_)
        return list(names.values())

    async def _let_go(self, made: Manifest) -> None:
        of, how = self.repository.description.id, (made.datasource, made.kind.value)
        await self.it.house.vault.note(lambda register: register.let_go(of, made.id, how, "deleted", "ada"))

    @property
    def _backups(self) -> Path:
        return self.it.house.vault.folder / BACKUPS

    async def _load(self) -> None:
        while True:
            with suppress(*DRIVER_ERRORS):
                async with self.database() as shop:
                    while True:
                        await shop.execute("INSERT INTO ticks DEFAULT VALUES")
                        await asyncio.sleep(_TICK_S)  # the load's measure
            await asyncio.sleep(_TICK_S)  # while the database is away


@pytest.fixture
def planned(make_site: MakeSite) -> OpenYard[Planned]:
    """`async with planned() as it`: its log's segments are of 1 MB."""
    return partial(opened, make_site, Planned, SHOP + TICKS, SETTINGS, initdb=("--wal-segsize=1",), more=OWN + PLAN)


def kind_of(kind: Kind) -> dict[str, str]:
    """Arguments of `create_backup`."""
    return {"datasource": "shop", "kind": kind.value}


def _has(pid: int, word: bytes) -> bool:
    """Whether it was told that word."""
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
