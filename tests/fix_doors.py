"""The gate before the attacked cluster, reached as agents reach it: by a real MCP client."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import fix_fingerprint
import mcp.types as t
from fix_attacks import HUNG, PATIENCE_S, TWINS, Attack, Do, Outcome, differing
from fix_fortress import TAGS, Fortress
from fix_server import HIDES, MakeSite
from mcp import Client, MCPError

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal


@asynccontextmanager
async def doors(
    fortress: Fortress, make_site: MakeSite, role: str, login: str, *, timeout_s: float = 5, policy: str = "", writer: str = ""
) -> AsyncIterator[Do]:
    """One server for each shop, an agent at each; `writer` logs in for changes."""
    clients: dict[str, Client] = {}
    pools: dict[str, asyncpg.Pool] = {}
    fresh: dict[str, dict[str, str]] = {}

    async def do(twin: str, attack: Attack) -> Outcome:
        try:
            async with asyncio.timeout(PATIENCE_S):
                reply = await answer(clients[twin], attack.call)
        except TimeoutError:
            return Outcome(HUNG)
        except MCPError as error:
            reply = f"{error} {error.error}"
        except (ValueError, UnicodeError) as error:  # the client's own refusal to send it
            reply = type(error).__name__
        return Outcome(reply, differing(fresh[twin], await session(twin)))

    async def session(twin: str) -> dict[str, str]:
        # The pool has one connection: what it holds is what the next caller finds.
        async with pools[twin].acquire() as connection:
            return await fix_fingerprint.of_session(connection)

    async with AsyncExitStack() as stack:
        for twin in TWINS:
            tagged = {**TAGS, f"public.t{fortress.secrets[twin]['table']}": ["hidden"]}
            terms: dict[str, Any] = {"tags": ("hidden",), "tagged": tagged, "pool_max": 1, "limits": {"timeout_s": timeout_s}}
            terms |= {"writers": {"shop": fortress.server.dsn(writer, twin)}} if writer else {}
            site = await make_site({"shop": fortress.server.dsn(login, twin)}, policy=HIDES + policy, **terms)
            house = await stack.enter_async_context(open_house(site.config, lambda _: None))
            app = McpApp(house.gate, lambda _: Principal("attacker", (role,)))
            clients[twin] = await stack.enter_async_context(Client(app.server))
            pools[twin] = house.datasources["shop"]._pool  # type: ignore[attr-defined]  # the port has none; PostgreSQL's has
            fresh[twin] = await session(twin)
        yield do


async def answer(client: Client, call: Mapping[str, Any]) -> str:
    """What an agent gets for a case's call, as text."""
    match call:
        case {"resource": address}:
            return repr(await client.read_resource(address))
        case {"resources": _}:
            lists = (await client.list_resources(), await client.list_resource_templates(), await client.list_tools())
            return repr(lists)
        case {"complete": asked}:
            reference = t.ResourceTemplateReference(uri="schema://{datasource}/{schema}/{table}")
            argument = {"name": asked["part"], "value": asked["value"]}
            return repr(await client.complete(reference, argument, context_arguments=asked.get("context")))
        case {"prompt": name, "arguments": arguments}:
            return repr(await client.get_prompt(name, arguments))
        case {"tool": name, "arguments": arguments}:
            return _text(await client.call_tool(name, arguments))
        case _:
            return _text(await client.call_tool("query", dict(call)))


def _text(reply: t.CallToolResult) -> str:
    return "\n".join(block.text for block in reply.content if isinstance(block, t.TextContent))
