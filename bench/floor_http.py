"""The floor over HTTP: a bare low-level SDK server behind the same kind of uvicorn, with nothing of Ostiary in it.

Its tool `bare` does nothing. `short` does the durable work of one call: a row of an audit record's size
is on disk (all that wait go in one COPY), and the statement runs in a READ ONLY transaction with its limits. `dialogue`
has the whole dialogue with the database that a call of ours has, message for message; `new_dialogue` begins it with the
question what the statement returns, which is asked once of each text. Started by `http_agents.py` with
the two DSNs; not a program of its own.
"""

import asyncio
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import mcp.types as t
import uvicorn
import uvloop
from floor_server import BEGIN, BODY
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

POOL = 5
"""Connections, as many as Ostiary has per datasource unless configured otherwise."""
OUTCOME = "x" * 150
LIMITS = """BEGIN READ ONLY;SET LOCAL statement_timeout = 30000;SET LOCAL lock_timeout = 2000;
SET LOCAL idle_in_transaction_session_timeout = 60000;SET LOCAL search_path = "pg_catalog", "public";
SET LOCAL transaction_timeout = 90000;"""
UNCHANGED = "SELECT FROM pg_catalog.pg_class WHERE oid = 'categories'::pg_catalog.regclass AND relkind = 'r'"
WRAPPED = """SELECT CASE WHEN c1 IS DISTINCT FROM NULL THEN pg_catalog.left(pg_catalog.concat(c1), 20001) END
FROM (SELECT * FROM (\n{}\n) AS j OFFSET 0) AS q(c1) LIMIT 1001"""


class Journal:
    """Rows in, durable when the call returns; whoever finds nobody writing writes for all that wait."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._number = 0
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()

    def note(self, body: str) -> asyncio.Future[None]:
        """A row for the next that is written; the future resolves when it is on disk."""
        self._number += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((self._number, uuid.uuid4(), body), done))
        return done

    async def keep(self) -> None:
        """Return when a new row is on disk."""
        done = self.note(BODY)
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
    emptied = await asyncpg.create_pool(data_dsn, statement_cache_size=0, min_size=POOL, max_size=POOL, reset=empty)

    async def short(sql: str) -> str:
        await journal.keep()
        async with pool.acquire() as data:
            await data.execute(BEGIN)
            rows = await data.fetch(sql)
            await data.execute("ROLLBACK")
        return "\n".join(str(row[0]) for row in rows)

    async def dialogue(sql: str, *, new: bool = False) -> str:
        keeping = asyncio.create_task(journal.keep())
        async with emptied.acquire() as data:
            await data.execute(LIMITS)
            if new:
                (await data.prepare(sql, name="")).get_attributes()
            wrapped = await data.prepare(WRAPPED.format(sql), name="")
            await data.execute(UNCHANGED)
            await keeping
            rows = await wrapped.fetch()
            await data.execute("ROLLBACK")
        journal.note(OUTCOME)
        return "\n".join(str(row[0]) for row in rows)

    new_dialogue = partial(dialogue, new=True)
    tools: dict[str, Callable[[str], Awaitable[str]]] = {"short": short, "dialogue": dialogue, "new_dialogue": new_dialogue}

    async def list_tools(_ctx: Any, _params: Any) -> t.ListToolsResult:
        listed = [t.Tool(name=name, input_schema={"type": "object"}) for name in ("bare", *tools)]
        return t.ListToolsResult(tools=listed, ttl_ms=0, cache_scope="private")

    async def call_tool(_ctx: Any, params: t.CallToolRequestParams) -> t.CallToolResult:
        text = await tools[params.name]((params.arguments or {})["sql"]) if params.name in tools else "1"
        return t.CallToolResult(content=[t.TextContent(text=text)])

    server: Server[Any] = Server("floor", on_list_tools=list_tools, on_call_tool=call_tool)
    manager = StreamableHTTPSessionManager(app=server)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    app = Starlette(routes=[Route("/mcp", _Endpoint(manager))], lifespan=lifespan)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as ours, and inherited by what it accepts
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
        await uvicorn.Server(
            uvicorn.Config(app, http="h11", ws="none", log_config=None, access_log=False, server_header=False)
        ).serve([listener])


async def empty(connection: asyncpg.Connection) -> None:
    """Leave nothing of a caller to the next; the library's own reset leaves temporary tables."""
    await connection.execute("DISCARD ALL")


class _Endpoint:
    """An object, because Starlette would take a function for one that wants a request."""

    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))  # as ours
