"""Full backups that are killed, cancelled, cut off and starved: nothing of them stays, and the next one works."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fix_backup import new_vault
from fix_copies import processes_with
from fix_disk import small_file_system
from fix_faults import crash
from fix_full import ORDERS, FullBackup, backed_up, quiet
from fix_held import COUNTED, Held
from fix_postgres import PostgresServer
from fix_replica import ask
from fix_waiting import until

from ostiary_tools.backup.engines import archiving, receiving
from ostiary_tools.backup.engines.full import FullEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.cluster import into_folder
from ostiary_tools.backup.restoring.folders import staged
from ostiary_tools.backup.running import Command
from ostiary_tools.errors import NotWritten, ToolError, Unavailable

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]
BIG = "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 8) AS filler FROM generate_series(1, 200000) n;"
"""More than the pipes hold."""
BARRIER = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ProcSignalBarrier'"
"""Sessions that wait until all others have let go of a database's files."""


@dataclass(frozen=True)
class Site:
    """A server, and what its backups need."""

    server: PostgresServer
    folder: Path
    sought: Sought

    def take(self, keeping: Held, spool: Path) -> "asyncio.Task[object]":
        """Begin a backup."""
        return asyncio.create_task(
            FullEngine(self.sought).make(Source("shop", Kind.FULL, self.server.dsn()), keeping, spool, quiet)
        )

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[tuple[Held, "asyncio.Task[object]"]]:
        """A backup whose base is sent and not read. However it ends, nothing is kept of it."""
        vault = new_vault(_made(self.folder / name))
        async with making(vault.repository, Kind.FULL, "shop", "job") as made:
            held = Held(made, Content.BASE)
            task = self.take(held, _made(self.folder / "spool"))
            await held.reached.wait()
            yield held, task
        assert vault.repository.storage.names("backups") == []

    async def nothing_is_left(self) -> None:
        """Of programs here and sessions in the server; and the next backup works."""
        mark = str(self.server.root)
        left = [pid for pid in processes_with("pg_receivewal") + processes_with("pg_basebackup") if _has(pid, mark)]
        assert left == []
        await until(self._quiet)
        kept = await backed_up(
            new_vault(_made(self.folder / "vault")), self.server.dsn(), _made(self.folder / "after"), self.sought
        )
        assert kept.manifest.fingerprint is not None

    async def _quiet(self) -> bool:
        return await ask(self.server, "SELECT count(*) FROM pg_stat_replication") == 0 and not await ask(
            self.server, "SELECT count(*) FROM pg_replication_slots"
        )


@pytest.fixture
def attacked(own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought) -> Site:
    """A server with more in it than pipes hold."""
    server = own_server(fsync="off")
    server.sql(ORDERS + BIG)
    return Site(server, tmp_path, sought)


async def test_a_backup_that_is_cancelled_leaves_nothing(attacked: Site):
    async with attacked.held("cancelled") as (_, task):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await attacked.nothing_is_left()


async def test_a_backup_that_is_cancelled_while_its_base_is_read_leaves_nothing(attacked: Site):
    async with attacked.held("cancelled") as (held, task):
        os.kill(await _program("pg_basebackup", attacked), signal.SIGSTOP)
        held.go_on.set()
        await asyncio.sleep(0)  # a turn, in which its reading begins
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await attacked.nothing_is_left()


async def test_what_has_come_of_the_log_is_kept_by_the_server_no_longer(attacked: Site):
    """Else it fills the server's disk while a base is sent."""

    async def moved() -> bool:
        return str(await ask(attacked.server, "SELECT restart_lsn::text FROM pg_replication_slots")) != before

    async with attacked.held("long") as (held, task):
        before = str(await ask(attacked.server, "SELECT restart_lsn::text FROM pg_replication_slots"))
        for number in range(3):
            attacked.server.sql(f"CREATE TABLE more{number} ()")
            attacked.server.sql("SELECT pg_switch_wal()")
        await until(moved)
        held.go_on.set()
        await task
    await attacked.nothing_is_left()


async def test_a_server_in_which_nothing_is_written_is_backed_up(attacked: Site):
    """Of a segment of the log that is still empty a server sends nothing, and without its background writer it stays so."""
    writer = int(str(await ask(attacked.server, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'")))
    os.kill(writer, signal.SIGSTOP)
    try:
        attacked.server.sql("SELECT pg_switch_wal()")
        async with asyncio.timeout(60):
            await attacked.nothing_is_left()
    finally:
        os.kill(writer, signal.SIGCONT)


async def test_a_backup_waits_for_no_standby_that_is_away(
    own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought
):
    site = Site(own_server(fsync="off", synchronous_standby_names="away"), tmp_path, sought)
    async with asyncio.timeout(60):
        await site.nothing_is_left()


async def test_a_log_that_does_not_come_is_waited_for_for_some_time_alone(
    attacked: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(receiving, "_PATIENCE_S", 1.0)  # nobody waits two minutes
    with pytest.raises(Unavailable, match="does not send its log"):
        async with asyncio.timeout(60):
            await _received(attacked, tmp_path)
    await attacked.nothing_is_left()


async def _received(site: Site, folder: Path) -> None:
    """By a program that gets nothing."""
    async with receiving.receiving(Command(Path("/bin/sleep"), ("1000",)), site.server.dsn(), folder / "wal", 16 << 20):
        pass


@pytest.mark.parametrize("mended", [True, False], ids=["in time", "never"])
async def test_a_server_that_fails_to_archive_its_log_holds_a_backup_up_for_some_time_alone(
    mended: bool, own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought, monkeypatch: pytest.MonkeyPatch
):
    """What it says of its archive before the first time that it fails is nothing."""
    monkeypatch.setattr(archiving, "_PATIENCE_S", 60 if mended else 3)  # nobody waits two minutes
    site = Site(own_server(fsync="off", archive_mode="on", archive_command="test -e mended"), tmp_path, sought)
    said: list[str] = []

    async def tell(_done: float, _total: float | None, words: str) -> None:
        said.append(words)

    vault, spool = new_vault(_made(tmp_path / "held")), _made(tmp_path / "spool-held")
    async with making(vault.repository, Kind.FULL, "shop", "job") as made:
        engine, source = FullEngine(sought), Source("shop", Kind.FULL, site.server.dsn())
        taking = asyncio.create_task(engine.make(source, made, spool, tell))
        if mended:
            await until(lambda: "waiting until the server has archived its log" in said)
            _mended(site.server)
            members = (await taking).members
            assert [one.content for one in members] == [Content.BASE, Content.FILES, Content.WAL]
        else:
            with pytest.raises(Unavailable, match="fails to archive its log"):
                await taking
            _mended(site.server)
            await until(lambda: _archives(site.server))
    await site.nothing_is_left()


def _mended(server: PostgresServer) -> None:
    (server.data / "mended").touch()
    server.sql("SELECT pg_reload_conf()")  # which wakes its archiver


async def _archives(server: PostgresServer) -> bool:
    return await ask(server, "SELECT last_archived_time > last_failed_time FROM pg_stat_archiver") is True


@pytest.mark.parametrize("program", ["pg_basebackup", "pg_receivewal"])
async def test_a_killed_program_is_told_and_leaves_nothing(attacked: Site, program: str):
    async with attacked.held("killed") as (held, task):
        os.kill(await _program(program, attacked), signal.SIGKILL)
        held.go_on.set()
        with pytest.raises(ToolError, match=program):
            await task
    await attacked.nothing_is_left()


async def test_a_server_that_dies_in_mid_backup_is_told(attacked: Site):
    async with attacked.held("died") as (held, task):
        await crash(attacked.server)
        held.go_on.set()
        with pytest.raises(ToolError):
            await task
    attacked.server.start()
    await attacked.nothing_is_left()


async def test_a_full_spool_is_told_and_leaves_nothing(attacked: Site):
    vault = new_vault(_made(attacked.folder / "full"))
    with small_file_system("20m") as disk:
        async with making(vault.repository, Kind.FULL, "shop", "job") as made:
            held = Held(made, Content.BASE)
            task = attacked.take(held, disk)
            await held.reached.wait()
            await asyncio.to_thread(attacked.server.sql, BIG.replace("big", "more"))
            with pytest.raises(Unavailable, match="no room in the spool"):
                await task
    await attacked.nothing_is_left()


async def test_a_database_that_is_dropped_in_mid_backup_is_not_in_the_copy(attacked: Site, site: Path):
    attacked.server.sql("CREATE DATABASE doomed")
    attacked.server.sql(BIG, "doomed")
    vault = new_vault(_made(attacked.folder / "dropped"))
    async with making(vault.repository, Kind.FULL, "shop", "job") as made:
        held = Held(made, Content.BASE)
        engine = FullEngine(attacked.sought)
        task = asyncio.create_task(
            engine.make(Source("shop", Kind.FULL, attacked.server.dsn()), held, _made(attacked.folder / "spool"), quiet)
        )
        await held.reached.wait()
        dropping = asyncio.create_task(asyncio.to_thread(attacked.server.sql, "DROP DATABASE doomed"))

        async def under_way() -> bool:
            """Done, or it waits for the session that sends the base, which hears of nothing while nobody reads it."""
            return dropping.done() or await ask(attacked.server, BARRIER) != 0

        await until(under_way)
        held.go_on.set()
        await dropping
        kept = await made.commit(await task)
    restored = await into_folder(kept, site / "copy", attacked.sought, quiet)
    assert restored.data_dir.is_dir()


async def test_a_full_disk_in_a_restore_leaves_nothing(full_backup: FullBackup, sought: Sought):
    with small_file_system("24m") as disk:
        disk.chmod(0o711)
        with pytest.raises(NotWritten, match="no space left"):
            await into_folder(full_backup.kept, disk / "copy", sought, quiet)
        assert _inside(disk) == []


@pytest.mark.parametrize("stage", ["unpacked", "recovering", "comparing every row", "checking every page"])
async def test_a_restore_that_is_cancelled_leaves_nothing(full_backup: FullBackup, site: Path, sought: Sought, stage: str):
    restoring: list[asyncio.Task[object]] = []

    async def tell(_done: float, _total: float | None, words: str) -> None:
        if words.startswith(stage):
            restoring[0].cancel()

    restoring.append(asyncio.create_task(into_folder(full_backup.kept, site / "copy", sought, tell)))
    try:
        await restoring[0]
    except asyncio.CancelledError:
        assert _inside(site) == []
    else:
        assert _inside(site) == ["copy"], "it was through with that stage before it told of it"
    assert processes_with(str(site)) == []


async def test_what_a_killed_restore_left_goes_with_the_next(full_backup: FullBackup, site: Path, sought: Sought):
    left = _made(site / ".ostiary-restoring-0123456789abcdef")
    (left / "lock").touch()
    _made(left / "data")
    await into_folder(full_backup.kept, site / "copy", sought, quiet)
    assert _inside(site) == ["copy"]


STAGED_AND_KILLED = """
import asyncio, sys
from pathlib import Path
from ostiary_tools.backup.restoring.folders import staged

async def main():
    global left
    left = int(sys.argv[2])
    counted("mkdir", "open", "unlink", "rmdir")
    async with staged(Path(sys.argv[1])) as stage:
        for name in ("data", "data/base"):
            (stage / name).mkdir()
        for name in ("a", "z", "data/file", "data/base/1"):
            (stage / name).write_text("x")
asyncio.run(main())
"""


async def test_a_restore_that_is_killed_at_any_step_of_staging_and_of_removing_leaves_nothing_to_the_next(tmp_path: Path):
    killed = 0
    while True:
        words = (sys.executable, "-c", COUNTED + STAGED_AND_KILLED, str(tmp_path / "copy"), str(killed + 1))
        process = await asyncio.create_subprocess_exec(*words)
        code = await process.wait()
        async with staged(tmp_path / "copy") as stage:
            assert _inside(tmp_path) == [stage.name]
        assert _inside(tmp_path) == []
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
    assert killed > 10


async def _program(name: str, attacked: Site) -> int:
    """Its own process, not its leash's."""
    found: list[int] = []

    def there() -> bool:
        found[:] = [pid for pid in processes_with(name) if _has(pid, str(attacked.server.root)) and not _is_leash(pid)]
        return bool(found)

    await until(there)
    return found[0]


def _has(pid: int, mark: str) -> bool:
    """Whether it was told of that server."""
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _is_leash(pid: int) -> bool:
    return b"leash.py" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
