"""The kept log through kills, losses, full disks and promotions: without a gap, with all that a client was told long enough ago."""

import asyncio
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fix_backup import new_vault
from fix_copies import processes_with
from fix_disk import small_file_system
from fix_faults import crash, processes, stopped
from fix_log import SETTINGS, Kept, MakeKept, elsewhere, keeper
from fix_postgres import PostgresServer, short_directory
from fix_waiting import until

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive import receiver, standing

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

KILLS = 12


def receivers(kept: Kept) -> list[int]:
    """Of that log, the programs that receive."""
    return [pid for pid in processes_with("pg_receivewal") if _receives(pid, kept)]


def _receives(pid: int, kept: Kept) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return str(kept.work.root).encode() in words and b"leash.py" not in words


async def acked(kept: Kept, more: int) -> None:
    """Return when a client was told of so many more commits."""
    now = len(kept.acked)
    await until(lambda: len(kept.acked) >= now + more, 60)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small one for a repository."""
    with small_file_system("40m") as mounted:
        yield mounted


async def filled(kept: Kept, disk: Path) -> Path:
    """What takes all room of the disk that the repository is on, once the log's beginning is kept."""
    await kept.write(3)
    await kept.caught_up()
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free))
    return filler


async def test_whoever_is_killed_at_whatever_moment_the_log_has_no_gap(make_kept: MakeKept, tmp_path: Path):
    kept, chance = await make_kept(), random.SystemRandom()
    worker = await keeper(kept, tmp_path)
    killed = []
    try:
        async with kept.load():
            for _ in range(KILLS):
                await acked(kept, chance.randrange(1, 400))
                killed.append(chance.choice(("worker", "receiver", "server")))
                match killed[-1]:
                    case "worker":
                        worker.kill()
                        await worker.wait()
                        worker = await keeper(kept, tmp_path)
                    case "receiver":
                        for pid in receivers(kept):
                            os.kill(pid, signal.SIGKILL)
                    case "server":
                        await crash(kept.server)
                        await asyncio.to_thread(kept.server.start)
            await acked(kept, 100)
        await kept.caught_up(120)
    finally:
        worker.kill()
        await worker.wait()
    kept.assert_gapless()
    assert kept.standing.gap_at is None, killed


async def test_a_spool_that_is_lost_while_it_fills_loses_nothing(make_kept: MakeKept):
    kept = await make_kept()
    async with kept.keeping(), kept.load():
        for _ in range(3):
            await acked(kept, 150)
            shutil.rmtree(kept.work.root, ignore_errors=True)
        await acked(kept, 150)
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None


async def test_a_repository_that_is_full_is_told_and_caught_up_with_once_there_is_room(disk: Path, make_kept: MakeKept):
    kept = await make_kept(vault=new_vault(disk))
    async with kept.keeping():
        filler = await filled(kept, disk)
        async with kept.load():
            await until(lambda: "no space left" in kept.standing.problem, 60)
            await acked(kept, 500)
            behind = kept.standing
            assert (behind.lag_s(datetime.now(UTC)) or 0) > 0
            assert [one.code for one in standing.alarms(behind, 3600, 0)] == ["problem"]
            filler.unlink()
            await acked(kept, 50)
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.problem == ""
    assert kept.standing.gap_at is None


async def test_what_waits_on_this_machine_may_be_lost_for_the_server_keeps_it_until_it_is_in_the_repository(
    disk: Path, make_kept: MakeKept
):
    kept = await make_kept(vault=new_vault(disk))
    async with kept.keeping():
        filler = await filled(kept, disk)
        await kept.write(20)
        await kept.switch(20)
        await until(lambda: "no space left" in kept.standing.problem, 60)
    async with kept.connection() as connection:
        # Whatever the server does not keep for us is gone after these.
        for _ in range(3):
            await connection.execute("CHECKPOINT")
            await connection.fetchval("SELECT pg_switch_wal()")
    shutil.rmtree(kept.work.root)
    filler.unlink()
    async with kept.keeping():
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None


async def test_a_server_that_answers_nothing_more_is_told_and_its_log_goes_on_when_it_does(
    make_kept: MakeKept, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(receiver, "ANSWERS_S", 1.0)  # nobody waits a minute
    kept = await make_kept()
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
        with stopped(await processes(kept.server)):
            await until(lambda: "does not answer" in kept.standing.problem, 60)
        await kept.write(3)
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None


async def test_what_waits_on_this_machine_is_bounded_and_then_waits_on_the_server(disk: Path, make_kept: MakeKept):
    kept = await make_kept({**SETTINGS, "max_slot_wal_keep_size": "1GB"}, new_vault(disk))
    few = replace(kept.work, pace=replace(kept.work.pace, spool_bytes=4 << 20))
    async with kept.keeping(few):
        filler = await filled(kept, disk)
        async with kept.load():
            await until(lambda: "no more is taken" in kept.standing.problem, 120)
            await acked(kept, 3000)
        spooled = sum(path.stat().st_size for path in kept.work.root.rglob("*") if path.is_file())
        assert spooled < 16 << 20
        assert receivers(kept) == []
        filler.unlink()
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None


async def test_a_slot_that_is_lost_is_told_and_asks_for_a_full_backup(make_kept: MakeKept):
    kept = await make_kept({**SETTINGS, "max_slot_wal_keep_size": "4MB"})
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
    last = wal.position(kept.standing.kept_to)
    await kept.switch(20)
    async with kept.connection() as connection:
        await connection.execute("CHECKPOINT")
        # An idle slot does not pin the log without bound.
        assert await connection.fetchval("SELECT wal_status FROM pg_replication_slots") == "lost"
        assert await connection.fetchval("SELECT sum(size) FROM pg_ls_waldir()") < 16 << 20
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
        found = kept.standing
        assert found.gap_at is not None
        again = wal.position(found.gap_to)
        assert again > last
        assert standing.wants_full(found, last)
        assert [one.code for one in standing.alarms(found, 3600, last)] == ["gap"]
        assert list(standing.alarms(found, 3600, again)) == []
    # What came after it is kept, without a gap from there on.
    del kept.acked[:3]
    kept.assert_gapless(again)


async def test_a_server_that_is_restarted_is_received_from_again(make_kept: MakeKept):
    kept = await make_kept()
    async with kept.keeping(), kept.load():
        for mode in ("fast", "immediate"):
            await acked(kept, 100)
            await asyncio.to_thread(kept.server.stop, mode)
            await until(lambda: not kept.standing.receiving and kept.standing.problem != "", 60)
            await asyncio.to_thread(kept.server.start)
        await acked(kept, 100)
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None


async def test_what_has_come_is_kept_although_the_server_is_gone_for_good(disk: Path, make_kept: MakeKept):
    kept = await make_kept(vault=new_vault(disk))
    async with kept.keeping():
        filler = await filled(kept, disk)
        await kept.write(1500)
        end = int(await kept.fetch("SELECT pg_current_wal_flush_lsn()") or 0)

        async def come() -> bool:
            return int(await kept.fetch("SELECT write_lsn FROM pg_stat_replication") or 0) >= end

        await until(come)
        await asyncio.to_thread(kept.server.stop, "immediate")
        await until(lambda: receivers(kept) == [], 60)
        filler.unlink()
        await until(lambda: (newest := kept.archive.newest(1)) is not None and newest.end_position >= end - 8, 60)
    archive = kept.archive
    newest, oldest = archive.newest(1), archive.oldest(1)
    assert newest is not None
    assert oldest is not None
    assert {xid for _, xid in kept.acked} <= commits(kept, oldest.start_position, newest.end_position)


def commits(kept: Kept, start: int, end: int) -> set[int]:
    """Of all transactions that the kept log has."""
    from ostiary_tools.backup.wal_archive import looking

    segments = kept.archive.continuous(1, start, end)
    return {one.xid for one in looking.followed(kept.archive, segments) if isinstance(one, looking.Commit)}


@pytest.mark.parametrize("away", [False, True], ids=["followed", "left behind"])
async def test_the_log_goes_on_through_a_promotion(
    make_kept: MakeKept, make_standby: Callable[[PostgresServer], PostgresServer], *, away: bool
):
    kept = await make_kept()
    standby = await asyncio.to_thread(make_standby, kept.server)
    async with kept.keeping():
        await kept.write(200)
        await kept.caught_up()
    end = await kept.fetch("SELECT pg_current_wal_flush_lsn()::text")
    async with elsewhere(kept, standby).connection() as connection:

        async def replayed() -> bool:
            return bool(await connection.fetchval(f"SELECT pg_last_wal_replay_lsn() >= '{end}'"))

        await until(replayed)
        if away:
            # The old primary goes on alone for a while, and all of that is kept; then it is given up.
            await connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            await connection.fetchval("SELECT pg_reload_conf()")
            await until(lambda: _streams_to_none(kept))
            lost = len(kept.acked)
            async with kept.keeping():
                await kept.write(1000)
                await kept.caught_up()
            del kept.acked[lost:]
        await connection.fetchval("SELECT pg_promote()")
    await asyncio.to_thread(kept.server.stop, "immediate")
    moved = elsewhere(kept, standby)
    async with moved.keeping():
        await moved.write(300)
        await moved.caught_up()
    assert moved.archive.timelines() == [1, 2]
    moved.assert_gapless()
    assert moved.standing.gap_at is None


async def _streams_to_none(kept: Kept) -> bool:
    return await kept.fetch("SELECT count(*) FROM pg_stat_replication") == "0"


@pytest.fixture
def make_standby() -> Iterator[Callable[[PostgresServer], PostgresServer]]:
    """`make_standby(server)` makes and starts a standby of a server."""
    made: list[PostgresServer] = []

    def make(primary: PostgresServer) -> PostgresServer:
        root = short_directory()
        standby = PostgresServer(primary.binaries, root, primary.user, {**SETTINGS, "wal_retrieve_retry_interval": "50ms"})
        shutil.chown(root, primary.user or root.stat().st_uid)
        primary.run("pg_basebackup", "-h", str(primary.root), "-U", "ostiary_admin", "-D", str(standby.data), "-R", "-c", "fast")
        standby.start()
        made.append(standby)
        return standby

    yield make
    for one in made:
        one.stop("immediate")
        shutil.rmtree(one.root, ignore_errors=True)
