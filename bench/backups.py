"""Full backups beside what is done by hand, of one pgbench database, in turns in one run.

- `pg_basebackup`: a tar in a file, neither compressed nor encrypted.
- `| zstd -3 | age`: the pipeline of a shell, to the same two recipients, flushed at its end.
- `ostiary, copy`: by a login that may only replicate, so that there is no fingerprint: members, signed manifest, flushed.
- `ostiary, whole`: with the fingerprint of every row, by which drills and restores are compared.

Then the memory of a process that makes one, at two sizes, and how much slower pgbench is while a backup runs.

    apt-get install zstd age
    python bench/backups.py [--scale 80] [--rounds 5]
"""

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import asyncpg
from fix_backup import Vault, new_vault
from fix_postgres import PostgresServer, new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup.engines.full import FullEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
CLIENTS = 4
IDLE_S = 6.0
Take = Callable[[], Awaitable[None]]


async def silent(_done: float, _total: float | None, _words: str) -> None:
    """Nobody asks how far it is."""


async def ours(dsn: str, home: Path, parallel: int = 2) -> None:
    """One backup in a repository of its own, which goes again."""
    vault = new_vault(_made(home / "vault"))
    spool = _made(home / "spool")
    async with making(vault.repository, Kind.FULL, "bench", "job") as keeping:
        made = await FullEngine(Sought(), parallel).make(Source("bench", Kind.FULL, dsn), keeping, spool, silent)
        await keeping.commit(made)
    shutil.rmtree(home)


async def shell(server: PostgresServer, words: str, home: Path) -> None:
    """A command of a shell; what it wrote goes again."""
    _made(home)
    environ = {"PATH": os.environ["PATH"], "PGHOST": str(server.root), "PGUSER": "ostiary_admin", "OUT": str(home / "out")}
    environ["BIN"] = str(server.binaries)
    process = await asyncio.create_subprocess_shell(f"set -e; {words}; sync $OUT", env=environ)
    assert await process.wait() == 0
    shutil.rmtree(home)


def contestants(server: PostgresServer, home: Path, recipients: tuple[str, str]) -> dict[str, Take]:
    """All that take turns."""
    base = "$BIN/pg_basebackup -D - -Ft -X fetch -c fast --manifest-checksums=SHA256"
    age = " ".join(f"-r {recipient}" for recipient in recipients)
    copier = server.dsn("copier", "bench")
    return {
        "pg_basebackup": lambda: shell(server, f"{base} > $OUT", home / "plain"),
        "pg_basebackup | zstd -3 | age": lambda: shell(server, f"{base} | zstd -3 -q | age {age} > $OUT", home / "pipe"),
        "ostiary, copy": lambda: ours(copier, home / "copy"),
        "ostiary, whole": lambda: ours(server.dsn(database="bench"), home / "whole"),
    }


async def rates(takes: dict[str, Take], megabytes: float, rounds: int) -> None:
    """Megabytes of the cluster a second, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in takes}
    for _ in range(rounds):
        for name, take in takes.items():
            began = time.perf_counter()
            await take()
            taken[name].append(time.perf_counter() - began)
    floor = taken["pg_basebackup | zstd -3 | age"]
    table = Table("what", "median s", "MB/s", "x pipeline", title=f"{megabytes:,.0f} MB, {rounds} rounds")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        pairs = statistics.median(theirs / mine for mine, theirs in zip(seconds, floor, strict=True))
        table.add_row(name, f"{median:.2f}", f"{megabytes / median:.0f}", f"{pairs:.2f}")
    Console(width=120).print(table)


async def slowed(server: PostgresServer, takes: dict[str, Take], rounds: int) -> None:
    """Transactions a second of pgbench while each runs, against those without any, in the same round."""
    compared = {"nothing": lambda: asyncio.sleep(IDLE_S), **takes}
    found: dict[str, list[float]] = {name: [] for name in compared}
    async with pgbench(server):
        connection = await asyncpg.connect(server.dsn(database="bench"))
        await asyncio.sleep(IDLE_S)
        for _ in range(rounds):
            for name, take in compared.items():
                await connection.execute("CHECKPOINT")
                before, began = await _commits(connection), time.perf_counter()
                await take()
                found[name].append((await _commits(connection) - before) / (time.perf_counter() - began))
        await connection.close()
    table = Table("while it runs", "tps", "slowed, x", "x pg_basebackup", title=f"pgbench -c {CLIENTS}, {rounds} rounds")
    slow = {name: [idle / tps for idle, tps in zip(found["nothing"], rates_, strict=True)] for name, rates_ in found.items()}
    for name, rates_ in found.items():
        against = statistics.median(a / b for a, b in zip(slow[name], slow["pg_basebackup"], strict=True))
        table.add_row(name, f"{statistics.median(rates_):.0f}", f"{statistics.median(slow[name]):.2f}", f"{against:.2f}")
    Console(width=120).print(table)


@asynccontextmanager
async def pgbench(server: PostgresServer) -> AsyncIterator[None]:
    """Its transactions, as long as the block lasts."""
    words = ("-h", str(server.root), "-U", "ostiary_admin", "-n", "-c", str(CLIENTS), "-j", "1", "-T", "86400", "bench")
    process = await asyncio.create_subprocess_exec(server.binaries / "pgbench", *words, stdout=-3, stderr=-3)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _commits(connection: asyncpg.Connection) -> int:
    await connection.execute("SELECT pg_stat_force_next_flush()")
    return int(await connection.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = 'bench'"))


def filled(server: PostgresServer, scale: int) -> int:
    """A database of pgbench; the size of the cluster."""
    server.sql("DROP DATABASE IF EXISTS bench")
    server.sql("CREATE DATABASE bench")
    subprocess.run(
        [server.binaries / "pgbench", "-h", server.root, "-U", "ostiary_admin", "-i", "-q", "-s", str(scale), "bench"],
        check=True,
        capture_output=True,
    )
    server.sql("DROP ROLE IF EXISTS copier; CREATE ROLE copier LOGIN REPLICATION; CHECKPOINT")
    return sum(path.stat().st_size for path in (server.data / "base").rglob("*") if path.is_file())


def measured(server: PostgresServer, scale: int, home: Path) -> tuple[float, float, float]:
    """Megabytes: of the cluster, of a process that makes one backup at its peak, and of the largest of its programs."""
    size = filled(server, scale)
    asked = [sys.executable, __file__, "--one", server.dsn(database="bench"), "--home", str(home / "one")]
    mine, children = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
    return size / 1e6, int(mine) / 1024, int(children) / 1024


async def main(scale: int, rounds: int) -> None:
    """Set up, measure, print."""
    root, home = short_directory(), Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    server = new_server(root, SETTINGS)
    server.start()
    try:
        sizes = [await asyncio.to_thread(measured, server, part, home) for part in (scale // 4, scale)]
        table = Table("cluster, MB", "our process, MB", "largest program, MB", title="peak memory")
        for row in sizes:
            table.add_row(*(f"{each:,.0f}" for each in row))
        Console(width=120).print(table)
        vault: Vault = new_vault(_made(home / "keys"))
        takes = contestants(server, home, (vault.operational.recipient, vault.recovery.recipient))
        await rates(takes, sizes[-1][0], rounds)
        await slowed(server, takes, rounds)
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=80, help="of pgbench: 15 MB each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--home", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        asyncio.run(ours(options.one, Path(options.home)))
        print(*(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
    else:
        asyncio.run(main(options.scale, options.rounds))
