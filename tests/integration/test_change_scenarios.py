"""Everything in tests/cases/changes through a real MCP client: a change is made and undone whole, once, or not at all."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fix_company import SCHEMA, Scenario, company, scenarios
from fix_postgres import PostgresServer
from fix_server import MakeSite

GROUPS = dict(scenarios("scenarios.toml"))
OFTEN = {"undo", "policy"}
"""The others are the slow tests'."""
PLAYED = [pytest.param(group, id=name, marks=() if name in OFTEN else pytest.mark.slow) for name, group in GROUPS.items()]

MakeDatabase = Callable[[str], Awaitable[str]]


def test_there_are_enough_scenarios():
    titles = [scenario.title for group in GROUPS.values() for scenario in group]
    assert len(titles) == len(set(titles)) >= 60


@pytest.mark.asyncio
@pytest.mark.parametrize("played", PLAYED)
async def test_a_change_is_seen_before_it_is_made_and_made_once_or_not_at_all(
    played: list[Scenario], postgres_server: PostgresServer, make_database: MakeDatabase, make_site: MakeSite
):
    database = await make_database(SCHEMA)
    async with company(postgres_server, database, make_site) as opened:
        wrong = [one for scenario in played for one in await opened.play(scenario)]
        wrong += await opened.verified()
    assert wrong == [], "\n".join(wrong)


BULK = 100_000
BULKS: dict[str, dict[str, Any]] = {
    "statement": {"propose": "update bulk set v = 'new'"},
    "rows": {
        "rows": {"table": "bulk", "action": "insert", "columns": ["id", "v"], "rows": [[n, "new"] for n in range(1, BULK + 1)]}
    },
}


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("road", ["statement", "rows"])
async def test_100_000_rows_are_changed_and_undone_whole_while_others_are_answered(
    road: str, postgres_server: PostgresServer, make_database: MakeDatabase, make_site: MakeSite
):
    steps: list[dict[str, Any]] = [
        {**BULKS[road], "says": ["100000"]},
        {"state": "select count(*) from bulk where v = 'new'", "is": "0"},
        {"apply": True},
        {"state": "select count(*) from bulk where v = 'new'", "is": f"{BULK}"},
        {"revert": True},
        {"state": "select count(*) from bulk where v = 'new'", "is": "0"},
        {"state": "select count(*) from bulk", "is": f"{BULK if road == 'statement' else 0}"},
    ]
    schema = f"{SCHEMA} CREATE TABLE bulk (id integer PRIMARY KEY, v text); GRANT SELECT ON bulk TO company_reader, company_writer;"
    schema += "GRANT INSERT, UPDATE, DELETE ON bulk TO company_writer;"
    if road == "statement":
        schema += f"INSERT INTO bulk SELECT n, 'old' FROM generate_series(1, {BULK}) n;"
    database = await make_database(schema)
    async with company(postgres_server, database, make_site) as opened:
        async with opened.asked_beside():
            wrong = await opened.play(Scenario(road, steps))
        wrong += await opened.verified()
        assert opened.answered_beside >= 50
    assert wrong == [], "\n".join(wrong)
