"""The log of a real server in a bucket: streamed there under load, restored to the row, without a gap whatever the store does."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from fix_damage import backed_up
from fix_full import quiet
from fix_log import SETTINGS, Kept, MakeKept, keeper
from fix_objects import IMPATIENT, ObjectServer, a_minute_later, object_keys, object_vault, reopened_there
from fix_trouble import Trouble, Wrong
from fix_waiting import until

from ostiary.config.backup import Plan
from ostiary.expiring import Expiry, due, expire
from ostiary_tools.backup import expiry
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.moment import Moment, Time, Transaction
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.bases import Asked
from ostiary_tools.backup.restoring.moments import into_folder
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.backup.storage.bucket import Address, Patience, open_bucket
from ostiary_tools.backup.storage.objects import Objects, Record
from ostiary_tools.backup.strict_json import decode
from ostiary_tools.backup.wal_archive import standing
from ostiary_tools.backup.wal_archive.verification import verify_log
from ostiary_tools.errors import Damaged, Refused

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

HASTY = Patience(request_s=1, tries=2, whole_s=2, pause_s=0.01)
DAY = timedelta(days=1)


@dataclass
class Streamed:
    """A log on its way into a bucket, and the place before that where things go wrong."""

    kept: Kept
    address: Address
    trouble: Trouble
    home: Path

    @property
    def objects(self) -> Objects:
        """The bucket, on a way where nothing goes wrong, as somebody sees it who comes new."""
        return Objects(open_bucket(self.address, IMPATIENT))

    async def back_up(self, kind: Kind, sought: Sought) -> StoredBackup:
        """One more."""
        source = Source("shop", kind, self.kept.server.dsn())
        return await backed_up(self.kept.vault, source, sought, f"{kind} {len(self.kept.acked)}")

    async def acked(self, more: int) -> tuple[datetime, int]:
        """The last commit that a client was told of, when there were so many more."""
        now = len(self.kept.acked)
        await until(lambda: len(self.kept.acked) >= now + more, 60)
        return self.kept.acked[-1]


MakeStreamed = Callable[..., Awaitable[Streamed]]


@pytest.fixture
def make_streamed(make_kept: MakeKept, object_server: ObjectServer, trouble: Trouble, tmp_path: Path) -> MakeStreamed:
    """`make_streamed()` makes a server whose log is kept in a bucket."""

    async def make(**settings: str) -> Streamed:
        address = await asyncio.to_thread(object_server.bucket)
        vault = await asyncio.to_thread(object_vault, Objects(open_bucket(address, IMPATIENT)), tmp_path)
        kept = await make_kept({**SETTINGS, **settings}, vault)
        there = await asyncio.to_thread(reopened_there, tmp_path, trouble.before(address), HASTY)
        return Streamed(replace(kept, work=replace(kept.work, repository=there)), address, trouble, tmp_path)

    return make


async def restored(it: Streamed, moment: Moment, copy: Path, sought: Sought, ground: Ground) -> set[int]:
    """Which transactions wrote the rows of a copy."""
    await into_folder(Asked(it.kept.vault.repository, "shop", moment), copy, sought, quiet)
    async with serving(copy, ground, "ostiary_admin") as server:
        connection = await server.connect("postgres")
        rows = await connection.fetch("SELECT xmin::text::bigint AS xid FROM public.acked")
        await connection.close()
        await server.stop()
    return {row["xid"] for row in rows}


async def test_a_log_streamed_under_load_is_restored_from_the_bucket_to_the_row_verified_and_trimmed(
    make_streamed: MakeStreamed, sought: Sought, ground: Ground, site: Path
):
    it = await make_streamed(summarize_wal="on", max_slot_wal_keep_size="1GB")
    kept, repository = it.kept, it.kept.vault.repository
    async with kept.keeping(), kept.load():
        full = await it.back_up(Kind.FULL, sought)
        first = await it.acked(100)
        incremental = await it.back_up(Kind.INCREMENTAL, sought)
        second = await it.acked(100)
        again = await it.back_up(Kind.FULL, sought)
        third = await it.acked(100)
        leaf = await it.back_up(Kind.INCREMENTAL, sought)
        await it.acked(50)
        await kept.caught_up()
    assert incremental.manifest.parent == full.manifest.id
    kept.assert_gapless()
    for base in (full, incremental, again, leaf):
        found = await asyncio.to_thread(verify_log, repository, base.manifest, lambda _: None)
        assert (found.damages, found.segments > 1) == ((), True)
    xids = [xid for _, xid in kept.acked]

    def until_(mark: tuple[datetime, int]) -> set[int]:
        return {*xids[: xids.index(mark[1]) + 1]}

    assert await restored(it, Transaction(first[1]), site / "first", sought, ground) == until_(first)
    assert await restored(it, Time(second[0]), site / "second", sought, ground) == until_(second)
    # What no plan keeps is marked in the bucket, and goes, and the log before the oldest that stays with it.
    plans, now = {"shop": Plan(keep_last=1, keep_days=1, grace_days=1)}, datetime.now(UTC)
    for made in (full.manifest, incremental.manifest):
        expiry.mark(repository, made, now, DAY)
    shown = due(repository, plans, now + 3 * DAY)
    assert [one.id for one in shown.backups] == [incremental.manifest.id, full.manifest.id], "leaf to root"
    for one in shown.backups:
        repository.delete(one.id)
    before = sum(1 for _ in kept.archive.segments(1))
    done = await expire(repository, plans, due(repository, plans, now), Expiry("ada", _note))
    assert done.segments >= before - sum(1 for _ in kept.archive.segments(1)) > 0
    assert (await asyncio.to_thread(verify_log, repository, again.manifest, lambda _: None)).damages == ()
    assert await restored(it, Time(third[0]), site / "third", sought, ground) == until_(third)
    with pytest.raises((Refused, Damaged)):
        await restored(it, Transaction(first[1]), site / "gone", sought, ground)


async def _note(event: str, facts: object) -> None:
    """Nobody reads it."""


async def test_a_store_that_stalls_and_then_fails_is_told_and_caught_up_with_and_the_server_keeps_the_log_meanwhile(
    make_streamed: MakeStreamed,
):
    it = await make_streamed()
    kept, patient = it.kept, Objects(open_bucket(it.trouble.before(it.address), replace(HASTY, request_s=60)))
    there = replace(kept.work.repository, storage=patient)
    async with kept.keeping(replace(kept.work, repository=there)):
        await kept.write(3)
        await kept.caught_up()
        it.trouble.after(0, Wrong.STALLS)
        async with kept.load():
            seen = it.trouble.count
            await until(lambda: it.trouble.count > seen)
            said = kept.standing
            await until(lambda: kept.standing.said_at > said.said_at + timedelta(seconds=2))
            assert kept.standing.server_at != said.server_at, "what waits for the store holds up nothing that is told"
            assert (kept.standing.lag_s(datetime.now(UTC)) or 0) > (said.lag_s(said.said_at) or 0)
            it.trouble.ended.set()  # from now on connections are lost at once
            await until(lambda: "the object store of" in kept.standing.problem, 60)
            held = kept.standing.held_bytes
            await until(lambda: kept.standing.held_bytes > held + (1 << 20), 60)
            assert [one.code for one in standing.alarms(kept.standing, 3600, 0)] == ["problem"]
            it.trouble.fate = lambda *_: None
            await it.acked(50)
        await kept.caught_up()
    kept.assert_gapless()
    assert (kept.standing.problem, kept.standing.gap_at) == ("", None)


async def test_what_is_lost_of_requests_here_and_there_leaves_no_gap(make_streamed: MakeStreamed):
    it = await make_streamed()
    kinds = (Wrong.FAILS, Wrong.LOST, Wrong.CUT, Wrong.HALF, Wrong.FLIPPED)
    it.trouble.fate = lambda _method, _path, number: kinds[number % len(kinds)] if number % 4 == 0 else None
    async with it.kept.keeping(), it.kept.load():
        await it.acked(300)
        await it.kept.caught_up()
    it.kept.assert_gapless()
    assert it.kept.standing.gap_at is None


async def test_who_is_killed_in_the_middle_of_a_put_is_followed_by_one_who_keeps_the_rest_and_nothing_is_left_over(
    make_streamed: MakeStreamed, object_server: ObjectServer
):
    it = await make_streamed()
    kept = it.kept
    async with kept.load():
        for moment in (3, 6):
            worker = await keeper(kept, it.home, it.trouble.before(it.address))
            try:
                await it.acked(50)
                await kept.caught_up()
                puts = _puts(it.trouble, stalled_at=moment)
                await until(lambda puts=puts, moment=moment: len(puts) >= moment, 60)  # type: ignore[misc]
            finally:
                worker.kill()
                await worker.wait()
            it.trouble.fate = lambda *_: None
    worker = await keeper(kept, it.home, it.address)
    try:
        await kept.caught_up()
    finally:
        worker.kill()
        await worker.wait()
    kept.assert_gapless()
    assert kept.standing.gap_at is None
    with a_minute_later():
        it.objects.sweep()
    assert _strays(it, object_server) == []


def _puts(trouble: Trouble, stalled_at: int) -> list[str]:
    """Of what is put from now on; that one and whatever comes after it never arrive."""
    seen: list[str] = []

    def fate(method: str, path: str, _: int) -> Wrong | None:
        if method == "PUT":
            seen.append(path)
        return Wrong.STALLS if len(seen) >= stalled_at else None

    trouble.fate = fate
    return seen


def _strays(it: Streamed, server: ObjectServer) -> list[str]:
    """Objects of folders that no record names."""
    keys = [PurePosixPath(key) for key in object_keys(server, it.address)]
    bucket = open_bucket(it.address, IMPATIENT)
    staged = [key for key in keys if key.parent.name.startswith("_")]
    records = [str(key) for key in keys if key not in staged and key.name.startswith("_")]
    named = {decode(key, bytes(bucket.get(key, 1 << 20).data), Record, 1).folder for key in records}
    return [str(key) for key in staged if str(key.parent) not in named]


async def test_what_waits_on_this_machine_may_be_lost_while_the_store_is_away(make_streamed: MakeStreamed):
    it = await make_streamed()
    kept = it.kept
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
        it.trouble.after(0, Wrong.FAILS)
        await kept.write(20)
        await kept.switch(10)
        await until(lambda: kept.standing.problem != "", 60)
    async with kept.connection() as connection:
        # Whatever the server does not keep for us is gone after these.
        for _ in range(3):
            await connection.execute("CHECKPOINT")
            await connection.fetchval("SELECT pg_switch_wal()")
    for path in kept.work.root.rglob("0*"):
        path.unlink()
    it.trouble.fate = lambda *_: None
    async with kept.keeping():
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None
