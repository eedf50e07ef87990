"""The floor over HTTP: a bare low-level SDK server behind the same kind of uvicorn, with nothing of Ostiary in it.

Its tool `bare` does nothing; `query` does the durable work of one call of ours: a row of an audit record's size is on
disk (all that wait go in one COPY), and the statement runs in a READ ONLY transaction with its limits. Started by
`http_agents.py` with the two DSNs; not a program of its own.
"""

import asyncio
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import mcp.types as t
import uvicorn
from floor_server import BEGIN, BODY  # type: ignore[import-not-found]  # the script beside this one
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

POOL = 5
"""Connections, as many as Ostiary has per datasource unless configured otherwise."""


class Journal:
    """Rows in, durable when the call returns; whoever finds nobody writing writes for all that wait."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._number = 0
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()

    async def keep(self) -> None:
        """Return when a new row is on disk."""
        self._number += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((self._number, uuid.uuid4(), BODY), done))
        async with self._writing:
            if done.done():
                return
            batch, self._waiting = self._waiting, []
            rows = [row for row, _ in batch]
            await self._connection.copy_records_to_table("floor", records=rows, columns=["seq", "call", "body"])
            for _, written in batch:
                written.set_result(None)


async def main(journal_dsn: str, data_dsn: str) -> None:
    """Serve on a free port of the loopback, whose address goes to stderr."""
    journal = Journal(await asyncpg.connect(journal_dsn, server_settings={"synchronous_commit": "on"}))
    pool = await asyncpg.create_pool(data_dsn, statement_cache_size=0, min_size=POOL, max_size=POOL)

    async def query(sql: str) -> str:
        await journal.keep()
        async with pool.acquire() as data:
            await data.execute(BEGIN)
            rows = await data.fetch(sql)
            await data.execute("ROLLBACK")
        return "\n".join(str(row[0]) for row in rows)

    async def list_tools(_ctx: Any, _params: Any) -> t.ListToolsResult:
        tools = [t.Tool(name=name, input_schema={"type": "object"}) for name in ("query", "bare")]
        return t.ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")

    async def call_tool(_ctx: Any, params: t.CallToolRequestParams) -> t.CallToolResult:
        text = await query((params.arguments or {})["sql"]) if params.name == "query" else "1"
        return t.CallToolResult(content=[t.TextContent(text=text)])

    server: Server[Any] = Server("floor", on_list_tools=list_tools, on_call_tool=call_tool)
    manager = StreamableHTTPSessionManager(app=server)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    app = Starlette(routes=[Route("/mcp", _Endpoint(manager))], lifespan=lifespan)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        await uvicorn.Server(
            uvicorn.Config(app, http="h11", ws="none", log_config=None, access_log=False, server_header=False)
        ).serve([listener])


class _Endpoint:
    """An object, because Starlette would take a function for one that wants a request."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
