"""The log of a real server, kept as it comes."""

import asyncio
import shutil
from dataclasses import replace

import asyncpg
import pytest
from fix_log import MakeKept
from fix_postgres import POSTGRES_15
from fix_waiting import until

from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.wal_archive.pushed import Pushed

pytestmark = pytest.mark.asyncio


async def test_what_is_committed_is_kept_within_seconds_whole_segments_and_the_beginning_of_the_next(make_kept: MakeKept):
    kept = await make_kept()
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
        kept.assert_gapless()
        first = kept.archive.newest(1)
        assert first is not None
        await kept.switch(3)
        await kept.write(3)
        await kept.caught_up()
    kept.assert_gapless()
    newest = kept.archive.newest(1)
    assert newest is not None
    assert newest.start_position >= first.start_position + 3 * (1 << 20)
    assert len(kept.acked) == 6
    assert kept.standing.problem == ""
    assert not kept.standing.receiving


async def test_the_server_lets_go_of_what_is_kept_and_of_nothing_else(make_kept: MakeKept):
    kept = await make_kept()
    async with kept.keeping():
        await kept.switch(5)
        await kept.write()  # the last segment has begun, whether or not a clock writes into it
        await kept.caught_up()
        restart = f"SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '{kept.standing.slot}'"

        async def advanced() -> bool:
            newest = kept.archive.newest(1)
            assert newest is not None
            found = int(await kept.fetch(restart) or 0)
            assert found <= newest.end_position
            return found == newest.start_position

        await until(advanced)


@pytest.mark.slow
async def test_what_the_server_has_handed_over_by_itself_meanwhile_leaves_no_gap(make_kept: MakeKept):
    kept = await make_kept()
    for _ in range(2):  # so that nothing whole is left in the spool, which would be gone on from
        async with kept.keeping():
            await kept.write(3)
            await kept.caught_up()
    await kept.switch(3)
    await kept.write(3)
    name = await kept.fetch("SELECT pg_walfile_name(pg_switch_wal())")
    assert name is not None
    Pushed(kept.server.data / "pg_wal" / name, kept.vault.repository, "shop").keep()
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
    kept.assert_gapless()
    assert kept.standing.gap_at is None


@pytest.mark.slow
async def test_the_log_of_an_older_server_is_kept_too(make_kept: MakeKept):
    if not (POSTGRES_15 / "bin" / "postgres").exists():
        pytest.skip(f"PostgreSQL 15 is not in {POSTGRES_15}")
    kept = await make_kept(binaries=POSTGRES_15 / "bin")
    for _ in range(2):
        async with kept.keeping():
            await kept.write(50)
            await kept.switch(2)
            await kept.write(50)
            await kept.caught_up()
        await kept.write(50)
    kept.assert_gapless()
    assert kept.standing.gap_at is None


@pytest.mark.fault
async def test_what_came_damaged_is_asked_for_again(make_kept: MakeKept):
    kept = await make_kept()
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
    await kept.write(30)
    [begun] = kept.work.root.glob("*/log/*.partial")
    data = bytearray(begun.read_bytes())
    data[:64] = bytes(64)
    begun.write_bytes(data)
    # And what does not follow on anything that is kept.
    (begun.parent / "0000000100000000000000FF").write_bytes(bytes(1 << 20))
    async with kept.keeping():
        await kept.caught_up()
    kept.assert_gapless()
    assert not begun.exists()
    assert kept.standing.gap_at is None


@pytest.mark.fault
async def test_a_spool_that_is_lost_loses_nothing(make_kept: MakeKept):
    kept = await make_kept()
    async with kept.keeping():
        await kept.write(3)
        await kept.caught_up()
    await kept.write(3)
    await kept.switch(4)
    await kept.write(3)
    shutil.rmtree(kept.work.root)
    async with kept.keeping():
        await kept.caught_up()
    kept.assert_gapless()


async def test_every_database_that_a_plan_names_has_a_clock_that_ticks(make_kept: MakeKept):
    kept = await make_kept()
    await asyncio.to_thread(kept.server.sql, "CREATE DATABASE other")
    other = Source("other", Kind.FULL, kept.server.dsn(database="other"))
    connection = await asyncpg.connect(other.dsn)

    async def ticks() -> bool:
        if await connection.fetchval("SELECT to_regclass('ostiary.clock') IS NULL"):
            return False
        return bool(await connection.fetchval("SELECT count(*) > 1 FROM ostiary.clock"))

    async with kept.keeping(replace(kept.work, others=lambda: (other,))):
        await until(ticks)
        assert await kept.fetch("SELECT count(*) > 0 FROM ostiary.clock") == "True"
    await connection.close()
