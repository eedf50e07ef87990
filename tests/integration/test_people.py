"""Approvals by people: a call stands where they see it, and runs once when as many as policy wants have granted it."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp.types as t
import pytest
from fix_answers import text_of
from fix_postgres import ADMIN, PostgresServer
from fix_server import MakeSite, Site
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.control.people import PeopleTable

SHOP = """
CREATE TABLE private (id integer PRIMARY KEY, name text);
INSERT INTO private SELECT n, 'canary ' || n FROM generate_series(1, 30) n;
CREATE TABLE secret (id integer PRIMARY KEY, name text);
INSERT INTO secret VALUES (1, 'canary 1');
"""
POLICY = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("private-wants-a-yes") @approval("human")
permit (principal in Role::"reader", action == Action::"read", resource is Table) when { resource.name == "private" };
@id("secret-wants-two") @approval("two humans")
permit (principal in Role::"reader", action == Action::"read", resource is Table) when { resource.name == "secret" };
"""
READ = "select name from private where id = 7"
SECRET = "select name from secret where id = 1"
YES = t.ElicitResult(action="accept", content={"approve": True})
WAITS = re.compile(r"approval_waiting: rule `[a-z-]+` wants .*; it waits for people until [0-9: -]{16} UTC as `([a-z2-7]{8})`\n")


@dataclass(frozen=True)
class Shop:
    """A server over a table that people are asked about."""

    site: Site
    database: str
    house: House

    async def query(self, sql: str = READ, agent: str = "ada", house: House | None = None, *, human: Any = None) -> str:
        """The reply to one call; `human` is who sits at the client."""
        who = Principal(agent, ("reader",))
        async with Client(McpApp((house or self.house).gate, lambda _: who).server, elicitation_callback=human) as client:
            return text_of(await client.call_tool("query", {"sql": sql}))

    async def waits(self, sql: str = READ, agent: str = "ada", house: House | None = None) -> str:
        """The id that the call waits under."""
        reply = await self.query(sql, agent, house)
        found = WAITS.match(reply)
        assert found, reply
        return found[1]

    async def approvals(self, *arguments: str, expected: int = 0, answer: str = "", **environment: str) -> str:
        """What the administrator's command prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "approvals", *arguments, "--config", str(self.site.folder / "ostiary.toml")),
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.site.folder),
                "OSTIARY_CONTROL__ADMIN_DSN": self.site.server.dsn(ADMIN, self.site.control),
                **environment,
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate(answer.encode())
        assert process.returncode == expected, out.decode()
        return out.decode()

    @asynccontextmanager
    async def people(self) -> AsyncIterator[PeopleTable]:
        """What the command does, as people of any name."""
        table = PeopleTable(self.site.server.dsn(ADMIN, self.site.control))
        try:
            yield table
        finally:
            await table.close()

    async def grant(self, id_: str, person: str) -> bool:
        """Another account's command."""
        async with self.people() as table:
            [one] = [one for one in await table.waiting() if one.id == id_]
            return await table.grant(id_, person, one.shown)

    async def policy(self, text: str) -> None:
        """Other policies come into force."""
        (self.site.folder / "policies" / "own.cedar").write_text(text)
        self.house.policies.put_in_force(self.house.policies.judged(self.house.policies.look()))

    async def administrator(self, statement: str) -> None:
        """The control database's administrator does something."""
        await self.site.fetch(statement, role=ADMIN)


OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(policy: str = POLICY, **wishes: Any) -> AsyncIterator[Shop]:
        database = await make_database(SHOP)
        site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=policy, **wishes)
        async with open_house(site.config, lambda _: None) as house:
            yield Shop(site, database, house)

    return opened


async def agreeable(_: Any, _params: Any) -> t.ElicitResult:
    return YES


def first_line(text: str) -> str:
    return text.partition("\n")[0]


@pytest.mark.asyncio
async def test_a_call_that_nobody_at_its_client_can_approve_runs_once_when_a_person_has_granted_it(shop: OpenShop):
    async with shop() as opened:
        id_ = await opened.waits()
        again = await opened.waits()
        other = await opened.waits("select name from private where id = 8")
        listed = await opened.approvals("list")
        shown = await opened.approvals("show", id_)
        kept = await opened.approvals("grant", id_, answer="n\n", expected=1)
        still = await opened.waits()
        granted = await opened.approvals("grant", id_, answer="y\n", USER="mallory", LOGNAME="mallory")
        twice = await opened.approvals("grant", id_, "--yes", expected=1)
        ran = await opened.query()
        anew = await opened.waits()
        records = await opened.site.records()
    assert id_ == again == still
    assert len({id_, other, anew}) == 3
    assert f"{id_}  ada (reader)  query on shop  granted by nobody, of 1 person, until " in listed
    assert re.search(r"^\| SELECT .* FROM public.private .*id = 7$", shown, re.MULTILINE)
    assert "Rule `private-wants-a-yes` wants a human's approval: is it to run?" in shown
    assert "Aborted" in kept
    assert "granted: the agent may call it again" in granted
    assert "has granted it already" in twice
    assert "mallory" not in granted + twice
    assert "canary 7" in ran
    [grant] = [record for record in records if record.get("event") == "approval_granted"]
    asked = [record for record in records if record.get("decision") == "asked" and record["approval"]["id"] == id_]
    [used] = [record["approval"] for record in records if record["kind"] == "i"]
    assert len(asked) == 1
    assert grant["approval"] == used["id"] == id_
    assert grant["question"] == used["question"] == asked[0]["approval"]["question"]
    assert used["people"] == grant["person"]
    assert asked[0]["rules"] == ["private-wants-a-yes"]
