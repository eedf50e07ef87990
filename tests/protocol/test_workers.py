"""Several worker processes behind one address: real processes, real signals."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import httpx2
import pytest
from fix_agents import INITIALIZE, JSON, Agent, agent, http_client, message
from fix_http import serving
from fix_postgres import PostgresServer
from fix_server import LONG, MakeSite, Site
from fix_waiting import ended, until

from ostiary.config import Config
from ostiary.pytest_plugin import ERAS

AS_READER = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
SHORT = "select count(*) from t"
AGENTS = 64


@pytest.fixture
def make_shop(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> Callable[[], Awaitable[Site]]:
    """A site with one small table."""

    async def make() -> Site:
        dsn = postgres_server.dsn(database=await make_database("CREATE TABLE t (id int)"))
        return await make_site({"shop": dsn})

    return make


def given(site: Site) -> tuple[str, ...]:
    return ("--config", str(site.config.home.data.parent / "ostiary.toml"))


def children(pid: int) -> list[int]:
    """In the order they were started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def who_answers(url: str) -> str:
    """The worker at the other end of a new connection."""
    async with agent(url) as one:
        return await one.worker()


async def until_both_answer(url: str) -> None:
    seen: set[str] = set()

    async def both() -> bool:
        seen.add(await who_answers(url))
        return seen == {"0", "1"}

    await until(both)


async def ends(site: Site) -> dict[str, list[str]]:
    """How the call of each intent ended."""
    records = await site.records()
    found: dict[str, list[str]] = {record["call"]: [] for record in records if record["kind"] == "i"}
    for record in records:
        if record["kind"] == "o":
            found[record["call"]].append(record["status"])
    return found


async def running(site: Site) -> int:
    """How many long statements the database works on."""
    look = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sqrt%' AND pid <> pg_backend_pid()"
    connection = await asyncpg.connect(site.server.dsn())
    try:
        return int(await connection.fetchval(look))
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_two_workers_answer_at_one_address_and_a_session_is_unknown_to_the_other(ostiary_config: Config):
    async with serving(ostiary_config, "--workers", "2") as (url, server):
        assert len(children(server.pid)) == 2
        await until_both_answer(url)
        async with http_client(headers=JSON) as http:
            opened = await http.post(url, json=INITIALIZE)
        session = {"Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        statuses: set[int] = set()

        async def told() -> bool:
            async with http_client(headers={**JSON, **session}) as http:
                statuses.add((await http.post(url, json=message("tools/list", {}))).status_code)
            return len(statuses) == 2

        await until(told)
    assert statuses == {200, 404}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_what_keeps_a_worker_from_starting_ends_the_server_and_is_said_once(ostiary_config: Config):
    homes = {f"OSTIARY_HOME__{part.upper()}": str(getattr(ostiary_config.home, part)) for part in ("data", "state")}
    nowhere = {f"OSTIARY_CONTROL__{name}": f"postgresql://{name[:3]}@127.0.0.1:1/x" for name in ("DSN", "READER_DSN")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "serve", "--http", "--port", "0", "--workers", "3"),
        env={"PATH": os.environ["PATH"], **homes, **nowhere},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await ended(process)
    assert process.returncode == 3
    assert said.count("error: the audit log cannot be used") == 1


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_low_bound_on_open_files_is_raised_for_every_worker(ostiary_config: Config):
    low, high = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, high))
    try:
        async with serving(ostiary_config, "--workers", "2") as (_, server):
            bounds = [resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in (server.pid, *children(server.pid))]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, high))
    assert bounds == [(high, high)] * 3


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_worker_that_the_system_has_no_room_for_is_replaced_once_it_has(ostiary_config: Config):
    async with serving(ostiary_config, "--workers", "2") as (url, server):
        await until_both_answer(url)
        bounds = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, bounds[1]))
        os.kill(children(server.pid)[0], signal.SIGKILL)
        over, _ = await asyncio.wait({asyncio.create_task(server.wait())}, timeout=2)
        assert not over  # and it has tried by then
        assert await who_answers(url) in {"0", "1"}
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, bounds)
        await until_both_answer(url)


@pytest.mark.asyncio
async def test_the_option_of_workers_is_of_no_use_to_others(ostiary_config: Config):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "serve", "--http", "--listener", "0"),
        env={"PATH": os.environ["PATH"], "HOME": str(ostiary_config.home.state.parent)},
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await ended(process)
    assert process.returncode == 2
    assert said.startswith("error: nothing listens on descriptor 0")


@pytest.mark.fault
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.asyncio
async def test_a_server_under_load_that_is_asked_to_stop_records_how_every_call_ended(
    make_shop: Callable[[], Awaitable[Site]], workers: int, era: str
):
    site = await make_shop()
    bounds = {"OSTIARY_HTTP__SHUTDOWN_S": "2", **AS_READER}
    async with serving(site.config, *given(site), "--workers", str(workers), **bounds) as (url, server), AsyncExitStack() as stack:
        agents = [await stack.enter_async_context(agent(url, era)) for _ in range(AGENTS)]
        calls = [asyncio.create_task(one.query(LONG if n % 8 == 0 else SHORT)) for n, one in enumerate(agents)]
        await until(lambda: any(call.done() for call in calls))
        await until(lambda: _runs(site))
        server.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(30):
            assert await server.wait() == 0
    found = await ends(site)
    assert {len(statuses) for statuses in found.values()} == {1}
    assert [statuses[0] for statuses in found.values()].count("ok") >= sum(map(_well, answers)) > 0
    assert "cancelled" in {statuses[0] for statuses in found.values()}
    assert await running(site) == 0


def _well(answer: httpx2.Response | BaseException) -> bool:
    """Whether the agent has rows."""
    return isinstance(answer, httpx2.Response) and answer.status_code == 200 and "count" in answer.text


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_second_signal_has_calls_cancelled_at_once(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    patient = {"OSTIARY_HTTP__SHUTDOWN_S": "3600", "OSTIARY_LIMITS__TIMEOUT_S": "3600", **AS_READER}
    async with serving(site.config, *given(site), "--workers", "2", **patient) as (url, server), agent(url) as one:
        call = asyncio.create_task(one.query(LONG))
        await until(lambda: _runs(site))
        server.send_signal(signal.SIGINT)
        await until(lambda: _refused(url))
        server.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await server.wait() == 0
        await asyncio.wait({call})
    assert list((await ends(site)).values()) == [["cancelled"]]


async def _refused(url: str) -> bool:
    try:
        await who_answers(url)
    except httpx2.TransportError:
        return True
    return False


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_worker_killed_in_mid_call_is_replaced_its_call_ends_as_unknown_and_the_other_goes_on(
    make_shop: Callable[[], Awaitable[Site]],
):
    site = await make_shop()
    async with serving(site.config, *given(site), "--workers", "2", **AS_READER) as (url, server), AsyncExitStack() as stack:
        before = children(server.pid)
        one = await stack.enter_async_context(agent(url))
        other = await _elsewhere(url, one, stack)
        killed = before[int(await one.worker())]
        call = asyncio.create_task(one.query(LONG))
        await until(lambda: _runs(site))
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(httpx2.TransportError):
            await call
        assert _well(await other.query(SHORT))
        await until(lambda: killed not in (now := children(server.pid)) and len(now) == 2)
        await until(lambda: _ended(site, ["ok", "unknown"]), seconds=60)
        await until_both_answer(url)
        assert set(before) & set(children(server.pid)) == set(before) - {killed}


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_worker_that_cannot_be_replaced_now_is_replaced_when_it_can_and_the_other_answers(
    make_shop: Callable[[], Awaitable[Site]],
):
    site = await make_shop()
    policy = site.config.home.data.parent / "policies" / "own.cedar"
    good = policy.read_text()
    async with serving(site.config, *given(site), "--workers", "2", **AS_READER) as (url, server):
        killed, lasting = children(server.pid)
        policy.write_text("permit everything")
        os.kill(killed, signal.SIGKILL)
        tried: set[int] = set()
        await until(lambda: len(_noted(tried, set(children(server.pid)) - {killed, lasting})) == 2)
        assert await who_answers(url) == "1"
        policy.write_text(good)
        await until_both_answer(url)
    assert lasting not in tried


def _noted(seen: set[int], now: set[int]) -> set[int]:
    seen |= now
    return seen


async def _elsewhere(url: str, one: Agent, stack: AsyncExitStack) -> Agent:
    """An agent at another worker."""
    async with asyncio.timeout(30):
        while True:
            other = await stack.enter_async_context(agent(url))
            if await other.worker() != await one.worker():
                return other


async def _ended(site: Site, expected: list[str]) -> bool:
    return sorted(status for statuses in (await ends(site)).values() for status in statuses) == expected


async def _runs(site: Site) -> bool:
    return await running(site) > 0


@pytest.mark.fault
@pytest.mark.asyncio
async def test_no_worker_outlives_a_server_that_was_killed(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    async with serving(site.config, *given(site), "--workers", "2", **AS_READER) as (_, server):
        workers = children(server.pid)
        server.kill()
        await server.wait()
    assert len(workers) == 2
    await until(lambda: not any(map(alive, workers)))
    assert [record["event"] for record in await site.records() if record["kind"] == "e"].count("stopped") == 2
