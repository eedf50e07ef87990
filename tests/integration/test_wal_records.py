"""What we read of a log is what PostgreSQL wrote into it, whatever its users do."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import POSTGRES_15, PostgresServer, new_server, short_directory

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive import pages
from ostiary_tools.backup.wal_archive.boundary import boundary
from ostiary_tools.backup.wal_archive.looking import Commit, found
from ostiary_tools.backup.wal_archive.records import Chain
from ostiary_tools.backup.wal_archive.segment import RestorePoint

FORGED = "x\nrmgr: Transaction tx: 7, lsn: 0/99, desc: COMMIT 2030"
GID = (
    "x\nrmgr: Transaction len (rec/tot):     34/    34, tx:          7, lsn: 0/0FFFFFFF, prev 0/0, desc: COMMIT 2030-01-01 00:00:00"
)
LONG = 30 << 20
"""Bytes of one record that any user can make."""
LINE = re.compile(r"tx: +(\d+), lsn: ([0-9A-F/]+), prev .*? desc: COMMIT(?:_PREPARED)? (?:(\d+): )?(\S+ \S+) UTC")


@pytest.fixture(params=["embedded", pytest.param("15", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """With transactions that can be prepared, and small segments."""
    if request.param == "15" and not (POSTGRES_15 / "bin" / "postgres").exists():
        pytest.skip(f"PostgreSQL 15 is not in {POSTGRES_15}")
    root = short_directory()
    settings = {"max_prepared_transactions": "5", "wal_level": "logical", "wal_keep_size": "1GB", "autovacuum": "off"}
    made = new_server(root, settings, POSTGRES_15 / "bin" if request.param == "15" else None)
    shutil.rmtree(made.data)
    made.run("initdb", "-D", str(made.data), "-U", "ostiary_admin", "--auth=trust", "--locale=C", "--no-sync", "--wal-segsize=1")
    made.start()
    try:
        yield made
    finally:
        made.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


async def worked(server: PostgresServer) -> tuple[str, str]:
    """All that leaves a mark on commits; the LSNs of two restore points."""
    one = await asyncpg.connect(server.dsn())
    await one.execute("CREATE TABLE t (id serial PRIMARY KEY, body text)")
    for _ in range(40):
        await one.execute("INSERT INTO t (body) SELECT repeat(md5(random()::text), 30) FROM generate_series(1, 60)")
    first = await one.fetchval("SELECT pg_create_restore_point('before it')::text")
    async with one.transaction():
        for n in range(70):
            async with one.transaction():
                await one.execute("INSERT INTO t (body) VALUES ($1)", str(n))
    await one.execute("CREATE TABLE gone (id int); CREATE INDEX ON gone (id); INSERT INTO gone VALUES (1)")
    await one.execute("BEGIN; SAVEPOINT a; DROP TABLE gone; INSERT INTO t (body) VALUES ('x'); RELEASE a; CREATE TABLE n (i int);")
    await one.execute(f"PREPARE TRANSACTION '{GID}'")
    await one.execute(f"COMMIT PREPARED '{GID}'")
    await one.execute("SELECT pg_switch_wal()")
    await one.execute("INSERT INTO t (body) SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100000) n")
    await one.execute("BEGIN; INSERT INTO t (body) VALUES ('y'); ROLLBACK")
    await one.execute(f"SELECT pg_logical_emit_message(false, 'x', repeat('x', {LONG}))")
    second = await one.fetchval("SELECT pg_create_restore_point($1)::text", FORGED)
    await one.execute("INSERT INTO t (body) VALUES ('last'); SELECT pg_switch_wal()")
    await one.close()
    return first, second


def segments(server: PostgresServer) -> list[Path]:
    """Those that are full, from the first on."""
    done = server.run("psql", "-XqAt", "-h", str(server.root), "-U", "ostiary_admin", "-d", "postgres", "-c",
                      "SELECT pg_walfile_name(pg_current_wal_lsn())")  # fmt: skip
    return sorted(
        path for path in (server.data / "pg_wal").iterdir() if wal.is_segment(path.name) and path.name < done.stdout.strip()
    )


def read(paths: Sequence[Path], system: str) -> list[Commit | RestorePoint | None]:
    """All that is in them."""
    chain, all_found = Chain(), []
    for path in paths:
        data = path.read_bytes()
        pages.check(path.name, data, system, 1 << 20)
        all_found += [found(record) for record in chain.read(path.name, data)]
    return all_found


def dumped(server: PostgresServer, paths: Sequence[Path], *options: str) -> list[str]:
    """What `pg_waldump` prints."""
    words: list[str | Path] = [server.binaries / "pg_waldump", *options, paths[0], paths[-1].name]
    done = subprocess.run(words, env={"TZ": "UTC"}, user=server.user, cwd="/", text=True, capture_output=True, check=False)
    return done.stdout.splitlines()


def told(server: PostgresServer, paths: Sequence[Path]) -> list[tuple[int, int, datetime]]:
    """What it tells of commits, where nobody forges any."""
    lines = [LINE.search(line) for line in dumped(server, paths, "--rmgr=Transaction") if "0FFFFFFF" not in line]
    return [
        (int(one[3] or one[1]), wal.position(one[2]), datetime.fromisoformat(one[4]).replace(tzinfo=UTC)) for one in lines if one
    ]


def test_commits_and_restore_points_are_those_that_the_server_wrote_and_no_forged_ones(server: PostgresServer):
    first, second = asyncio.run(worked(server))
    paths = segments(server)
    tracemalloc.start()
    try:
        every = read(paths, system_of(paths))
        assert tracemalloc.get_traced_memory()[1] < LONG / 2, "no more than some segments at once, however long a record is"
    finally:
        tracemalloc.stop()
    assert len(paths) > 5
    assert f"{pages.head(paths[0].name, paths[0].read_bytes()).major}" in server.run("postgres", "--version").stdout
    assert None not in every
    assert [(one.name, one.lsn) for one in every if isinstance(one, RestorePoint)] == [("before it", first), (FORGED, second)]
    commits = [one for one in every if isinstance(one, Commit)]
    assert [(one.xid, one.start, one.at) for one in commits] == told(server, paths)
    assert all(one.start < one.end for one in commits)


def test_from_a_place_on_every_record_is_given_and_the_newest_is_known(server: PostgresServer):
    """The end of a segment that was left is none of them: no server that repeats a log stops at it."""
    asyncio.run(left_segments(server))
    paths = segments(server)
    records = [(wal.position(line.partition("lsn: ")[2].partition(",")[0]), line) for line in dumped(server, paths)]
    starts = [start for start, line in records if "desc: SWITCH" not in line]
    commits = {start for start, line in records if "desc: COMMIT" in line}
    left_at, _ = records[-1]  # where its segment was left, which is where the one before it ended
    for place in (starts[0], starts[len(starts) // 2] + 1, starts[-1]):
        chain = Chain(every_from=place)
        given = [record.start for path in paths for record in chain.read(path.name, path.read_bytes())]
        assert given == [start for start in starts if start >= place or start in commits]
        assert chain.newest == (starts[-1], left_at)
        assert chain.end == wal.begin(paths[-1].name, 1 << 20) + (1 << 20)


async def left_segments(server: PostgresServer) -> None:
    """Some that are full, some that were left, the last of them right after its first record."""
    one = await asyncpg.connect(server.dsn())
    await one.execute("CREATE TABLE t (body text)")
    for _ in range(3):
        await one.execute("INSERT INTO t SELECT repeat(md5(n::text), 5) FROM generate_series(1, 5000) n")
        await one.execute("SELECT pg_switch_wal()")
    await one.execute("INSERT INTO t VALUES ('last')")
    await one.execute("SELECT pg_switch_wal()")
    await one.close()


def test_where_a_snapshot_ends_no_name_of_a_prepared_transaction_forges(server: PostgresServer):
    """It says that a commit which every snapshot sees comes after one that this does not see."""
    first, snapshot, before, after = asyncio.run(looked_at(server))
    paths = segments(server)
    system = system_of(paths)
    stretch = wal.Stretch(system, 1, wal.position(first), wal.begin(paths[-1].name, 1 << 20) + (1 << 20), 1 << 20)
    place = boundary(paths[0].parent, stretch, wal.Snapshot.read(snapshot))
    assert place is not None
    assert wal.position(before) <= place < wal.position(after)


async def looked_at(server: PostgresServer) -> tuple[str, str, str, str]:
    """Where a stretch of the log begins, a snapshot, and between which places there is the first commit that it does not see."""
    one = await asyncpg.connect(server.dsn())
    first = await one.fetchval("SELECT pg_switch_wal()::text")
    await one.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    snapshot = await one.fetchval("SELECT pg_current_snapshot()::text")
    before = await one.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    await one.execute("INSERT INTO t VALUES (2)")
    after = await one.fetchval("SELECT pg_current_wal_insert_lsn()::text")
    await one.execute("BEGIN; INSERT INTO t VALUES (3)")
    await one.execute(f"PREPARE TRANSACTION '{GID.replace('tx:          7', 'tx:          3')}'")
    await one.execute("INSERT INTO t VALUES (4); SELECT pg_switch_wal()")
    await one.close()
    return first, snapshot, before, after


@pytest.mark.fault
def test_a_server_that_was_killed_while_it_wrote_goes_on_with_its_chain(server: PostgresServer):
    for _ in range(3):
        writing = "INSERT INTO w (body) SELECT repeat(md5(n::text), 50) FROM generate_series(1, 300000) n"
        asyncio.run(killed(server, writing))
        server.start()
    asyncio.run(worked(server))
    paths = segments(server)
    kept = [path for path in paths if path.name >= oldest_unbroken(paths)]
    every = read(kept, system_of(kept))
    assert [(one.xid, one.start) for one in every if isinstance(one, Commit)] == [one[:2] for one in told(server, kept)]


async def killed(server: PostgresServer, writing: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    await connection.execute("CREATE TABLE IF NOT EXISTS w (body text)")
    lsn = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")
    task = asyncio.create_task(connection.execute(writing))
    other = await asyncpg.connect(server.dsn())
    while await other.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::pg_lsn) < 3000000", lsn):
        pass
    os.kill(server.postmaster(), signal.SIGQUIT)
    await asyncio.gather(task, return_exceptions=True)
    for each in (connection, other):
        each.terminate()


def system_of(paths: Sequence[Path]) -> str:
    return pages.head(paths[0].name, paths[0].read_bytes()).system_identifier


def oldest_unbroken(paths: Sequence[Path]) -> str:
    """From where on no name is left out."""
    starts = [wal.begin(path.name, 1 << 20) for path in paths]
    at = max((n for n in range(1, len(starts)) if starts[n] != starts[n - 1] + (1 << 20)), default=0)
    return paths[at].name
