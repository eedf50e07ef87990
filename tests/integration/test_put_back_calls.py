"""Agents of a server whose control database is put back: what they are told, and what of theirs does not come to life again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import mcp.types as t
import pytest
import pytest_asyncio
from fix_answers import text_of
from fix_audit import AuditLog, audit_log_at
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.audit.opening import opened, standing
from ostiary.mcp_app import McpApp
from ostiary.readiness import readiness
from ostiary_policies.model import Principal

pytestmark = [pytest.mark.slow, pytest.mark.asyncio]

SHOP = """
CREATE TABLE private (id integer PRIMARY KEY, name text);
INSERT INTO private SELECT n, 'canary ' || n FROM generate_series(1, 30) n;
"""
POLICY = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("private-wants-a-yes") @approval("human")
permit (principal in Role::"reader", action == Action::"read", resource is Table) when { resource.name == "private" };
"""
READ = {"sql": "select name from private where id = 7"}
YES = t.ElicitResult(action="accept", content={"approve": True})


@pytest_asyncio.fixture
async def site(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> Site:
    """Where one table is read with a human's yes alone."""
    return await make_site({"shop": postgres_server.dsn(database=await make_database(SHOP))}, policy=POLICY)


def log_of(site: Site) -> AuditLog:
    """Its audit log."""
    return audit_log_at(site.server, site.control, site.config.home.state)


async def open_epoch(log: AuditLog) -> None:
    """As the command does."""
    await opened(log.place, await standing(log.place, []), "olga", "the disk failed")


@asynccontextmanager
async def agent(house: House) -> Any:
    """A client of the modern era; what it is given back stays good over a restart."""
    app = McpApp(house.gate, lambda _: Principal("ada", ("reader",)), jobs=house.jobs, state_keys=("k" * 32,))
    async with Client(app.server, mode="2026-07-28", elicitation_callback=_asked) as client:
        yield client


async def _asked(context: Any, params: t.ElicitRequestParams) -> t.ElicitResult:
    return YES


async def ask(client: Client) -> str:
    """The state that comes with the question."""
    reply = await client.session.call_tool("query", READ, allow_input_required=True)
    assert isinstance(reply, t.InputRequiredResult)
    return str(reply.request_state)


async def answer(client: Client, state: str) -> str:
    """What the call came to, or `asked`."""
    given: dict[str, Any] = {"input_responses": {"approve": YES}, "request_state": state, "allow_input_required": True}
    reply = await client.session.call_tool("query", READ, **given)
    return text_of(reply) if isinstance(reply, t.CallToolResult) else "asked"


async def test_agents_are_told_who_decides_and_are_answered_again_when_it_was(site: Site):
    async with open_house(site.config, lambda _: None) as house, agent(house) as ada:
        assert "agent" in text_of(await ada.call_tool("whoami", {}))
    log = log_of(site)
    then = log.keep()
    async with open_house(site.config, lambda _: None) as house, agent(house) as ada:
        await ada.call_tool("whoami", {})
        log.put_back(then)

        async def told() -> bool:
            return "\nrule: audit_put_back\n" in text_of(await ada.call_tool("whoami", {}))

        await until(told)
        said = text_of(await ada.call_tool("query", {"sql": "select 1"}))
        assert "nothing is run before a person has decided" in said
        assert "`ostiary audit open-epoch`" in said
        ready = readiness(house.recorder.state(), [])
        assert (ready.ready, "rule audit_put_back" in ready.problems[0]) == (False, True)
        await open_epoch(log)

        async def answered() -> bool:
            return "agent" in text_of(await ada.call_tool("whoami", {}))

        await until(answered)
    assert (await log.verify()).exit_code == 4
    log.server.drop([then])


async def test_an_answer_that_was_used_is_not_good_again_after_its_use_was_forgotten(site: Site):
    log = log_of(site)
    async with open_house(site.config, lambda _: None) as house, agent(house) as ada:
        state = await ask(ada)
    then = log.keep()
    async with open_house(site.config, lambda _: None) as house, agent(house) as ada:
        assert "canary 7" in await answer(ada, state)
        assert "was answered already" in await answer(ada, state)
    await asyncio.to_thread(log.put_back, then)
    await open_epoch(log)
    async with open_house(site.config, lambda _: None) as house, agent(house) as ada:
        assert await answer(ada, state) == "asked"
        assert "canary 7" in await answer(ada, await ask(ada)), "a new one is"
    log.server.drop([then])
