"""What a client may take of a server over HTTP, and how it is told that this was too much. Over bare sockets."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest
from fix_agents import INITIALIZE, JSON, http_client
from fix_http import serving

from ostiary.config import Config

HEAD = "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
ACCEPT = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    found = re.fullmatch(r"http://(.+):(\d+)/mcp", url)
    assert found
    reader, writer = await asyncio.open_connection(found[1], int(found[2]), limit=1000)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(url: str, *parts: str) -> str:
    """All that comes until the server hangs up."""
    async with connected(url) as (reader, writer), asyncio.timeout(20):
        for part in parts:
            writer.write(part.encode("latin-1"))
            await writer.drain()
        return (await reader.read()).decode()


@pytest.mark.asyncio
async def test_a_request_that_never_ends_is_given_up(ostiary_config: Config):
    async with serving(ostiary_config, OSTIARY_HTTP__RECEIVE_S="1", OSTIARY_HTTP__KEEP_ALIVE_S="3600") as (url, _):
        silent, in_headers, in_body, in_chunks, after_one = await asyncio.gather(
            answer(url),
            answer(url, HEAD),
            answer(url, HEAD + ACCEPT + "Content-Length: 10\r\n\r\n{"),
            answer(url, HEAD + ACCEPT + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
            answer(url, "GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", HEAD),
        )

    assert silent == ""
    assert {reply.split(" ")[1] for reply in (in_headers, in_body, in_chunks)} == {"408"}
    assert re.findall(r"HTTP/1.1 (\d+)", after_one) == ["404", "408"]


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (431, HEAD + "X: y\r\n" * 200 + "\r\n"),
        (431, HEAD + f"X: {'y' * 20_000}\r\nY: {'y' * 20_000}\r\n\r\n"),
        (431, HEAD + "X: " + "y" * 300_000),
        (413, HEAD + ACCEPT + "Content-Length: 5000000\r\n\r\n"),
        (413, HEAD.replace("/mcp", "/messages/?session_id=" + "0" * 32) + ACCEPT + "Content-Length: 5000000\r\n\r\n"),
    ],
)
@pytest.mark.asyncio
async def test_a_request_that_is_too_large_is_refused(ostiary_config: Config, status: int, request_: str):
    async with serving(ostiary_config, OSTIARY_HTTP__RECEIVE_S="1") as (url, _):
        assert (await answer(url, request_)).split(" ")[1] == str(status)


@pytest.mark.asyncio
async def test_more_connections_sessions_and_streams_than_allowed_are_told_when_to_return(ostiary_config: Config):
    bounds = {"OSTIARY_HTTP__SESSIONS": "2", "OSTIARY_HTTP__STREAMS_PER_AGENT": "1", "OSTIARY_HTTP__CONNECTIONS": "6"}
    async with serving(ostiary_config, **bounds) as (url, _), http_client(headers=JSON) as http, AsyncExitStack() as stack:
        opened = [await http.post(url, json=INITIALIZE) for _ in range(3)]
        stream = await stack.enter_async_context(http.stream("GET", url.replace("/mcp", "/sse")))
        another = await http.get(url.replace("/mcp", "/sse"))
        for _ in range(5):
            await stack.enter_async_context(connected(url))
        turned_away = await answer(url)

    assert [reply.status_code for reply in opened] == [200, 200, 503]
    assert (stream.status_code, another.status_code) == (200, 429)
    assert opened[2].headers["retry-after"] == another.headers["retry-after"] == "1"
    assert turned_away.startswith("HTTP/1.1 503 ")
    assert "retry-after: 1" in turned_away


@pytest.mark.asyncio
async def test_a_client_that_stops_reading_is_dropped(ostiary_config: Config):
    """It asks on one connection again and again and takes no reply in, so that every buffer on the way fills."""
    async with serving(ostiary_config, OSTIARY_HTTP__SEND_S="1") as (url, _):
        with pytest.raises(ConnectionError):
            await asking_for_ever(int(url.split(":")[2].removesuffix("/mcp")))


async def asking_for_ever(port: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # noqa: FBT003 the library's own way
        async with asyncio.timeout(60):
            await loop.sock_connect(client, ("127.0.0.1", port))
            while True:
                await loop.sock_sendall(client, b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000)


SMUGGLED = [
    ("400", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("400", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    ("400", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMcp-Method: tools/list\r\nMcp-Method: tools/call\r\n\r\n"),
    ("400", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMcp-Protocol-Version: 2025-11-25\r\nMcp-Protocol-Version: x\r\n\r\n"),
    ("400", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMcp-Name: a\0b\r\n\r\n"),
    ("400", "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\rb\r\n\r\n"),
    ("400", "POST /mcp HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n"),
    ("400", "POST /mcp HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n"),
    ("404", "GET http://127.0.0.1/mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("404", "GET /mcp/../readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("404", "GET //mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("404", "GET /%6dcp HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("404", "GET /x/%2e%2e/healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("404", "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
]


@pytest.mark.asyncio
async def test_what_two_programs_could_read_differently_is_refused(ostiary_config: Config):
    async with serving(ostiary_config, OSTIARY_HTTP__KEEP_ALIVE_S="1", OSTIARY_HTTP__RECEIVE_S="2") as (url, _):
        replies = await asyncio.gather(*(answer(url, request) for _, request in SMUGGLED))

    assert [re.findall(r"HTTP/1.1 (\d+)", reply) for reply in replies] == [[status] for status, _ in SMUGGLED]


UNREADABLE = [
    (-32700, "Parse error: the body is not JSON", "{"),
    (-32700, "Parse error: the body is not JSON", "[" * 5000),
    (-32602, "Validation error: the body is no JSON-RPC message", '{"jsonrpc": "2.0", "id": {}, "method": 7}'),
]


@pytest.mark.asyncio
async def test_what_is_no_message_is_refused_without_the_parsers_words(ostiary_config: Config):
    """On connections of the 2025 era; the SDK would quote its exception."""
    async with serving(ostiary_config) as (url, _), http_client(headers=JSON) as http:
        replies = [await http.post(url, content=body) for _, _, body in UNREADABLE]

    assert [reply.status_code for reply in replies] == [400, 400, 400]
    assert [reply.json()["error"] for reply in replies] == [{"code": code, "message": said} for code, said, _ in UNREADABLE]


CALLED = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
ERAS = {"2025-11-25", "2026-07-28", ""}
OLD = {"2025-11-25", ""}
LIES: list[tuple[set[str], dict[str, str], str, dict[str, Any]]] = [
    (ERAS, {"Mcp-Method": "tools/list"}, "tools/call", {"name": "whoami"}),
    (ERAS, {"Mcp-Method": "tools/call", "Mcp-Name": "query"}, "tools/call", {"name": "whoami"}),
    (ERAS, {"Mcp-Method": "tools/call", "Mcp-Name": "whoam\xef"}, "tools/call", {"name": "whoami"}),
    (ERAS, {"Mcp-Method": "tools/call", "Mcp-Name": "whoami"}, "tools/call", {"name": "export", "uri": "whoami"}),
    (ERAS, {"Mcp-Method": "tools/call", "Mcp-Name": "whoami"}, "tools/call", {"name": "export", "taskId": "whoami"}),
    (ERAS, {"Mcp-Method": "tools/call", "Mcp-Name": "=?base64?d2hvYW1p?="}, "tools/call", {"name": "export"}),
    (ERAS, {"Mcp-Method": "resources/read", "Mcp-Name": "a:b"}, "resources/read", {"uri": "c:d", "name": "a:b"}),
    (ERAS, {"Mcp-Method": "prompts/get", "Mcp-Name": "a"}, "prompts/get", {"name": "b", "uri": "a"}),
    (ERAS, {"Mcp-Method": ""}, "tools/call", {"name": "whoami"}),
    (OLD, {"Mcp-Name": "whoami"}, "tools/call", {"name": "export", "uri": "whoami"}),
    (OLD, {"Mcp-Method": "tools/list", "Mcp-Name": "whoami"}, "tools/list", {"name": "whoami"}),
    (OLD, {"Mcp-Method": "resources/subscribe", "Mcp-Name": "a:b"}, "resources/subscribe", {"uri": "a:b"}),
    (OLD, {"Mcp-Method": "tools/call", "Mcp-Name": "whoami", "Mcp-Param-Region": "eu"}, "tools/call", {"name": "whoami"}),
    (OLD, {"Mcp-Param-Region": "eu"}, "tools/call", {"name": "whoami"}),
]
"""In which eras, what the headers say, and method and parameters of the body."""


@pytest.mark.parametrize("version", sorted(ERAS))
@pytest.mark.asyncio
async def test_headers_that_differ_from_the_body_are_refused_in_every_era(ostiary_config: Config, version: str):
    lies = [(headers, method, params) for eras, headers, method, params in LIES if version in eras]
    async with serving(ostiary_config) as (url, _), http_client(headers=JSON) as http:
        session = (await http.post(url, json=INITIALIZE)).headers["mcp-session-id"]
        modern = version == "2026-07-28"
        era = ({"MCP-Protocol-Version": version} if version else {}) | ({} if modern else {"Mcp-Session-Id": session})

        async def said(address: str, headers: dict[str, str], method: str, params: dict[str, Any]) -> httpx2.Response:
            meant = params | ({"_meta": META} if modern else {})
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": meant}
            return await http.post(address, json=body, headers=httpx2.Headers([*era.items(), *headers.items()], "latin-1"))

        honest = await said(
            url, {"Mcp-Method": "tools/call", "Mcp-Name": "whoami"}, "tools/call", {"name": "whoami", "uri": "query"}
        )
        replies = [await said(url, *lie) for lie in lies]
        old = url.replace("/mcp", "/messages/?session_id=" + "0" * 32)
        over_sse = [await said(old, *lie) for lie in lies]

    assert honest.status_code == 200
    assert "analyst" in honest.text
    assert [(reply.status_code, reply.json()["error"]["code"]) for reply in replies] == [(400, -32020)] * len(lies)
    assert [(reply.status_code, reply.json()["error"]["code"]) for reply in over_sse] == [(400, -32020)] * len(lies)


@pytest.mark.asyncio
async def test_a_folded_header_is_read_as_one_line_which_names_no_method(ostiary_config: Config):
    folded = HEAD + "Mcp-Method: tools/call\r\n\ttools/list\r\nConnection: close\r\n" + ACCEPT
    async with serving(ostiary_config, OSTIARY_HTTP__RECEIVE_S="2") as (url, _):
        body = json.dumps(CALLED)
        said = await answer(url, folded + f"Content-Length: {len(body)}\r\n\r\n" + body)

    assert said.startswith("HTTP/1.1 400 ")
    assert "-32020" in said
