"""What other policies would change, held against a live schema."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_http import ostiary
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site

from ostiary.app import open_house
from ostiary.call import Call
from ostiary.errors import CallFailed, UnknownTool
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Principal

LESS = """
@id("no-b") forbid (principal, action == Action::"read", resource == Column::"shop.public.t.b");
@id("no-u") forbid (principal, action == Action::"see", resource == Table::"shop.public.u");
@id("other-sees") permit (principal in Role::"other", action == Action::"see", resource is Datasource);
"""


@pytest.fixture
def make_shop(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
) -> Callable[..., Awaitable[Site]]:
    """A site with two small tables, that reads all."""

    async def make(more: str = "") -> Site:
        dsn = postgres_server.dsn(database=await make_database("CREATE TABLE t (id int, a int, b text); CREATE TABLE u (x int)"))
        return await make_site({"shop": dsn}, more='[agent]\nrole = "reader"\nroles = ["reader"]\n' + more)

    return make


def base(site: Site) -> Path:
    return site.config.home.data.parent


async def policy(site: Site, *arguments: str, expected: int = 0) -> Any:
    """A command's JSON."""
    given = ("policy", *arguments, "--config", str(base(site) / "ostiary.toml"), "--json")
    return json.loads(await ostiary(site.config, *given, expected=expected))


def other(site: Site, text: str) -> str:
    path = base(site) / "other.cedar"
    path.write_text(text)
    return str(path)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_diff_tells_what_each_role_gains_and_loses_of_a_live_schema(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    own = str(base(site) / "policies")
    found = await policy(site, "diff", own, other(site, READS_ALL + LESS), "--datasource", "shop", expected=1)
    hidden = ["shop.public.t.b", "shop.public.u", "shop.public.u.x"]
    roles = {shift["role"]: (shift["gained"], shift["lost"]) for shift in found["roles"]}
    assert roles == {"reader": ({}, {"see": hidden, "read": hidden}), **_bundles(roles, hidden)}
    back = await policy(site, "diff", other(site, READS_ALL + LESS), "--datasource", "shop", expected=1)
    assert next(shift for shift in back["roles"] if shift["role"] == "reader")["gained"] == {"see": hidden, "read": hidden}
    assert (await policy(site, "diff", own, "--datasource", "shop"))["roles"] == []


@pytest.mark.asyncio
async def test_terms_that_are_words_or_budgets_are_told_by_diff_and_simulate(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    await _called(site, [("query", {"sql": "select id from t"})])
    table = base(site) / "tests"
    table.mkdir()
    table.joinpath("reader.toml").write_text(
        '[[case]]\ntitle = "calls"\nroles = ["reader"]\naction = "call"\nresource = { tool = "query" }\nexpected = "permit"\n'
    )
    terms = '@replica("required") @budget_masked_columns("9/day") permit (principal in Role::"reader", action, resource);'
    stricter = other(site, f'@id("reads-all") {terms}')
    [decision] = (await policy(site, "diff", stricter, expected=1))["decisions"]
    told = {"replica": "required", "budget_masked_columns": "9/day"}
    assert sorted((decision["before"]["terms"], decision["after"]["terms"]), key=len) == [{}, told]
    [change] = (await policy(site, "simulate", stricter, expected=1))["changes"]
    assert change["change"] == "terms"
    assert "only on a replica of the database, never on the primary" in str(change)
    assert "at most 9 masked columns a day" in str(change)


def _bundles(roles: Any, hidden: list[str]) -> dict[str, Any]:
    """Roles of the shipped bundles see the same tables, those that read them not the column; they gain nothing."""
    others = {role: told for role, told in roles.items() if role != "reader"}
    assert all(gained == {} and lost["see"] == (hidden if "read" in lost else hidden[1:]) for gained, lost in others.values())
    return others


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("query", {"sql": "select id from t where id = 7 limit 3"}),
    ("query", {"sql": "select b from t where b like 'x%'"}),
    ("query", {"sql": "select b from t where b like 'y%'"}),
    (
        "query",
        {"sql": "select count(*) from t where a > $1 and now() > date '2026-01-31' + interval '1 day'", "params": [3]},
    ),
    ("query", {"sql": "select a::varchar(3) from t where b = 'it''s'"}),
    ("query", {"sql": "select relname from pg_class where relkind = 'r'"}),
    ("query", {"sql": "select x from u"}),
    ("query", {"sql": "select x from nowhere"}),
    ("query", {"sequel": "select 1"}),
    ("describe", {"tables": ["t"]}),
    ("whoami", {}),
    ("explain", {"sql": "select id from t where id > 1"}),
]
NEW = READS_ALL + LESS + '@id("no-explain") forbid (principal, action == Action::"call", resource == Tool::"explain");'


@pytest.mark.asyncio
async def test_simulate_puts_recorded_calls_to_other_policies_and_runs_nothing(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    await _called(site, CALLS)
    before = await site.records()
    found = await policy(site, "simulate", other(site, NEW), expected=1)
    assert await site.records() == before

    assert (found["calls"], found["replayed"]) == (len(CALLS), len(CALLS) - 2)
    assert found["not_replayed"] == {
        "its statement was refused before any policy decided, and such texts are not recorded": 1,
        "its arguments were not valid: no policy was asked": 1,
    }
    changes = {(one["tool"], one["sql"]): one for one in found["changes"]}
    assert {(key, one["change"], one["after"]["outcome"]) for key, one in changes.items()} == {
        (("query", "SELECT b FROM public.t WHERE b LIKE ?"), "loses", "refused"),
        (("query", "SELECT CAST(a AS varchar(?)) AS a FROM public.t WHERE b = ?"), "loses", "refused"),
        (("query", "SELECT x FROM public.u"), "loses", "refused"),
        (("explain", "SELECT id FROM public.t WHERE id > ?"), "loses", "unknown"),
    }
    assert len(found["changes"]) == 5
    assert all(one["before"]["rules"] == ["reads-all"] for one in found["changes"])
    assert "unknown column `b`" in changes["query", "SELECT b FROM public.t WHERE b LIKE ?"]["after"]["words"][0]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_simulate_tells_who_gains_what_was_denied_and_nothing_where_nothing_changes(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    own = base(site) / "policies" / "own.cedar"
    own.write_text(NEW.replace('action == Action::"see", resource == Table', 'action == Action::"read", resource == Table'))
    await _called(site, CALLS[:1] + CALLS[6:7] + CALLS[-1:])
    same = await policy(site, "simulate", str(own))
    assert (same["replayed"], same["changes"]) == (3, [])
    found = await policy(site, "simulate", other(site, READS_ALL), "--since", "1h", expected=1)
    assert {(one["tool"], one["change"], one["before"]["outcome"], one["after"]["outcome"]) for one in found["changes"]} == {
        ("query", "gains", "deny", "permit"),
        ("explain", "gains", "unknown", "callable"),
    }
    assert (await policy(site, "simulate", other(site, READS_ALL), "--since", "2999-01-01"))["calls"] == 0


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_call_that_policy_permitted_and_a_budget_refused_is_replayed_as_permitted(make_shop: Callable[[], Awaitable[Site]]):
    site = await make_shop()
    own = base(site) / "policies" / "own.cedar"
    own.write_text(READS_ALL.replace('@id("reads-all")', '@id("reads-all") @budget_calls("1/day")'))
    await _called(site, [*CALLS[:2], CALLS[6]])
    same = await policy(site, "simulate", str(own))
    found = await policy(site, "simulate", other(site, NEW), expected=1)
    assert [record["decision"] for record in await site.records() if "decision" in record] == ["permit", "deny", "deny"]
    assert (same["replayed"], same["changes"], same["not_replayed"]) == (3, [], {})
    assert {(one["sql"], one["change"]) for one in found["changes"]} == {
        ("SELECT id FROM public.t WHERE id = ? LIMIT ?", "terms"),
        ("SELECT b FROM public.t WHERE b LIKE ?", "loses"),
        ("SELECT x FROM public.u", "loses"),
    }


@pytest.mark.asyncio
async def test_a_call_that_today_is_decided_otherwise_by_the_same_policies_is_not_passed_off_as_replayed(
    make_shop: Callable[[], Awaitable[Site]],
):
    site = await make_shop()
    await _called(site, CALLS[6:7])
    connection = await asyncpg.connect(site.config.datasources["shop"].dsn.get_secret_value())
    try:
        await connection.execute("ALTER TABLE u RENAME TO v")
    finally:
        await connection.close()
    found = await policy(site, "simulate", other(site, NEW))
    assert found["not_replayed"] == {"what it names is refused today under both sets, and was not when it was recorded": 1}


async def _called(site: Site, calls: list[tuple[str, dict[str, Any]]]) -> None:
    async with open_house(site.config, lambda _: None) as house:
        for tool, arguments in calls:
            with suppress(CallFailed, UnknownTool):
                await house.gate.call(house.local, Call(tool, arguments))


REGIONS = (("european", "eu"), ("american", "us"))
REGIONAL = (
    READS_ALL
    + """
@id("eu-only") forbid (principal, action == Action::"read", resource == Table::"shop.public.u")
unless { principal has region && principal.region == "eu" };
"""
)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_attributes_are_replayed_where_they_are_known_or_nobody_asks_and_never_guessed(
    make_shop: Callable[..., Awaitable[Site]],
):
    site = await make_shop('[attributes.region]\ntype = "text"\nagents = { european = "eu" }')
    callers = [Principal(agent, ("reader",), (attribute("region", AttributeType.TEXT, region),)) for agent, region in REGIONS]
    async with open_house(site.config, lambda _: None) as house:
        for who in (*callers, Principal("nowhere", ("reader",))):
            await house.gate.call(who, Call("query", {"sql": "select x from u"}))
    unasked = await policy(site, "simulate", other(site, READS_ALL + "// as it was"))
    assert (unasked["replayed"], unasked["changes"]) == (3, [])
    asked = await policy(site, "simulate", other(site, REGIONAL), expected=1)
    assert asked["not_replayed"] == {"policies ask for attributes of its agent, whose values are not recorded": 1}
    assert [(one["agent"], one["change"]) for one in asked["changes"]] == [("nowhere", "loses")]
