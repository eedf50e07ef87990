"""What a fingerprint of a database says, on real servers."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from fix_postgres import POSTGRES_15, PostgresServer

from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.manifest import Fingerprint, Kind
from ostiary_tools.backup.sequences import positions, spanned
from ostiary_tools.errors import LockedOut, Unavailable

SYSTEM = POSTGRES_15 / "bin"
"""It has been built with libxml, and the embedded one has not."""
TYPES = """
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN short AS text CHECK (length(VALUE) < 10);
CREATE TABLE every (
    t text, j json, jb jsonb, p point, bx box, cs pair, ar float8[][], f float4, d float8, n numeric, m money, bt bytea,
    ts timestamptz, iv interval, e mood, s short, r int4range, mr int4multirange, tv tsvector, rc regclass, ip inet, bits varbit,
    twice integer GENERATED ALWAYS AS (length(t) * 2) STORED
);
INSERT INTO every VALUES ('a', '{"b": 1,  "a":2}', '{"b": 1, "a": 2}', '(1,2)', '((1,1),(0,0))', (1, 'x,"y'),
    '{{1,NaN},{-0,2}}', '-0', 'NaN', 'Infinity', 12.5, '\\x00ff', '2026-01-01 12:00+02', '1 year -2 days', 'ill', 'kurz',
    '[1,3)', '{[1,3),[5,6)}',
    'fat cat', 'pg_class', '10.0.0.1/8', B'101');
INSERT INTO every (t) VALUES (NULL), ('');
"""


@asynccontextmanager
async def snapshot(server: PostgresServer, database: str, role: str = "ostiary_admin") -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn(role, database))
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close()


async def of(server: PostgresServer, database: str, kind: Kind = Kind.LOGICAL, role: str = "ostiary_admin") -> Fingerprint:
    async with snapshot(server, database, role) as connection:
        return await taken(connection, database, kind)


def differences(before: Fingerprint, after: Fingerprint) -> list[str]:
    return [str(difference) for difference in compared(before, after)]


@pytest.mark.asyncio
async def test_every_type_has_a_print_and_it_is_the_same_under_all_settings(
    any_server: PostgresServer, made_in: Callable[..., str]
):
    with_xml = "ALTER TABLE every ADD x xml; UPDATE every SET x = '<a>1</a>'" if any_server.binaries == SYSTEM else ""
    database = made_in(any_server, TYPES + with_xml)
    before = await of(any_server, database)
    any_server.sql(
        f"""ALTER DATABASE {database} SET extra_float_digits = -15; ALTER DATABASE {database} SET timezone = 'Asia/Tokyo';
        ALTER DATABASE {database} SET intervalstyle = 'sql_standard'; ALTER DATABASE {database} SET bytea_output = 'escape';
        ALTER DATABASE {database} SET datestyle = 'SQL, DMY';
        ALTER DATABASE {database} SET search_path = 'public'""",
    )
    assert differences(before, await of(any_server, database)) == []
    assert [(table.table, table.rows) for table in before.tables] == [("every", 3)]


HOSTILE = ['a"b', "new\nline", "dot.ted", "*", "$1", "t", "ROW", "'; DROP TABLE x; --", "ünï", " ", "select"]


@pytest.mark.asyncio
async def test_tables_of_every_name_have_prints(any_server: PostgresServer, made_in: Callable[..., str]):
    quoted = ['"' + name.replace('"', '""') + '"' for name in HOSTILE]
    tables = "".join(
        f"CREATE SCHEMA {name}; CREATE TABLE {name}.{name} ({name} serial PRIMARY KEY, t2 text);"
        f"INSERT INTO {name}.{name} (t2) VALUES ('x'), ('y');"
        for name in quoted
    )
    before = await of(any_server, database := made_in(any_server, tables))
    assert sorted((table.schema, table.table, table.rows) for table in before.tables) == sorted((n, n, 2) for n in HOSTILE)
    assert sorted(before.sequences.values()) == ["2"] * len(HOSTILE)
    any_server.sql(f"UPDATE {quoted[1]}.{quoted[1]} SET t2 = 'z' WHERE t2 = 'y'; DROP TABLE {quoted[3]}.{quoted[3]}", database)
    found = differences(before, await of(any_server, database))
    assert found[:2] == ['table "*"."*": is missing', 'table "new line"."new line": as many rows as before (2), and not the same']


@pytest.mark.asyncio
async def test_what_differs_is_found_by_name(any_server: PostgresServer, made_in: Callable[..., str]):
    """Also a changed row that an exclusive or, or a count, would not see."""
    database = made_in(
        any_server,
        """CREATE TABLE o (id serial PRIMARY KEY, v integer CHECK (v >= 0)); CREATE INDEX o_v ON o (v);
        INSERT INTO o (v) SELECT n FROM generate_series(1, 5000) n; CREATE TABLE twice (v text);
        INSERT INTO twice VALUES ('a'), ('a'), ('b');
        ALTER TABLE o ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON o USING (v > 1);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr BEFORE INSERT ON o
        FOR EACH ROW EXECUTE FUNCTION f(); CREATE MATERIALIZED VIEW m AS SELECT * FROM twice; CREATE SEQUENCE s;""",
    )
    before = await of(any_server, database)
    for change, words in {
        "UPDATE o SET v = 9999 WHERE id = 77": ['table "public"."o": as many rows as before (5,000), and not the same'],
        "UPDATE twice SET v = 'b' WHERE ctid = '(0,1)'": ['table "public"."twice": as many rows as before (3), and not the same'],
        "DELETE FROM twice WHERE ctid = '(0,2)'": ['table "public"."twice": 3 rows before, 2 now'],
        "DROP INDEX o_v": ['index "public"."o_v": is missing'],
        "SELECT nextval('s')": ['sequence "public"."s": stands at 1, and stood at 0'],
        "ALTER TABLE o DISABLE TRIGGER tr": ['trigger "tr" on "public"."o": is not what it was'],
        "ALTER TABLE o DISABLE ROW LEVEL SECURITY": ['table "public"."o": is not what it was'],
        "DROP POLICY pol ON o": ['policy "pol" on "public"."o": is missing'],
        "ALTER TABLE o DROP CONSTRAINT o_v_check": ['constraint "o_v_check" on "public"."o": is missing'],
        "REFRESH MATERIALIZED VIEW m WITH NO DATA": ['materialized view "public"."m": is not what it was'],
        "DROP MATERIALIZED VIEW m": ['materialized view "public"."m": is missing'],
        "CREATE VIEW extra AS SELECT 1": ['view "public"."extra": was not there'],
        "ALTER TABLE twice ALTER v TYPE varchar": ['table "public"."twice": is not what it was'],
        "DROP FUNCTION f CASCADE": ['function "public"."f"(): is missing', 'trigger "tr" on "public"."o": is missing'],
    }.items():
        any_server.sql(change, database)
        after = await of(any_server, database)
        assert sorted(differences(before, after)) == words, change
        before = after


@pytest.mark.asyncio
async def test_large_tables_are_read_in_parts_by_several_sessions_of_one_snapshot(
    postgres_server: PostgresServer, made_in: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ostiary_tools.backup.fingerprints._BLOCKS", 7)
    database = made_in(
        postgres_server,
        """CREATE TABLE big (id integer, v text); INSERT INTO big SELECT n, repeat('x', 300) FROM generate_series(1, 5000) n;
        CREATE TABLE parent (a integer) PARTITION BY RANGE (a); CREATE TABLE one PARTITION OF parent FOR VALUES FROM (0) TO (10);
        INSERT INTO parent VALUES (1), (2); CREATE TABLE child () INHERITS (big); INSERT INTO child VALUES (1, 'c')""",
    )
    whole = await of(postgres_server, database)
    counted: list[int] = []
    async with snapshot(postgres_server, database) as first, snapshot(postgres_server, database) as other:
        name = await first.fetchval("SELECT pg_export_snapshot()")
        await other.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
        postgres_server.sql("UPDATE big SET v = 'other' WHERE id < 1000; DELETE FROM big WHERE id > 4000", database)
        parts = await taken(first, database, Kind.LOGICAL, beside=[other], told=counted.append)
    assert (len(counted) > 20, sum(counted)) == (True, 5003)
    assert (parts, parts.rows) == (whole, 5003)


@pytest.mark.asyncio
async def test_rows_that_the_login_may_not_see_are_an_error(any_server: PostgresServer, made_in: Callable[..., str]):
    database = made_in(any_server, "CREATE TABLE o (v integer); INSERT INTO o VALUES (1); CREATE SEQUENCE s")
    role = f"reader_{database}"
    any_server.sql(f"CREATE ROLE {role} LOGIN", database)
    try:
        with pytest.raises(Unavailable, match="every row of 1 of 1 tables"):
            await of(any_server, database, role=role)
        any_server.sql(f"GRANT SELECT ON o TO {role}", database)
        with pytest.raises(Unavailable, match="every sequence"):
            await of(any_server, database, role=role)
        any_server.sql(f"GRANT SELECT ON s TO {role}", database)
        assert (await of(any_server, database, role=role)).rows == 1
        any_server.sql(f"ALTER TABLE o ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON o TO {role} USING (true)", database)
        with pytest.raises(Unavailable, match="every row of 1 of 1 tables"):
            await of(any_server, database, role=role)
    finally:
        any_server.sql(f"DROP OWNED BY {role}; DROP ROLE {role}", database)


@pytest.mark.asyncio
async def test_a_table_that_is_emptied_under_the_snapshot_is_an_error(postgres_server: PostgresServer, made_in: Callable[..., str]):
    """Emptied rows are gone for every snapshot, so that the print would say what the copy does not hold."""
    database = made_in(postgres_server, "CREATE TABLE o (v integer); INSERT INTO o VALUES (1)")
    async with snapshot(postgres_server, database) as connection:
        await connection.fetchval("SELECT 1")
        postgres_server.sql("TRUNCATE o", database)
        with pytest.raises(Unavailable, match="emptied, rebuilt or replaced"):
            await taken(connection, database, Kind.LOGICAL)


@pytest.mark.asyncio
async def test_no_code_of_an_owner_runs_with_the_rights_of_the_backup(postgres_server: PostgresServer, made_in: Callable[..., str]):
    """Casts, operators and views of people must not be run by a login that may read everything."""
    database = made_in(
        postgres_server,
        """CREATE TABLE o (o integer, t text); INSERT INTO o VALUES (1, 'x'); CREATE TABLE told (v text);
        CREATE FUNCTION evil(o) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;
        CREATE CAST (o AS text) WITH FUNCTION evil(o) AS IMPLICIT;
        CREATE FUNCTION public.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql
        AS $$BEGIN RAISE EXCEPTION 'ran'; END$$""",
    )
    postgres_server.sql(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    assert [(table.table, table.rows) for table in (await of(postgres_server, database)).tables] == [("o", 1), ("told", 0)]


@pytest.mark.asyncio
async def test_a_lock_that_is_not_to_be_had_is_told(
    postgres_server: PostgresServer, made_in: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(__import__("ostiary_tools.backup.reading", fromlist=["PINS"]).PINS, "lock_timeout", "50ms")
    database = made_in(postgres_server, "CREATE TABLE o (v integer)")
    holder = await asyncpg.connect(postgres_server.dsn(database=database))
    async with holder.transaction():
        await holder.execute("LOCK TABLE o")
        with pytest.raises(LockedOut):
            await of(postgres_server, database)
    await holder.close()


@pytest.mark.asyncio
async def test_sequences_that_went_on_during_a_backup_are_a_span(postgres_server: PostgresServer, made_in: Callable[..., str]):
    database = made_in(
        postgres_server,
        """CREATE SEQUENCE up; CREATE SEQUENCE down INCREMENT -5; CREATE SEQUENCE still START 7;
        SELECT nextval('down'); SELECT nextval('still')""",
    )
    async with snapshot(postgres_server, database) as connection:
        first = await positions(connection, Kind.LOGICAL)
        postgres_server.sql("SELECT nextval('up'); SELECT nextval('up'); SELECT nextval('down')", database)
        later = await positions(connection, Kind.LOGICAL)
    names = [f'"public"."{name}"' for name in ("down", "still", "up")]
    assert dict(first) == dict(zip(names, ("-1", "7", "0"), strict=True))
    assert dict(spanned([first, later])) == dict(zip(names, ("-6..-1", "7", "0..2"), strict=True))
    was = Fingerprint(database, (), spanned([first, later]))
    assert differences(was, Fingerprint(database, (), {names[0]: "-6", names[1]: "8", names[2]: "3"})) == [
        'sequence "public"."still": stands at 8, and stood at 7',
        'sequence "public"."up": stands at 3, and stood at 0..2',
    ]


@pytest.mark.asyncio
async def test_large_objects_are_a_table_of_theirs(any_server: PostgresServer, made_in: Callable[..., str]):
    """Holes that a restore fills with zeros make no difference; a byte and a length do."""
    made = (
        "SELECT lo_from_bytea(1001, '\\x0102'); SELECT lo_create(1002); SELECT lo_put(1002, 5000, '\\x07'); SELECT lo_create(1003)"
    )
    before = await of(any_server, first := made_in(any_server, made))
    assert [(table.schema, table.table, table.rows) for table in before.tables] == [("pg_catalog", "pg_largeobject", 3)]
    filled = made.replace(
        "SELECT lo_put(1002, 5000", "SELECT lo_put(1002, 0, decode(repeat('00', 4999), 'hex')); SELECT lo_put(1002, 5000"
    )
    assert differences(before, await of(any_server, made_in(any_server, filled))) == []
    words = ['table "pg_catalog"."pg_largeobject": as many rows as before (3), and not the same']
    any_server.sql("SELECT lo_put(1002, 5001, '\\x00')", first)
    longer = await of(any_server, first)
    assert differences(before, longer) == words
    any_server.sql("SELECT lo_put(1002, 4999, '\\x01')", first)
    assert differences(longer, await of(any_server, first)) == words


@pytest.mark.asyncio
async def test_a_full_backup_has_no_rows_of_unlogged_tables_and_a_dump_has(
    postgres_server: PostgresServer, made_in: Callable[..., str]
):
    database = made_in(postgres_server, "CREATE UNLOGGED TABLE u (v integer); CREATE TABLE o (v integer)")
    assert [table.table for table in (await of(postgres_server, database, Kind.FULL)).tables] == ["o"]
    assert [table.table for table in (await of(postgres_server, database)).tables] == ["o", "u"]
