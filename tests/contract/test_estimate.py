"""What every datasource answers when it is asked for a plan: of exactly what would run, and nothing runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from fix_postgres import PostgresServer

from ostiary_policies.model import Statement
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.postgres import PostgresSettings, open_postgres
from ostiary_tools.datasources.statement import PostgresReader
from ostiary_tools.errors import DatabaseError
from ostiary_tools.plans.plan import Plan
from ostiary_tools.plans.weight import weigh
from ostiary_tools.powers import Power

LIMITS = ReadLimits(timeout_s=10, max_rows=100, max_chars=16_000)
TABLES = """
CREATE TABLE big (id integer PRIMARY KEY, half integer, word text);
CREATE TABLE small (id integer PRIMARY KEY, big_id integer);
CREATE TABLE fresh (id integer) WITH (autovacuum_enabled = off);
CREATE TABLE parted (id integer, part integer) PARTITION BY LIST (part);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
INSERT INTO big SELECT n, n / 2, 'w' || n % 100 FROM generate_series(1, 60000) n;
INSERT INTO small SELECT n, n FROM generate_series(1, 50) n;
INSERT INTO parted SELECT n, 1 + n % 2 FROM generate_series(1, 8000) n;
CREATE INDEX big_half ON big (half);
CREATE FUNCTION called() RETURNS integer VOLATILE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''ran''; END';
ANALYZE;
INSERT INTO fresh SELECT n FROM generate_series(1, 20000) n;
"""

Ask = Callable[..., Plan]
"""The plan of a statement with its values, asked in a session of its own."""


DATABASE = "estimates"


@pytest.fixture(scope="module")
def planned(server: PostgresServer) -> Ask:
    """One database for the module: estimates change nothing."""
    server.sql(f"CREATE DATABASE {DATABASE}")
    server.sql(TABLES, DATABASE)

    def ask(sql: str, *values: str | None) -> Plan:
        async def asked() -> Plan:
            async with reading(server, DATABASE) as reader:
                return await (await reader.prepare(Statement(sql, values))).estimate()

        return asyncio.run(asked())

    return ask


@asynccontextmanager
async def reading(server: PostgresServer, database: str) -> AsyncIterator[PostgresReader]:
    settings = PostgresSettings("data", server.dsn(database=database), accepted_powers=frozenset({Power.SUPERUSER}))
    datasource = await open_postgres(settings)
    try:
        async with datasource.read(LIMITS) as reader:
            yield reader
    finally:
        await datasource.close()


@pytest.mark.parametrize(
    ("sql", "values", "rows"),
    [
        ("select * from big", (), 101),
        ("select * from big where word = 'w7'", (), 60_000),
        ("select count(*) from big", (), 60_000),
        ("select count(*) from big where id = $1", ("7",), 1),
        ("select count(*) from big where id <= $1", ("500",), 500),
        ("select * from big order by id limit 20", (), 20),
        ("select * from big order by id limit 20 offset 1000", (), 1020),
        ("select * from big where word = 'none' order by id limit 20", (), 60_000),
        ("select * from big where id > 0 and word = 'none' order by id limit 20", (), 60_000),
        ("select count(*) from small a, big b where a.id + b.id = -1", (), 50 + 50 * 60_000),
        # As text: a value of another type is computed twice by what prints it, once to tell NULL.
        ("select id, (select count(*) from big where big.id < small.id * 0)::text from small", (), 50 + 50 * 20_000),
        ("select id from small where id not in (select half from big)", (), 60_050),
        (
            "select id from small where 'hashed SubPlan 1' <> '' and exists (select from big where big.id + small.id < 0)",
            (),
            3_000_000,
        ),
        ("select count(*) from parted where id = -1", (), 8000),
        ("select count(*) from parted where part = 2", (), 4000),
        ("select count(*) from generate_series(1, $1::int)", ("123456",), 123_456),
        ("select count(*) from (values (1), (2), (3)) v", (), 3),
        ("select generate_series(1, 5000)", (), 5000),
        ("select 1", (), 0),
    ],
)
def test_rows_scanned_are_those_that_the_scans_must_touch(planned: Ask, sql: str, values: tuple[str, ...], rows: int):
    """Within a quarter: the planner rounds, and servers differ in how many workers they take."""
    assert weigh(planned(sql, *values)).rows_scanned == pytest.approx(rows, rel=0.25)


def test_a_table_that_was_never_analysed_counts_by_its_pages(planned: Ask):
    assert weigh(planned("select count(*) from fresh where id = -1")).rows_scanned >= 20_000


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        ("select 1 from big a, big b where a.id + b.id = -1 limit 1", "select count(*) from big a, big b where a.id + b.id = -1"),
        ("select id from big where word = 'none' limit 1", "select id from big where word = 'none'"),
        (
            "select exists (select from big b where b.id + s.id = -1) from small s",
            "select 1 from small s, big b where b.id + s.id = -1",
        ),
    ],
)
def test_a_statement_whose_rows_may_never_come_costs_what_it_costs_without_its_limit(planned: Ask, cheap: str, dear: str):
    found = planned(cheap)
    assert weigh(found).cost > 0.4 * weigh(planned(dear)).cost


def test_a_certain_limit_keeps_a_statement_cheap(planned: Ask):
    certain = planned("select * from big order by id desc limit 5")
    weight = weigh(certain)
    assert weight.rows_scanned == pytest.approx(5, rel=0.1)
    assert weight.cost == certain.top.cost < 5
    assert weight.limit_helps


def test_the_values_that_run_are_the_values_that_are_planned(planned: Ask):
    few, many = (weigh(planned("select word from big where half between $1 and $2", "1", top)) for top in ("10", "20000"))
    assert few.rows_scanned < 100
    assert many.rows_scanned > 10_000


def test_an_explain_costs_nothing_for_it_runs_nothing(planned: Ask):
    assert weigh(planned("explain select count(*) from big a, big b")).cost == 0


@pytest.mark.asyncio
async def test_what_was_estimated_still_runs_and_an_estimate_runs_nothing(server: PostgresServer, planned: Ask):
    async with reading(server, DATABASE) as reader:
        prepared = await reader.prepare(Statement("select id from small where id < $1 order by id", ("3",)))
        first, second = await prepared.estimate(), await prepared.estimate()
        assert first == second
        assert (await prepared.rows()).rows == (("1",), ("2",))
        volatile = await reader.prepare(Statement("select called() from small"))
        assert weigh(await volatile.estimate()).rows_scanned == 50
        with pytest.raises(DatabaseError, match="raised an exception"):
            await volatile.rows()


@pytest.mark.asyncio
async def test_an_estimate_that_fails_is_the_databases_error_and_no_estimate(server: PostgresServer, planned: Ask):
    async with reading(server, DATABASE) as reader:
        folded = await reader.prepare(Statement("select id from small where id = 1 / 0"))
        with pytest.raises(DatabaseError, match="division by zero"):
            await folded.estimate()


def test_plans_are_the_same_kind_on_both_sides_of_the_suite(planned: Ask):
    """Every number the weight needs is read from either server's JSON."""
    plan = planned("select b.id from small s join big b on b.half = s.big_id where b.word = $1 order by b.word, s.id", "w1")
    assert plan.tables[("public", "big")] == pytest.approx(60_000)
    assert plan.row_cost == pytest.approx(0.0125)
    scans = {step.relation: step for step in plan.steps() if step.relation is not None}
    assert scans.keys() == {("public", "small"), ("public", "big")}
    assert dict(scans["public", "big"].conditions)["Filter"] == "(b.word = 'w1'::text)"
