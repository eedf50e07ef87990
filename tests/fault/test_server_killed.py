"""Serving processes and their PostgreSQL killed under load, or asked to stop in the middle of a call."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from fix_faults import Installation, Record, Serving, crash, embedded, executed, kept_asking, kill_postgres
from fix_postgres import PostgresServer
from fix_waiting import until
from mcp import MCPError

from ostiary_tools.embedded import status

pytestmark = pytest.mark.fault

SQL = "select count(*) as {mark} from fruit"
SHOP_SQL = "select count(*) as {mark} from customers"
SLOW_SQL = "select count(*) as mark_slow from generate_series(1, 100000) as a, generate_series(1, 100000) as b"
AGENTS = 64
KILLED = 128 + signal.SIGKILL


@pytest.mark.asyncio
async def test_embedded_postgres_and_servers_killed_under_64_agents_lose_no_acknowledged_intent(
    embedded_home: Path, tmp_path: Path
) -> None:
    """Process group kills of a desktop client, and the out-of-memory killer."""
    installation = embedded(embedded_home, tmp_path)
    got: set[str] = set()
    async with installation.serving() as one, installation.serving() as two, installation.serving() as three:
        servers = [one, two, three]
        asking = [asyncio.create_task(kept_asking(servers[n % 3], f"{n}", SHOP_SQL, got)) for n in range(AGENTS)]
        asking.append(asyncio.create_task(asked_until_the_end(one)))
        await until(lambda: len(got) >= 300)
        await until_records(installation, asked_slowly)
        postmaster = (await status(embedded_home)).pid
        assert postmaster is not None, "PostgreSQL has ended before it was killed"
        await kill_postgres(postmaster)
        for server in servers:
            os.kill(server.pid, signal.SIGKILL)
        await asyncio.gather(*asking)
        assert [await server.exit_code() for server in servers] == [KILLED] * 3

    async with installation.serving() as serving:  # recovers, takes the streams over and ends what was left open
        assert not (await serving.query(SHOP_SQL.format(mark="mark_again"))).failed
        records = await until_records(installation, all_ended)
    intents = {record.mark for record in records if record.kind == "i"}
    assert len(got) >= 300
    assert got <= intents
    assert outcomes(records, "mark_slow") == ["unknown"]
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_servers_killed_under_64_agents_executed_nothing_without_its_intent(
    installation: Installation, shop_server: PostgresServer
) -> None:
    got: set[str] = set()
    async with installation.serving() as one, installation.serving() as two:
        asking = [asyncio.create_task(kept_asking((one, two)[n % 2], f"{n}", SQL, got)) for n in range(AGENTS)]
        asking.append(asyncio.create_task(asked_until_the_end(one)))
        await until(lambda: len(got) >= 300)
        await until_records(installation, asked_slowly)
        for server in (one, two):
            os.kill(server.pid, signal.SIGKILL)
        await asyncio.gather(*asking)

    async with installation.serving() as serving:
        assert not (await serving.query(SQL.format(mark="mark_again"))).failed
        records = await until_records(installation, all_ended)
    intents = {record.mark for record in records if record.kind == "i"}
    assert got <= executed(shop_server) <= intents
    assert outcomes(records, "mark_slow") == ["unknown"]
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_both_databases_and_the_servers_killed_at_once_leave_a_log_that_verifies(
    installation: Installation, shop_server: PostgresServer, control_server: PostgresServer
) -> None:
    got: set[str] = set()
    async with installation.serving() as one, installation.serving() as two:
        asking = [asyncio.create_task(kept_asking((one, two)[n % 2], f"{n}", SQL, got)) for n in range(AGENTS)]
        asking.append(asyncio.create_task(asked_until_the_end(one)))
        await until(lambda: len(got) >= 300)
        await until_records(installation, asked_slowly)
        await asyncio.gather(crash(control_server), crash(shop_server))
        for server in (one, two):
            os.kill(server.pid, signal.SIGKILL)
        await asyncio.gather(*asking)
    await asyncio.gather(asyncio.to_thread(control_server.start), asyncio.to_thread(shop_server.start))

    async with installation.serving():
        records = await until_records(installation, all_ended)
    intents = {record.mark for record in records if record.kind == "i"}
    assert got <= executed(shop_server) <= intents
    assert len(outcomes(records, "mark_slow")) == 1
    await installation.assert_verified()


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.asyncio
async def test_a_server_asked_to_stop_in_the_middle_of_a_call_records_its_outcome_and_a_checkpoint(
    installation: Installation, shop_server: PostgresServer, signal_: signal.Signals
) -> None:
    async with installation.serving() as serving:
        asking = asyncio.create_task(serving.query(SLOW_SQL))
        await until(lambda: "mark_slow" in executed(shop_server))
        os.kill(serving.pid, signal_)
        assert await serving.exit_code() == 0
        with pytest.raises(MCPError):
            await asking
        installation.private(serving.log)
    records = await installation.records()
    assert outcomes(records, "mark_slow") == ["cancelled"]
    assert records[-1].body["event"] == "stopped"
    assert await checkpointed(installation) == len(records)
    await installation.assert_verified()
    await until(partial(without_sessions, shop_server))  # the database sees the end of a socket a moment later


@pytest.mark.asyncio
async def test_a_client_that_hangs_up_ends_the_server_with_success_and_a_checkpoint(installation: Installation) -> None:
    async with installation.serving() as serving:
        assert not (await serving.query(SQL.format(mark="mark_one"))).failed
    assert await serving.exit_code() == 0
    assert await checkpointed(installation) == len(await installation.records())


@pytest.mark.asyncio
async def test_one_of_three_servers_of_a_home_is_killed_the_others_answer_and_the_last_stops_postgres(
    embedded_home: Path, tmp_path: Path
) -> None:
    installation = embedded(embedded_home, tmp_path)
    async with installation.serving() as last:
        async with installation.serving() as second:
            async with installation.serving() as killed:
                assert not (await killed.query("select 1")).failed
                os.kill(killed.pid, signal.SIGKILL)
                assert await killed.exit_code() == KILLED
                with pytest.raises(MCPError):
                    await killed.query("select 1")
            for server in (second, last):
                assert not (await server.query("select count(*) from customers")).failed
        assert await second.exit_code() == 0
        assert (await status(embedded_home)).running
        assert not (await last.query("select count(*) from customers")).failed

    async def stopped() -> bool:
        return not (await status(embedded_home)).running

    # How the last one ends is not asked: its client waits two seconds, and a database on a busy disk stops no sooner.
    await until(stopped)
    await installation.assert_verified()


async def asked_until_the_end(serving: Serving) -> None:
    """Ask what takes longer than the server lives."""
    with suppress(MCPError):
        await serving.query(SLOW_SQL)


async def until_records(installation: Installation, fit: Callable[[list[Record]], bool]) -> list[Record]:
    """Wait until the log is as it should be, and give it."""
    records: list[Record] = []

    async def right() -> bool:
        nonlocal records
        records = await installation.records()
        return fit(records)

    await until(right, seconds=40)
    return records


def asked_slowly(records: list[Record]) -> bool:
    """The intent of the slow statement is in the log."""
    return any(record.mark == "mark_slow" for record in records)


def all_ended(records: list[Record]) -> bool:
    """Every intent has its outcome, those of dead processes too."""
    ended = {record.call for record in records if record.kind == "o"}
    return all(record.call in ended for record in records if record.kind == "i")


def outcomes(records: list[Record], mark: str) -> list[str]:
    """How the call with the marked statement ended."""
    call = next(record.call for record in records if record.mark == mark)
    return [record.body["status"] for record in records if record.kind == "o" and record.call == call]


async def checkpointed(installation: Installation) -> int:
    """How many records of stream 0 the newest checkpoint covers."""
    rows = await installation.ask("SELECT max(size) AS size FROM audit.checkpoint WHERE stream = 0")
    return int(rows[0]["size"])


async def without_sessions(server: PostgresServer) -> bool:
    """Whether a datasource has no session of ours any more."""
    connection = await asyncpg.connect(server.dsn())
    try:
        return not await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ostiary'")
    finally:
        await connection.close()
