"""Full backups of more than a gigabyte that is written meanwhile. Logical ones of as much are in `test_backup_logical.py`."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from fix_backup import new_vault
from fix_copies import processes_with
from fix_full import backed_up, quiet
from fix_postgres import ADMIN, PostgresServer, new_server, short_directory
from fix_waiting import until

from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.manifest import Fingerprint, Kind
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.cluster import recovered
from ostiary_tools.backup.scratch import Ground

SCALE = 80
GIGABYTE = 1_000_000_000
TABLES = ["pgbench_accounts", "pgbench_branches", "pgbench_history", "pgbench_tellers"]
BALANCES = """
SELECT array[(SELECT sum(abalance) FROM public.pgbench_accounts), (SELECT sum(tbalance) FROM public.pgbench_tellers),
             (SELECT sum(bbalance) FROM public.pgbench_branches), (SELECT sum(delta) FROM public.pgbench_history)]
"""
"""Each transaction adds the same to all four, so any moment at which they differ never was."""


@pytest.fixture
def bank() -> Iterator[PostgresServer]:
    """A cluster with the tables of pgbench, which goes as soon as the test has ended."""
    root = short_directory()
    server = new_server(root, {"fsync": "off", "max_wal_size": "4GB"})
    try:
        server.start()
        server.sql("CREATE DATABASE bank")
        server.run("pgbench", "-h", str(root), "-U", ADMIN, "-i", "-q", "-s", str(SCALE), "bank")
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


@asynccontextmanager
async def busy(bank: PostgresServer) -> AsyncIterator[None]:
    """Its transactions are made while the block lasts."""
    words = ("-h", str(bank.root), "-U", ADMIN, "-n", "-c", "2", "-T", "3600", "bank")
    nobody = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(bank.binaries / "pgbench", *words, stdout=nobody, stderr=nobody)

    async def begun() -> bool:
        return await written(bank) > 0

    try:
        await until(begun, 60)
        yield
        assert process.returncode is None, "nothing was written any more when the backup ended"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def written(bank: PostgresServer) -> int:
    """Transactions that were made so far."""
    connection = await asyncpg.connect(bank.dsn(database="bank"))
    try:
        return int(await connection.fetchval("SELECT count(*) FROM public.pgbench_history"))
    finally:
        await connection.close()


async def now_in(connection: asyncpg.Connection) -> Fingerprint:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await taken(connection, "bank", Kind.FULL)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_gigabyte_that_is_written_meanwhile_is_recovered_to_one_moment_and_one_changed_row_is_found(
    bank: PostgresServer, tmp_path: Path, site: Path, sought: Sought, ground: Ground
):
    vault = new_vault(tmp_path)
    async with busy(bank):
        before = await written(bank)
        kept = await backed_up(vault, bank.dsn(database="bank"), tmp_path, sought)
    after = await written(bank)
    fingerprint = kept.manifest.fingerprint
    assert fingerprint is not None
    assert kept.manifest.plain_bytes > GIGABYTE
    assert sorted(table.table for table in fingerprint.tables) == TABLES
    [history] = [table.rows for table in fingerprint.tables if table.table == "pgbench_history"]
    assert before < history < after
    async with recovered(kept, site / "data", ground, quiet, durable=False) as server:
        vault.repository.delete(kept.manifest.id)  # the disk has better uses
        copy = await server.connect("bank")
        try:
            assert compared(fingerprint, await now_in(copy)) == ()
            assert len(set(await copy.fetchval(BALANCES))) == 1
            await copy.execute("UPDATE public.pgbench_accounts SET abalance = abalance + 1 WHERE aid = 4000001")
            assert [str(one) for one in compared(fingerprint, await now_in(copy))] == [
                f'table "public"."pgbench_accounts": as many rows as before ({SCALE * 100_000:,}), and not the same'
            ]
        finally:
            await copy.close()
    assert processes_with(str(site)) == []
