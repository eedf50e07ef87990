"""Long calls over real wires: how far they are, and that leaving one ends its statement in the database."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from fix_agents import http_client
from fix_http import serving
from fix_postgres import PostgresServer
from fix_server import LONG, MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import get_default_environment

from ostiary.progress import BEAT_S
from ostiary.pytest_plugin import ERAS

HTTP = ("2026-07-28", "legacy", "sse")
RUNNING = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sqrt%' AND pid <> pg_backend_pid()"
ROWS = "select n from generate_series(1, 2000) n"

AS_READER = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}

MakeDatabase = Callable[[str], Awaitable[str]]


@pytest.fixture
def make_shop(make_site: MakeSite, make_database: MakeDatabase, postgres_server: PostgresServer) -> Callable[[], Awaitable[Site]]:
    """A site with one small table."""

    async def make() -> Site:
        return await make_site({"shop": postgres_server.dsn(database=await make_database("CREATE TABLE t (id int)"))})

    return make


def given(site: Site) -> tuple[str, ...]:
    return ("--config", str(site.config.home.data.parent / "ostiary.toml"))


def connected(url: str, door: str) -> Client:
    """A client at one of the doors over HTTP."""
    return Client(sse_client(url.replace("/mcp", "/sse")), mode="legacy") if door == "sse" else Client(url, mode=door)


async def running(site: Site) -> int:
    connection = await asyncpg.connect(site.server.dsn())
    try:
        return int(await connection.fetchval(RUNNING))
    finally:
        await connection.close()


async def outcomes(site: Site) -> list[str]:
    return [record["status"] for record in await site.records() if record["kind"] == "o"]


class Told:
    """What a client was told of its call."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.all: list[tuple[float, float | None, str | None]] = []

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Keep it."""
        self.all.append((progress, total, message))
        self.first.set()


async def _is(found: Awaitable[Any], expected: Any) -> bool:
    return bool(await found == expected)


async def watch_and_leave(site: Site, client: Client) -> None:
    """Export with a token, then leave a long statement once it has told something."""
    exported, told, before = Told(), Told(), await outcomes(site)
    await client.call_tool("export", {"sql": ROWS, "name": "n"}, progress_callback=exported)
    call: asyncio.Task[Any] = asyncio.create_task(client.call_tool("query", {"sql": LONG}, progress_callback=told))
    async with asyncio.timeout(30):
        await told.first.wait()
    assert await running(site) == 1
    call.cancel()
    await asyncio.wait({call})
    await until(lambda: _is(running(site), 0))
    await until(lambda: _is(outcomes(site), [*before, "ok", "cancelled"]))
    assert exported.all[0] == (16.0, None, "16 rows written")
    assert told.all[0] == (float(BEAT_S), None, f"the statement has run for {BEAT_S} s")


async def hang_up(site: Site, url: str, door: str) -> None:
    """Close the connection in the middle of a statement."""
    before = await outcomes(site)
    async with connected(url, door) as client:
        call = asyncio.create_task(client.call_tool("query", {"sql": LONG}))
        await until(lambda: _is(running(site), 1))
    await asyncio.wait({call})
    await until(lambda: _is(running(site), 0))
    await until(lambda: _is(outcomes(site), [*before, "cancelled"]))
    with pytest.raises((MCPError, asyncio.CancelledError)):
        call.result()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_call_over_http_tells_how_far_it_is_and_ends_in_the_database_when_its_client_leaves_it_or_hangs_up(
    make_shop: Callable[[], Awaitable[Site]],
):
    site = await make_shop()
    async with serving(site.config, *given(site), **AS_READER) as (url, _):
        for door in HTTP:
            async with connected(url, door) as client:
                await watch_and_leave(site, client)
            await hang_up(site, url, door)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.asyncio
async def test_a_call_over_stdio_tells_how_far_it_is_and_ends_in_the_database_when_its_client_leaves_it(
    make_shop: Callable[[], Awaitable[Site]], era: str
):
    site = await make_shop()
    environment = {**get_default_environment(), **AS_READER}
    server = StdioServerParameters(command=sys.executable, args=["-m", "ostiary", "serve", *given(site)], env=environment)
    async with Client(server, mode=era) as client:
        await watch_and_leave(site, client)


@pytest.mark.asyncio
async def test_a_client_that_gave_no_token_is_told_nothing_on_the_way(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    own = "io.modelcontextprotocol/"
    meta = {
        f"{own}protocolVersion": "2026-07-28",
        f"{own}clientInfo": {"name": "raw", "version": "0"},
        f"{own}clientCapabilities": {},
    }
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}
    async with serving(site.config, *given(site), **AS_READER) as (url, _), http_client() as http:
        told = {}
        for token in ({}, {"progressToken": "t"}):
            call = {"name": "export", "arguments": {"sql": ROWS, "name": "n"}, "_meta": meta | token}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
            answer = await http.post(url, json=body, headers={**headers, "Mcp-Name": "export"})
            told[bool(token)] = answer.text.count("notifications/progress")
            assert "2000 rows" in answer.text
    assert told[False] == 0
    assert told[True] >= 1
