"""What a fingerprint tells apart, by each of its ways, on real servers."""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest
from fix_postgres import PostgresServer, new_server, short_directory
from fix_recovery import backup

from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.manifest import Fingerprint, Kind, Way
from ostiary_tools.backup.manifest_json import decode, encode

LONG = "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)"
"""It lies in pieces beside its table."""
OTHER = f"overlay({LONG} PLACING '!' FROM 40000)"
NEARLY: Sequence[tuple[str, str, str]] = (
    # What a hash of the type itself takes for one: operators say that they are equal, or its sum leaves a bit out.
    ("numeric", "1.0", "1.00"),
    ("numeric", "5", "-5"),
    ("numeric", "0", "0.000"),
    ("numeric", "NaN", "Infinity"),
    ("float8", "0", "-0"),
    ("float4", "0", "-0"),
    ("float8", "NaN", "Infinity"),
    ("int8", "0", "4294967297"),
    ("int8", "5", "4294967300"),
    ("int8", "-1", "4294967295"),
    ("int4", "1", "-2147483647"),
    ("int2", "1", "-32767"),
    ("oid", "1", "4294967295"),
    ("bool", "f", "t"),
    ('"char"', "a", "b"),
    ("name", "a", "b"),
    ("date", "2026-01-01", "2026-01-02"),
    ("date", "infinity", "-infinity"),
    ("timestamptz", "2000-01-01 00:00+00", "2000-01-01 01:11:34.967297+00"),
    ("timestamp", "2000-01-01", "2000-01-01 01:11:34.967297"),
    ("time", "12:00", "12:00:00.000001"),
    ("timetz", "12:00+00", "13:00+01"),
    ("interval", "1 month", "30 days"),
    ("interval", "1 day", "24 hours"),
    ("money", "1.00", "1.01"),
    ("uuid", "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"),
    ("text", "a", "a "),
    ("text", "a", "A"),
    ("varchar", "", " "),
    ("char(3)", "a", "b"),
    ("text", "\u00e9", "e\u0301"),
    ("bytea", "\\x00", "\\x0000"),
    ("varbit", "1", "10"),
    ("bit(3)", "101", "111"),
    ("inet", "10.0.0.1/8", "10.0.0.1/9"),
    ("cidr", "10.0.0.0/8", "10.0.0.0/9"),
    ("macaddr", "00:00:00:00:00:01", "00:00:00:00:00:02"),
    ("pg_lsn", "0/1", "1/0"),
    ("xid8", "1", "4294967297"),
    ("json", '{"a": 1}', '{"a":  1}'),
    ("json", '{"a": 1, "a": 2}', '{"a": 2}'),
    ("jsonb", '{"a": 1.0}', '{"a": 1.00}'),
    ("jsonb", "[1, null]", "[1]"),
    ("jsonb", '"1"', "1"),
    ("jsonpath", "$.a", "$.b"),
    ("point", "(0,0)", "(-0,0)"),
    ("lseg", "[(0,0),(1,1)]", "[(1,1),(0,0)]"),
    ("path", "[(0,0),(1,1)]", "((0,0),(1,1))"),
    ("polygon", "((0,0),(1,1))", "((1,1),(0,0))"),
    ("box", "(1,1),(0,0)", "(1,1),(-0,0)"),
    ("line", "{1,2,3}", "{2,4,6}"),
    ("circle", "<(0,0),1>", "<(0,0),1.0000000000000002>"),
    ("int4[]", "{1,2}", "[0:1]={1,2}"),
    ("int4[]", "{1,2}", "{{1,2}}"),
    ("int4[]", "{1,NULL}", "{1,0}"),
    ("text[]", "{}", '{""}'),
    ("text[]", '{"a,b"}', "{a,b}"),
    ("numeric[]", "{1.0}", "{1.00}"),
    ("float8[]", "{0}", "{-0}"),
    ("int4range", "[1,3)", "(,3)"),
    ("int4range", "empty", "(,)"),
    ("numrange", "[1.0,2]", "[1.00,2]"),
    ("numrange", "[1,2]", "[1,2)"),
    ("int4multirange", "{[1,3),[5,6)}", "{[1,6)}"),
    ("nummultirange", "{[1.0,2]}", "{[1.00,2]}"),
    ("tsvector", "fat:1", "fat:2"),
    ("tsquery", "a & b", "a | b"),
    ("regclass", "pg_class", "pg_type"),
    ("aclitem", "ostiary_admin=r/ostiary_admin", "ostiary_admin=w/ostiary_admin"),
    ("aclitem[]", "{ostiary_admin=r/ostiary_admin}", "{ostiary_admin=w/ostiary_admin}"),
    ("mood", "well", "ill"),
    ("mood[]", "{well}", "{ill}"),
    ("price", "1.0", "1.00"),
    ("short", "a", "b"),
    ("short[]", "{a}", "{b}"),
    ("pair", "(1.0,a)", "(1.00,a)"),
    ("pair", "(,)", "(,a)"),
    ("pair[]", '{"(1.0,a)"}', '{"(1.00,a)"}'),
    ("secret", "(ostiary_admin=r/ostiary_admin)", "(ostiary_admin=w/ostiary_admin)"),
    ("spans", "[a,b)", "[a,c)"),
    ("citext", "a", "A"),
    ("hstore", "a=>1", "a=>NULL"),
    ("ltree", "a.b", "a.c"),
    ("cube", "(0)", "(-0)"),
    ("seg", "1.0", "1.00"),
    ("isbn", "0-393-04002-X", "0-393-04003-8"),
)
"""Types, and two texts of values each that are nearly the same."""
TOASTED = (
    ("text", LONG, OTHER),
    ("jsonb", f"to_jsonb({LONG})", f"to_jsonb({OTHER})"),
    ("bytea", f"{LONG}::bytea", f"{OTHER}::bytea"),
)
KINDS = """
CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION seg;
CREATE EXTENSION isn;
CREATE TYPE mood AS ENUM ('well', 'ill'); CREATE TYPE pair AS (a numeric, b text); CREATE DOMAIN price AS numeric;
CREATE DOMAIN short AS text CHECK (length(VALUE) < 10); CREATE TYPE secret AS (a aclitem);
CREATE TYPE spans AS RANGE (SUBTYPE = text, COLLATION = "C");
"""


@asynccontextmanager
async def session(server: PostgresServer, database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        yield connection
    finally:
        await connection.close()


async def printed(connection: asyncpg.Connection, way: Way) -> Fingerprint:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await taken(connection, "any", Kind.FULL, way=way)


def unseen(before: Fingerprint, after: Fingerprint, tables: Sequence[str]) -> list[str]:
    """Of tables that were changed those in which nothing is found."""
    found = {difference.name for difference in compared(before, after)}
    return [table for table in tables if f'table "public"."{table}"' not in found]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", Way)
async def test_values_that_are_nearly_the_same_are_told_apart(any_server: PostgresServer, made_in: Callable[..., str], way: Way):
    cases = [*((type_, f"'{one}'::{type_}", f"'{other}'::{type_}") for type_, one, other in NEARLY), *TOASTED]
    names = {f"of_{number}": case for number, case in enumerate(cases)}
    made = "".join(f"CREATE TABLE {name} (v {type_}); INSERT INTO {name} SELECT {one};" for name, (type_, one, _) in names.items())
    database = made_in(any_server, KINDS + made)
    async with session(any_server, database) as connection:
        before = await printed(connection, way)
        any_server.sql("".join(f"UPDATE {name} SET v = {other};" for name, (_, _, other) in names.items()), database)
        after = await printed(connection, way)
        assert [names[name] for name in unseen(before, after, list(names))] == []
        any_server.sql("".join(f"UPDATE {name} SET v = NULL;" for name in names), database)
        nothing = await printed(connection, way)
        assert unseen(before, nothing, list(names)) == unseen(after, nothing, list(names)) == []


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("way", Way)
async def test_what_a_collation_takes_for_one_is_told_apart(server_15: PostgresServer, made_in: Callable[..., str], way: Way):
    """Also texts of XML, which this server was built with."""
    database = made_in(
        server_15,
        """CREATE COLLATION loose (PROVIDER = icu, LOCALE = 'und-u-ks-level1', DETERMINISTIC = false);
        CREATE TABLE o (v text COLLATE loose); CREATE TABLE c (v char(3) COLLATE loose); CREATE TABLE a (v text[] COLLATE loose);
        CREATE TABLE x (v xml); INSERT INTO o VALUES ('a'); INSERT INTO c VALUES ('a'); INSERT INTO a VALUES ('{a}');
        INSERT INTO x VALUES ('<a b="1"/>')""",
    )
    async with session(server_15, database) as connection:
        assert await connection.fetchval("SELECT v = 'A' FROM o"), "to it they are one"
        before = await printed(connection, way)
        server_15.sql(
            """UPDATE o SET v = 'A'; UPDATE c SET v = 'A'; UPDATE a SET v = '{A}'; UPDATE x SET v = '<a b="1" />'""", database
        )
        assert unseen(before, await printed(connection, way), ["a", "c", "o", "x"]) == []


ROWS = {
    "two rows exchange a value": ("(1, 2, 'a', 1.5), (3, 4, 'b', 2.5)", "(3, 2, 'a', 1.5), (1, 4, 'b', 2.5)"),
    "two rows exchange a text": ("(1, 2, 'a', 1.5), (3, 4, 'b', 2.5)", "(1, 2, 'b', 1.5), (3, 4, 'a', 2.5)"),
    "two rows exchange a number": ("(1, 2, 'a', 1.5), (3, 4, 'b', 2.5)", "(1, 2, 'a', 2.5), (3, 4, 'b', 1.5)"),
    "a row exchanges its values": ("(1, 2, 'a', 1.5)", "(2, 1, 'a', 1.5)"),
    "a value moves to where none was": ("(NULL, 5, 'a', 1.5)", "(5, NULL, 'a', 1.5)"),
    "a value becomes none": ("(1, 0, 'a', 1.5)", "(1, NULL, 'a', 1.5)"),
    "a text becomes none": ("(1, 0, '', 1.5)", "(1, 0, NULL, 1.5)"),
    "a number becomes none": ("(1, 0, 'a', 0)", "(1, 0, 'a', NULL)"),
    "all become none": ("(0, 0, '', 0)", "(NULL, NULL, NULL, NULL)"),
    "one row comes twice and another not": ("(1, 2, 'a', 1.5), (3, 4, 'b', 2.5)", "(1, 2, 'a', 1.5), (1, 2, 'a', 1.5)"),
    "two pairs of equal rows": ("(1, 2, 'a', 1), (1, 2, 'a', 1)", "(3, 4, 'b', 1), (3, 4, 'b', 1)"),
    "what one gains another loses": ("(1, 2, 'a', 1), (3, 4, 'a', 1)", "(2, 2, 'a', 1), (2, 4, 'a', 1)"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("way", Way)
async def test_rows_whose_values_went_astray_are_told_apart(any_server: PostgresServer, made_in: Callable[..., str], way: Way):
    """Also where each column holds what it held: a sum over hashes that are themselves sums would see none of these."""
    names = {f"of_{number}": case for number, case in enumerate(ROWS)}
    columns = "(a integer, b integer, c text, d numeric)"
    made = (f"CREATE TABLE {name} {columns}; INSERT INTO {name} VALUES {ROWS[case][0]};" for name, case in names.items())
    database = made_in(any_server, "".join(made))
    async with session(any_server, database) as connection:
        before = await printed(connection, way)
        changed = (f"DELETE FROM {name}; INSERT INTO {name} VALUES {ROWS[case][1]};" for name, case in names.items())
        any_server.sql("".join(changed), database)
        assert [names[name] for name in unseen(before, await printed(connection, way), list(names))] == []


@pytest.mark.asyncio
async def test_columns_that_came_and_went_are_read_as_they_are(any_server: PostgresServer, made_in: Callable[..., str]):
    """Rows that were there before hold neither: what they have of a later column stands in the catalog."""
    made = """CREATE TABLE o (gone text, a integer); INSERT INTO o VALUES ('x', 1); ALTER TABLE o DROP gone;
        ALTER TABLE o ADD late integer DEFAULT 7; ALTER TABLE o ADD doubled integer GENERATED ALWAYS AS (a * 2) STORED;
        INSERT INTO o (a) VALUES (2); CREATE TABLE same (LIKE o INCLUDING ALL); INSERT INTO same (a, late) SELECT a, late FROM o;
        CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES"""
    database = made_in(any_server, made)
    async with session(any_server, database) as connection:
        before = await printed(connection, Way.BINARY)
        assert [(table.table, table.rows) for table in before.tables] == [("nothing", 1), ("o", 2), ("same", 2)]
        assert before.tables[1].sum == before.tables[2].sum != "0"
        any_server.sql("UPDATE o SET late = 8 WHERE a = 1", database)
        assert unseen(before, await printed(connection, Way.BINARY), ["o", "same"]) == ["same"]


@pytest.mark.asyncio
async def test_a_table_of_very_many_columns_has_a_print(any_server: PostgresServer, made_in: Callable[..., str]):
    columns = [f"c{number}" for number in range(1590)]
    made = f"CREATE TABLE wide ({', '.join(f'{name} smallint' for name in columns)}); INSERT INTO wide (c7, c1500) VALUES (1, 2)"
    database = made_in(any_server, made)
    async with session(any_server, database) as connection:
        before = await printed(connection, Way.BINARY)
        for change in ("c7 = 2", "c1500 = 3", "c800 = 0"):
            any_server.sql(f"UPDATE wide SET {change}", database)
            after = await printed(connection, Way.BINARY)
            assert unseen(before, after, ["wide"]) == [], change
            before = after


@pytest.mark.asyncio
async def test_columns_of_every_name_are_read(any_server: PostgresServer, made_in: Callable[..., str]):
    names = ["{}", "{seed}", "{value}", "t", "ROW", "$1", 'a"b', "0) FROM x; --"]
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    columns = ", ".join(f"{name} integer" for name in quoted)
    more = ", ".join(f'"{number}{name[1:]} jsonb' for number, name in enumerate(quoted))
    database = made_in(any_server, f"CREATE TABLE o ({columns}, {more}); INSERT INTO o SELECT")
    async with session(any_server, database) as connection:
        before = await printed(connection, Way.BINARY)
        for name in (*quoted, '"0{}"', '"7' + quoted[7][1:]):
            any_server.sql(f"UPDATE o SET {name} = '1'", database)
            after = await printed(connection, Way.BINARY)
            assert unseen(before, after, ["o"]) == [], name
            before = after


@pytest.mark.asyncio
async def test_a_database_of_another_encoding_has_a_print(postgres_server: PostgresServer, made_in: Callable[..., str]):
    """Values that are sent are converted for whoever reads them, which not all can be."""
    database = f"{made_in(postgres_server)}_bytes"
    postgres_server.sql(f"CREATE DATABASE {database} ENCODING 'SQL_ASCII' TEMPLATE template0")
    try:
        made = "CREATE TABLE o (a text, b varchar[]); INSERT INTO o VALUES (E'\\xe9', ARRAY[E'\\xff'])"
        postgres_server.sql(f"SET client_encoding = 'SQL_ASCII'; {made}", database)
        async with session(postgres_server, database) as connection:
            before = await printed(connection, Way.BINARY)
            postgres_server.sql("SET client_encoding = 'SQL_ASCII'; UPDATE o SET b[1] = E'\\xfe'", database)
            assert unseen(before, await printed(connection, Way.BINARY), ["o"]) == []
    finally:
        postgres_server.drop([database])


EVIL = """
CREATE FUNCTION evil(integer, bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;
CREATE FUNCTION record_send(record) RETURNS bytea LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;
CREATE FUNCTION num_nulls(VARIADIC integer[]) RETURNS integer LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;
CREATE FUNCTION evil(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;
CREATE FUNCTION hashint4extended(integer, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT public.evil($1, $2)';
CREATE OPERATOR # (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil);
CREATE TYPE pair AS (a integer, b text); CREATE DOMAIN few AS integer; CREATE TYPE mood AS ENUM ('well');
CREATE TABLE t (t integer, i bigint, c char(3), n numeric, p pair, f few, m mood, s text, ps pair[], ms mood[]);
INSERT INTO t VALUES (1, 2, 'a', 1.5, (1, 'b'), 2, 'well', 'x', ARRAY[(1, 'b')::pair], '{well}');
"""
CASTS = ("t AS text", "pair AS text", "mood AS text", "pair AS bytea", "mood AS bytea", "t AS bytea")


@pytest.mark.asyncio
@pytest.mark.parametrize("way", Way)
async def test_by_neither_way_code_of_an_owner_runs(any_server: PostgresServer, made_in: Callable[..., str], way: Way):
    """Nor does what only bears the name of something of the system's, or of the table in a statement."""
    casts = "".join(
        f"CREATE FUNCTION to_{target}({source}) RETURNS {target} LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'ran'; END$$;"
        f"CREATE CAST ({source} AS {target}) WITH FUNCTION to_{target}({source}) AS IMPLICIT;"
        for source, _, target in (cast.partition(" AS ") for cast in CASTS)
    )
    database = made_in(any_server, EVIL + casts)
    any_server.sql(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
    async with session(any_server, database) as connection:
        assert [(table.table, table.rows) for table in (await printed(connection, way)).tables] == [("t", 1)]


@pytest.fixture
def small_memory() -> Iterator[PostgresServer]:
    """A server whose memory is smaller than its tables."""
    root = short_directory()
    server = new_server(root, {"fsync": "off", "autovacuum": "off", "shared_buffers": "16MB"})
    try:
        server.start()
        server.sql(
            """CREATE EXTENSION pg_buffercache; CREATE EXTENSION pg_prewarm;
            CREATE TABLE big AS SELECT n, repeat('x', 500) AS v FROM generate_series(1, 60000) n;
            CREATE UNLOGGED TABLE hot AS SELECT n, repeat('x', 1000) AS v FROM generate_series(1, 5000) n"""
        )
        server.sql("VACUUM ANALYZE; CHECKPOINT")
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


IN_MEMORY = "SELECT count(*) FROM pg_buffercache WHERE relfilenode = pg_relation_filenode('hot')"
LAUNCHED = "SELECT parallel_workers_launched FROM pg_stat_database WHERE datname = current_database()"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_server_keeps_its_memory_for_others_and_its_workers_while_others_have_work(small_memory: PostgresServer):
    async with session(small_memory, "postgres") as other:

        async def help_came() -> int:
            before = await other.fetchval(LAUNCHED)
            async with session(small_memory, "postgres") as reading:  # another one would plan as it did before
                async with reading.transaction(isolation="repeatable_read", readonly=True):
                    assert (await taken(reading, "any", Kind.FULL, workers=1)).rows == 60_000
                await reading.execute("SELECT pg_stat_force_next_flush()")
            await other.execute("SELECT pg_stat_clear_snapshot()")
            return int(await other.fetchval(LAUNCHED) - before)

        await other.execute("SELECT pg_prewarm('hot')")
        held = await other.fetchval(IN_MEMORY)
        assert held > 500
        assert await help_came() == 1
        assert await other.fetchval(IN_MEMORY) >= held * 0.9
        async with other.transaction():
            await other.execute("CREATE TABLE mine ()")
            assert await help_came() == 0
        assert await help_came() == 1


def test_a_manifest_that_says_no_way_is_of_rows_as_text():
    """It was written when there was but one."""
    made = backup(1, Kind.FULL)
    assert made.fingerprint is not None
    text = encode(replace(made, fingerprint=replace(made.fingerprint, way=Way.BINARY)))
    older = json.loads(text)
    assert older["fingerprint"].pop("way") == "binary"
    read = [decode(data).fingerprint for data in (text, json.dumps(older).encode())]
    assert [one.way for one in read if one] == [Way.BINARY, Way.TEXT]


def test_prints_of_two_ways_are_not_compared():
    one, other = (Fingerprint("any", (), way=way) for way in Way)
    with pytest.raises(ValueError, match="two ways"):
        compared(one, other)
