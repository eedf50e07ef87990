"""What stays open ends when the credential that opened it no longer holds, whichever way that came about."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import httpx2
import pytest
from fix_agents import INITIALIZE, JSON, META, http_client, message
from fix_http import serving
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site

from ostiary.identity.tokens import digest, new_id, new_token
from ostiary_tools.control.tokens import TokenTable

ENDS = {
    "revoked": "UPDATE tokens.token SET revoked_at = now() WHERE agent = 'revoked'",
    "demoted": "UPDATE tokens.token SET roles = '{observer}' WHERE agent = 'demoted'",
    "expired": "UPDATE tokens.token SET expires_at = now() WHERE agent = 'expired'",
}
LISTEN = {"notifications": {"resourcesListChanged": True}, "_meta": META}
Start = Callable[[int], AbstractAsyncContextManager[tuple[Site, str]]]
MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}


async def token(site: Site, agent: str) -> str:
    table, made = TokenTable(site.server.dsn(database=site.control)), new_token()
    await table.add(new_id(), digest(made), agent, ("analyst", "observer"), 1)
    await table.close()
    return made


@asynccontextmanager
async def streams(url: str, token: str) -> AsyncIterator[list[asyncio.Task[None]]]:
    """One of each kind, open; each task ends when its stream does."""
    base = url.removesuffix("/mcp")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            http_client(base_url=base, headers={**JSON, "Authorization": f"Bearer {token}"}, timeout=60)
        )
        session = (await http.post("/mcp", json=INITIALIZE)).headers["Mcp-Session-Id"]
        opened = [
            await stack.enter_async_context(stream)
            for stream in (
                http.stream("GET", "/mcp", headers={"Mcp-Session-Id": session}),
                http.stream("GET", "/sse"),
                http.stream("POST", "/mcp", headers=MODERN, content=json.dumps(message("subscriptions/listen", LISTEN))),
            )
        ]
        assert [stream.status_code for stream in opened] == [200] * 3
        reading = [asyncio.create_task(read(stream)) for stream in opened]
        yield reading
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def read(stream: httpx2.Response) -> None:
    try:
        async for _ in stream.aiter_raw():
            pass
    except httpx2.RemoteProtocolError:
        """It was cut off, which is an end."""


@pytest.fixture
def start(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> Start:
    """A server that recognises tokens and believes them for so many seconds, and where it is."""

    @asynccontextmanager
    async def started(cache_s: int) -> AsyncIterator[tuple[Site, str]]:
        database = await make_database("CREATE TABLE orders (id int)")
        site = await make_site({"shop": postgres_server.dsn(database=database)})
        options = ("--config", str(site.config.home.data.parent / "ostiary.toml"))
        with_tokens = {"OSTIARY_HTTP__AUTHENTICATION": "tokens", "OSTIARY_TOKENS__CACHE_S": str(cache_s)}
        async with serving(site.config, *options, **with_tokens) as (url, _):
            yield site, url

    return started


@pytest.mark.slow
@pytest.mark.asyncio
async def test_streams_end_when_their_credential_was_revoked_has_expired_or_lost_a_role_and_others_stay(start: Start):
    async with start(0) as (site, url), AsyncExitStack() as stack:
        opened = {agent: await stack.enter_async_context(streams(url, await token(site, agent))) for agent in ("bob", *ENDS)}
        for agent, statement in ENDS.items():
            assert not any(task.done() for task in opened[agent])
            await asyncio.to_thread(site.server.sql, statement, site.control)
            async with asyncio.timeout(20):
                await asyncio.gather(*opened[agent])
        assert not any(task.done() for task in opened["bob"])


@pytest.mark.slow
@pytest.mark.asyncio
async def test_streams_end_when_their_credential_expires_however_long_it_is_believed(start: Start):
    async with start(60) as (site, url):
        shown = await token(site, "ada")
        soon = "UPDATE tokens.token SET expires_at = now() + interval '6 seconds'"
        await asyncio.to_thread(site.server.sql, soon, site.control)
        async with streams(url, shown) as opened, asyncio.timeout(30):
            await asyncio.gather(*opened)
