"""A server with planted canaries, hostile requests sent to it, and the judge of all it says."""

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from fix_agents import INITIALIZE, JSON, http_client
from fix_postgres import PostgresServer
from fix_server import HIDES, READS_ALL, MakeSite, Site
from fix_waiting import until
from gen_requests import SESSION, STREAM, TOKEN, Offered, Request, request, well_made
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ostiary.identity.tokens import digest, new_id, new_token
from ostiary_tools.control.tokens import TokenTable

PASSWORD, ENVIRONMENT, KEY, TABLE, VALUE = (f"canary{name}7f3a" for name in ("password", "environment", "key", "vault", "value"))
ROWS = f"""
CREATE TABLE notes (id serial PRIMARY KEY, note text, secret text);
INSERT INTO notes VALUES (1, 'seen', '{VALUE}'), (2, 'also', '{VALUE}');
CREATE TABLE {TABLE} (id integer, content text); INSERT INTO {TABLE} VALUES (1, '{VALUE}')
"""
TAGGED = {"public.notes.secret": ["hidden"], f"public.{TABLE}": ["hidden"]}
_INTERNAL = re.compile(
    r"Traceback|File \"|site-packages|\.py\b|\bline \d+(, in| column)|input_value|input_type|pydantic|asyncpg|starlette|uvicorn|"
    r"anyio|"
    r"pglast|cedarpy|\bh11\b|ostiary_tools|ostiary_policies|\bmcp\.(server|shared|types)|NoneType|<class|object at 0x|builtins|"
    r"\b[A-Z]\w*(Error|Exception|Warning|Group)\b|validation error|postgres(ql)?://|ostiary_(writer|reader)|"
    r"Internal [Ss]erver [Ee]rror|"
    r"internal: the call failed"
)
"""What tells of the inside, or that something failed there."""
_MOST_BYTES = 3_000_000
_PATIENCE_S = 3.0
_AT_ONCE = 48
GREETING = INITIALIZE | {"id": 0}
_GOOD = {"sql": "select 6 * 7 as answer"}


@dataclass
class Served:
    """A running server and what may never be said."""

    site: Site
    base: str
    process: asyncio.subprocess.Process
    log: Path
    token: str
    """What its callers show; empty where nobody is asked."""
    secrets: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """Of a good call."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def memory_mib(self) -> int:
        """What the process holds of the machine's memory."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) // 1024


@dataclass
class Findings:
    """What was answered, and what should not have been: one line each, with the number of its request."""

    wrong: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    memory_mib: list[int] = field(default_factory=list)


def wrong_in(said: bytes, secrets: Iterable[str], *, internal: bool = True) -> list[str]:
    """What of a text may not be said; `secrets` in any case of letters."""
    text = said.decode("utf-8", "replace")
    found = [secret for secret in secrets if secret.lower() in text.lower()]
    shown = [text[max(0, m.start() - 60) : m.end() + 60] for m in _INTERNAL.finditer(text)][:1] if internal else []
    return found + shown


@asynccontextmanager
async def hostile_site(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    server: PostgresServer,
    log: Path,
    *,
    tokens: bool,
    **environment: str,
) -> AsyncIterator[Served]:
    """A process with canaries in its datasource, its environment and its credentials."""
    dsn = server.dsn(database=await make_database(ROWS)) + f"&password={PASSWORD}"
    limits = {"timeout_s": 1, "calls_per_agent": 100, "calls": 100}
    site = await make_site({"shop": server.dsn()}, policy=READS_ALL + HIDES, tags=("hidden",), tagged=TAGGED, limits=limits)
    token = new_token() if tokens else ""
    if token:
        table = TokenTable(server.dsn(database=site.control))
        await table.add(new_id(), digest(token), "attacker", ("reader",), 1)
        await table.close()
    file = site.config.home.data.parent / "ostiary.toml"
    given = {
        "PATH": os.environ["PATH"],
        "CANARY": ENVIRONMENT,
        "OSTIARY_AGENT__ROLE": "reader",
        "OSTIARY_AGENT__ROLES": "reader",
        "OSTIARY_OPERATION__ROLES": "reader",
        "OSTIARY_DATASOURCES__SHOP__DSN": dsn,
        "OSTIARY_HTTP__STATE_KEYS": KEY * 3,
        "OSTIARY_HTTP__RECEIVE_S": "2",
        "OSTIARY_HTTP__HOSTS": "127.0.0.1:*",
        **({"OSTIARY_HTTP__AUTHENTICATION": "tokens"} if tokens else {}),
        **environment,
    }
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "serve", "--http", "--port", "0", "--config", str(file)), env=given, stderr=stderr
        )
    try:
        await until(lambda: process.returncode is not None or _address(log) != "", 60)
        secrets = (PASSWORD, ENVIRONMENT, KEY, TABLE, VALUE, *((token,) if token else ()))
        yield Served(site, _address(log), process, log, token, (*secrets, str(server.root), str(site.config.home.data.parent)))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _address(log: Path) -> str:
    found = re.search(r"http://127[^/]+", log.read_text())
    return found[0] if found else ""


async def good_call(served: Served) -> str:
    """What a client of the modern era is answered."""
    async with (
        http_client(headers=served.headers) as http,
        Client(streamable_http_client(f"{served.base}/mcp", http_client=http), mode="2026-07-28") as client,
    ):
        reply = await client.call_tool("query", _GOOD)
    return str(reply.content[0].text)  # type: ignore[union-attr]  # our replies are text


async def offered(served: Served) -> Offered:
    """What its caller may use."""
    async with (
        http_client(headers=served.headers) as http,
        Client(streamable_http_client(f"{served.base}/mcp", http_client=http)) as client,
    ):
        tools = {tool.name: tuple(tool.input_schema["properties"]) for tool in (await client.list_tools()).tools}
        prompts = {p.name: tuple(a.name for a in p.arguments or ()) for p in (await client.list_prompts()).prompts}
    return Offered(tools, prompts)


async def attacked(served: Served, seed: int, count: int, batch: int) -> Findings:
    """Send that many, in batches of so many; after each a good call is answered."""
    findings, what = Findings(), await offered(served)
    for first in range(0, count, batch):
        requests = {number: request(seed, number, what) for number in range(first, min(first + batch, count))}
        async with _session(served, findings) as marks:
            places = asyncio.Semaphore(_AT_ONCE)
            await asyncio.gather(*(_judged(served, n, asked, marks, places, findings) for n, asked in requests.items()))
        assert "\n42\n" in await good_call(served), f"no good answer after requests {first} to {first + batch}"
        findings.memory_mib.append(served.memory_mib())
    return findings


async def _judged(
    served: Served, number: int, asked: Request, marks: dict[str, str], places: asyncio.Semaphore, findings: Findings
) -> None:
    async with places:
        said = await _answered(served, asked, marks)
    statuses = re.findall(rb"HTTP/1\.1 (\d{3})", said) or [b"none"]
    findings.statuses.update(status.decode() for status in statuses)
    wrong = wrong_in(said, served.secrets) + [status.decode() for status in statuses if status == b"500"]
    findings.wrong += [f"{number} {asked.kind}: {each}" for each in wrong]


async def _answered(served: Served, asked: Request, marks: dict[str, str]) -> bytes:
    """All that comes back until the server hangs up, or nothing comes any more."""
    host, _, port = served.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=_MOST_BYTES)
    said = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S if not asked.half else _PATIENCE_S / 8):
            for part in asked.parts:
                for mark, meant in marks.items():
                    part = part.replace(mark.encode(), meant.encode())  # noqa: PLW2901  that is the loop's whole point
                writer.write(part)
                await writer.drain()
            while len(said) < _MOST_BYTES and (some := await reader.read(65_536)):
                said += some
    except (TimeoutError, ConnectionError):
        pass
    finally:
        _reset(writer) if asked.half else writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return bytes(said)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Leave without a word of farewell."""
    writer.transport.abort()


@asynccontextmanager
async def _session(served: Served, findings: Findings) -> AsyncIterator[dict[str, str]]:
    """A session of each older transport, of the right caller; what its stream says is judged too."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client(base_url=served.base, headers=served.headers, timeout=30))
        begun = await http.post("/mcp", json=GREETING, headers=JSON)
        stream = await stack.enter_async_context(http.stream("GET", "/sse"))
        chunks = stream.aiter_bytes()
        heard = bytearray(await anext(chunks))
        found = re.search(rb"session_id=(\w+)", heard)
        assert found, heard
        hearing = asyncio.create_task(_hear(chunks, heard))
        yield {SESSION: begun.headers["mcp-session-id"], STREAM: found[1].decode(), TOKEN: served.token or "none"}
        hearing.cancel()
        await asyncio.wait([hearing])
        findings.wrong += [f"stream: {each}" for each in wrong_in(bytes(heard), served.secrets)]


async def _hear(chunks: AsyncIterator[bytes], heard: bytearray) -> None:
    with suppress(httpx2.HTTPError):
        async for chunk in chunks:
            heard += chunk


async def told(served: Served) -> dict[str, bytes]:
    """All that an operator or an auditor reads, by where."""
    async with http_client(base_url=served.base, headers=served.headers) as http:
        pages = {page: (await http.get(page)).content for page in ("/metrics", "/readyz", "/healthz")}
    rows = await served.site.fetch("SELECT log::text AS record FROM audit.log")
    return {**pages, "log": served.log.read_bytes(), "records": "\n".join(row["record"] for row in rows).encode()}


async def spoken(process: asyncio.subprocess.Process, lines: Iterable[bytes], number: int) -> bytes:
    """Write lines to a server on stdio, then a good call of that number; all that comes until its answer, and this."""
    assert process.stdout
    call = well_made("tools/call", name="query", arguments=_GOOD) | {"id": f"good{number}"}
    writing = asyncio.create_task(_write(process, (*lines, json.dumps(call).encode())))
    said = bytearray()
    async with asyncio.timeout(120):
        while f'"good{number}"'.encode() not in (line := await process.stdout.readline()):
            assert line, "the server ended"
            said += line
        await writing
    return bytes(said + line)


async def _write(process: asyncio.subprocess.Process, lines: Iterable[bytes]) -> None:
    assert process.stdin
    for line in lines:
        process.stdin.write(line + b"\n")
        await process.stdin.drain()
