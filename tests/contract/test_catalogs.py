"""What the offered catalogs answer, held against the real ones of every server found on this machine."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_sql import Case, blocks, snapshot_of

from ostiary_policies.model import Resource
from ostiary_tools.catalogs import OFFERED, STATED, value
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql import bind, judge
from ostiary_tools.view import SchemaView

CASES = Path(__file__).parent.parent / "cases" / "catalogs"
HONEST = tuple(blocks((CASES / "honest.sql").read_text("utf-8")))
EQUAL = tuple(blocks((CASES / "equal.sql").read_text("utf-8")))
_numbers = count(1)

# Everything that is to be hidden from the second view; without it both databases are the same.
HIDDEN = """
CREATE TABLE sales.hidden_first (id integer PRIMARY KEY, customer integer REFERENCES customers);
CREATE FUNCTION hidden_function(t text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION takes_hidden(h sales.hidden_first) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA hidden_schema;
CREATE TABLE hidden_schema.t (a integer);
CREATE TYPE hidden_schema.mood AS ENUM ('only', 'hidden');
CREATE VIEW aaa_hidden AS SELECT * FROM sales.orders;
CREATE TABLE heir_hidden () INHERITS (base);
CREATE SEQUENCE hidden_sequence;
ALTER TABLE sales.pairs ADD COLUMN hidden_serial serial, ADD COLUMN hidden_target integer UNIQUE REFERENCES sales.hidden_first;
CREATE INDEX hidden_index ON sales.pairs (a, hidden_serial);
CREATE INDEX hidden_expression ON sales.lines ((hidden_function(what)));
ALTER TABLE sales.lines ADD CONSTRAINT hidden_check CHECK (hidden_function(what));
ALTER TABLE sales.pairs ADD CONSTRAINT hidden_check CHECK (a > hidden_target);
COMMENT ON COLUMN sales.pairs.hidden_target IS 'hidden';
"""


@dataclass(frozen=True)
class Shop:
    dsn: str
    snapshot: Snapshot


@pytest.fixture(scope="module")
def shop(server: PostgresServer) -> Iterator[Shop]:
    name = f"catalogs_{os.getpid()}_{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    server.sql((CASES / "schema.sql").read_text("utf-8"), name)
    yield Shop(server.dsn(database=name), asyncio.run(snapshot_of(server.dsn(database=name), "shop")))
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")


def seen(snapshot: Snapshot, *, without: str = "\0") -> SchemaView:
    """All of it but the things in whose names a word stands."""
    found: set[Resource] = {snapshot.schema_resource(s) for s in snapshot.schemas if without not in s}
    for relation in snapshot.relations.values():
        if without not in f"{relation.schema}.{relation.name}":
            found.add(relation.resource("shop"))
            found.update(relation.column_resource("shop", c) for c in relation.columns if without not in c.name)
    found.update(
        snapshot.function_resource(*name) for name in snapshot.functions if without not in name[1] and name[0] != "pg_catalog"
    )
    return SchemaView(snapshot, frozenset(found), frozenset(found))


async def answers(dsn: str, statement: str, values: tuple[Any, ...] = ()) -> list[str]:
    """The names of the columns, then the rows as text."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "pg_catalog, public"})
    try:
        heads = [attribute.name for attribute in (await connection.prepare(statement)).get_attributes()]
        rows = await connection.fetch(f"SELECT q::text FROM ({statement}\n) AS q", *values)
        return [str(heads), *(row[0] for row in rows)]
    finally:
        await connection.close()


async def judged(shop: Shop, statement: str, view: SchemaView) -> list[str]:
    bound = bind(judge(statement, view), ())
    return await answers(shop.dsn, bound.text, bound.parameters)


@pytest.mark.asyncio
@pytest.mark.parametrize("case", EQUAL, ids=lambda case: case.title)
async def test_who_sees_everything_reads_what_the_real_catalog_says(case: Case, shop: Shop):
    expected, found = await answers(shop.dsn, case.sql), await judged(shop, case.sql, seen(shop.snapshot))
    assert sorted(found) == sorted(expected)
    assert len(expected) > 1


@pytest.mark.asyncio
@pytest.mark.parametrize("case", HONEST, ids=lambda case: case.title)
async def test_an_honest_question_is_answered_as_by_the_real_catalog(case: Case, shop: Shop):
    assert await judged(shop, case.sql, seen(shop.snapshot)) == await answers(shop.dsn, case.sql)


@pytest.mark.asyncio
async def test_each_offered_catalog_has_the_servers_columns_and_its_rows_are_of_their_types(shop: Shop):
    view = seen(shop.snapshot)
    for schema, name in sorted(OFFERED):
        if schema != "behind":
            every = f"SELECT * FROM {schema}.{name}"
            first = "SELECT string_agg(k, ' ') FROM json_object_keys((SELECT row_to_json(q) FROM ({}) AS q LIMIT 1)) AS k"
            found = await judged(shop, first.format(every), view)
            real = await answers(shop.dsn, first.format(every))
            assert found == real or (schema, name) in STATED or "()" in found, name
            assert len(await judged(shop, f"SELECT q::text FROM ({every}) AS q", view)) == 1 + len(
                json.loads(value(view, (schema, name)))
            )


@pytest.mark.asyncio
async def test_numbers_are_the_same_in_every_catalog(shop: Shop):
    view = seen(shop.snapshot)
    dangling = {
        "pg_class.relnamespace": "select relname from pg_class where relnamespace not in (select oid from pg_namespace)",
        "pg_class.relam": "select relname from pg_class where relam <> 0 and relam not in (select oid from pg_am)",
        "pg_class.reltype": "select relname from pg_class where reltype <> 0 and reltype not in (select oid from pg_type)",
        "pg_attribute.attrelid": "select attname from pg_attribute where attrelid not in (select oid from pg_class)",
        "pg_attribute.atttypid": "select attname from pg_attribute where atttypid not in (select oid from pg_type)",
        "pg_index.indexrelid": "select 1 from pg_index where indexrelid not in (select oid from pg_class)",
        "pg_constraint.conindid": "select 1 from pg_constraint where conindid not in (select oid from pg_class union select 0)",
        "pg_type.typelem": "select typname from pg_type where typelem <> 0 and typelem not in (select oid from pg_type)",
        "pg_proc.prorettype": "select proname from pg_proc where prorettype not in (select oid from pg_type)",
        "pg_enum.enumtypid": "select enumlabel from pg_enum where enumtypid not in (select oid from pg_type)",
        "twice": "select oid from (select oid from pg_class union all select oid from pg_type) o group by 1 having count(*) > 1",
    }
    assert {name: found for name, query in dangling.items() if (found := (await judged(shop, query, view))[1:])} == {}


@pytest.mark.asyncio
async def test_databases_that_differ_in_hidden_things_have_the_same_catalogs_byte_for_byte(server: PostgresServer, shop: Shop):
    """Names, order, numbers, counts: nothing tells that there is more."""
    name = f"catalogs_more_{os.getpid()}_{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    try:
        # The hidden things come first, so that every real number differs.
        server.sql("CREATE TABLE aaa_hidden_too (a integer)", name)
        server.sql((CASES / "schema.sql").read_text("utf-8"), name)
        server.sql(HIDDEN, name)
        more = seen(await snapshot_of(server.dsn(database=name), "shop"), without="hidden")
    finally:
        server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    less = seen(shop.snapshot, without="hidden")
    here, there = shop.snapshot.details.database.name, name
    told = [each for each in sorted(OFFERED) if value(more, each).replace(there, here) != value(less, each)]
    assert told == []
    for query in (case.sql for case in HONEST):
        assert judge(query, more).statement.text == judge(query, less).statement.text


@pytest.mark.asyncio
async def test_what_may_not_be_read_shows_its_name_and_none_of_its_values(shop: Shop):
    whole = seen(shop.snapshot)
    customers = shop.snapshot.relations["public", "customers"]
    secret = {customers.column_resource("shop", c) for c in customers.columns if c.name in ("country", "score", "small", "active")}
    view = SchemaView(shop.snapshot, whole.visible, whole.readable - secret)
    told = "".join(value(view, name) for name in OFFERED)
    assert "bpchar" in told  # as a type
    for constant in ("'no'", "score >", "(small", "IN (1, 2, 7)", '"adbin": "true"', '"column_default": "7"'):
        assert constant not in told, constant
    unread = SchemaView(shop.snapshot, whole.visible, frozenset())
    assert '"reltuples": 50' not in value(unread, ("pg_catalog", "pg_class"))
    assert '"reltuples": 50' in value(view, ("pg_catalog", "pg_class"))
    assert "SELECT" not in value(unread, ("pg_catalog", "pg_views"))
