"""A real server process over HTTP, and the SDK's client in front of it."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client

from ostiary.config import Config


@contextlib.asynccontextmanager
async def serving(config: Config, **environment: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A server process on a free port, and its address."""
    places = {f"OSTIARY_HOME__{part.upper()}": str(getattr(config.home, part)) for part in ("data", "state")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "serve", "--http", "--port", "0"),
        env={"PATH": os.environ["PATH"], **places, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while (found := re.search(r"http://[^/]+/mcp", (await process.stderr.readline()).decode())) is None:
                assert process.returncode is None
        draining = asyncio.create_task(process.stderr.read())
        yield found[0], process
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        await draining
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("door", ["2026-07-28", "legacy", "sse"])
@pytest.mark.asyncio
async def test_a_client_asks_through_each_door(ostiary_config: Config, door: str):
    async with serving(ostiary_config) as (url, _):
        transport = sse_client(url.replace("/mcp", "/sse")) if door == "sse" else url
        async with Client(transport, mode="legacy" if door == "sse" else door) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            reply = await client.call_tool("query", {"sql": "select 6 * 7 as answer"})

    assert tools == ["describe", "explain", "query", "search_schema", "whoami"]
    assert "\nanswer\n42\n" in reply.content[0].text  # type: ignore[union-attr]  # our replies are text


@pytest.mark.asyncio
async def test_a_page_of_another_site_is_refused_at_every_door(ostiary_config: Config):
    async with serving(ostiary_config) as (url, _), httpx2.AsyncClient() as http:
        base = url.removesuffix("/mcp")
        for path in ("/mcp", "/sse", "/messages/?session_id=00", "/nowhere"):
            foreign = await http.post(base + path, headers={"Host": "evil.example"}, json={})
            page = await http.post(base + path, headers={"Origin": "https://evil.example"}, json={})
            assert (foreign.status_code, page.status_code) == (421, 403)
