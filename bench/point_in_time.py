"""How long it takes to come to a moment, and how much of it is PostgreSQL's own: a cluster of pgbench, and as much log after it.

- `unpack`: the backup, decrypted, decompressed, written, every file compared.
- `log`: its segments likewise, and where in them the moment is.
- `PostgreSQL`: from the start of its server to where it is held, and from there to its clean stop.

The last two are measured by doing what a restore does, step by step; `whole` is the restore itself, with every page looked at.

    python bench/point_in_time.py [--scale 64] [--log 1000]
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import asyncpg
from fix_backup import new_vault
from fix_copies import EMBEDDED, ground_of
from fix_full import backed_up, quiet
from fix_moments import keep_log
from fix_postgres import PostgresServer, new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup.moment import Latest
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.bases import Asked, Way, ways
from ostiary_tools.backup.restoring.cluster import RECOVERY, promoted
from ostiary_tools.backup.restoring.folders import settle
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.restoring.moments import _held, _told, _unpacked, into_folder
from ostiary_tools.backup.restoring.survey import located
from ostiary_tools.backup.scratch import serving

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "8GB", "wal_keep_size": "16GB", "fsync": "off"}


async def position(server: PostgresServer) -> int:
    """Where its log stands."""
    connection = await asyncpg.connect(server.dsn())
    try:
        return int(await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'"))
    finally:
        await connection.close()


async def written(server: PostgresServer, megabytes: int) -> float:
    """So much more log; how much it became."""
    began = await position(server)
    words = ("-h", str(server.root), "-U", "ostiary_admin", "-n", "-c", "4", "-j", "1", "-T", "5", "bench")
    while await position(server) - began < megabytes * 1_000_000:
        await asyncio.to_thread(server.run, "pgbench", *words)
    return (await position(server) - began) / 1e6


async def parts(way: Way, stage: Path, sought: Sought) -> dict[str, float]:
    """Seconds of each part."""
    found, ground = {}, ground_of(EMBEDDED, sought)
    began = time.perf_counter()
    copy = await _unpacked(way.base, stage / "data", ground, quiet)
    found["unpack"] = time.perf_counter() - began
    began = time.perf_counter()
    feed = Feed(way.archive, copy.data_dir / "pg_wal", ground.account, copy.stretch, way.timeline)
    stop = await asyncio.to_thread(located, Latest(), feed, lambda _: None)
    settle(copy.data_dir, ground.account)
    chosen = {**RECOVERY, **await _told(stop, way, copy.data_dir, ground), "fsync": "on"}
    found["log"] = time.perf_counter() - began
    began = time.perf_counter()
    async with serving(copy.data_dir, ground, "ostiary_admin", chosen) as server:
        await _held(server, stop, quiet)
        await promoted(server, "template1")
        await server.stop()
    found["PostgreSQL"] = time.perf_counter() - began
    return found


async def main(scale: int, megabytes: int) -> None:
    """Set up, measure, print."""
    root, home = short_directory(), _home()
    server, sought = new_server(root, SETTINGS), Sought(copies=home / "programs")
    server.start()
    try:
        server.sql("CREATE DATABASE bench")
        words = ["-h", str(root), "-U", "ostiary_admin", "-i", "-q", "-s", str(scale), "bench"]
        await asyncio.to_thread(server.run, "pgbench", *words)
        vault = new_vault(home)
        kept = await backed_up(vault, server.dsn(database="bench"), home / "spool", sought)
        log = await written(server, megabytes)
        await asyncio.to_thread(keep_log, vault.repository, server, "shop")
        asked = Asked(vault.repository, "shop", Latest())
        found = await parts(ways(asked)[0], home / "stage", sought)
        began = time.perf_counter()
        await into_folder(asked, home / "whole", sought, quiet)
        whole = time.perf_counter() - began
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)
    table = Table("part", "s", "share", title=f"{kept.manifest.plain_bytes / 1e6:,.0f} MB of backup, {log:,.0f} MB of log")
    for name, seconds in found.items():
        table.add_row(name, f"{seconds:.1f}", f"{seconds / sum(found.values()):.0%}")
    table.add_row("whole", f"{whole:.1f}", "")
    Console().print(table)


def _home() -> Path:
    """Folders that the user of copies passes."""
    made = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    made.chmod(0o711)
    for name in ("programs", "stage", "spool"):
        (made / name).mkdir(mode=0o711)
        (made / name).chmod(0o755)
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=64, help="of pgbench: 15 MB each")
    parser.add_argument("--log", type=int, default=1000, help="megabytes of log after the backup, at least")
    options = parser.parse_args()
    asyncio.run(main(options.scale, options.log))
