"""Sessions and connections that do nothing: how many a server bears, what they cost, and when they end."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from fix_agents import INITIALIZE, JSON, http_client
from fix_http import serving
from fix_waiting import until
from mcp import Client

from ostiary.config import Config

SESSIONS = CONNECTIONS = 1000
MOST_MIB = 300
"""Of 1,000 sessions and 1,000 connections together."""


def memory_mib(process: asyncio.subprocess.Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) // 1024


async def opened(http: httpx2.AsyncClient, url: str) -> str:
    """The id of a new session, ready for calls."""
    begun = await http.post(url, json=INITIALIZE, headers=JSON)
    session: str = begun.headers["mcp-session-id"]
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post(url, json=ready, headers={**JSON, "Mcp-Session-Id": session})).status_code == 202
    return session


async def pinged(http: httpx2.AsyncClient, url: str, session: str) -> int:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    return (await http.post(url, json=ping, headers={**JSON, "Mcp-Session-Id": session})).status_code


@pytest.mark.asyncio
async def test_a_session_that_nobody_uses_ends_and_one_that_is_listened_to_does_not(ostiary_config: Config):
    bounds = {"OSTIARY_HTTP__IDLE_SESSION_S": "1", "OSTIARY_HTTP__SESSIONS": "2"}
    async with serving(ostiary_config, **bounds) as (url, _), http_client(timeout=30) as http:
        listening = await opened(http, url)
        async with http.stream("GET", url, headers={"Accept": "text/event-stream", "Mcp-Session-Id": listening}):
            idle = await opened(http, url)
            # To ask for it would be to use it; its place becomes free instead.
            await until(lambda: _begins(http, url))
            assert await pinged(http, url, idle) == 404
            assert await pinged(http, url, listening) == 200


async def _begins(http: httpx2.AsyncClient, url: str) -> bool:
    return (await http.post(url, json=INITIALIZE, headers=JSON)).status_code == 200


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_thousand_idle_sessions_and_connections_hold_nobody_up(ostiary_config: Config):
    bounds = {"OSTIARY_HTTP__RECEIVE_S": "600", "OSTIARY_HTTP__SESSIONS": str(SESSIONS)}
    async with (
        serving(ostiary_config, **bounds) as (url, process),
        http_client(timeout=60) as http,
        AsyncExitStack() as stack,
    ):
        before = memory_mib(process)
        sessions = [await opened(http, url) for _ in range(SESSIONS)]
        with_sessions = memory_mib(process)
        host, port = url.removeprefix("http://").removesuffix("/mcp").split(":")
        for _ in range(CONNECTIONS):
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            writer.write(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        one_more = await http.post(url, json=INITIALIZE, headers=JSON)
        async with Client(url, mode="2026-07-28") as client:
            replies = [await client.call_tool("query", {"sql": "select 6 * 7 as answer"}) for _ in range(20)]
        old = await pinged(http, url, sessions[0])
        after = memory_mib(process)
        left = await asyncio.gather(*(http.delete(url, headers={**JSON, "Mcp-Session-Id": each}) for each in sessions))
        again = await http.post(url, json=INITIALIZE, headers=JSON)
        print(f"memory in MiB: {before}, with {SESSIONS} sessions {with_sessions}, with {CONNECTIONS} connections {after}")  # noqa: T201

    assert all("\n42\n" in reply.content[0].text for reply in replies)  # type: ignore[union-attr]  # our replies are text
    assert (one_more.status_code, old, again.status_code) == (503, 200, 200)
    assert {reply.status_code for reply in left} == {200}
    assert after - before < MOST_MIB
