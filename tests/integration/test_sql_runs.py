"""What a statement runs and does not write: stated, and seen on a real server.

Every function of tests/cases/sql/runs/house.sql says its own name when it runs, so what a
statement states is held against what it does.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_sql import CASES, Case, cases, snapshot_of, view_of

from ostiary_policies.actions import Action
from ostiary_policies.model import Function
from ostiary_tools.datasources.wrapper import wrap
from ostiary_tools.errors import Refused
from ostiary_tools.sql import judge
from ostiary_tools.sql.judge import Judged
from ostiary_tools.view import SchemaView

_FOLDER = "runs"
_ALL = tuple(cases(_FOLDER))
_RUNNING = [c for c in _ALL if c.runs]
_REFUSED = [c for c in _ALL if c.rule]
_HONEST = [c for c in _ALL if not c.rule and not c.runs]
_NAMELESS = {"sum_step": "summed", "sum_back": "summed", "note": "noted"}
"""What an aggregate is made of is judged as the aggregate."""


@dataclass(frozen=True)
class House:
    dsn: str
    view: SchemaView

    @property
    def major(self) -> int:
        """Of the server."""
        return self.view.snapshot.server_version // 10_000


@pytest.fixture(scope="module")
def house(either_server: PostgresServer) -> Iterator[House]:
    name = "sql_house"
    either_server.sql(f"CREATE DATABASE {name}")
    either_server.sql((CASES / _FOLDER / "house.sql").read_text("utf-8"), name)
    either_server.sql("CREATE ROLE tenant LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO tenant", name)
    yield House(either_server.dsn("tenant", name), view_of(asyncio.run(snapshot_of(either_server.dsn(database=name), "house"))))
    either_server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    either_server.sql("DROP ROLE tenant")


def _stated(judged: Judged) -> set[str]:
    return {a.resource.name for a in judged.accesses if a.action is Action.EXECUTE and isinstance(a.resource, Function)}


async def _heard(dsn: str, statement: str, parameters: int) -> set[str]:
    """The functions that said their name while the statement ran in our wrapper, as an ordinary role."""
    heard: set[str] = set()
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "pg_catalog, public"})
    connection.add_log_listener(lambda _, message: heard.add(str(message.message)))
    try:
        async with connection.transaction(readonly=True):
            oids = [a.type.oid for a in (await connection.prepare(statement)).get_attributes()]
            await connection.fetch(wrap(statement, oids, width=100, max_rows=100), *(["1", 1][:parameters]))
            await asyncio.sleep(0)  # listeners are called by the loop
    finally:
        await connection.close()
    return {_NAMELESS.get(name, name) for name in heard}


@pytest.mark.asyncio
@pytest.mark.parametrize("case", _RUNNING, ids=lambda c: c.title)
async def test_what_a_statement_runs_is_what_it_states(case: Case, house: House):
    if house.major < case.since:
        pytest.skip(f"PostgreSQL {house.major} does not know this statement")
    judged = judge(case.sql, house.view)
    heard = await _heard(house.dsn, judged.statement.text, judged.parameter_count)
    assert heard, "the case would pass without a judge"
    assert heard <= _stated(judged)
    assert _stated(judged) == case.runs


@pytest.mark.asyncio
@pytest.mark.parametrize("case", _HONEST, ids=lambda c: c.title)
async def test_a_statement_states_nothing_that_it_cannot_run(case: Case, house: House):
    judged = judge(case.sql, house.view)
    assert await _heard(house.dsn, judged.statement.text, judged.parameter_count) == set()
    assert _stated(judged) == set()


@pytest.mark.parametrize("case", _REFUSED, ids=lambda c: c.title)
def test_what_does_more_than_read_is_refused_wherever_it_stands(case: Case, house: House):
    with pytest.raises(Refused) as refusal:
        judge(case.sql, house.view)
    assert refusal.value.rule == case.rule
