"""Calls that wait for people over HTTP: asked by one process, granted by the command, run by whichever the call comes to again."""

import re
from collections.abc import Awaitable, Callable

import pytest
from fix_agents import agent
from fix_http import serving
from fix_postgres import ADMIN, PostgresServer
from fix_server import MakeSite

from ostiary_tools.control.people import PeopleTable

SHOP = "CREATE TABLE private (id integer PRIMARY KEY, name text); INSERT INTO private VALUES (7, 'canary 7');"
POLICY = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("private-wants-two") @approval("two humans")
permit (principal in Role::"reader", action == Action::"read", resource is Table) when { resource.name == "private" };
"""
READ = "select name from private"
WAITS = re.compile(r"it waits for people until [0-9: -]{16} UTC as `([a-z2-7]{8})`")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_agents_of_both_eras_are_told_the_id_and_one_of_their_calls_runs_when_two_have_granted_it(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    site = await make_site({"shop": postgres_server.dsn(database=await make_database(SHOP))}, policy=POLICY)
    role = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
    people = PeopleTable(postgres_server.dsn(ADMIN, site.control))
    try:
        async with serving(site.config, "--config", str(site.folder / "ostiary.toml"), "--workers", "2", **role) as (url, _):
            told = []
            for era in ("2026-07-28", "legacy") * 3:
                async with agent(url, era) as one:
                    told.append(WAITS.findall((await one.query(READ)).text))
            [waiting] = await people.waiting()
            granted = [await people.grant(waiting.id, person, waiting.shown) for person in ("ann", "bob")]
            replies = []
            for era in ("legacy", "2026-07-28", "legacy"):
                async with agent(url, era) as one:
                    replies.append((await one.query(READ)).text)
    finally:
        await people.close()
    assert told == [[waiting.id]] * 6
    assert granted == [True, True]
    assert ["canary 7" in reply for reply in replies] == [True, False, False]
    assert len({*WAITS.findall("".join(replies[1:]))} - {waiting.id}) == 1
    assert [record["approval"]["people"] for record in await site.records() if record["kind"] == "i"] == ["ann, bob"]
