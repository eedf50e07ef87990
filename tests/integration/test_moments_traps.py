"""What a log may hold that a copy must not repeat, or cannot without more; and timelines."""

import asyncio
import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from fix_moments import DATABASE, SETTINGS, History, events_in
from fix_postgres import PostgresServer

from ostiary_tools.backup.moment import Latest, Moment, Time, parsed
from ostiary_tools.backup.scratch import Ground
from ostiary_tools.errors import Damaged, Refused

pytestmark = pytest.mark.slow


def restored(history: History, moment: Moment, target: Path) -> str:
    """What was seen of it."""
    return asyncio.run(history.restored(moment, target)).reached.words


def test_no_copy_makes_a_tablespace_where_the_living_servers_files_are(own_history: History, site: Path, ground: Ground):
    """A server in recovery empties the folder that it makes one in."""
    living = own_history.server.root / "elsewhere"
    subprocess.run(["/bin/mkdir", living], check=True)
    shutil.chown(living, own_history.server.user or os.getuid())
    own_history.server.sql(f"CREATE TABLESPACE elsewhere LOCATION '{living}'")
    own_history.server.sql("CREATE TABLE there (v int) TABLESPACE elsewhere; INSERT INTO there VALUES (1)", DATABASE)
    asyncio.run(own_history.event(4))
    own_history.keep()
    before = sorted(path.name for path in living.rglob("*"))
    with pytest.raises(Refused, match="a tablespace was made or dropped") as told:
        restored(own_history, Latest(), site / "copy")
    assert sorted(path.name for path in living.rglob("*")) == before
    assert not (site / "copy").exists()
    restored(own_history, parsed(told.value.hint.split("`")[1]), site / "copy")
    assert asyncio.run(events_in(site / "copy", ground)) == [1, 2, 3]


def test_a_server_that_was_given_more_since_its_backup_is_repeated(own_history: History, site: Path, ground: Ground):
    """A copy with less would pause where that begins, and not at the moment."""
    own_history.server.stop()
    own_history.server.settings = {**SETTINGS, "max_connections": "180", "max_prepared_transactions": "7"}
    own_history.server.start()
    asyncio.run(own_history.event(4, 5))
    own_history.keep()
    restored(own_history, Time(own_history.marks[4].at), site / "copy")
    assert asyncio.run(events_in(site / "copy", ground)) == [1, 2, 3, 4]


def test_a_clock_that_goes_on_after_the_moment_is_damage_and_its_place_in_the_log_another_way(
    own_history: History, site: Path, ground: Ground
):
    """Whoever can write to it forged a row."""
    future = "INSERT INTO ostiary.clock (at, lsn) VALUES (now() + interval '1 day', pg_current_wal_insert_lsn())"
    own_history.server.sql(future, DATABASE)
    asyncio.run(own_history.event(4))
    # The newest row says when: that of event 4 is taken back.
    own_history.server.sql("DELETE FROM ostiary.clock WHERE at < now() + interval '1 hour'", DATABASE)
    asyncio.run(_written(own_history, 5))
    own_history.keep()
    with pytest.raises(Damaged, match="the clock in the copy goes on after the moment") as told:
        restored(own_history, Time(asyncio.run(_mark(own_history, 5))), site / "copy")
    restored(own_history, parsed(f"lsn:{told.value.hint.partition('`lsn:')[2].partition('`')[0]}"), site / "copy")
    assert asyncio.run(events_in(site / "copy", ground)) == [1, 2, 3, 4, 5]


async def _written(history: History, id_: int) -> None:
    connection = await asyncpg.connect(history.dsn)
    await connection.execute("INSERT INTO events (id) VALUES ($1)", id_)
    await connection.execute("INSERT INTO events (id) VALUES ($1)", id_ + 1)
    await connection.close()


async def _mark(history: History, id_: int) -> datetime:
    connection = await asyncpg.connect(history.dsn)
    try:
        at: datetime = await connection.fetchval("SELECT pg_xact_commit_timestamp(xmin) FROM events WHERE id = $1", id_)
        return at
    finally:
        await connection.close()


def test_a_database_that_is_gone_by_then_and_one_that_came_since_are_no_hindrance(own_history: History, site: Path, ground: Ground):
    own_history.server.sql("CREATE DATABASE later")
    own_history.server.sql("CREATE TABLE events (id int); INSERT INTO events VALUES (100)", "later")
    own_history.server.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    own_history.server.sql("INSERT INTO events VALUES (101)", "later")
    own_history.keep()
    words = restored(own_history, Latest(), site / "copy")
    assert "clock" not in words
    assert asyncio.run(events_in(site / "copy", ground, "later")) == [100, 101]


def test_a_moment_after_a_promotion_is_reached_from_a_backup_before_it(own_history: History, site: Path, ground: Ground):
    """What the first server wrote after the place where the second left it is on no way to that."""
    left = asyncio.run(own_history.event(4))
    asyncio.run(own_history.event(5))
    own_history.keep()
    restored(own_history, Time(left.at), site / "second")
    asyncio.run(_lost(own_history))
    second = _promoted(own_history, site / "second")
    try:
        own_history.server = second
        asyncio.run(own_history.event(6, 7))
        own_history.keep()
        words = restored(own_history, Time(own_history.marks[6].at), site / "third")
    finally:
        second.stop("immediate")
    assert "it is at" in words
    assert asyncio.run(events_in(site / "third", ground)) == [1, 2, 3, 4, 6]


async def _lost(history: History) -> None:
    """One more that only the first server has, and never sends."""
    await _written(history, 50)


def _promoted(history: History, data_dir: Path) -> PostgresServer:
    """A restored copy that is put into service."""
    root = history.server.root / "second"
    subprocess.run(["/bin/mkdir", root], check=True)
    subprocess.run(["/bin/cp", "-a", data_dir, root / "data"], check=True)
    subprocess.run(["/bin/chown", "-R", history.server.user or "root", root], check=True)
    (root / "data" / "pg_hba.conf").write_text("local all all trust\n")
    made = PostgresServer(history.server.binaries, root, history.server.user, SETTINGS)
    made.start()
    return made
