"""One server for all processes of a home: shared, stopped by the last, closed to everybody else."""

# ruff: noqa: ASYNC221, ASYNC240 - a test has its event loop to itself

import asyncio
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from ostiary_tools.control.migrate import migrate
from ostiary_tools.embedded import (
    ADMIN,
    AGENT,
    CHANGER,
    CONTROL,
    KEEPER,
    LOGIN_ROLES,
    READER,
    RESTORER,
    SHOP,
    VECTORS,
    WRITER,
    EmbeddedError,
    InUse,
    attach,
    attached,
    reset,
    status,
    stop,
)
from ostiary_tools.embedded.account import server_account
from ostiary_tools.embedded.binaries import bundled

Hold = Callable[..., subprocess.Popen[str]]


def quiet(_: str) -> None:
    """Nobody reads the progress."""


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_two_attaches_share_one_server_and_the_last_to_detach_stops_it(embedded_home: Path) -> None:
    one = await attach(embedded_home, quiet)
    two = await attach(embedded_home, quiet)
    started = "select pg_postmaster_start_time()"
    assert await value(one.dsn(ADMIN, CONTROL), started) == await value(two.dsn(ADMIN, CONTROL), started)
    await one.detach()
    await one.detach()  # again is harmless
    assert (await status(embedded_home)).running
    assert await value(two.dsn(AGENT, SHOP), "select 1") == 1
    await two.detach()
    assert not (await status(embedded_home)).running
    assert not two.socket_dir.exists()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_many_attach_at_once_and_one_server_starts(embedded_home: Path) -> None:
    clusters = await asyncio.gather(*(attach(embedded_home, quiet) for _ in range(5)))
    starts = {await value(cluster.dsn(ADMIN, CONTROL), "select pg_postmaster_start_time()") for cluster in clusters}
    assert len(starts) == 1
    await asyncio.gather(*(cluster.detach() for cluster in clusters))
    assert not (await status(embedded_home)).running


@pytest.mark.asyncio
async def test_data_survives_a_stop_and_a_start(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        await value(cluster.dsn(ADMIN, CONTROL), "create table kept as select 42 as answer")
    async with attached(embedded_home, quiet) as cluster:
        assert await value(cluster.dsn(ADMIN, CONTROL), "select answer from kept") == 42


@pytest.mark.slow
@pytest.mark.asyncio
async def test_status_tells_who_holds_the_server(embedded_home: Path, holder: Hold) -> None:
    assert await status(embedded_home) == await status(embedded_home / "absent")
    async with attached(embedded_home, quiet) as cluster:
        other = await asyncio.to_thread(holder, embedded_home)
        seen = await status(embedded_home)
        assert (seen.running, seen.in_use, seen.socket_dir, seen.version) == (True, True, cluster.socket_dir, cluster.version)
        assert seen.size_bytes > 1_000_000
        if sys.platform == "linux":
            assert seen.holders == tuple(sorted((os.getpid(), other.pid)))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_stop_and_reset_refuse_while_somebody_holds_the_server_and_force_stops_it(embedded_home: Path) -> None:
    cluster = await attach(embedded_home, quiet)
    with pytest.raises(InUse, match="in use"):
        await stop(embedded_home)
    with pytest.raises(InUse, match="in use"):
        await reset(embedded_home)
    assert (await status(embedded_home)).running
    assert await stop(embedded_home, force=True)
    assert not (await status(embedded_home)).running
    await cluster.detach()
    assert not await stop(embedded_home)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_reset_deletes_the_databases_and_the_next_attach_makes_them_anew(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        await value(cluster.dsn(ADMIN, CONTROL), "create table gone ()")
    await reset(embedded_home)
    assert not cluster.data_dir.exists()
    async with attached(embedded_home, quiet) as cluster:
        assert await value(cluster.dsn(ADMIN, CONTROL), "select to_regclass('gone')") is None


@pytest.mark.asyncio
async def test_the_server_opens_no_network_port_and_trusts_nobody(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        admin = cluster.dsn(ADMIN, CONTROL)
        assert await value(admin, "show listen_addresses") == ""
        assert await value(admin, "select array_agg(distinct auth_method) from pg_hba_file_rules") == ["peer"]
        assert await value(admin, "select count(*) from pg_hba_file_rules where error is not null") == 0
        assert await value(admin, "show data_checksums") == "on"
        assert await value(admin, "show fsync") == "on"
        assert await value(admin, "show server_encoding") == "UTF8"
        assert await value(admin, "select array_agg(pg_username order by map_number) from pg_ident_file_mappings") == list(
            LOGIN_ROLES
        )
        assert "trust" not in (cluster.place.conf_dir / "hba.conf").read_text()


@pytest.mark.asyncio
async def test_agents_cannot_enter_any_database_but_the_shop(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        for database in (CONTROL, "postgres", "template1"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
                await value(cluster.dsn(AGENT, database), "select 1")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_who_keeps_vectors_enters_their_database_alone_also_in_a_cluster_of_an_earlier_version(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        await migrate(cluster.dsn(ADMIN, CONTROL))
        for statement in (f"drop database {VECTORS}", f"drop role {KEEPER}"):
            await value(cluster.dsn(ADMIN, "postgres"), statement)
    async with attached(embedded_home, quiet) as cluster:
        mine = cluster.dsn(KEEPER, VECTORS)
        assert await value(mine, "select array_agg(extname::text order by extname) from pg_extension") == [
            "pg_trgm",
            "plpgsql",
            "vector",
        ]
        closed = [(KEEPER, database) for database in (CONTROL, SHOP, "postgres", "template1")]
        for role, database in (*closed, *((role, VECTORS) for role in (AGENT, CHANGER, WRITER, READER))):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
                await value(cluster.dsn(role, database), "select 1")
        await value(mine, "create table ostiary_vectors.mine ()")
        for statement in ("create schema x", "create table public.x ()", "create temporary table x ()", "create role x"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await value(mine, statement)
        member = (
            "select exists (select from pg_auth_members where member = (select oid from pg_roles where rolname = current_user))"
        )
        assert await value(mine, member) is False
        powers = "rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication"
        assert await value(mine, f"select {powers} from pg_roles where rolname = current_user") is False


@pytest.mark.asyncio
async def test_a_home_of_mode_0700_stays_0700(embedded_home: Path) -> None:
    embedded_home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        # Root's server is another user, who cannot pass: refused by name, and nothing is opened.
        with pytest.raises(EmbeddedError, match=f"may not pass `{embedded_home}`"):
            await attach(embedded_home, quiet)
        assert list(embedded_home.iterdir()) == []
    else:
        async with attached(embedded_home, quiet) as cluster:
            assert await value(cluster.dsn(AGENT, SHOP), "select 1") == 1
    assert stat.S_IMODE(embedded_home.stat().st_mode) == 0o700


@pytest.mark.asyncio
async def test_an_unprivileged_user_runs_the_server_as_themselves(embedded_home: Path, holder: Hold) -> None:
    if os.geteuid() != 0:
        pytest.skip("every other test does so already")
    nobody = pwd.getpwnam("nobody")
    embedded_home.mkdir(mode=0o700)
    os.chown(embedded_home, nobody.pw_uid, nobody.pw_gid)
    try:
        subprocess.run([sys.executable, "-c", "import ostiary_tools"], user="nobody", extra_groups=[], check=True, cwd="/")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this interpreter is out of reach of `nobody`")
    process = await asyncio.to_thread(holder, embedded_home, user="nobody")
    data_dir = embedded_home / "postgres" / "cluster" / "data"
    assert data_dir.stat().st_uid == nobody.pw_uid
    output, _ = await asyncio.to_thread(process.communicate, "\n")
    assert output == "detached\n"
    assert not (data_dir / "postmaster.pid").exists()
    assert stat.S_IMODE(embedded_home.stat().st_mode) == 0o700


@pytest.mark.slow
@pytest.mark.asyncio
async def test_another_user_is_refused_by_the_directory_and_by_peer_authentication(embedded_home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can try as another user")
    async with attached(embedded_home, quiet) as cluster:
        server = server_account(cluster.place.cluster_dir)
        psql = bundled().program("psql")
        for role in LOGIN_ROLES:
            command = [str(psql), "-h", str(cluster.socket_dir), "-U", role, "-d", SHOP, "-c", "select 1"]
            outside = subprocess.run(
                command, user=61_234, group=61_234, extra_groups=[], capture_output=True, text=True, check=False, cwd="/"
            )
            assert outside.returncode != 0
            assert "Permission denied" in outside.stderr
            # The server's own user can enter the directory; the kernel still names it as somebody else.
            inside = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **server.switch())
            assert inside.returncode != 0
            assert "Peer authentication failed" in inside.stderr


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_server_inherits_neither_our_locks_nor_our_standard_streams(embedded_home: Path) -> None:
    """A server of the protocol speaks on stdout: nobody else may hold it. A lock that a child keeps is never freed."""
    if sys.platform != "linux":
        pytest.skip("only Linux shows another process's descriptors")
    async with attached(embedded_home, quiet) as cluster:
        pid = (await status(embedded_home)).pid
        assert pid is not None
        open_files = {descriptor.name: str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
        assert open_files["0"] == "/dev/null"
        assert str(cluster.place.turn_lock) not in open_files.values()
        assert str(cluster.place.holders_lock) not in open_files.values()
        assert {str(Path(f"/proc/self/fd/{number}").readlink()) for number in (1, 2)} & {open_files["1"], open_files["2"]} <= {
            "/dev/null"
        }
        assert os.getsid(pid) == pid


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_database_of_another_major_version_is_refused_with_the_way_out(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        pass
    (cluster.data_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match="was made by PostgreSQL 17, and PostgreSQL 18 is installed"):
        await attach(embedded_home, quiet)


@pytest.mark.asyncio
async def test_a_failed_start_says_what_postgresql_complained_about(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        pass
    (cluster.data_dir / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match=r"no_such_setting|contains errors"):
        await attach(embedded_home, quiet)
    assert not (await status(embedded_home)).in_use


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_shop_that_an_earlier_version_made_is_opened_to_changes_and_restores(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        for role in (CHANGER, RESTORER):
            await value(cluster.dsn(ADMIN, SHOP), f"drop owned by {role}")
            await value(cluster.dsn(ADMIN, CONTROL), f"drop owned by {role}")
            await value(cluster.dsn(ADMIN, SHOP), f"drop role {role}")
    async with attached(embedded_home, quiet) as cluster:
        changer = cluster.dsn(CHANGER, SHOP)
        assert await value(changer, "update customers set newsletter = newsletter where id = 1 returning id") == 1
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await value(changer, "create table public.mine (a int)")
        assert await value(cluster.dsn(RESTORER, SHOP), "select rolcreatedb and not rolsuper from pg_roles where rolname = user")
