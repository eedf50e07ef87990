"""The floor: a bare MCP tool that does the same work with nothing of Ostiary in it.

One durable COPY of an audit-sized row, a READ ONLY transaction with its limits, and the
statement. Started by `query.py` with the two DSNs, and a third word where it shall run on
uvloop as Ostiary does; not a program of its own.
"""

import asyncio
import sys
import uuid
from typing import Any

import asyncpg
import mcp.types as t
import uvloop
from mcp.server import Server
from mcp.server.stdio import stdio_server

BODY = "x" * 600
BEGIN = """BEGIN READ ONLY; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '2s';
SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL search_path = pg_catalog, public"""


async def main(journal_dsn: str, data_dsn: str) -> None:
    """Serve the tools `query` (all the work) and `bare` (none of it) on stdio."""
    journal = await asyncpg.connect(journal_dsn, server_settings={"synchronous_commit": "on"})
    data = await asyncpg.connect(data_dsn, statement_cache_size=0)
    numbers = iter(range(1, 10**9))

    async def query(sql: str) -> str:
        row = (next(numbers), uuid.uuid4(), BODY)
        await journal.copy_records_to_table("floor", records=[row], columns=["seq", "call", "body"])
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
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    run = uvloop.run if "uvloop" in sys.argv[3:] else asyncio.run
    run(main(sys.argv[1], sys.argv[2]))
