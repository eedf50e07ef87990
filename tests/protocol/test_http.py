"""A real server process over HTTP, and the SDK's client in front of it."""

import httpx2
import pytest
from fix_http import serving
from mcp import Client
from mcp.client.sse import sse_client

from ostiary.config import Config


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
