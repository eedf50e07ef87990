"""Approvals by people: a call stands where they see it, and runs once when as many as policy wants have granted it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import mcp.types as t
import pytest
from fix_answers import text_of
from fix_postgres import ADMIN, PostgresServer
from fix_server import MakeSite, Site
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.api import Surface
from ostiary_tools.control.people import MOST_WAITING, PeopleTable

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
    assert re.search(r"^\| SELECT .* FROM public.private .*id = 7$", kept, re.MULTILINE)
    assert "Rule `private-wants-a-yes` wants a human's approval: is it to run?" in kept
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


@pytest.mark.asyncio
async def test_two_humans_are_two_accounts_and_no_client_is_one_of_them(shop: OpenShop):
    async with shop() as opened:
        reply = await opened.query(SECRET, human=agreeable)
        found = WAITS.match(reply)
        assert found, reply
        id_ = found[1]
        one = [await opened.grant(id_, "ann") for _ in range(2)]
        waits = await opened.waits(SECRET)
        granted = await opened.approvals("grant", id_, "--yes")
        ran = await opened.query(SECRET)
        anew = await opened.waits(SECRET)
        records = await opened.site.records()
    assert reply.startswith("approval_waiting: rule `secret-wants-two` wants the approval of two humans; ")
    assert one == [True, False]
    assert waits == id_ != anew
    assert "granted by ann, of 2 people" in granted
    assert "granted: the agent may call it again" in granted
    assert "canary 1" in ran
    [used] = [record["approval"] for record in records if record["kind"] == "i"]
    assert used["people"].split(", ") == sorted(used["people"].split(", "))
    assert "ann" in used["people"].split(", ")
    assert len(used["people"].split(", ")) == 2


@pytest.mark.asyncio
async def test_a_refusal_is_told_once_and_takes_what_was_granted_back(shop: OpenShop):
    async with shop() as opened:
        id_ = await opened.waits()
        await opened.grant(id_, "ann")
        refused = await opened.approvals("refuse", id_, "--yes")
        late = await opened.grant(id_, "bob")
        told = await opened.query()
        anew = await opened.waits()
        records = await opened.site.records()
    assert "| SELECT" in refused
    assert not late
    assert told.startswith("not_approved: a human refused it; rule `private-wants-a-yes` wants a human's approval\nrule: ")
    assert anew != id_
    [event] = [record for record in records if record.get("event") == "approval_refused"]
    [denied] = [record for record in records if record.get("decision") == "deny"]
    assert event["approval"] == denied["approval"]["id"] == id_
    assert not [record for record in records if record["kind"] == "i"]


@pytest.mark.asyncio
async def test_a_grant_is_good_for_that_agent_and_that_policy_and_once_at_any_process(shop: OpenShop):
    async with shop() as opened, open_house(opened.site.config, lambda _: None) as other:
        id_ = await opened.waits()
        assert await opened.grant(id_, "ann")
        elsewhere = await opened.waits(agent="eve")
        at_once = await asyncio.gather(*(opened.query(house=house) for house in (opened.house, other) * 3))
        changed = await opened.waits()
        assert await opened.grant(changed, "ann")
        await opened.policy(POLICY + '@id("more") permit (principal in Role::"other", action, resource);')
        asked_anew = await opened.waits()
        assert await opened.grant(asked_anew, "ann")
        ran = await opened.query()
        records = await opened.site.records()
    assert elsewhere != id_
    assert sum("canary 7" in reply for reply in at_once) == 1
    assert all("canary 7" in reply or WAITS.match(reply) for reply in at_once)
    assert asked_anew != changed
    assert "canary 7" in ran
    assert len([record for record in records if record["kind"] == "i"]) == 2


@pytest.mark.asyncio
async def test_what_expired_can_neither_be_granted_nor_used_and_is_asked_about_anew(shop: OpenShop):
    async with shop(limits={"approval_s": 900}) as opened, opened.people() as table:
        id_ = await opened.waits()
        [one] = await table.waiting()
        assert await table.grant(id_, "ann", one.shown)
        await opened.administrator("UPDATE approvals.asked SET expires_at = clock_timestamp()")
        late = await table.grant(id_, "bob", one.shown)
        anew = await opened.waits()
        left = await opened.site.fetch("SELECT asked FROM approvals.granted", role=ADMIN)
        unknown = await opened.approvals("show", id_, expected=1)
    assert (one.expires_at - one.asked_at).total_seconds() == pytest.approx(900, abs=1)
    assert not late
    assert anew != id_
    assert left == []
    assert f"error: no call waits for people as `{id_}`" in unknown


@pytest.mark.asyncio
async def test_a_grant_is_for_what_the_person_was_shown(shop: OpenShop):
    async with shop() as opened, opened.people() as table:
        id_ = await opened.waits()
        [one] = await table.waiting()
        await opened.administrator("UPDATE approvals.asked SET question = question || ' \u202e\x1b[2J'")
        shown = json.loads(await opened.approvals("show", id_, "--json"))
        refused = await opened.approvals("grant", id_, "--yes", expected=1)
        still = await opened.waits()
    assert one.agent == "ada"
    assert shown["id"] == still == id_
    assert shown["question"] == f"{one.question} \u202e\x1b[2J"
    assert "<U+202E><U+001B>[2J" in refused
    assert "\x1b" not in refused
    assert "it waits no longer" in refused


ATTEMPTS = [
    "INSERT INTO approvals.granted (asked, person) SELECT 'x', 'ann'",
    "INSERT INTO approvals.asked (id) VALUES ('x')",
    "UPDATE approvals.asked SET people = 1",
    "UPDATE approvals.asked SET refused_by = ''",
    "DELETE FROM approvals.asked",
    "SELECT question FROM approvals.asked",
    "SELECT person FROM approvals.granted",
    "TRUNCATE approvals.asked CASCADE",
    "CREATE TABLE approvals.mine (id integer)",
    "SET ROLE ostiary_approvals",
    "SELECT approvals.ask('y', 'about', 'ada', '{}', 'query', 'shop', '{}', 0, 'words', 'digest', 900, 20)",
]


@pytest.mark.asyncio
@pytest.mark.parametrize("login", ["ostiary_writer", "ostiary_reader"])
async def test_the_services_logins_can_neither_grant_nor_look(shop: OpenShop, login: str):
    async with shop() as opened:
        id_ = await opened.waits()
        refused = []
        for attempt in ATTEMPTS:
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.CheckViolationError)) as caught:
                await opened.site.fetch(attempt, role=login)
            refused.append(type(caught.value))
        still = await opened.waits()
    assert still == id_
    assert refused[:-1] == [asyncpg.InsufficientPrivilegeError] * (len(ATTEMPTS) - 1)


@pytest.mark.asyncio
async def test_an_agent_has_no_tool_for_it_and_no_more_calls_waiting_than_people_can_read(shop: OpenShop):
    async with shop() as opened, opened.people() as table:
        ids = {await opened.waits(f"select name from private where id = {n}") for n in range(MOST_WAITING)}
        first = await opened.waits("select name from private where id = 0")
        one_more = await opened.query("select name from private where id = 99")
        elsewhere = await opened.waits(agent="eve")
        too_long = await opened.query(f"select name from private where name <> '{'x' * 5_000}'", agent="eve")
        waiting = await table.waiting()
        tools = await opened.house.gate.tools(Principal("ada", ("reader",)), Surface.TOOL)
    assert len(ids) == MOST_WAITING
    assert first in ids
    assert first_line(one_more).startswith("not_approved: 20 other calls of yours wait for people already; ")
    assert too_long.startswith("not_approved: it is longer than a human can be shown (4000 characters); ")
    assert {one.id for one in waiting} == {*ids, elsewhere}
    assert not [tool.name for tool in tools if "appro" in f"{tool.name} {tool.description}".lower()]


@pytest.mark.asyncio
async def test_where_people_alone_may_the_word_of_a_client_is_not_enough(shop: OpenShop):
    async with shop() as opened, shop(approvals="by_people") as strict:
        at_client = await opened.query(human=agreeable)
        reply = await strict.query(human=agreeable)
        found = WAITS.match(reply)
        assert found, reply
        await strict.grant(found[1], "ann")
        ran = await strict.query(human=agreeable)
    assert "canary 7" in at_client
    assert "canary 7" in ran


@pytest.mark.asyncio
async def test_an_export_that_waited_is_written_once(shop: OpenShop):
    """Also as a job: nothing has begun while it waits."""
    async with shop() as opened:
        who = Principal("ada", ("reader",))
        app = McpApp(opened.house.gate, lambda _: who, jobs=opened.house.jobs)
        async with Client(app.server) as client:
            given = {"sql": READ, "name": "n", "job": True}
            found = WAITS.match(text_of(await client.call_tool("export", given)))
            assert found
            await opened.grant(found[1], "ann")
            begun = text_of(await client.call_tool("export", given))
    assert "job(id=" in begun


@pytest.mark.asyncio
async def test_where_the_control_database_does_not_say_nothing_runs(shop: OpenShop):
    async with shop() as opened:
        await opened.administrator("REVOKE EXECUTE ON FUNCTION approvals.take (text) FROM ostiary_writer")
        reply = await opened.query()
        records = await opened.site.records()
    assert reply.startswith("unavailable: approvals cannot be checked now")
    assert [record["decision"] for record in records if "decision" in record] == ["refused"]
