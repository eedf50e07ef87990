"""The predicate of row rules keeps exactly the rows for which Cedar, asked about each row, says Allow without an error.

The whole row is given to Cedar's own evaluation and to PostgreSQL, and both must agree on
every pair of rules and row; whatever the session's settings are.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import asyncpg
import cedarpy
import gen_row_rules as gen
import pytest
from fix_postgres import PostgresServer
from fix_sql import sees_everything, snapshot_of
from pglast.parser import parse_sql

from ostiary_policies import cedar
from ostiary_policies.attributes import Attribute, AttributeType, attribute, plain
from ostiary_policies.cedar import PolicySet
from ostiary_policies.conditions import RowFilter
from ostiary_policies.errors import PolicyError
from ostiary_policies.model import Principal
from ostiary_policies.rows import RowRules, RowTable
from ostiary_policies.table_rules import against, declaring
from ostiary_tools.datasources.native import looking
from ostiary_tools.datasources.opening import PostgresSettings
from ostiary_tools.native.facts import policy_names
from ostiary_tools.native.installation import installation
from ostiary_tools.native.script import script
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql import tree
from ostiary_tools.sql.judge import judge
from ostiary_tools.sql.printing import print_tree
from ostiary_tools.sql.row_predicates import predicate
from ostiary_tools.sql.row_types import row_table
from ostiary_tools.view import RowTerms, SchemaView

DECLARED = {
    "level": AttributeType.INTEGER,
    "region": AttributeType.TEXT,
    "regions": AttributeType.TEXTS,
    "staff": AttributeType.BOOLEAN,
}
SETTINGS = {
    "TimeZone": "America/New_York",
    "DateStyle": "German, DMY",
    "standard_conforming_strings": "off",
    "search_path": "decoy",
}

Opened = tuple[asyncpg.Connection, Relation, SchemaView]


@asynccontextmanager
async def database(server: PostgresServer, name: str, columns: dict[str, str]) -> AsyncIterator[Opened]:
    """A connection with unusual settings to a database with the table, and the table as a snapshot sees it."""
    said = ", ".join(f'"{column.replace(chr(34), chr(34) * 2)}" {type_}' for column, type_ in columns.items())
    server.sql(
        "CREATE SCHEMA decoy; CREATE FUNCTION decoy.isfinite(timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
        f"CREATE TABLE public.things (id bigint PRIMARY KEY, {said})",
        name,
    )
    snapshot = await snapshot_of(server.dsn(database=name), "shop")
    connection = await asyncpg.connect(server.dsn(database=name), server_settings=SETTINGS)
    try:
        yield connection, snapshot.relations["public", "things"], sees_everything(snapshot)
    finally:
        await connection.close()


def principal(rng: Random) -> Principal:
    some: list[Attribute] = []
    if rng.random() < 0.8:
        some.append(attribute("level", AttributeType.INTEGER, rng.choice([0, 7, 2**63 - 1])))
    if rng.random() < 0.8:
        some.append(attribute("region", AttributeType.TEXT, rng.choice(["EU", "a", "", "\0"])))
    if rng.random() < 0.8:
        some.append(
            attribute("regions", AttributeType.TEXTS, rng.choice([[], ["a", "EU"], ["é", "\0", str(gen.row(rng)["key_2"])]]))
        )
    if rng.random() < 0.8:
        some.append(attribute("staff", AttributeType.BOOLEAN, rng.random() < 0.5))
    return Principal("ana", ("analyst",), tuple(some))


def asked_of_cedar(text: str, who: Principal, schema: cedarpy.Schema, rows: Sequence[dict[str, Any]]) -> list[bool]:
    """Cedar's full evaluation of each row."""
    agent = {"uid": {"type": "Agent", "id": who.agent}, "attrs": {"taints": [], **{a.name: plain(a) for a in who.attributes}}}
    entities: list[dict[str, Any]] = [
        {**agent, "parents": [{"type": "Role", "id": "analyst"}]},
        {"uid": {"type": "Role", "id": "analyst"}},
    ]
    entities += [{"uid": {"type": gen.TYPE, "id": str(n)}, "attrs": gen.attributes(row)} for n, row in enumerate(rows)]
    loaded = cedarpy.Entities.from_json_str(json.dumps([{"attrs": {}, "parents": [], **one} for one in entities]), schema)
    requests = [
        {"principal": 'Agent::"ana"', "action": 'Action::"read_row"', "resource": f'{gen.TYPE}::"{n}"', "context": {}}
        for n in range(len(rows))
    ]
    answers = cedarpy.is_authorized_batch(requests, cedarpy.PolicySet.from_str(text), loaded, schema)
    return [answer.allowed and not answer.diagnostics.errors for answer in answers]


def rules_of(text: str) -> RowRules:
    return PolicySet.parse({"rows.cedar": text}, declared=DECLARED).row_rules


def permitting(body: str) -> str:
    head = f'principal in Role::"analyst", action == Action::"read_row", resource is {gen.TYPE}'
    return f'@id("r") permit({head}) when {{ {body} }};'


def filtered(text: str, who: Principal, table: RowTable) -> RowFilter:
    return against(rules_of(text), table).filter(who)


def select(rows: RowFilter, relation: Relation, view: SchemaView) -> str:
    """The table's ids under the filter, as text that is read back as the same tree and judged as it stands."""
    statement: Any = parse_sql("SELECT t.id FROM public.things t WHERE true")[0].stmt
    statement.whereClause = predicate(rows, relation, "t")
    text = print_tree(statement)
    assert tree.same(parse_sql(text)[0].stmt, statement)
    assert judge(text, view).statement.text == text
    return text


FAILING = "(resource.large_2 + 9223372036854775807 < 3)"
SHAPES = [
    f"{FAILING} || resource.flag_2",
    f"resource.flag_2 || {FAILING}",
    f"{FAILING} && resource.flag_2",
    f"resource.flag_2 && {FAILING}",
    f"!({FAILING} && resource.flag_2) || resource.small == 1",
    f"!({FAILING} || resource.flag_2) && resource.small != 1",
    f"if {FAILING} then resource.flag_2 else resource.small == 1",
    f"if resource.flag_2 then {FAILING} else resource.small == 1",
    f"(if resource.flag_2 then {FAILING} else resource.small == 1) || resource.small < 8",
    f"({FAILING} == resource.flag_2) || resource.small == 1",
    f"(resource has whole && {FAILING}) || (resource has note && resource.flag_2)",
]
"""Where something fails beside something that would decide."""


def shaped() -> list[str]:
    """Each shape as a permit, as a forbid, and beside a permit that allows all."""
    head = f'action == Action::"read_row", resource is {gen.TYPE}'
    every = f'@id("all") permit(principal in Role::"analyst", {head});'
    permits = [permitting(shape) for shape in SHAPES]
    forbids = [f'{every} @id("r") forbid(principal, {head}) when {{ {shape} }};' for shape in SHAPES]
    return [*permits, *forbids, *(f"{every} {permit}" for permit in permits)]


def rows_of(relation: Relation) -> RowTable:
    """Its rows as Cedar sees them; only names that Cedar cannot spell have none, and none of ours is such a name."""
    table = row_table("shop", relation)
    assert table is not None, relation.name
    return table


async def compare(server: PostgresServer, name: str, seed: int, sets: int, count: int) -> tuple[int, int]:
    """Pairs compared, and those that were kept."""
    rng = Random(seed)  # noqa: S311  repeatable, not secret
    rows = [gen.row(rng) for _ in range(count)]
    kept = 0
    async with database(server, name, dict(gen.COLUMNS)) as (connection, relation, view):
        table = rows_of(relation)
        table = RowTable(table.type, {name: column for name, column in table.columns.items() if name != "id"})
        schema = cedarpy.Schema.from_str(cedar._schema_text(DECLARED) + declaring(table))
        await connection.copy_records_to_table(
            "things", schema_name="public", records=[(n, *r.values()) for n, r in enumerate(rows)]
        )
        texts = [*shaped(), *(gen.policies(rng) for _ in range(sets))]
        for text in texts:
            who = principal(rng)
            expected = [n for n, allowed in enumerate(asked_of_cedar(text, who, schema, rows)) if allowed]
            statement = select(filtered(text, who, table), relation, view)
            found = sorted(row["id"] for row in await connection.fetch(statement))
            assert found == expected, f"seed {seed}\n{text}\n{who}\n{statement}\n{[rows[n] for n in {*found} ^ {*expected}][:3]}"
            kept += len(found)
    return len(texts) * count, kept


@pytest.mark.asyncio
async def test_the_predicate_keeps_the_rows_that_cedar_allows(postgres_server: PostgresServer, fresh_database: Callable[..., str]):
    pairs, kept = await compare(postgres_server, fresh_database(), seed=4, sets=12, count=40)
    assert pairs // 10 < kept < pairs * 9 // 10


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(10))
async def test_the_predicate_keeps_the_rows_that_cedar_allows_in_many_pairs(
    postgres_server: PostgresServer, fresh_database: Callable[..., str], seed: int
):
    pairs, kept = await compare(postgres_server, fresh_database(), seed=100 + seed, sets=25, count=60)
    assert pairs // 10 < kept < pairs * 9 // 10


@pytest.mark.asyncio
async def test_row_security_keeps_the_same_rows_and_the_server_knows_its_policies_again(
    postgres_server: PostgresServer, fresh_database: Callable[..., str]
):
    """Each set of rules installed for a login: what it reads by itself, and that no other set's predicate is taken for this one."""
    rng, name = Random(11), fresh_database()  # noqa: S311  repeatable, not secret
    login = f"{name}_native"
    rows = [gen.row(rng) for _ in range(40)]
    async with database(postgres_server, name, dict(gen.COLUMNS)) as (connection, relation, view):
        await connection.copy_records_to_table(
            "things", schema_name="public", records=[(n, *r.values()) for n, r in enumerate(rows)]
        )
        postgres_server.sql(f"CREATE ROLE {login} LOGIN; GRANT USAGE ON SCHEMA decoy TO {login}", name)
        owner = await asyncpg.connect(postgres_server.dsn(database=name))
        agent = await asyncpg.connect(postgres_server.dsn(login, name), server_settings=SETTINGS)
        before = "TRUE"
        try:
            for text in [*shaped()[::3], *(gen.policies(rng) for _ in range(12))]:
                kept = filtered(text, principal(rng), rows_of(relation))
                said = print_tree(predicate(kept, relation))
                native = replace(view, rows={("public", "things"): RowTerms(said, ())}, kept={})
                async with looking(PostgresSettings("shop", postgres_server.dsn(database=name))) as look:
                    facts = await look.facts(login)
                await owner.execute(script(installation(native, facts), facts, "generated"))
                expected = sorted(row["id"] for row in await connection.fetch(select(kept, relation, view)))
                found = sorted(row["id"] for row in await agent.fetch("SELECT id FROM public.things"))
                assert found == expected, f"{text}\n{said}"
                async with looking(PostgresSettings("shop", postgres_server.dsn(database=name))) as look:
                    held = (await look.facts(login)).relations["public", "things"]
                    ours = [policy for policy in held.policies if policy.name in policy_names(login)]
                    assert [await look.same(relation, said, policy.expression) for policy in ours] == [True, True], said
                    assert await look.same(relation, before, ours[0].expression) is (before == said)
                before = said
        finally:
            await agent.close()
            await owner.close()
            postgres_server.sql(f"DROP OWNED BY {login}; DROP ROLE {login}", name)


EDGES = {
    "price": ("numeric(12,2)", ["'NaN'", "1.5"], 'resource.price.lessThan(decimal("2.0"))'),
    "moment": (
        "timestamptz",
        ["'infinity'", "'-infinity'", "'1970-01-01 00:00:00+00'"],
        'resource.moment < datetime("1970-01-02")',
    ),
    "local": ("timestamp", ["'infinity'", "'-infinity'", "'1970-01-01 00:00:00'"], 'resource.local < datetime("1970-01-02")'),
    "day": ("date", ["'infinity'", "'-infinity'", "'1970-01-01'"], 'resource.day < datetime("1970-01-02")'),
}


@pytest.mark.asyncio
async def test_a_value_without_a_counterpart_hides_its_row_from_whoever_asks_for_it(
    postgres_server: PostgresServer, fresh_database: Callable[..., str]
):
    """NaN and infinity: a permit does not show the row, and neither does a forbid that would not have applied."""
    columns = {name: f"{type_}" for name, (type_, *_) in EDGES.items()}
    async with database(postgres_server, fresh_database(), columns) as (connection, relation, view):
        table = rows_of(relation)
        for name, (_, values, condition) in EDGES.items():
            await connection.execute("TRUNCATE public.things")
            for place, value in enumerate([*values, "NULL"]):
                await connection.execute(f'INSERT INTO public.things (id, "{name}") VALUES ({place}, {value})')
            usual, missing = len(values) - 1, len(values)
            head = f'action == Action::"read_row", resource is {gen.TYPE}'
            all_rows = f'@id("all") permit(principal in Role::"analyst", {head});'
            for body, permitted, not_forbidden in (
                (f"resource has {name} && {condition}", [usual], [missing]),
                (f"resource has {name} && !({condition})", [], [usual, missing]),
                (f"resource has {name}", [usual], [missing]),
                (f"!(resource has {name})", [missing], [usual]),
                (f"resource has {name} && resource.{name} == resource.{name}", [usual], [missing]),
            ):
                who = Principal("ana", ("analyst",))
                forbid = f'{all_rows} @id("r") forbid(principal, {head}) when {{ {body} }};'
                for text, expected in ((permitting(body), permitted), (forbid, not_forbidden)):
                    found = await connection.fetch(select(filtered(text, who, table), relation, view))
                    assert sorted(row["id"] for row in found) == expected, text


@pytest.mark.asyncio
async def test_columns_without_a_counterpart_are_left_out_with_the_reason(
    postgres_server: PostgresServer, fresh_database: Callable[..., str]
):
    name = fresh_database()
    postgres_server.sql(
        "CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); CREATE TYPE mood AS ENUM ('sad')",
        name,
    )
    columns = {
        "fine": "numeric(18,4)",
        "hundreds": "numeric(9,-2)",
        "wide": "numeric(19,4)",
        "deep": "numeric(12,5)",
        "any_number": "numeric",
        "padded": "char(5)",
        "short": "public.short",
        "mood": "public.mood",
        "list": "text[]",
        "real": "double precision",
        "json": "jsonb",
        "took": "interval",
    }
    async with database(postgres_server, name, columns) as (_, relation, _view):
        table = rows_of(relation)
    assert sorted(table.columns) == ["fine", "hundreds", "id"]
    assert dict(table.left_out) == {
        "wide": "its type `numeric(19,4)` holds more than 14 digits or more than 4 places",
        "deep": "its type `numeric(12,5)` holds more than 14 digits or more than 4 places",
        "any_number": "its type `numeric` holds more than 14 digits or more than 4 places",
        "padded": "its type `character(5)` has no counterpart in a row rule: its values are padded with blanks",
        "short": "its type `short` has no counterpart in a row rule",
        "mood": "its type `mood` has no counterpart in a row rule",
        "list": "its type `text[]` has no counterpart in a row rule",
        "real": "its type `double precision` has no counterpart in a row rule",
        "json": "its type `jsonb` has no counterpart in a row rule",
        "took": "its type `interval` has no counterpart in a row rule",
    }


@pytest.mark.asyncio
async def test_a_text_whose_collation_is_not_deterministic_is_left_out(server_15: PostgresServer):
    """The embedded server is built without the library that such collations need."""
    server_15.sql("CREATE DATABASE folding")
    nocase = "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    server_15.sql(
        f"CREATE COLLATION public.nocase {nocase}; CREATE COLLATION public.plain (provider = icu, locale = 'und')", "folding"
    )
    columns = {"folded": "text COLLATE public.nocase", "sorted": "text COLLATE public.plain"}
    async with database(server_15, "folding", columns) as (_, relation, _view):
        table = rows_of(relation)
    assert sorted(table.columns) == ["id", "sorted"]
    rules = rules_of(permitting('resource has folded && resource.folded == "a"'))
    with pytest.raises(PolicyError, match="of column `folded`, its collation takes different texts for equal"):
        against(rules, table)


INDEXED = [
    ("resource.large_2 == 42", "large_2 = '42'"),
    ("resource has whole && resource.whole == 42", "whole = '42'"),
    ('resource has note && resource.note == "a"', "note = 'a'"),
    ('resource.code == "a"', "(code)::text = 'a'"),
    ('["a", "b"].contains(resource.code)', "(code)::text = ANY"),
    ('resource.key_2 == "00000000-0000-0000-0000-000000000000"', "key_2 = '00000000"),
    ('resource.moment_2 == datetime("2024-01-01")', "moment_2 >="),
    ('resource.day_2 <= datetime("2024-01-01T01:02:03Z")', "day_2 <= '2024"),
]


@pytest.mark.asyncio
async def test_an_indexed_column_under_a_rule_is_an_index_condition(
    postgres_server: PostgresServer, fresh_database: Callable[..., str]
):
    async with database(postgres_server, fresh_database(), {**gen.COLUMNS}) as (connection, relation, view):
        table = rows_of(relation)
        await connection.execute("SET enable_seqscan = off; SET DateStyle = ISO")
        for column in ("large_2", "whole", "note", "code", "key_2", "moment_2", "day_2"):
            await connection.execute(f"CREATE INDEX ON public.things ({column})")
        for body, condition in INDEXED:
            statement = select(filtered(permitting(body), Principal("ana", ("analyst",)), table), relation, view)
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}"))
            (line,) = [line for line in plan.splitlines() if "Index Cond" in line][:1] or [plan]
            assert "Index Cond" in line, plan
            assert condition in line, plan
