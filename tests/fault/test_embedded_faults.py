"""Bad days of the embedded server: killed processes, stale files, a socket swept away."""

# ruff: noqa: ASYNC220 - a test has its event loop to itself

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from fix_waiting import until

from ostiary_tools.embedded import ADMIN, AGENT, CONTROL, SHOP, EmbeddedError, attach, attached, status, stop
from ostiary_tools.embedded.account import server_account
from ostiary_tools.embedded.postmaster import forget_dead, is_alive

pytestmark = pytest.mark.fault

Hold = Callable[..., subprocess.Popen[str]]


def quiet(_: str) -> None:
    """Nobody reads the progress."""


async def value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def postmaster_of(home: Path) -> int:
    pid = (await status(home)).pid
    assert pid is not None
    return pid


@pytest.mark.asyncio
async def test_one_of_three_processes_is_killed_the_others_work_and_the_last_stops_the_server(
    embedded_home: Path, holder: Hold
) -> None:
    """Desktop clients kill the servers they start, with their whole process group."""
    killed = await asyncio.to_thread(holder, embedded_home)  # the one that started the server
    left = await asyncio.to_thread(holder, embedded_home)
    cluster = await attach(embedded_home, quiet)
    pid = await postmaster_of(embedded_home)

    killed.kill()
    await asyncio.to_thread(killed.wait)

    assert await value(cluster.dsn(AGENT, SHOP), "select 1") == 1
    assert await postmaster_of(embedded_home) == pid
    output, _ = await asyncio.to_thread(left.communicate, "\n")
    assert output == "detached\n"
    assert (await status(embedded_home)).running
    await cluster.detach()
    assert not (await status(embedded_home)).running


@pytest.mark.asyncio
async def test_a_server_whose_only_holder_was_killed_is_adopted(embedded_home: Path, holder: Hold) -> None:
    killed = await asyncio.to_thread(holder, embedded_home)
    pid = await postmaster_of(embedded_home)
    killed.kill()
    await asyncio.to_thread(killed.wait)
    left_over = await status(embedded_home)
    assert (left_over.running, left_over.in_use) == (True, False)

    async with attached(embedded_home, quiet):
        assert await postmaster_of(embedded_home) == pid
    assert not (await status(embedded_home)).running


@pytest.mark.asyncio
async def test_a_killed_server_is_started_again_at_the_same_address_and_recovers(embedded_home: Path) -> None:
    cluster = await attach(embedded_home, quiet)
    await value(cluster.dsn(ADMIN, CONTROL), "create table kept as select 42 as answer")
    os.kill(await postmaster_of(embedded_home), signal.SIGKILL)

    again = await attach(embedded_home, quiet)  # the first handle still holds; stale pid file, socket and socket lock lie about

    assert again.dsn(ADMIN, CONTROL) == cluster.dsn(ADMIN, CONTROL)
    assert await value(cluster.dsn(ADMIN, CONTROL), "select answer from kept") == 42
    await cluster.detach()
    assert (await status(embedded_home)).running
    await again.detach()
    assert not (await status(embedded_home)).running


@pytest.mark.asyncio
async def test_a_stale_pid_file_with_the_number_of_another_process_does_not_stop_the_start(embedded_home: Path) -> None:
    """PostgreSQL believes such a number, in the data directory and beside the socket, when the process belongs to the same user."""
    cluster = await attach(embedded_home, quiet)
    os.kill(await postmaster_of(embedded_home), signal.SIGKILL)
    await until(lambda: not is_alive(cluster.place))
    account = server_account(cluster.place.cluster_dir)
    bystander = subprocess.Popen(["/bin/sleep", "600"], cwd="/", **account.switch())
    try:
        for path in (cluster.data_dir / "postmaster.pid", cluster.socket_dir / ".s.PGSQL.5432.lock"):
            lines = path.read_text().splitlines()
            path.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        again = await attach(embedded_home, quiet)
        assert await value(again.dsn(AGENT, SHOP), "select 1") == 1
        assert bystander.poll() is None, "the bystander was hurt"
        assert await postmaster_of(embedded_home) != bystander.pid
        await again.detach()
        await cluster.detach()
        assert bystander.poll() is None, "the bystander was hurt"
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.asyncio
async def test_a_pid_file_that_names_a_live_server_of_ours_is_never_removed(embedded_home: Path) -> None:
    """The lock says that no server lives, the process table says that one does: started by hand, perhaps."""
    async with attached(embedded_home, quiet) as cluster:
        with pytest.raises(EmbeddedError, match="did not start"):
            forget_dead(cluster.place, cluster.socket_dir)
        assert (cluster.data_dir / "postmaster.pid").exists()


@pytest.mark.asyncio
async def test_a_server_whose_socket_was_swept_away_is_replaced_when_nobody_else_uses_it(embedded_home: Path, holder: Hold) -> None:
    killed = await asyncio.to_thread(holder, embedded_home)
    killed.kill()
    await asyncio.to_thread(killed.wait)
    left_over = await status(embedded_home)
    assert left_over.socket_dir is not None
    for path in left_over.socket_dir.iterdir():
        path.unlink()

    async with attached(embedded_home, quiet) as cluster:
        assert await value(cluster.dsn(AGENT, SHOP), "select 1") == 1
        assert await postmaster_of(embedded_home) != left_over.pid


@pytest.mark.asyncio
async def test_a_first_start_that_was_killed_half_way_leaves_nothing_in_the_way(embedded_home: Path) -> None:
    async with attached(embedded_home, quiet) as cluster:
        pass
    cluster.data_dir.rename(cluster.data_dir.with_name("data.new"))  # as initdb leaves it when it is killed
    async with attached(embedded_home, quiet) as cluster:
        assert await value(cluster.dsn(AGENT, SHOP), "select count(*) from customers") == 2000
    assert not cluster.data_dir.with_name("data.new").exists()


@pytest.mark.asyncio
async def test_a_server_stopped_by_force_under_an_open_connection_ends_it(embedded_home: Path) -> None:
    cluster = await attach(embedded_home, quiet)
    connection = await asyncpg.connect(cluster.dsn(AGENT, SHOP))
    assert await stop(embedded_home, force=True)
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, asyncpg.InterfaceError)):
        await connection.fetchval("select 1")
    await cluster.detach()
    assert not (await status(embedded_home)).in_use


@pytest.mark.asyncio
async def test_a_cancelled_attach_leaves_no_lock_behind(embedded_home: Path) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(attach(embedded_home, lambda _: started.set()))
    async with asyncio.timeout(30):
        await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with attached(embedded_home, quiet) as cluster:
        assert await value(cluster.dsn(AGENT, SHOP), "select 1") == 1
    assert not (await status(embedded_home)).running
