"""What a fingerprint takes of a server: time, CPU of all its processes, and its memory, in turns in one run. Linux.

- `count(*)`: the same scan without looking at a value.
- `text, in parts`: rows as text, read by two sessions in parts of tables, as for dumps.
- `binary`: as for copies of clusters, by one process; and with a worker of the server, as nobody else has a transaction open.

Of pgbench's accounts, and of a table with columns of many types. What stays in memory is the share of a table that is not read.

    python bench/fingerprints.py [--scale 40] [--rounds 5]
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import asyncpg
from fix_postgres import PostgresServer, new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.manifest import Kind, Way

SETTINGS = {"shared_buffers": "128MB", "max_wal_size": "4GB", "fsync": "off", "autovacuum": "off"}
BANK = "CREATE EXTENSION pg_buffercache; CREATE EXTENSION pg_prewarm; DROP TABLE pgbench_history, pgbench_tellers, pgbench_branches"
MANY = """
CREATE TABLE orders AS SELECT n::int8 AS id, (n::int8 * 7919 % 100000)::int4 AS customer, now() + n * interval '17 s' AS at,
    (n % 100000 / 100.0)::numeric AS total, 'note of ' || n AS note, md5(n::text)::uuid AS key, n % 3 = 0 AS paid,
    CASE WHEN n % 2 = 0 THEN date '2026-01-01' + n % 300 END AS shipped, {more} AS body
FROM generate_series(1, {rows}) n
"""
JSON = "jsonb_build_object('a', n, 'tags', array['x', 'y'], 'ok', true)"
HOT = "CREATE UNLOGGED TABLE hot AS SELECT n, repeat('x', 1000) AS v FROM generate_series(1, 60000) n; VACUUM ANALYZE; CHECKPOINT"
KEPT = "SELECT count(*) FROM public.pg_buffercache WHERE relfilenode = pg_relation_filenode('public.hot')"
Read = Callable[[list[asyncpg.Connection]], Awaitable[object]]


async def counted(sessions: list[asyncpg.Connection]) -> object:
    """Every row of the database's large tables."""
    return [await sessions[0].fetch(f"SELECT count(*) FROM ONLY public.{name}") for name in await _tables(sessions[0])]


async def in_parts(sessions: list[asyncpg.Connection]) -> object:
    """As text, by two sessions of one snapshot."""
    first, other, *_ = sessions
    async with first.transaction(isolation="repeatable_read", readonly=True):
        name = await first.fetchval("SELECT pg_export_snapshot()")
        async with other.transaction(isolation="repeatable_read", readonly=True):
            await other.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            return await taken(first, "bench", Kind.FULL, way=Way.TEXT, beside=[other])


def binary(workers: int) -> Read:
    """As it is done for copies."""

    async def read(sessions: list[asyncpg.Connection]) -> object:
        async with sessions[0].transaction(isolation="repeatable_read", readonly=True):
            return await taken(sessions[0], "bench", Kind.FULL, workers=workers)

    return read


READS: dict[str, Read] = {
    "count(*)": counted,
    "text, in parts": in_parts,
    "binary": binary(0),
    "binary, a worker": binary(1),
}


async def measured(server: PostgresServer, title: str, rows: int, rounds: int) -> None:
    """Each read in turns; what is printed is of one row."""
    sessions = [await asyncpg.connect(server.dsn(database="bench"), statement_cache_size=0) for _ in range(3)]
    watching = sessions[-1]
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in READS}
    for _ in range(rounds):
        for name, read in READS.items():
            await watching.fetchval("SELECT pg_prewarm('public.hot')")
            before, spent, began = await watching.fetchval(KEPT), cpu(server.postmaster()), time.perf_counter()
            await read(sessions)
            seconds, worked = time.perf_counter() - began, cpu(server.postmaster()) - spent
            found[name].append((seconds, worked, await watching.fetchval(KEPT) / before))
    for session in sessions:
        await session.close()
    table = Table("what", "ns of a row", "ns of CPU", "stays in memory", title=f"{title}: {rows:,} rows, {rounds} rounds")
    for name, values in found.items():
        took, worked, kept = (statistics.median(column) for column in zip(*values, strict=True))
        table.add_row(name, f"{took / rows * 1e9:.0f}", f"{worked / rows * 1e9:.0f}", f"{kept:.0%}")
    Console().print(table)


def cpu(postmaster: int) -> float:
    """Seconds of all processes of a server, of those that have ended, too."""
    ended = _fields(postmaster)[13:15]
    spent = sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
    for process in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            if int(_fields(process)[1]) == postmaster:
                spent += int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
    return spent


def _fields(process: int) -> list[str]:
    """Of `/proc/PID/stat`, from the state on."""
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()


async def _tables(session: asyncpg.Connection) -> list[str]:
    asked = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'hot'"
    return [row[0] for row in await session.fetch(asked)]


def filled(server: PostgresServer, statement: str) -> None:
    """A new database."""
    server.sql("DROP DATABASE IF EXISTS bench")
    server.sql("CREATE DATABASE bench")
    if statement == BANK:
        words = ("-h", server.root, "-U", "ostiary_admin", "-i", "-q", "-s", str(options.scale), "bench")
        subprocess.run([server.binaries / "pgbench", *words], check=True, capture_output=True)
        server.sql(BANK, "bench")
    else:
        server.sql(f"CREATE EXTENSION pg_buffercache; CREATE EXTENSION pg_prewarm; {statement}", "bench")
    server.sql(HOT, "bench")


async def main(scale: int, rounds: int) -> None:
    """Set up, measure, print."""
    root = short_directory()
    server = new_server(root, SETTINGS)
    server.start()
    try:
        for title, statement, rows in (
            ("pgbench_accounts", BANK, scale * 100_000),
            ("many types", MANY.format(rows=scale * 30_000, more="n"), scale * 30_000),
            ("and jsonb", MANY.format(rows=scale * 20_000, more=JSON), scale * 20_000),
        ):
            await asyncio.to_thread(filled, server, statement)
            await measured(server, title, rows, rounds)
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=40, help="of pgbench: 100,000 accounts each")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    asyncio.run(main(options.scale, options.rounds))
