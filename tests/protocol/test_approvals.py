"""A tool asks before it goes on: in both eras, at whichever process the answer arrives, and each question has one answer."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp.types as t
import pytest
from fix_http import serving
from fix_packs import install
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from mcp import Client, MCPError

PACK = """
from ostiary_tools.api import Args, Hints, Intent, Surface, Text

class LaunchArgs(Args):
    what: str

class Launch:
    name, title, description, surface, hints, args = "launch", "Launch", "Launches.", Surface.TOOL, Hints(), LaunchArgs

    def plan(self, args, world):
        return Intent(self.name, args.model_dump(mode="json"))

    async def run(self, permit, session):
        what = permit.intent.arguments["what"]
        return Text(f"launched {what}" if await session.approve(f"Launch {what}?") else "kept")

def pack():
    return (Launch(),)
"""
YES: dict[str, Any] = {"approve": t.ElicitResult(action="accept", content={"approve": True})}
NO: dict[str, Any] = {"approve": t.ElicitResult(action="decline")}
ANSWERED = "refused: this question was answered already"
KEYS = ("k" * 32, "l" * 32)


async def agreeable(context: Any, params: Any) -> t.ElicitResult:
    assert params.message == "Launch a?"
    return t.ElicitResult(action="accept", content={"approve": True})


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A folder with an installed tool pack."""
    return install(tmp_path, "launches", PACK)


@pytest.fixture
def make_shop(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> Callable[[], Awaitable[Site]]:
    """A site with an empty database."""

    async def make() -> Site:
        return await make_site({"shop": postgres_server.dsn(database=await make_database("SELECT 1"))})

    return make


def given(pack: Path, keys: str) -> dict[str, str]:
    role = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
    return {**role, "PYTHONPATH": str(pack), "OSTIARY_HTTP__STATE_KEYS": "env:KEYS", "KEYS": keys}


def options(site: Site) -> tuple[str, ...]:
    return ("--config", str(site.config.home.data.parent / "ostiary.toml"))


async def ask(client: Client, what: str) -> str:
    """The state that comes with the question."""
    asked = await client.session.call_tool("launch", {"what": what}, allow_input_required=True)
    assert isinstance(asked, t.InputRequiredResult)
    assert asked.request_state is not None
    return asked.request_state


async def answer(client: Client, what: str, state: str, said: dict[str, Any]) -> str:
    """The text of what the call came to."""
    reply = await client.session.call_tool(
        "launch", {"what": what}, input_responses=said, request_state=state, allow_input_required=True
    )
    assert isinstance(reply, t.CallToolResult)
    assert isinstance(reply.content[0], t.TextContent)
    return reply.content[0].text


@pytest.mark.asyncio
async def test_two_processes_take_each_others_questions_and_each_yes_once(make_shop: Callable[[], Awaitable[Site]], pack: Path):
    """The second process is in the middle of changing its key: it seals with the new one and opens both."""
    site = await make_shop()
    async with AsyncExitStack() as stack:
        clients = []
        for keys in ("\n".join(KEYS), "\n".join(reversed(KEYS))):
            url, _ = await stack.enter_async_context(serving(site.config, *options(site), **given(pack, keys)))
            clients.append(await stack.enter_async_context(Client(url, mode="2026-07-28", elicitation_callback=agreeable)))
        states = [await ask(clients[n % 2], f"rocket {n}") for n in range(12)]
        replies = [await answer(clients[(n + 1) % 2], f"rocket {n}", state, YES) for n, state in enumerate(states)]
        again = [await answer(clients[n % 2], f"rocket {n}", state, YES) for n, state in enumerate(states)]
        declined = await ask(clients[1], "b")
        kept = [
            await answer(client, "b", declined, said) for client, said in ((clients[0], NO), (clients[1], YES), (clients[0], NO))
        ]
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await answer(clients[0], "another", await ask(clients[1], "c"), YES)
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await answer(clients[0], "c", '{"number": "0", "about": ""}', YES)
        unsolicited = await clients[0].session.call_tool("launch", {"what": "d"}, input_responses=YES, allow_input_required=True)
        whole = (await clients[0].call_tool("launch", {"what": "a"})).content
    assert replies == [f"launched rocket {n}" for n in range(12)]
    assert {reply.partition("\n")[0] for reply in again} == {ANSWERED}
    assert [reply.partition("\n")[0] for reply in kept] == ["kept", ANSWERED, ANSWERED]
    assert isinstance(unsolicited, t.InputRequiredResult)
    assert whole == [t.TextContent(text="launched a")]
    outcomes = [(r["status"], r.get("error", "")) for r in await site.records() if r["kind"] == "o"]
    assert outcomes.count(("error", "approval_asked")) == 12 + 1 + 1 + 1 + 1
    assert outcomes.count(("ok", "")) == 12 + 1 + 1


@pytest.mark.asyncio
async def test_a_session_of_the_2025_era_is_asked_on_its_call_and_who_has_nobody_to_ask_is_told_so(
    make_shop: Callable[[], Awaitable[Site]], pack: Path
):
    site = await make_shop()
    async with serving(site.config, *options(site), **given(pack, KEYS[0])) as (url, _):
        async with Client(url, mode="legacy", elicitation_callback=agreeable) as client:
            reply = await client.call_tool("launch", {"what": "a"})
        for era in ("2026-07-28", "legacy"):
            async with Client(url, mode=era) as client:
                with pytest.raises(MCPError, match="needs an approval") as caught:
                    await client.call_tool("launch", {"what": "a"})
                assert caught.value.code == t.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert reply.content == [t.TextContent(text="launched a")]
    assert [r.get("error", "") for r in await site.records() if r["kind"] == "o"] == ["", *["approval_impossible"] * 2]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_workers_that_were_given_no_key_take_each_others_questions(make_shop: Callable[[], Awaitable[Site]], pack: Path):
    """Every request comes on a connection of its own; of 24 about half reach another worker than the one that asked."""
    site = await make_shop()
    no_keys = {name: value for name, value in given(pack, "").items() if "KEYS" not in name}
    async with serving(site.config, *options(site), "--workers", "2", **no_keys) as (url, _):
        states = [await fresh(url, ask, f"rocket {n}") for n in range(12)]
        replies = [await fresh(url, answer, f"rocket {n}", state, YES) for n, state in enumerate(states)]
        again = [await fresh(url, answer, f"rocket {n}", state, YES) for n, state in enumerate(states)]
    assert replies == [f"launched rocket {n}" for n in range(12)]
    assert {reply.partition("\n")[0] for reply in again} == {ANSWERED}
    streams = await site.fetch("SELECT DISTINCT stream FROM audit.log WHERE kind = 'i'")
    assert len(streams) == 2


async def fresh(url: str, request: Callable[..., Awaitable[str]], *given: Any) -> str:
    """The answer to it on a connection of its own."""
    async with Client(url, mode="2026-07-28", elicitation_callback=agreeable) as client:
        return await request(client, *given)
