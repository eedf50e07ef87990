"""Secrets and values, planted everywhere and searched for in every byte that an operator or an auditor reads."""

import asyncio
import os
import re
import signal
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fix_agents import http_client
from fix_identity import AUDIENCE, Provider, providing
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError
from mcp.client.sse import sse_client

from ostiary.identity.guesses import BURST
from ostiary.identity.tokens import digest, new_id, new_token
from ostiary_tools.control.tokens import TokenTable

PASSWORD, TOKEN, VALUE, PARAMETER, HEADER = (f"canary{name}7f3a" for name in ("password", "token", "value", "parameter", "header"))
CANARIES = (PASSWORD, TOKEN, VALUE, PARAMETER, HEADER)
ROWS = f"CREATE TABLE notes (id integer PRIMARY KEY, note text); INSERT INTO notes VALUES (1, '{VALUE}')"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@asynccontextmanager
async def served(site: Site, dsn: str, log: Path, **more: str) -> AsyncIterator[str]:
    """A process that writes its log to a file, at the level that says most; its address."""
    environment = {
        "PATH": os.environ["PATH"],
        "OSTIARY_SERVER__LOG_LEVEL": "debug",
        "OSTIARY_AGENT__ROLE": "reader",
        "OSTIARY_AGENT__ROLES": "reader",
        "OSTIARY_DATASOURCES__SHOP__DSN": dsn,
        **more,
    }
    file = site.config.home.data.parent / "ostiary.toml"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "serve", "--http", "--port", "0", "--config", str(file)),
            env=environment,
            stderr=stderr,
        )
    try:
        await until(lambda: process.returncode is not None or _address(log) != "")
        yield _address(log)
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


async def _good_and_wrong(client: Client) -> None:
    """Calls that show the value, that name it wrongly, and that fail on it in the database."""
    call = client.call_tool
    meta: Any = {"traceparent": TRACE}
    shown = await call("query", {"sql": "select note from notes"}, meta=meta)
    assert VALUE in shown.content[0].text  # type: ignore[union-attr]  # our replies are text
    for sql in (
        f"select '{PARAMETER}' as a",
        f"select id from notes where note = '{PARAMETER}'",
        f"select note::integer from notes where note <> '{PARAMETER}'",
        f"select '{PARAMETER}'::integer",
        f"delete from notes where note = '{PARAMETER}'",
        f"selec '{PARAMETER}'",
    ):
        await call("query", {"sql": sql}, meta=meta)
    await call("query", {"sql": [PARAMETER]})
    with pytest.raises(MCPError):
        await client.read_resource("schema://shop/public/nothing")  # names are recorded, whoever asks for them


def _keeping(refused: list[int]) -> Callable[[httpx2.Response], Awaitable[None]]:
    async def keep(answer: httpx2.Response) -> None:
        if answer.status_code >= 400:
            refused.append(answer.status_code)

    return keep


async def _hostile(http: httpx2.AsyncClient) -> None:
    """Requests that are no messages, or of nobody."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": HEADER, "Accept": "application/json, text/event-stream"}
    bodies = (
        f'{{"{PARAMETER}',
        f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": "{PARAMETER}"}}',
        f'{{"jsonrpc": "2.0", "id": 1, "method": "{PARAMETER}", "params": {{}}}}',
        f'{{"jsonrpc": "2.0", "method": "notifications/{PARAMETER}", "params": ["{PARAMETER}"]}}',
    )
    for body in bodies:
        for path in ("/mcp", f"/messages/?session_id={PARAMETER}", f"/messages/?session_id={'0' * 32}", f"/{PARAMETER}"):
            for more in ({}, {"Mcp-Session-Id": PARAMETER}, {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": PARAMETER}):
                await http.post(path, headers={**headers, **more, "Content-Type": "application/json"}, content=body)
    await http.get(f"/mcp?token={TOKEN}", headers={"Host": HEADER})
    await http.get(f"/mcp?token={TOKEN}", headers={"Origin": f"https://{HEADER}"})
    await http.request(HEADER.upper(), "/mcp")
    await http.get(f"/metrics?token={TOKEN}", headers=headers)


async def _not_http(base: str) -> None:
    host, _, port = base.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{PARAMETER} {HEADER}\r\n\r\n".encode())
    await writer.drain()
    writer.close()


@pytest.mark.asyncio
async def test_no_secret_and_no_value_is_in_logs_metrics_or_records(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, tmp_path: Path
):
    dsn = postgres_server.dsn(database=await make_database(ROWS)) + f"&password={PASSWORD}"
    site, log = await make_site({"shop": postgres_server.dsn()}), tmp_path / "log"
    async with served(site, dsn, log) as base, http_client(base_url=base) as http:
        for door in ("2026-07-28", "legacy", "sse"):
            transport = sse_client(f"{base}/sse") if door == "sse" else f"{base}/mcp"
            async with Client(transport, mode="legacy" if door == "sse" else door) as client:
                await _good_and_wrong(client)
        refused: list[int] = []
        before = log.read_bytes().count(b"refused with")  # a client of the older transports asks for what we do not offer
        http.event_hooks["response"].append(_keeping(refused))
        await _hostile(http)
        await _not_http(base)
        pages = [(await http.get(page)).content for page in ("/metrics", "/readyz", "/healthz")]
    rows = await site.fetch("SELECT log::text AS record FROM audit.log")
    records = "\n".join(row["record"] for row in rows).encode()
    said = log.read_bytes()

    read = {"log": said, "pages": b"".join(pages), "records": records}
    assert [(where, canary) for where, text in read.items() for canary in CANARIES if canary.encode() in text.lower()] == []
    # What was searched is what was meant: each holds something of these calls.
    assert b"ostiary_calls_total" in pages[0]
    assert records.count(TRACE.encode()) == 3 * 5 + 2  # repeated refusals are counted, not written again
    assert said.count(b"refused with 421") == said.count(b"refused with 403") == 1
    assert said.count(b"refused with 400: a connection") == 1
    assert said.count(b"refused with") - before - 1 == len(refused) > 40
    assert b"Traceback" not in said


def _credentials(provider: Provider, token: str) -> dict[str, int]:
    """What an `Authorization` may be, and how it is answered: right ones, and wrong ones that hold a canary wherever they can."""
    secret = b64encode(f"{TOKEN}:{PARAMETER}".encode()).decode()
    wrong: list[dict[str, Any]] = [
        {"headers": {"kid": PARAMETER}},
        *({claim: PARAMETER} for claim in ("iss", "aud", "exp", "iat", "nbf")),
        {"sub": f"{PARAMETER}\n"},
        {"exp": 1, "jti": PARAMETER},
    ]
    issued = [new_token(), f"ostiary_{TOKEN}", token[:-1], token + TOKEN]
    forged = provider.token().rpartition(".")[0] + f".{TOKEN}"
    useless = provider.token(sub="mallory", roles=[PARAMETER])
    no_bearers = (f"Basic {secret}", f"{TOKEN} {PARAMETER}", TOKEN, f"Bearer {TOKEN} {PARAMETER}")
    texts = [*issued, forged, TOKEN, *(provider.token(**changed) for changed in wrong)]
    right = {f"Bearer {text}": 405 for text in (token, provider.token())}  # PUT is offered to nobody
    return {**right, **{f"Bearer {text}": 401 for text in texts}, **dict.fromkeys(no_bearers, 401), f"Bearer {useless}": 403}


@pytest.mark.asyncio
async def test_no_credential_is_in_logs_metrics_or_records_of_a_server_that_asks_for_one(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, tmp_path: Path
):
    dsn = postgres_server.dsn(database=await make_database(ROWS))
    site, log, token = await make_site({"shop": postgres_server.dsn()}), tmp_path / "log", new_token()
    table = TokenTable(postgres_server.dsn(database=site.control))
    await table.add(new_id(), digest(token), "ada", ("reader",), 1)
    await table.close()
    with (site.config.home.data.parent / "ostiary.toml").open("a") as file:
        file.write('\n[oauth.roles]\nreaders = ["reader"]\n')
    async with providing() as provider:
        asks = {
            "OSTIARY_HTTP__AUTHENTICATION": "oauth,tokens",
            "OSTIARY_OAUTH__ISSUER": provider.url,
            "OSTIARY_OAUTH__RESOURCE": AUDIENCE,
            "OSTIARY_OPERATION__ROLES": "reader",
        }
        credentials = _credentials(provider, token)
        async with served(site, dsn, log, **asks) as base, http_client(base_url=base) as http:
            answers = {shown: (await http.put("/mcp", headers={"Authorization": shown})).status_code for shown in credentials}
            crowd = [await http.put("/mcp", headers={"Authorization": f"Bearer {TOKEN}{n}"}) for n in range(BURST)]
            pages = [
                (await http.get(page, headers={"Authorization": f"Bearer {token}"})).content for page in ("/metrics", "/readyz")
            ]
    records = "\n".join(row["record"] for row in await site.fetch("SELECT log::text AS record FROM audit.log")).encode()

    assert answers == credentials
    assert crowd[-1].status_code == 429
    # Parts of a token are secrets too: with its signature it is whole.
    parts = {part for shown in credentials for part in re.split(r"[ .]", shown) if len(part) > 10}
    read = {"log": log.read_bytes(), "pages": b"".join(pages), "records": records}
    assert [(where, part) for where, text in read.items() for part in parts | {*CANARIES} if part.encode() in text] == []
    assert b"ostiary_calls_total" in pages[0]
    assert b"unrecognised" in records
    assert b"unentitled" in records
    assert read["log"].count(b"refused with 401") == [*answers.values(), *(answer.status_code for answer in crowd)].count(401)
