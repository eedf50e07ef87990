"""Incremental backups beside full ones, of one pgbench database, by what was done to it in between; in turns in one run.

- `nothing`: as by night.
- `appended`: one row in a hundred more, as a log or a journal grows.
- `changed anywhere`: pgbench's own updates of random rows, each of which makes a page go along.

In each turn both kinds are taken of the same state: first the incremental one, of what was done since the turn before, then a full
one, which the next goes on from. Beside each stands PostgreSQL's own program, which writes a file and reads no row. Then a copy of
the full one and one of the chain are recovered, and compared row by row.

    python bench/incremental.py [--scale 80] [--rounds 3]
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fix_backup import Vault, new_vault
from fix_copies import ground_of
from fix_postgres import PostgresServer, new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.cluster import recovered
from ostiary_tools.backup.taking import Workshop, take

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "summarize_wal": "on", "autovacuum": "off"}
UPDATES = 2000
"""Transactions of pgbench in one turn, for each unit of scale 80."""


async def silent(_done: float, _total: float | None, _words: str) -> None:
    """Nobody asks how far it is."""


def changes(server: PostgresServer, scale: int) -> Mapping[str, Callable[[], object]]:
    """What is done between two backups."""
    rows = scale * 1000
    pgbench = ("-h", str(server.root), "-U", "ostiary_admin", "-n", "-c", "4", "-t", str(UPDATES * scale // 320 + 1), "bench")
    return {
        "nothing": lambda: None,
        "appended": lambda: server.sql(f"INSERT INTO journal SELECT n, md5(n::text) FROM generate_series(1, {rows}) n", "bench"),
        "changed anywhere": lambda: subprocess.run([server.binaries / "pgbench", *pgbench], check=True, capture_output=True),
    }


async def timed(vault: Vault, source: Source, job: str, home: Path) -> tuple[StoredBackup, float]:
    """A backup, and the seconds it took."""
    began = time.perf_counter()
    made = await take(vault.repository, source, job, Workshop(Sought(), home / "spools"), silent)
    if made.kind is not source.kind:
        raise AssertionError(made.notes)
    return vault.repository.load(made.id), time.perf_counter() - began


def by_hand(server: PostgresServer, home: Path, since: StoredBackup | None) -> float:
    """Seconds of PostgreSQL's own program into a file, neither compressed nor encrypted; nothing is left of it."""
    words = ["-h", str(server.root), "-U", "ostiary_admin", "-D", "-", "-Ft", "-X", "none", "-c", "fast"]
    if since is not None:
        [member] = [one for one in since.manifest.members if one.content is Content.FILES]
        with since.plain(member) as plain:
            (home / "listing").write_bytes(plain.read())
        words.append(f"--incremental={home / 'listing'}")
    began = time.perf_counter()
    with (home / "by-hand").open("wb") as file:
        subprocess.run(
            [server.binaries / "pg_basebackup", *words, "--manifest-checksums=SHA256"],
            check=True,
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    took = time.perf_counter() - began
    (home / "by-hand").unlink()
    return took


def passable() -> Path:
    """A folder that the user of a copy's server may pass."""
    made = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    made.chmod(0o711)
    return made


async def restored(kept: StoredBackup, home: Path) -> float:
    """Seconds until a copy is recovered and every row of it compared."""
    ground = ground_of(18, Sought(copies=home / "programs"))
    site = passable()
    began = time.perf_counter()
    async with recovered(kept, site / "data", ground, silent) as server:
        await server.stop()
    took = time.perf_counter() - began
    shutil.rmtree(site)
    return took


async def main(scale: int, rounds: int) -> None:
    """Set up, measure, print."""
    root, home = short_directory(), passable()
    server = new_server(root, SETTINGS)
    server.start()
    try:
        size = filled(server, scale)
        vault, dsn = new_vault(home), server.dsn(database="bench")
        full, increment = Source("bench", Kind.FULL, dsn), Source("bench", Kind.INCREMENTAL, dsn)
        last, _ = await timed(vault, full, "first", home)
        small = last
        found: dict[str, list[tuple[float, ...]]] = {}
        for number in range(rounds):
            for name, change in changes(server, scale).items():
                await asyncio.to_thread(change)
                alone = await asyncio.to_thread(by_hand, server, home, last)
                small, took = await timed(vault, increment, f"{name} {number}", home)
                whole = await asyncio.to_thread(by_hand, server, home, None)
                last, long = await timed(vault, full, f"{name} {number} full", home)
                parts = (took, long, small.manifest.stored_bytes / 1e6, last.manifest.stored_bytes / 1e6, alone, whole)
                found.setdefault(name, []).append((*parts, sum(one.plain_bytes for one in small.manifest.members) / 1e6))
        shown(found, size, rounds)
        seconds = await restored(last, home), await restored(small, home)
        lengths = len(chain(last)), len(chain(small))
        Console().print(f"recovered and compared: {lengths[0]} backup {seconds[0]:.1f} s, {lengths[1]} backups {seconds[1]:.1f} s")
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def shown(found: Mapping[str, list[tuple[float, ...]]], size: float, rounds: int) -> None:
    """Medians, and medians of what was divided in the same turn."""
    heads = ("s", "full, s", "x faster", "stored MB", "full, MB", "plain MB", "by hand, s", "full, s")
    table = Table("done in between", *heads, title=f"incremental backups of {size / 1e6:,.0f} MB, {rounds} rounds")
    for name, turns in found.items():
        took, long, small, large, alone, whole, plain = (statistics.median(column) for column in zip(*turns, strict=True))
        faster = statistics.median(turn[1] / turn[0] for turn in turns)
        cells = (took, long, faster, small, large, plain, alone, whole)
        table.add_row(name, *(f"{cell:,.1f}" for cell in cells))
    Console(width=120).print(table)


def filled(server: PostgresServer, scale: int) -> int:
    """A database of pgbench, and a table that grows; the size of the cluster."""
    server.sql("CREATE DATABASE bench")
    words = ("-h", str(server.root), "-U", "ostiary_admin", "-i", "-q", "-s", str(scale), "bench")
    subprocess.run([server.binaries / "pgbench", *words], check=True, capture_output=True)
    server.sql("CREATE TABLE journal (n int, body text); CHECKPOINT", "bench")
    return sum(path.stat().st_size for path in (server.data / "base").rglob("*") if path.is_file())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=80, help="of pgbench: 15 MB each")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(main(options.scale, options.rounds))
