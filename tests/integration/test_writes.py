"""Writes that are judged and run: honest ones do what they say, and no other tells of what is withheld or touches it."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
import pytest_asyncio
from fix_postgres import PostgresServer
from fix_sql import sees_everything
from fix_writes import RULED, House, Write, build, hidden, house, seen, writes

from ostiary_tools.errors import Refused
from ostiary_tools.sql import bind, judge_change

HONEST = writes("honest")
ATTACKS = writes("attacks")
_numbers = count(1)
_SECURED = "".join(
    f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON {name} USING (region = 'north') WITH CHECK (true);"
    for name in RULED
)
"""The same rules as the database's own, for one role."""


@pytest.fixture(
    scope="module", params=["postgres_server", pytest.param("server_15", marks=pytest.mark.slow)], ids=["embedded", "15"]
)
def server(request: pytest.FixtureRequest) -> PostgresServer:
    found: PostgresServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def databases(server: PostgresServer) -> Iterator[tuple[str, str]]:
    first, second = (f"writes_{os.getpid()}_{next(_numbers)}" for _ in range(2))
    build(server, first, 0)
    build(server, second, 1)
    server.sql("CREATE ROLE agent; GRANT pg_read_all_data, pg_write_all_data TO agent;")
    server.sql("GRANT CREATE, USAGE ON SCHEMA public TO agent", first)
    yield first, second
    for name in (first, second):
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.sql("DROP ROLE agent")


@pytest_asyncio.fixture
async def houses(server: PostgresServer, databases: tuple[str, str]) -> AsyncIterator[tuple[House, House]]:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(house(server, name)) for name in databases]
        yield first, second


@pytest.mark.asyncio
async def test_an_honest_write_of_one_who_has_all_does_what_its_text_says(houses: tuple[House, House]):
    first, _ = houses
    view = sees_everything(first.snapshot)
    wrong = []
    for case in HONEST:
        statement = bind(judge_change(case.sql, view), case.params)
        assert not statement.fenced
        ours = await first.outcome(statement.runs, statement.values)
        plain = await first.outcome(case.sql, statement.values)
        if ours != plain or not isinstance(plain[0], int):
            wrong.append((case.title, statement.runs, plain[0], ours[0]))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.asyncio
async def test_an_honest_write_under_rules_does_what_row_security_of_the_database_would_let_it_do(houses: tuple[House, House]):
    first, _ = houses
    await first.connection.execute(_SECURED)
    wrong: list[tuple[str, str, object, object]] = []
    for case in HONEST:
        try:
            text, values = first.judged(case)
        except Refused as refused:
            wrong.append((case.title, refused.rule, refused.message, ""))
            continue
        ours = await first.outcome(text, values)
        by_hand = await first.outcome(case.by_hand or case.sql, values[: len(case.params)], agent="agent")
        if ours != by_hand or not isinstance(ours[0], int):
            wrong.append((case.title, text, by_hand[0], ours[0]))
    assert not wrong, "\n".join(map(str, wrong))


def test_there_are_as_many_honest_writes_as_promised():
    assert len({case.sql for case in HONEST}) >= 60


async def told(place: House, case: Write) -> tuple[object, ...]:
    """What an agent is told of a write and finds after it; hidden rows are held against those from before."""
    try:
        text, values = place.judged(case)
    except Refused as refused:
        return refused.rule, refused.message, refused.hint
    _, before = await place.outcome("SELECT")
    said, left = await place.outcome(text, values)
    if left and (lost := hidden(before) - hidden(left)):
        return "touched", lost
    return said, seen(left)


@pytest.mark.asyncio
async def test_no_write_tells_of_what_is_withheld_or_touches_it(houses: tuple[House, House]):
    wrong = []
    for case in ATTACKS:
        one, other = [await told(place, case) for place in houses]
        if one != other or one[0] == "touched":
            wrong.append((case.title, case.sql, one[0], other[0]))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.asyncio
async def test_without_fences_many_of_these_writes_would_tell(houses: tuple[House, House]):
    telling = 0
    for case in ATTACKS:
        if case.sql.startswith(("update orders", "delete from orders", "insert into journal (what) select status")):
            one, other = [await place.outcome(case.sql) for place in houses]
            telling += (one[0], seen(one[1])) != (other[0], seen(other[1]))
    assert telling >= 50


def test_there_are_as_many_attacks_as_promised():
    assert len({case.sql for case in ATTACKS}) >= 150
