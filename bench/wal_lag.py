"""How much would be lost if the server burned: the lag of a log that is kept as it comes, while pgbench writes.

Every two seconds it is noted what `ostiary backup status` says. At the end of each load, while a client goes on to commit rows,
that is compared with what a restore would have: the kept log is decrypted, its commits are read, and the age of the oldest
acknowledged one that is not there is the real lag.

    python bench/wal_lag.py [--scale 20] [--seconds 60] [--clients 4]
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import asyncpg
from fix_backup import new_vault
from fix_log import TABLE, Kept, kept_of
from fix_postgres import PostgresServer, new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup import wal
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.wal_archive import looking, standing
from ostiary_tools.backup.wal_archive.receiver import Pace

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "max_slot_wal_keep_size": "16GB"}
LOOK_S = 2.0


def pgbench(server: PostgresServer, *words: str) -> list[str]:
    """Its command line."""
    return [str(server.binaries / "pgbench"), "-h", str(server.root), "-U", "ostiary_admin", *words, "postgres"]


async def measured(kept: Kept, seconds: float, said: list[float], bytes_: list[float]) -> None:
    """What is said every two seconds, and how much has been written."""
    for _ in range(int(seconds / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        found = standing.read(kept.work.root)
        if found is not None and (lag_s := found.lag_s(datetime.now(UTC))) is not None:
            said.append(lag_s)
            bytes_.append(found.lag_bytes)


def really(kept: Kept, start: int, now: datetime) -> float:
    """The age of the oldest acknowledged commit that a restore of what is kept at this moment would not have."""
    archive = kept.archive
    acked = list(kept.acked)
    segments = archive.continuous(1, start)
    there = {one.xid for one in looking.followed(archive, segments) if isinstance(one, looking.Commit)}
    missing = [at for at, xid in acked if xid not in there]
    return (now - min(missing)).total_seconds() if missing else 0.0


async def server_now(kept: Kept) -> datetime:
    """By its clock."""
    connection = await asyncpg.connect(kept.server.dsn())
    try:
        found: datetime = await connection.fetchval("SELECT clock_timestamp()")
        return found
    finally:
        await connection.close()


async def run(kept: Kept, clients: int, rate: int, seconds: float, table: Table) -> None:
    """One load."""
    said: list[float] = []
    behind: list[float] = []
    kept.acked.clear()
    begun = kept.archive.newest(1)
    start = begun.start_position if begun else 0
    words = ["-n", "-c", str(clients), "-T", str(int(seconds)), *(["-R", str(rate)] if rate else [])]
    from_lsn = wal.position(str(await kept.fetch("SELECT pg_current_wal_insert_lsn()::text")))
    process = await asyncio.create_subprocess_exec(*pgbench(kept.server, *words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    async with kept.load():
        await measured(kept, seconds, said, behind)
        now, found = await server_now(kept), kept.standing
        told = found.lag_s(datetime.now(UTC)) or 0.0
        real = await asyncio.to_thread(really, kept, start, now)
    out = (await process.communicate())[0].decode()
    written = wal.position(str(await kept.fetch("SELECT pg_current_wal_insert_lsn()::text"))) - from_lsn
    tps = next(line.split()[2] for line in out.splitlines() if line.startswith("tps"))
    row = (
        rate or "full",
        f"{float(tps):,.0f}",
        f"{written / 1e6 / seconds:,.1f}",
        f"{statistics.median(said):.1f}",
        f"{max(said):.1f}",
    )
    table.add_row(*map(str, row), f"{max(behind) / 1e6:,.1f}", f"{real:.1f} / {told:.1f}")


async def main(scale: int, seconds: float, clients: int) -> None:
    """Set up, measure, print."""
    root, home = short_directory(), Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    server = new_server(root, SETTINGS)
    await asyncio.to_thread(server.start)
    try:
        await asyncio.to_thread(server.sql, TABLE)
        await asyncio.to_thread(subprocess.run, pgbench(server, "-i", "-q", "-s", str(scale)), check=True, capture_output=True)
        kept = await kept_of(server, new_vault(home), Sought(), home, Pace())
        table = Table(
            "rate", "tps", "log, MB/s", "lag, median s", "worst s", "worst MB", "really / said at the end, s", title="lag"
        )
        async with kept.keeping():
            await kept.caught_up()
            for rate in (100, 1000, 0):
                await run(kept, clients, rate, seconds, table)
            await kept.caught_up(600)
        kept.assert_gapless()
        Console(width=120).print(table)
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=20, help="of pgbench: 15 MB each")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    asyncio.run(main(options.scale, options.seconds, options.clients))
