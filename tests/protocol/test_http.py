"""A real server process over HTTP, and the SDK's client in front of it."""

import asyncio
import os
import signal
import socket
import sys

import pytest
from fix_agents import INITIALIZE, JSON, META, http_client, message
from fix_http import serving
from fix_waiting import ended
from mcp import Client
from mcp.client.sse import sse_client

from ostiary.config import Config
from ostiary.config.settings import Http
from ostiary.exits import CommandFailed, Exit
from ostiary.http.listener import inherited, listening


@pytest.mark.parametrize("door", ["2026-07-28", "legacy", "sse"])
@pytest.mark.asyncio
async def test_a_client_asks_through_each_door(ostiary_config: Config, door: str):
    async with serving(ostiary_config) as (url, _):
        transport = sse_client(url.replace("/mcp", "/sse")) if door == "sse" else url
        async with Client(transport, mode="legacy" if door == "sse" else door) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            reply = await client.call_tool("query", {"sql": "select 6 * 7 as answer"})

    assert tools == ["describe", "explain", "query", "search", "search_schema", "whoami"]
    assert "\nanswer\n42\n" in reply.content[0].text  # type: ignore[union-attr]  # our replies are text


@pytest.mark.asyncio
async def test_a_page_of_another_site_is_refused_at_every_door(ostiary_config: Config):
    async with serving(ostiary_config) as (url, _), http_client() as http:
        base = url.removesuffix("/mcp")
        for path in ("/mcp", "/sse", "/messages/?session_id=00", "/nowhere"):
            foreign = await http.post(base + path, headers={"Host": "evil.example"}, json={})
            page = await http.post(base + path, headers={"Origin": "https://evil.example"}, json={})
            assert (foreign.status_code, page.status_code) == (421, 403)


@pytest.mark.asyncio
async def test_a_stop_does_not_wait_for_streams_that_would_stay_open(ostiary_config: Config):
    """Calls would have ten minutes; nothing else is given them, so the server ends at once and well."""
    listen = message("subscriptions/listen", {"notifications": {"resourcesListChanged": True}, "_meta": META})
    async with serving(ostiary_config, OSTIARY_HTTP__SHUTDOWN_S="600") as (url, process), http_client(timeout=60) as http:
        session = (await http.post(url, json=INITIALIZE, headers=JSON)).headers["mcp-session-id"]
        modern = {**JSON, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
        async with (
            http.stream("POST", url, json=listen, headers=modern) as subscription,
            http.stream("GET", url, headers={"Accept": "text/event-stream", "Mcp-Session-Id": session}) as legacy,
            http.stream("GET", url.replace("/mcp", "/sse")) as sse,
        ):
            assert [stream.status_code for stream in (subscription, legacy, sse)] == [200] * 3
            lines = subscription.aiter_lines()
            async with asyncio.timeout(20):
                while "acknowledged" not in await anext(lines):
                    pass
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                assert await process.wait() == 0


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
        _, errors = await ended(process)

    assert process.returncode == 3
    failed, hint = errors.splitlines()
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


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_parts_of_a_reply_are_sent_at_once(host: str):
    """Kept back until the client has confirmed the one before, the body of a reply would come 40 ms after its head."""
    with listening(Http(host=host, port=0)) as listener, inherited(os.dup(listener.fileno())) as again:
        for each in (listener, again):
            with socket.create_connection(listener.getsockname()[:2]), each.accept()[0] as accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
