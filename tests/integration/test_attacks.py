"""Everything in tests/cases/attacks through a real MCP client, judged by what it did and what came out."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import mcp.types as t
import pytest
from fix_attacks import READER, TAGS, TWINS, Attack, Fortress
from fix_postgres import ADMIN
from fix_server import HIDES, MakeSite
from mcp import Client, MCPError

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

_DRAWN = re.compile(r"data-[0-9a-f]{6}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|policy: \w+")
"""What differs between two replies without telling anything: marks and call ids."""
_HONEST = Attack(
    "honest", {"sql": "select o.id, o.total, c.city from orders o join customers c on c.id = o.customer_id order by 1"}, ""
)
_PATIENCE_S = 20.0

Do = Callable[[str, Attack], Awaitable[str]]
"""An attack on one of the shops, and all that comes back of it as text."""


@pytest.mark.asyncio
@pytest.mark.parametrize("login", [ADMIN, READER])
async def test_no_attack_comes_through(login: str, fortress: Fortress, make_site: MakeSite):
    """As a superuser of the database, and as the least that can read it; the agent is an engineer, who may do most."""
    through, count = [], 0
    async with fortress.standing(), _doors(fortress, make_site, login) as do:
        honest = _plain(await do(TWINS[0], _HONEST))
        await fortress.quiet(_PATIENCE_S)
        before = await fortress.fingerprint()
        for attack in fortress.attacks():
            count += 1
            harms, before = await _harms(fortress, attack, do, before)
            through += [f"{attack.title}: {harm}" for harm in harms]
            if _plain(await do(TWINS[0], _HONEST)) != honest:
                through.append(f"{attack.title}: the next honest query is answered otherwise")
    assert honest.count("\n") >= 60, honest
    assert count >= 60
    assert through == [], f"{len(through)} of {count} attacks came through"


@pytest.mark.release
@pytest.mark.asyncio
async def test_every_attack_would_do_harm_without_the_gate(fortress: Fortress):
    """Otherwise the suite proves nothing: each case is run bare, as a superuser, and must be seen to harm."""
    wrong: list[str] = []
    async with fortress.standing():
        before = await fortress.fingerprint()
        for title in [attack.title for attack in fortress.attacks()]:
            # Filled anew: the sessions it aims at are others after a rebuild.
            attack = next(a for a in fortress.attacks() if a.title == title)
            if attack.sql is None:
                continue
            harms, after = await _harms(fortress, attack, _bare(fortress), before)
            if bool(harms) == bool(attack.toothless):
                wrong.append(f"{title}: {harms}")
            if after == before:
                fortress.end_bare()
            else:
                await fortress.rebuild()
                before = await fortress.fingerprint()
    assert wrong == [], "\n".join(wrong)


async def _harms(fortress: Fortress, attack: Attack, do: Do, before: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """What an attack on both shops did, in words, and the fingerprint after it."""
    replies = [await do(twin, attack) for twin in TWINS]
    harms = [f"tells the {name}" for reply in replies if (name := fortress.leaked(reply, attack))]
    if _plain(replies[0]) != _plain(replies[1]):
        harms.append(f"tells the shops apart: {_plain(replies[0])[:300]!r} and {_plain(replies[1])[:300]!r}")
    harms += [reply for reply in replies if reply == _HUNG]
    if still := await fortress.quiet(_PATIENCE_S):
        harms.append(still)
    after = await fortress.fingerprint()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return harms + ([f"changes {', '.join(changed)}"] if changed else []), after


_HUNG = "does not come back"


def _plain(reply: str) -> str:
    return _DRAWN.sub("", reply).replace(TWINS[0], "shop").replace(TWINS[1], "shop")


@asynccontextmanager
async def _doors(fortress: Fortress, make_site: MakeSite, login: str) -> AsyncIterator[Do]:
    """One server for each shop, an agent at each."""
    clients: dict[str, Client] = {}

    async def do(twin: str, attack: Attack) -> str:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await _answer(clients[twin], attack.call)
        except TimeoutError:
            return _HUNG
        except MCPError as error:
            return f"{error} {error.error}"
        except (ValueError, UnicodeError) as error:  # the client's own refusal to send it
            return type(error).__name__

    async with AsyncExitStack() as stack:
        for twin in TWINS:
            tagged = {**TAGS, f"public.t{fortress.secrets[twin]['table']}": ["hidden"]}
            terms = {"tags": ("hidden",), "tagged": tagged, "pool_max": 1, "limits": {"timeout_s": 5}}
            site = await make_site({"shop": fortress.server.dsn(login, twin)}, policy=HIDES, **terms)
            house = await stack.enter_async_context(open_house(site.config, lambda _: None))
            app = McpApp(house.gate, lambda _: Principal("attacker", ("engineer",)))
            clients[twin] = await stack.enter_async_context(Client(app.server))
        yield do


async def _answer(client: Client, call: Mapping[str, Any]) -> str:
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


_BARE = {"statement_timeout": "3000", "application_name": "bare"}


def _bare(fortress: Fortress) -> Do:
    """No gate: a superuser with the driver."""

    async def do(twin: str, attack: Attack) -> str:
        assert attack.sql is not None
        connection = await asyncpg.connect(fortress.server.dsn(database=twin), server_settings=_BARE)
        try:
            return repr(await _run(connection, attack.sql))
        except asyncpg.QueryCanceledError:
            return _HUNG
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError, OSError) as error:
            return f"{error} {getattr(error, 'detail', '')}"
        finally:
            fortress.bare.append(connection)  # open until the rebuild: what a session holds is harm too

    return do


async def _run(connection: asyncpg.Connection, sql: str) -> list[Any]:
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    except asyncpg.PostgresSyntaxError as error:
        if "multiple commands" not in str(error):
            raise
        return [await connection.execute(sql)]
