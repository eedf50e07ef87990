"""Row rules over a live schema: what they govern besides the tables they name, and which rows their predicate keeps."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
import pytest_asyncio
from fix_postgres import PostgresServer
from fix_sql import snapshot_of

from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.cedar import PolicySet
from ostiary_policies.model import Principal
from ostiary_policies.rows import RowRules
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql.row_rules import findings, governing
from ostiary_tools.sql.row_rules import terms as terms_of
from ostiary_tools.view import RowTerms

SCHEMA = """
CREATE TABLE orders (id int NOT NULL, region text, "paid out" boolean) PARTITION BY LIST (region);
CREATE TABLE orders_eu PARTITION OF orders FOR VALUES IN ('EU') PARTITION BY RANGE (id);
CREATE TABLE orders_eu_1 PARTITION OF orders_eu FOR VALUES FROM (0) TO (100);
CREATE TABLE orders_rest PARTITION OF orders DEFAULT;
INSERT INTO orders VALUES (1, 'EU', true), (2, 'US', true), (3, NULL, false), (4, 'EU', false);
CREATE TABLE people (id int NOT NULL, name text NOT NULL);
CREATE TABLE staff (salary int NOT NULL DEFAULT 0) INHERITS (people);
CREATE TABLE pets (kind text NOT NULL);
CREATE TABLE talking_pets () INHERITS (people, pets);
INSERT INTO people VALUES (1, 'ann'); INSERT INTO staff VALUES (2, 'bob'); INSERT INTO talking_pets VALUES (3, 'rex', 'dog');
CREATE VIEW open_orders AS SELECT id, region FROM orders_eu_1;
CREATE VIEW counted AS SELECT count(*) FROM open_orders;
CREATE MATERIALIZED VIEW kept AS SELECT name FROM staff;
CREATE VIEW harmless AS SELECT 1 AS one FROM unrelated_1();
CREATE TABLE apart (id int);
"""
DECLARED = {"region": AttributeType.TEXT}
ANA = Principal("ana", ("analyst",), (attribute("region", AttributeType.TEXT, "EU"),))
OWN_REGION = "principal has region && resource has region && resource.region == principal.region"


def rule(table: str, body: str = "true", name: str = "r", effect: str = "permit") -> str:
    head = f'principal in Role::"analyst", action == Action::"read_row", resource is shop::public::{table}'
    return f'@id("{name}") {effect}({head}) when {{ {body} }};\n'


def rules(*texts: str) -> RowRules:
    return PolicySet.parse({"rows.cedar": "".join(texts)}, declared=DECLARED).row_rules


MakeDatabase = Callable[[str], Awaitable[str]]
Live = tuple[Snapshot, str]


@pytest_asyncio.fixture
async def live(make_database: MakeDatabase, postgres_server: PostgresServer) -> Live:
    function = "CREATE FUNCTION unrelated_1() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';"
    dsn = postgres_server.dsn(database=await make_database(function + SCHEMA))
    return await snapshot_of(dsn, "shop"), dsn


def terms(snapshot: Snapshot, given: RowRules) -> dict[str, RowTerms]:
    return {name: one for (_, name), one in terms_of(governing(given, snapshot), ANA).items()}


async def kept(dsn: str, table: str, terms: RowTerms) -> list[int]:
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetch(f"SELECT id FROM public.{table} WHERE {terms.predicate} ORDER BY id")
        return [row["id"] for row in found]
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_a_partition_has_the_rules_of_the_whole(live: Live):
    snapshot, dsn = live
    found = terms(snapshot, rules(rule("orders", OWN_REGION)))
    parts = {"orders", "orders_eu", "orders_eu_1", "orders_rest"}
    assert {name for name, one in found.items() if not one.refusal} == parts
    assert {name: await kept(dsn, name, found[name]) for name in parts} == {
        "orders": [1, 4],
        "orders_eu": [1, 4],
        "orders_eu_1": [1, 4],
        "orders_rest": [],
    }
    assert all(found[name].rules == ("r",) for name in parts)


@pytest.mark.asyncio
async def test_a_view_over_a_governed_table_is_closed_until_a_rule_speaks_of_it(live: Live):
    snapshot, dsn = live
    found = terms(snapshot, rules(rule("orders", OWN_REGION)))
    assert {name for name, one in found.items() if one.refusal} == {"open_orders", "counted"}
    why = "`open_orders` shows rows of a table that has row rules, and no row rule speaks of `open_orders`"
    assert found["open_orders"] == RowTerms("FALSE", (), why)

    found = terms(snapshot, rules(rule("orders", OWN_REGION), rule("open_orders", "resource has id && resource.id > 1", "v")))
    assert {name for name, one in found.items() if one.refusal} == {"counted"}
    assert found["open_orders"].rules == ("v",)
    assert await kept(dsn, "open_orders", found["open_orders"]) == [4]
    assert set(terms(snapshot, rules(rule("people")))) == {"people", "staff", "talking_pets", "kept", "pets"}


@pytest.mark.asyncio
async def test_a_rule_about_a_part_is_refused_and_closes_the_part_and_the_whole(live: Live):
    snapshot, _ = live
    given = rules("\n", rule("orders_eu"))
    (problem,) = findings(given, [snapshot]).problems
    assert (problem.file, problem.line, problem.policy) == ("rows.cedar", 2, "r")
    assert problem.message == "its table is a part of `public.orders`"
    found = terms(snapshot, given)
    assert {name for name, one in found.items() if one.refusal} == {"orders", "orders_eu", "orders_eu_1", "open_orders", "counted"}
    assert set(found) == {name for name, one in found.items() if one.refusal}
    assert found["orders"].refusal == "`orders` shows rows of a part that has row rules of its own"

    both = terms(snapshot, rules(rule("orders", name="whole"), rule("orders_eu")))
    assert both["orders"].refusal
    assert both["orders_rest"] == RowTerms("TRUE", ("whole",))


@pytest.mark.asyncio
async def test_what_is_read_through_two_tables_has_the_rules_of_both_and_no_table_shows_it_unruled(live: Live):
    """`talking_pets` is read with `people` and with `pets`."""
    snapshot, dsn = live
    found = terms(snapshot, rules(rule("people", 'resource.name != "ann"')))
    assert await kept(dsn, "people", found["people"]) == [2, 3]
    assert await kept(dsn, "talking_pets", found["talking_pets"]) == [3]
    assert found["pets"].refusal == "`pets` shows rows of a part that has row rules of its own"
    found = terms(snapshot, rules(rule("people", 'resource.name != "ann"'), rule("pets", 'resource.kind == "cat"', "cats")))
    assert found["talking_pets"].rules == ("cats", "r")
    assert await kept(dsn, "talking_pets", found["talking_pets"]) == []
    assert found["people"].refusal
    assert found["pets"].refusal


@pytest.mark.asyncio
async def test_a_part_may_hold_null_where_the_whole_says_it_does_not(server_15: PostgresServer):
    """Before version 18 a child may drop what its parent says; then a rule asks for `has`, or is refused."""
    schema = (
        "CREATE TABLE people (id int, name text NOT NULL); CREATE TABLE staff () INHERITS (people);"
        "ALTER TABLE staff ALTER COLUMN name DROP NOT NULL; INSERT INTO staff VALUES (1, NULL); INSERT INTO people VALUES (2, 'a')"
    )
    server_15.sql("CREATE DATABASE parts")
    server_15.sql(schema, "parts")
    dsn = server_15.dsn(database="parts")
    snapshot = await snapshot_of(dsn, "shop")
    (problem,) = findings(rules(rule("people", 'resource.name == "x"', effect="forbid")), [snapshot]).problems
    assert "optional attribute `name`" in problem.message
    found = terms(snapshot, rules(rule("people"), rule("people", "!(resource has name)", "unnamed", "forbid")))
    assert await kept(dsn, "people", found["people"]) == [2]
    assert await kept(dsn, "staff", found["staff"]) == []


@pytest.mark.asyncio
async def test_a_column_whose_rows_were_never_validated_may_hold_null(make_database: MakeDatabase, postgres_server: PostgresServer):
    """From version 18 on a NOT NULL may be NOT VALID."""
    schema = "CREATE TABLE notes (id int, body text); INSERT INTO notes VALUES (1, NULL), (2, 'a');"
    mark = "ALTER TABLE notes ADD CONSTRAINT said NOT NULL body NOT VALID"
    dsn = postgres_server.dsn(database=await make_database(schema + mark))
    snapshot = await snapshot_of(dsn, "shop")
    found = terms(snapshot, rules(rule("notes"), rule("notes", "!(resource has body)", "empty", "forbid")))
    assert await kept(dsn, "notes", found["notes"]) == [2]


@pytest.mark.asyncio
async def test_no_rule_asks_for_a_column_that_is_computed_when_it_is_read(
    make_database: MakeDatabase, postgres_server: PostgresServer
):
    """From version 18 on: where that fails for a row, a statement would tell that the row is there."""
    schema = "CREATE TABLE parts (id int NOT NULL, n int NOT NULL, share int GENERATED ALWAYS AS (100 / n) VIRTUAL);"
    view = "CREATE VIEW shares AS SELECT id, 100 / n AS share FROM parts"
    snapshot = await snapshot_of(postgres_server.dsn(database=await make_database(schema + view)), "shop")
    ask = "resource has share && resource.share > 1"
    (problem,) = findings(rules(rule("parts", ask)), [snapshot]).problems
    assert problem.hint == "of column `share`, it is computed when it is read, which may fail"
    assert findings(rules(rule("shares", ask)), [snapshot]).problems == ()
