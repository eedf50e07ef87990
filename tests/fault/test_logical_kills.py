"""Backups of databases that are dropped, stopped and locked meanwhile, and restores that are killed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_faults import processes, stopped
from fix_held import Held
from fix_postgres import PostgresServer
from fix_waiting import until

from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made, Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring import database as restoring
from ostiary_tools.backup.restoring.database import into_server, swept
from ostiary_tools.errors import ProgramFailed, ToolError

pytestmark = [pytest.mark.asyncio, pytest.mark.fault]

WIDE = "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 200) AS filling FROM generate_series(1, 3000) n;"
"""More than pipes hold, so that a dump that nobody reads does not end."""
PIPE = 50_000
"""Less than a pipe holds, and more than the head of the dump of that."""


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


def programs(name: str, parent: int | None = None) -> list[int]:
    """Processes of that program below this one."""
    found = []
    for task in Path(f"/proc/{parent or os.getpid()}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            try:
                program = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode()
                found += [child] if Path(program).name == name else []
                found += programs(name, child)
            except OSError:
                continue
    return found


async def halted(halting: Held) -> list[int]:
    """The dump that waits, once its pipe is full."""
    await halting.reached.wait()
    await until(lambda: any(written(pid) > PIPE for pid in programs("pg_dump")))
    return programs("pg_dump")


def written(pid: int) -> int:
    """Bytes that the process wrote so far, to whatever; of one that has ended, as one that told its version, nothing."""
    try:
        return int(Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0])
    except OSError:
        return 0


async def backed_up(vault: Vault, dsn: str) -> StoredBackup:
    async with making(vault.repository, Kind.LOGICAL, "shop", "job") as keeping:
        made = await LogicalEngine(Sought(), 2).make(Source("shop", Kind.LOGICAL, dsn), keeping, vault.root, quiet)
        return await keeping.commit(made)


@asynccontextmanager
async def halting(vault: Vault, dsn: str) -> AsyncIterator[tuple["asyncio.Task[Made]", Held, list[int]]]:
    """A backup whose dump waits, and the processes of that; the backup's end is the test's to see."""
    async with making(vault.repository, Kind.LOGICAL, "shop", "job") as keeping:
        held = Held(keeping, Content.DATABASE)
        source = Source("shop", Kind.LOGICAL, dsn)
        work = asyncio.create_task(LogicalEngine(Sought(), 2).make(source, held, vault.root, quiet))
        try:
            yield work, held, await halted(held)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
    assert vault.repository.listed() == ()
    assert programs("pg_dump") == []


async def test_a_database_that_is_dropped_in_mid_dump_leaves_no_backup(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(postgres_server, WIDE)
    async with halting(new_vault(tmp_path), postgres_server.dsn(database=database)) as (work, held, _):
        postgres_server.sql(f"DROP DATABASE {database} WITH (FORCE)")
        held.go_on.set()
        with pytest.raises(ToolError) as failed:
            await work
    words = ("the database ended the session", "the session with the database broke", "`pg_dump` ended with an error")
    assert failed.value.message.startswith(words)


async def test_a_dump_that_was_killed_is_not_kept_though_its_file_lists(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(postgres_server, WIDE)
    async with halting(new_vault(tmp_path), postgres_server.dsn(database=database)) as (work, held, dumps):
        for pid in dumps:
            os.kill(pid, signal.SIGKILL)
        held.go_on.set()
        with pytest.raises(ProgramFailed, match="`pg_dump` ended with an error"):
            await work


async def test_a_cancelled_backup_ends_its_dumps_and_sessions(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(postgres_server, WIDE)
    async with halting(new_vault(tmp_path), postgres_server.dsn(database=database)) as (work, _, _):
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    connection = await asyncpg.connect(postgres_server.dsn())
    asked = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = $1"
    await until(lambda: connection.fetchval(asked, database))
    await connection.close()


@pytest.mark.parametrize("whole", [False, True], ids=["its sessions", "all of it"])
async def test_a_cancelled_backup_ends_though_its_server_answers_nothing_more(
    whole: bool, own_server: Callable[..., PostgresServer], made_in: Callable[..., str], tmp_path: Path
):
    """As one does whose disk hangs: else the backup would hold its worker's slot for as long."""
    server = own_server(fsync="off")
    database = made_in(server, WIDE)
    async with halting(new_vault(tmp_path), server.dsn(database=database)) as (work, _, _):
        with stopped(await processes(server, "" if whole else database)):
            work.cancel()
            await asyncio.wait({work}, timeout=60)
            assert work.cancelled()


SLOW = """
CREATE FUNCTION slow(integer) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.01); RETURN true; END';
CREATE TABLE late (n integer); INSERT INTO late SELECT generate_series(1, 6000); ALTER TABLE late ADD CHECK (slow(n)) NOT VALID;
"""
"""A minute to copy back, by its own check."""
RESTORING = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fix_backup import Vault, new_vault
from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.database import into_server

async def quiet(*_):
    pass

async def main():
    vault = new_vault(Path(sys.argv[2]))
    source = Source("shop", Kind.LOGICAL, sys.argv[3])
    async with making(vault.repository, Kind.LOGICAL, "shop", "job") as keeping:
        kept = await keeping.commit(await LogicalEngine(Sought(), 2).make(source, keeping, Path("/"), quiet))
    await into_server(kept, sys.argv[3], sys.argv[4], Sought(), quiet)

asyncio.run(main())
"""


async def test_of_a_restore_that_was_killed_nothing_is_found_and_the_next_one_sweeps(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(postgres_server, WIDE + SLOW)
    dsn, name = postgres_server.dsn(database=database), f"{database}_new"
    words = (str(Path(__file__).parent.parent), str(tmp_path / "first"), dsn, name)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RESTORING, *words)
    connection = await asyncpg.connect(postgres_server.dsn())

    async def drafts() -> list[str]:
        rows = await connection.fetch("SELECT datname::text FROM pg_database WHERE datname ~ '^ostiary_restore_'")
        return [row[0] for row in rows]

    async def copying() -> bool:
        asked = (
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname ~ '^ostiary_restore_' AND query ~ '^COPY' AND state = 'active'"
        )
        return bool(await connection.fetchval(asked))

    try:
        await until(copying, 60)
        process.kill()
        await process.wait()
        asked = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname ~ '^ostiary_restore_'"
        await until(lambda: connection.fetchval(asked), 60)
        assert not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)
        assert len(await drafts()) == 1
        postgres_server.sql("ALTER TABLE late DROP CONSTRAINT late_n_check; TRUNCATE late", database)
        vault = new_vault(tmp_path / "second")
        async with making(vault.repository, Kind.LOGICAL, "shop", "job") as keeping:
            kept = await keeping.commit(
                await LogicalEngine(Sought(), 2).make(Source("shop", Kind.LOGICAL, dsn), keeping, tmp_path, quiet)
            )
        await into_server(kept, dsn, name, Sought(), quiet)
        assert await drafts() == []
        assert await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name) == 1
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await connection.close()
        postgres_server.drop([name])


async def test_a_restore_waits_for_no_standby_that_is_away(
    own_server: Callable[..., PostgresServer], made_in: Callable[..., str], postgres_server: PostgresServer, tmp_path: Path
):
    """Neither to make its database nor to drop it: what is restored is durable in the backup."""
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn(database=made_in(postgres_server, WIDE)))
    server = own_server(fsync="off", synchronous_standby_names="away")
    work = asyncio.create_task(into_server(kept, server.dsn(), "shop", Sought(), quiet))
    await asyncio.wait({work}, timeout=60)
    done = work.done()
    server.stop("immediate")  # it ends what waits, so that a failure here is told
    await asyncio.gather(work, return_exceptions=True)
    assert done
    assert work.result().database == "shop"


async def test_a_cancelled_restore_ends_though_its_database_is_not_to_be_dropped_now(
    own_server: Callable[..., PostgresServer],
    made_in: Callable[..., str],
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """To drop one the server waits for a checkpoint, for as long as that takes. The next restore drops it."""
    monkeypatch.setattr(restoring, "_DROP_S", 1.0)  # nobody waits a minute
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn(database=made_in(postgres_server, WIDE + SLOW)))
    server = own_server(fsync="off")
    connection = await asyncpg.connect(server.dsn())
    work = asyncio.create_task(into_server(kept, server.dsn(), "shop", Sought(), quiet))
    try:
        await until(lambda: connection.fetchval("SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^COPY'"), 60)
        with stopped([await connection.fetchval("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")]):
            work.cancel()
            await asyncio.wait({work}, timeout=60)
            assert work.cancelled()
        await swept(connection)
        assert not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname ~ '^ostiary_restore_'")
    finally:
        await asyncio.gather(work, return_exceptions=True)
        await connection.close()
