"""A real server process over HTTP, and the SDK's client in front of it."""

import asyncio
import os
import socket
import sys

import httpx2
import pytest
from fix_http import serving
from mcp import Client
from mcp.client.sse import sse_client

from ostiary.config import Config
from ostiary.config.settings import Http
from ostiary.exits import CommandFailed, Exit
from ostiary.http.listener import listening


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


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_told_in_a_line_with_the_next_step(ostiary_config: Config):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "serve", "--http", "--port", str(other.getsockname()[1])),
            env={
                "PATH": os.environ["PATH"],
                "OSTIARY_HOME__DATA": str(ostiary_config.home.data),
                "OSTIARY_HOME__STATE": str(ostiary_config.home.state),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()

    assert process.returncode == 3
    failed, hint = errors.decode().splitlines()
    assert failed.startswith("error: cannot listen on `127.0.0.1` port ")
    assert failed.endswith("address already in use")
    assert hint.startswith("hint: another program listens there; ")


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("192.0.2.1", 0, "cannot assign requested address"),
        ("no-such-host.invalid", 0, "the name is not known"),
    ],
)
def test_an_address_that_cannot_be_had_is_told_with_the_next_step(host: str, port: int, said: str):
    with (
        pytest.raises(CommandFailed, match=f"cannot listen on `{host}` port {port}: {said}") as failed,
        listening(Http(host=host, port=port)),
    ):
        pass

    assert failed.value.hint
    assert failed.value.code is Exit.UNAVAILABLE
