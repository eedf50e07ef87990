"""One suite that every `Datasource` keeps, run against every server found on this machine."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_waiting import until

from ostiary_policies.model import Statement
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.postgres import PostgresDatasource, PostgresSettings, open_postgres
from ostiary_tools.datasources.statement import PostgresReader
from ostiary_tools.errors import DatabaseError, Refused, TimedOut, ToolError, Unavailable
from ostiary_tools.paging import following, page
from ostiary_tools.position import Position
from ostiary_tools.powers import Power
from ostiary_tools.result import Rows
from ostiary_tools.snapshot import Cast, ForeignKey, Mark, RelationKind
from ostiary_tools.sql import bind, judge
from ostiary_tools.view import SchemaView

LIMITS = ReadLimits(timeout_s=10, max_rows=100, max_chars=16_000)
SUPERUSER = frozenset({Power.SUPERUSER})
CANARY = "Ada-Canary-7"


@asynccontextmanager
async def opened(server: PostgresServer, database: str, **settings: Any) -> AsyncIterator[PostgresDatasource]:
    datasource = await open_postgres(PostgresSettings("data", server.dsn(database=database), accepted_powers=SUPERUSER, **settings))
    try:
        yield datasource
    finally:
        await datasource.close()


@asynccontextmanager
async def admin(server: PostgresServer, database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        yield connection
    finally:
        await connection.close()


async def ask(datasource: PostgresDatasource, text: str, *parameters: str | None, limits: ReadLimits = LIMITS) -> Rows:
    async with datasource.read(limits) as reader:
        return await reader.rows(Statement(text, parameters))


async def one(datasource: PostgresDatasource, text: str, *parameters: str | None) -> str | None:
    return (await ask(datasource, text, *parameters)).rows[0][0]


async def end(reader: PostgresReader, ending: str) -> None:
    """Let the call end so, its transaction open and its session full."""
    match ending:
        case "failed":
            with pytest.raises(DatabaseError):
                await reader.rows(Statement("SELECT 1 / (n - n) FROM pg_catalog.generate_series(1, 2) AS n"))
        case "timed out":
            await reader.connection.execute("SET statement_timeout = '50ms'")
            with pytest.raises(DatabaseError, match="cancelled in the database server"):
                await reader.rows(Statement("SELECT pg_sleep(60)"))
        case "cancelled":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.rows(Statement("SELECT pg_sleep(60)"))


BOUND = [
    ("SELECT pg_typeof($1::int), $1 + 1", ("41",), ("integer", "42")),
    ("SELECT $1::numeric * 3", ("0.1",), ("0.3",)),
    ("SELECT $1::numeric", ("12345678901234567890.123456789",), ("12345678901234567890.123456789",)),
    ("SELECT $1::date + 1", ("2024-02-28",), ("2024-02-29",)),
    ("SELECT $1::timestamp - $2::interval", ("2026-03-01T00:00:00", "1 day"), ("2026-02-28 00:00:00",)),
    ("SELECT $1::uuid", ("6F1C0F7A-0000-4000-8000-000000000001",), ("6f1c0f7a-0000-4000-8000-000000000001",)),
    ("SELECT $1::json ->> 'a', $2::jsonb @> '{\"b\": [1]}'", ('{"a": "x"}', '{"b": [1, 2]}'), ("x", "t")),
    ("SELECT $1::int[] || 3, 'b' = ANY ($2::text[])", ("{1,2}", '{a,"b"}'), ("{1,2,3}", "t")),
    ("SELECT $1::boolean, $2::boolean", ("yes", "f"), ("t", "f")),
    ("SELECT $1::text IS NULL, $2::int IS NULL, $3::text = ''", (None, None, ""), ("t", "t", "t")),
    *(
        ("SELECT $1::text = $2, length($1::text)", (text, text), ("t", str(len(text))))
        for text in (
            "'; DROP TABLE t; --",
            "' OR '1'='1",
            "\\'; DROP TABLE t; --",
            '$1 $$ $a$ " /* --',
            "E'\\x27'",
            "a\u202eb\ufeffc\u0430",
        )
    ),
]
VALUES = [
    ("smallint", "-32768"),
    ("bigint", "9223372036854775807"),
    ("numeric(20,4)", "1234567890123456.7800"),
    ("numeric", "NaN"),
    ("numeric", "0.1000000000000000000000000000000000001"),
    ("real", "3.4028235e+38"),
    ("double precision", "0.1"),
    ("double precision", "-Infinity"),
    ("money", "$1.50"),
    ("text", 'line\nbreak, "quote" and ünïcödé 🦉'),
    ("character varying(9)", "nine char"),
    ("character(5)", "ab   "),
    ('"char"', "x"),
    ("name", "pg"),
    ("bytea", "\\x00ff10"),
    ("boolean", "t"),
    ("date", "infinity"),
    ("date", "0044-03-15 BC"),
    ("time without time zone", "24:00:00"),
    ("time with time zone", "12:00:00+02"),
    ("timestamp without time zone", "2026-01-31 12:00:00.123456"),
    ("timestamp without time zone", "-infinity"),
    ("interval", "1 year 2 mons -3 days +04:05:06.7"),
    ("uuid", "6f1c0f7a-0000-4000-8000-000000000001"),
    ("inet", "10.0.0.1"),
    ("cidr", "10.0.0.0/8"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("json", '{"a":  [1, null]}'),
    ("jsonb", '{"a": [1, null]}'),
    ("jsonpath", '$."a"'),
    ("bit(3)", "101"),
    ("bit varying", "10101"),
    ("point", "(1,2.5)"),
    ("polygon", "((0,0),(1,1))"),
    ("circle", "<(0,0),5>"),
    ("tsvector", "'a':1 'b':2"),
    ("tsquery", "'a' & 'b'"),
    ("pg_lsn", "16/B374D848"),
    ("int4range", "[1,5)"),
    ("tstzrange", "empty"),
    ("int4multirange", "{[1,3),[5,7)}"),
    ("integer[]", "[0:2]={1,NULL,3}"),
    ("text[]", '{"a,b",NULL,"","NULL"}'),
    ("integer[]", "{{1,2},{3,4}}"),
    ("mood", "so so"),
    ("mood[]", '{ok,"so so"}'),
    ("positive", "7"),
    ("pair", '(1,"a ""b""")'),
    ("pair[]", '{"(1,a)","(,)"}'),
    ("mood_range", '[ok,"so so"]'),
    ("oid", "4294967295"),
    ("regclass", "pg_class"),
    ("aclitem", "ostiary_admin=r/ostiary_admin"),
]
TYPES = """
CREATE TYPE mood AS ENUM ('ok', 'so so');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE mood_range AS RANGE (SUBTYPE = mood);
"""


@pytest.mark.asyncio
async def test_every_type_comes_and_goes_as_the_server_prints_it(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await connection.execute(TYPES)
        found = {}
        for kind, text in VALUES:
            rows = await ask(datasource, f"SELECT v FROM (SELECT $1::{kind} AS v) AS one", text)
            found[kind, text] = rows.rows
        assert found == {(kind, text): ((text,),) for kind, text in VALUES}


@pytest.mark.asyncio
async def test_heads_carry_names_and_types_also_when_they_repeat_or_are_none(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        rows = await ask(datasource, "SELECT 1 AS a, 'x'::character(3) AS a, ARRAY[1.5] AS \"two words\"")
        assert [(head.name, head.type) for head in rows.columns] == [
            ("a", "integer"),
            ("a", "character"),
            ("two words", "numeric[]"),
        ]
        assert rows.rows == (("1", "x  ", "{1.5}"),)
        assert await ask(datasource, "SELECT FROM pg_catalog.generate_series(1, 3)") == Rows((), ((), (), ()))


@pytest.mark.asyncio
async def test_null_differs_from_empty_and_from_a_row_of_nulls(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        rows = await ask(datasource, "SELECT NULL, '', ROW(NULL, NULL), '{}'::int[], $1::text, $2::int", None, None)
        assert rows.rows == ((None, "", "(,)", "{}", None, None),)


@pytest.mark.asyncio
async def test_rows_of_tables_with_types_the_driver_cannot_decode_are_printed(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        assert await one(datasource, "SELECT n FROM pg_catalog.pg_namespace n WHERE nspname = 'pg_toast'") == "(99,pg_toast,10,)"
        # What the driver learned must not change how it reads our own answers.
        assert (await datasource.refresh()).relations == {}


@pytest.mark.asyncio
async def test_parameters_keep_the_types_their_places_have(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        assert await one(datasource, "SELECT $1 + 1 /* $2 */ || '$2'", "41") == "42$2"
        assert await one(datasource, "SELECT ($1::char(3) || '|') || $2", "a", "é") == "a|é"
        assert (
            await ask(datasource, "SELECT n FROM pg_catalog.generate_series(1, 5) AS n WHERE n = ANY ($1) ORDER BY n", "{2,4}")
        ).rows == (
            ("2",),
            ("4",),
        )
        with pytest.raises(DatabaseError, match="has 1 parameters and 2 values"):
            await ask(datasource, "SELECT $1::int", "1", "2")


@pytest.mark.asyncio
async def test_values_are_bound_as_their_types_and_never_as_sql(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        answers = [(text, (await ask(datasource, text, *values)).rows[0]) for text, values, _ in BOUND]
        assert answers == [(text, expected) for text, _, expected in BOUND]
        for text, value in (("SELECT $1::int", "1; DROP TABLE t"), ("SELECT $1::date", "tomorrowish"), ("SELECT $1::json", "{")):
            with pytest.raises(DatabaseError) as raised:
                await ask(datasource, text, value)
            assert value not in raised.value.message


@pytest.mark.asyncio
async def test_rows_end_at_the_limit_and_say_so(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        many = await ask(datasource, "SELECT n FROM pg_catalog.generate_series(1, 200000) AS n")
        assert (len(many.rows), many.rows[-1], many.truncated) == (100, ("100",), True)
        exact = await ask(datasource, "SELECT n FROM pg_catalog.generate_series(1, 100) AS n")
        assert (len(exact.rows), exact.truncated) == (100, False)


@pytest.mark.asyncio
async def test_a_huge_value_is_cut_in_the_server(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await connection.execute("CREATE TABLE huge AS SELECT repeat('x', 100000000) AS big, 'small' AS small")
        rows = await ask(datasource, "SELECT big, small FROM huge")
        assert rows.rows == (("x" * 7999 + "…", "small"),)
        assert rows.clipped == 1


@pytest.mark.asyncio
async def test_a_stream_gives_every_row_in_order_and_one_more_than_the_limit(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        for max_rows, expected in ((100_000, 30_000), (30_000, 30_000), (2_000, 2_001)):
            limits = replace(LIMITS, max_rows=max_rows, max_chars=1_000)
            statement = Statement("SELECT n, repeat('x', n % 90) FROM generate_series(1, $1) n", ("30000",))
            async with datasource.read(limits) as reader, aclosing((stream := await reader.stream(statement)).chunks()) as chunks:
                assert [(c.name, c.type) for c in stream.columns] == [("n", "integer"), ("repeat", "text")]
                rows = [row async for chunk in chunks for row in chunk]
            assert rows == [(str(n), "x" * (n % 90)) for n in range(1, expected + 1)]


@pytest.mark.asyncio
async def test_a_stream_computes_no_further_than_it_is_read(server: PostgresServer, database: str) -> None:
    endless = Statement("SELECT 1 / (5000 - n) FROM (SELECT generate_series(1, 1000000000) AS n) AS s")
    async with opened(server, database) as datasource:
        limits = replace(LIMITS, max_rows=1_000_000)
        async with datasource.read(limits) as reader, aclosing((await reader.stream(endless)).chunks()) as chunks:
            assert len(await anext(chunks)) >= 1
        assert await one(datasource, "SELECT 1") == "1"
        async with datasource.read(limits) as reader:
            with pytest.raises(DatabaseError) as caught:
                _ = [chunk async for chunk in (await reader.stream(endless)).chunks()]
            assert caught.value.sqlstate == "22012"


@pytest.mark.asyncio
async def test_a_stream_refuses_a_value_it_would_have_to_cut_and_ends_in_time(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        async with datasource.read(replace(LIMITS, max_chars=1_000)) as reader:
            with pytest.raises(Refused, match="column `long` holds a value longer than 1,000 characters"):
                _ = [chunk async for chunk in (await reader.stream(Statement("SELECT repeat('x', 1001) AS long"))).chunks()]
        async with datasource.read(replace(LIMITS, max_rows=10**9, timeout_s=0.3)) as reader:
            with pytest.raises(TimedOut):
                _ = [chunk async for chunk in (await reader.stream(Statement("SELECT generate_series(1, 1000000000)"))).chunks()]
        assert await one(datasource, "SELECT 1") == "1"


PAGES = (
    "SELECT n, g, t FROM public.paged ORDER BY n",
    "SELECT n, g, t FROM public.paged ORDER BY g DESC NULLS LAST, n",
    "SELECT n, g, t FROM public.paged ORDER BY t, g NULLS FIRST, n DESC",
    "SELECT n, t FROM public.paged WHERE n > $1 ORDER BY t DESC, n DESC",
    "SELECT n FROM public.paged ORDER BY n + 1",
)


@pytest.mark.asyncio
@pytest.mark.parametrize("text", PAGES)
async def test_the_pages_of_a_statement_are_its_rows(server: PostgresServer, database: str, text: str) -> None:
    values = ("7",) if "$1" in text else ()
    async with opened(server, database) as datasource, admin(server, database) as owner:
        await owner.execute(
            "CREATE TABLE paged (n int PRIMARY KEY, g int, t timestamptz NOT NULL); INSERT INTO paged"
            " SELECT n, nullif(n % 5, 2), '2026-01-01'::timestamptz + n % 9 * interval '1 microsecond'"
            " FROM generate_series(1, 250) n"
        )
        whole = (await ask(datasource, text, *values, limits=replace(LIMITS, max_rows=1_000))).rows
        snapshot = await datasource.refresh()
        seen = frozenset(r.column_resource("data", c) for r in snapshot.relations.values() for c in r.columns)
        view = SchemaView(snapshot, seen | {r.resource("data") for r in snapshot.relations.values()}, seen)
        position = Position("data", Statement(text, values))
        got: list[tuple[str | None, ...]] = []
        rows = await ask(datasource, text, *values)
        while True:
            got += rows.rows[:70]
            assert len(got) <= len(whole)
            if len(rows.rows) <= 70 and not rows.truncated:
                break
            position = following(position, rows, 70, view)
            statement = bind(judge(page(position).text, view), page(position).parameters)
            rows = await ask(datasource, statement.text, *statement.parameters)
    assert tuple(got) == whole
    assert bool(position.after) is ("+ 1" not in text)


@pytest.mark.asyncio
async def test_explain_is_answered_as_it_stands(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        rows = await ask(datasource, "EXPLAIN (COSTS OFF) SELECT $1::int", "1")
        assert ([head.name for head in rows.columns], rows.rows) == (["QUERY PLAN"], (("Result",),))


@pytest.mark.asyncio
async def test_a_statement_is_cancelled_in_the_server_at_its_timeout(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        with pytest.raises(TimedOut, match=r"longer than 0\.2 s"):
            await ask(datasource, "SELECT pg_sleep(60)", limits=ReadLimits(0.2, 10, 1000))
        asked = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE query LIKE '%pg_sleep(6' || '0)%'"

        async def gone() -> bool:
            return await one(datasource, asked) == "0"

        await until(gone, seconds=20)  # of the sixty it would take; its session is emptied behind


@pytest.mark.asyncio
async def test_cancelling_the_task_cancels_the_statement_in_the_server(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:

        async def running() -> bool:
            query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(61' || ')%LIMIT%'"
            return bool(await connection.fetchval(query))

        async def idle() -> bool:
            return not await running()

        call = asyncio.create_task(ask(datasource, "SELECT pg_sleep(61)", limits=ReadLimits(90, 10, 1000)))
        await until(running)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(idle)
        assert await one(datasource, "SELECT 1") == "1"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (1) RETURNING a",
        "CREATE TABLE u (a int)",
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone",
        "SELECT write()",
        "SELECT nextval('s')",
        "COMMIT",
        "SELECT 1) AS q; COMMIT; DELETE FROM t; SELECT (1",
        "SELECT 1; DELETE FROM t",
        "COPY t TO STDOUT",
    ],
)
async def test_nothing_is_written(server: PostgresServer, database: str, statement: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await connection.execute("""
            CREATE TABLE t (a int);
            INSERT INTO t VALUES (7);
            CREATE SEQUENCE s;
            CREATE FUNCTION write() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO t VALUES (8) RETURNING a'
        """)
        with pytest.raises(ToolError):
            await ask(datasource, statement)
        assert await connection.fetch("SELECT a FROM t") == [(7,)]
        assert await connection.fetchval("SELECT is_called FROM s") is False
        assert await connection.fetchval("SELECT to_regclass('u')") is None


@pytest.mark.asyncio
@pytest.mark.parametrize("ending", ["answered", "failed", "timed out", "cancelled"])
async def test_no_state_of_a_session_survives_a_call(server: PostgresServer, database: str, ending: str) -> None:
    """What an agent leaves is gone, whatever door it found and however it ended; so the state is made past the reader."""
    left = """
        SET work_mem = '99MB';
        SET search_path = pg_temp;
        SET ROLE other;
        PREPARE left_over AS SELECT 1;
        LISTEN left_over;
        DECLARE left_over CURSOR WITH HOLD FOR SELECT 1;
    """
    looks = {
        "setting": "SELECT current_setting('work_mem') = '99MB'",
        "path": "SELECT current_setting('search_path') LIKE '%pg_temp%'",
        "role": "SELECT current_user = 'other'",
        "temporary table": "SELECT count(*) > 0 FROM pg_class WHERE relname = 'left_over'",
        "prepared statement": "SELECT count(*) > 0 FROM pg_prepared_statements WHERE name = 'left_over'",
        "channel": "SELECT count(*) > 0 FROM pg_listening_channels()",
        "cursor": "SELECT count(*) > 0 FROM pg_cursors WHERE name = 'left_over'",
        "advisory lock": "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    }
    async with admin(server, database) as connection, opened(server, database, pool_max=1) as datasource:
        await connection.execute("DROP ROLE IF EXISTS other; CREATE ROLE other")
        async with datasource.read(LIMITS) as reader:
            session = await reader.connection.fetchval("SELECT pg_backend_pid()")
            await reader.connection.execute("COMMIT")
            await reader.connection.execute("CREATE TEMPORARY TABLE left_over (a int); SELECT pg_advisory_lock(42)")
            await reader.connection.execute(left)
            await end(reader, ending)
        found = {}
        async with datasource.read(LIMITS) as reader:
            assert await reader.connection.fetchval("SELECT pg_backend_pid()") == session
            for what, look in looks.items():
                found[what] = (await reader.rows(Statement(look))).rows[0][0]
        assert found == dict.fromkeys(looks, "f")
        await connection.execute("DROP ROLE other")


@pytest.mark.asyncio
async def test_limits_and_role_stand_inside_the_transaction(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection:
        await connection.execute('DROP ROLE IF EXISTS "odd ""role"; CREATE ROLE "odd ""role"')
        async with opened(
            server, database, set_role='odd "role', search_path=("odd schema", "public"), lock_timeout_s=1.5, idle_timeout_s=7
        ) as datasource:
            names = (
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "search_path",
                "transaction_read_only",
                "role",
            )
            rows = await ask(datasource, "SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
            assert rows.rows == (("10s", "1500ms", "7s", 'pg_catalog, "odd schema", public', "on", 'odd "role'),)
        await connection.execute('DROP ROLE "odd ""role"')


@pytest.mark.asyncio
async def test_a_transaction_that_stands_between_analysis_and_run_is_ended_by_the_server(
    server: PostgresServer, database: str
) -> None:
    """From PostgreSQL 17 on; before it no limit of the server reaches this state, and only our own process ends it."""
    async with admin(server, database) as connection, opened(server, database, idle_timeout_s=0.3) as datasource:
        if (await datasource.snapshot()).server_version < 170_000:
            pytest.skip(
                "before PostgreSQL 17 a server has no transaction_timeout, so there is nothing to test; SECURITY.md says so"
            )

        async def gone() -> bool:
            return not await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)

        async with datasource.read(ReadLimits(0.3, 10, 1000)) as reader:
            pid = reader.connection.get_server_pid()
            prepared = await reader.prepare(Statement("SELECT 1"))
            await until(gone)
            with pytest.raises(Unavailable, match="the connection to the database was lost"):
                await prepared.rows()
        assert await one(datasource, "SELECT 1") == "1"


@pytest.mark.asyncio
@pytest.mark.parametrize("told", [None, {1: "as it was"}])
async def test_a_connection_that_is_lost_while_a_statement_is_analysed_is_told_as_lost(
    server: PostgresServer, database: str, told: dict[int, str] | None
) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource, datasource.read(LIMITS) as reader:
        under = reader.connection._con

        async def watch(_: object) -> dict[int, str] | None:
            await connection.execute("SELECT pg_terminate_backend($1)", under.get_server_pid())
            await until(under.is_closed)
            return told

        relied = {("t", "public", "t"): Mark(1, "as it was")}
        with pytest.raises(Unavailable, match="the connection to the database was lost"):
            await replace(reader, relied=relied, watch=watch).rows(Statement("SELECT 1"))


@pytest.mark.asyncio
async def test_a_full_pool_answers_in_words_and_works_again(server: PostgresServer, database: str) -> None:
    async with opened(server, database, pool_max=1, pool_min=0, acquire_timeout_s=0.3) as datasource:
        await datasource.snapshot()
        async with datasource.read(LIMITS):
            with pytest.raises(Unavailable, match="all 1 connections of datasource `data` are busy"):
                await ask(datasource, "SELECT 1")
            assert datasource.state().healthy
        assert await one(datasource, "SELECT 1") == "1"


@pytest.mark.asyncio
async def test_it_works_again_after_the_server_restarted(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        before = await datasource.snapshot()
        await asyncio.to_thread(server.stop)
        with pytest.raises(Unavailable, match="datasource `data` cannot be reached") as raised:
            await ask(datasource, "SELECT 1")
        assert str(server.root) not in f"{raised.value.message} {raised.value.hint}"
        assert not datasource.state().healthy
        assert await datasource.snapshot() is before
        await asyncio.to_thread(server.start)
        assert await one(datasource, "SELECT 1") == "1"
        assert datasource.state().healthy


@pytest.mark.asyncio
async def test_a_connection_that_died_while_idle_is_replaced_unnoticed(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await datasource.snapshot()
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ostiary'")
        assert await one(datasource, "SELECT 1") == "1"


@pytest.mark.asyncio
async def test_a_database_that_is_down_at_the_start_becomes_healthy_by_itself(tmp_path: Path, server: PostgresServer) -> None:
    name = f"late_{uuid.uuid4().hex[:8]}"
    async with opened(server, name) as datasource:
        with pytest.raises(Unavailable, match="the configured database does not exist"):
            await datasource.snapshot()
        await asyncio.to_thread(server.sql, f"CREATE DATABASE {name}")

        async def healthy() -> bool:
            return datasource.state().healthy

        await until(healthy)
    await asyncio.to_thread(server.sql, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("SELECT name::int FROM person", "22P02"),
        ("SELECT name::date FROM person", "22007"),
        ("SELECT name::json FROM person", "22P02"),
        ("SELECT shout(name) FROM person", "P0001"),
        ("SELECT run(name) FROM person", "42703"),
        ("SELECT 1 FROM person WHERE 'x' ~ ('(' || name)", "2201B"),
        ("SELECT 1 / (length(name) - length(name)) FROM person", "22012"),
    ],
)
async def test_an_error_carries_its_code_and_no_value(server: PostgresServer, database: str, statement: str, sqlstate: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await connection.execute(f"""
            CREATE TABLE person (name text);
            INSERT INTO person VALUES ('{CANARY}');
            CREATE FUNCTION shout(t text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', t USING HINT = t; END $$;
            CREATE FUNCTION run(t text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT ' || quote_ident(t); END $$;
        """)
        with pytest.raises(DatabaseError) as raised:
            await ask(datasource, statement)
        error = raised.value
        assert error.sqlstate == sqlstate
        assert CANARY not in f"{error.message}{error.hint}{error.__cause__}"
        assert error.__cause__ is None


@pytest.mark.asyncio
async def test_an_error_tells_no_schema_that_exists_from_one_that_does_not(server: PostgresServer, database: str) -> None:
    """A text search configuration is looked up by a text, in a schema whose name stands in it."""
    role = f"plain_{database}"
    async with admin(server, database) as connection:
        await connection.execute(f"""
            CREATE ROLE {role} LOGIN; CREATE SCHEMA closed; REVOKE ALL ON SCHEMA closed FROM PUBLIC;
            CREATE TEXT SEARCH CONFIGURATION closed.words (COPY = simple); CREATE SCHEMA open;
            GRANT USAGE ON SCHEMA open TO {role};
        """)
        datasource = await open_postgres(PostgresSettings("data", server.dsn(role, database)))
        told: dict[str, set[tuple[object, ...]]] = {}
        try:
            for name in ("closed.words", "closed.other", "open.words", "nowhere.words", "words"):
                for statement in ("SELECT to_tsvector('@', 'x')", "SELECT CAST('@'::text AS regconfig)"):
                    with pytest.raises(DatabaseError) as raised:
                        await ask(datasource, statement.replace("@", name))
                    told.setdefault(statement, set()).add((raised.value.message, raised.value.hint, raised.value.offset))
        finally:
            await datasource.close()
            await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert [len(answers) for answers in told.values()] == [1, 1]


@pytest.mark.asyncio
async def test_an_error_of_what_lies_behind_a_table_names_nothing_of_it(server: PostgresServer, database: str) -> None:
    role = f"plain_{database}"
    async with admin(server, database) as connection:
        await connection.execute(f"""
            CREATE ROLE {role} LOGIN; CREATE TABLE vault (id int); CREATE TABLE shown (id int);
            GRANT SELECT ON vault, shown TO {role};
            ALTER TABLE vault ENABLE ROW LEVEL SECURITY; ALTER TABLE shown ENABLE ROW LEVEL SECURITY;
            CREATE POLICY one ON shown USING (EXISTS (SELECT FROM vault));
            CREATE POLICY two ON vault USING (EXISTS (SELECT FROM shown));
        """)
        datasource = await open_postgres(PostgresSettings("data", server.dsn(role, database)))
        try:
            with pytest.raises(DatabaseError) as raised:
                await ask(datasource, "SELECT id FROM shown")
        finally:
            await datasource.close()
            await connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
    assert raised.value.sqlstate == "42P17"
    assert "vault" not in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.asyncio
async def test_an_error_of_names_says_which_and_hints_at_no_other(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await connection.execute("CREATE TABLE person (salary int)")
        with pytest.raises(DatabaseError) as raised:
            await ask(datasource, "SELECT salari FROM person")
        assert raised.value.message == 'column "salari" does not exist'
        assert "salary" not in raised.value.hint


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["SELECT 'a\0b'", "SELECT '\ud800'"])
async def test_what_the_protocol_cannot_carry_is_an_error_of_the_statement(
    server: PostgresServer, database: str, text: str
) -> None:
    async with opened(server, database) as datasource:
        with pytest.raises(DatabaseError, match="a character PostgreSQL cannot store"):
            await ask(datasource, text)
        with pytest.raises(DatabaseError, match="a character PostgreSQL cannot store"):
            await ask(datasource, "SELECT $1::text", text)


SHOP = """
    CREATE SCHEMA shop;
    COMMENT ON SCHEMA shop IS 'what is sold';
    CREATE FUNCTION shop.is_ok(t text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE DOMAIN shop.code AS text CHECK (shop.is_ok(VALUE));
    CREATE TYPE shop.mood AS ENUM ('ok', 'bad');
    CREATE TABLE shop.customer (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, gone int,
        note text DEFAULT 'none', code shop.code
    );
    ALTER TABLE shop.customer DROP COLUMN gone;
    COMMENT ON TABLE shop.customer IS 'people who buy @pii';
    COMMENT ON COLUMN shop.customer.email IS 'where they read @pii email';
    COMMENT ON COLUMN shop.customer.note IS '@secret';
    CREATE TABLE shop."Order" (
        id int, place int, customer_id bigint REFERENCES shop.customer, total numeric(12,2),
        twice numeric GENERATED ALWAYS AS (total * 2) STORED,
        PRIMARY KEY (place, id)
    );
    CREATE INDEX by_total ON shop."Order" USING btree (customer_id, total DESC) INCLUDE (place) WHERE id > 0;
    CREATE FUNCTION shop.whole(shop.customer) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
    CREATE INDEX by_row ON shop.customer (shop.whole(customer.*));
    CREATE TABLE shop.part (a int) PARTITION BY LIST (a);
    CREATE TABLE shop.part_1 PARTITION OF shop.part FOR VALUES IN (1);
    CREATE VIEW shop.v AS SELECT id FROM shop.customer;
    CREATE MATERIALIZED VIEW shop.m AS SELECT 1 AS one;
    CREATE FUNCTION shop.f(a int, b text DEFAULT 'x', OUT c int, OUT d text) LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT 1, $2';
    CREATE FUNCTION shop.f(VARIADIC a int[]) RETURNS TABLE (x int, y int) LANGUAGE sql VOLATILE AS 'SELECT 1, 2';
    CREATE FUNCTION shop.eq(int, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE OPERATOR shop.=== (LEFTARG = int, RIGHTARG = text, FUNCTION = shop.eq);
    CREATE FUNCTION shop.cast_mood(shop.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
    CREATE CAST (shop.mood AS boolean) WITH FUNCTION shop.cast_mood(shop.mood);
    INSERT INTO shop.customer (email) SELECT 'u' || n FROM generate_series(1, 30) AS n;
    ANALYZE shop.customer;
"""


@pytest.mark.asyncio
async def test_a_snapshot_tells_what_the_catalog_holds(server: PostgresServer, database: str) -> None:
    async with (
        admin(server, database) as connection,
        opened(server, database, tags={"shop.v": frozenset({"secret"})}) as datasource,
    ):
        await connection.execute(SHOP)
        snapshot = await datasource.refresh()

        assert snapshot.server_version == int(await connection.fetchval("SHOW server_version_num"))
        assert snapshot.schemas["shop"] == "what is sold"
        assert {name[1]: relation.kind for name, relation in snapshot.relations.items()} == {
            "customer": RelationKind.TABLE,
            "Order": RelationKind.TABLE,
            "part": RelationKind.PARTITIONED_TABLE,
            "part_1": RelationKind.TABLE,
            "v": RelationKind.VIEW,
            "m": RelationKind.MATERIALIZED_VIEW,
        }
        customer = snapshot.relations["shop", "customer"]
        assert [(column.name, column.type, column.not_null, column.generated) for column in customer.columns] == [
            ("id", "bigint", True, True),
            ("email", "text", True, False),
            ("note", "text", False, False),
            ("code", "shop.code", False, False),
        ]
        assert (customer.primary_key, customer.unique_keys, customer.estimated_rows) == (("id",), (("email",),), 30)
        assert customer.tags == {"pii"}
        assert [column.tags for column in customer.columns] == [set(), {"pii", "pii:email"}, {"secret"}, set()]
        assert snapshot.relations["shop", "v"].tags == {"secret"}

        order = snapshot.relations["shop", "Order"]
        assert order.primary_key == ("place", "id")
        assert order.foreign_keys == (ForeignKey("Order_customer_id_fkey", ("customer_id",), "shop", "customer", ("id",)),)
        assert [column.default for column in order.columns if column.generated] == ["(total * (2)::numeric)"]
        by_total = next(index for index in order.indexes if index.name == "by_total")
        assert by_total.definition == "btree (customer_id, total DESC) INCLUDE (place) WHERE (id > 0)"
        assert set(by_total.columns) == {"id", "place", "customer_id", "total"}
        by_row = next(index for index in customer.indexes if index.name == "by_row")
        assert set(by_row.columns) == {"id", "email", "note", "code"}
        assert snapshot.relations["shop", "part"].has_children

        variadic, definer = sorted(snapshot.functions["shop", "f"], key=lambda function: function.security_definer)
        assert (variadic.variadic, variadic.output_columns, variadic.volatility) == (True, ("x", "y"), "volatile")
        assert (definer.argument_count, definer.default_count, definer.output_columns) == (2, 1, ("c", "d"))
        assert ("pg_catalog", "lower") in snapshot.functions
        assert snapshot.types["shop", "mood"].labels == ("ok", "bad")
        assert snapshot.types["shop", "mood"].functions == ()
        assert snapshot.casts["pg_catalog", "bool"] == (Cast(("shop", "mood"), ("shop", "cast_mood")),)
        assert snapshot.types["shop", "code"].functions == (("shop", "is_ok"),)
        assert [(operator.schema, operator.function) for operator in snapshot.operators["==="]] == [("shop", "eq")]
        assert "plpgsql" in snapshot.extensions


UNWRITTEN = """
    CREATE FUNCTION spy() RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
    CREATE VIEW v AS SELECT spy() AS a, current_setting('work_mem') AS b;
    CREATE VIEW above AS SELECT 1 AS one FROM v;
    CREATE FUNCTION gap(a text, b text) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT 1.0::float8';
    CREATE TYPE words AS RANGE (SUBTYPE = text, SUBTYPE_DIFF = gap);
    CREATE TYPE made;
    CREATE FUNCTION made_in(cstring) RETURNS made IMMUTABLE STRICT LANGUAGE internal AS 'textin';
    CREATE FUNCTION made_out(made) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'textout';
    CREATE TYPE made (INPUT = made_in, OUTPUT = made_out, LIKE = text);
    CREATE TABLE t (w words, m made, ms made[], plain integer);
    CREATE FUNCTION step(state integer, value integer) RETURNS integer VOLATILE SECURITY DEFINER LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE stepped (integer) (SFUNC = step, STYPE = integer);
    CREATE FUNCTION undo(state integer, value integer) RETURNS integer VOLATILE LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION add(state integer, value integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE moved (integer) (SFUNC = add, STYPE = integer, MSFUNC = add, MINVFUNC = undo, MSTYPE = integer);
    CREATE FUNCTION ended(state internal, fraction double precision, value anyelement) RETURNS anyelement VOLATILE LANGUAGE internal
        AS 'percentile_disc_final';
    CREATE AGGREGATE middle (double precision ORDER BY anyelement)
        (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = ended, FINALFUNC_EXTRA);
    CREATE FUNCTION rolled() RETURNS bigint VOLATILE WINDOW LANGUAGE internal AS 'window_row_number';
    CREATE EXTENSION postgres_fdw;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
    CREATE FOREIGN TABLE far (a integer) SERVER elsewhere;
    CREATE TABLE logs (a integer) PARTITION BY LIST (a);
    CREATE TABLE logs_near PARTITION OF logs FOR VALUES IN (1);
    CREATE FOREIGN TABLE logs_far PARTITION OF logs FOR VALUES IN (2) SERVER elsewhere;
    COMMENT ON TABLE logs_near IS '@secret';
    COMMENT ON COLUMN logs_near.a IS '@pii';
    CREATE EXTENSION pg_trgm;
    CREATE INDEX ON logs_near USING gin ((a::text) gin_trgm_ops);
"""
"""What runs without being written in a statement."""
OVER_BUILT_IN = """
    CREATE FUNCTION number_id(a bigint) RETURNS uuid VOLATILE LANGUAGE sql AS 'SELECT gen_random_uuid()';
    CREATE CAST (bigint AS uuid) WITH FUNCTION number_id(bigint) AS IMPLICIT;
    CREATE FUNCTION xid_order(a xid, b xid) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 1';
    CREATE OPERATOR CLASS xid_ops DEFAULT FOR TYPE xid USING btree AS FUNCTION 1 xid_order(xid, xid);
"""


@pytest.mark.asyncio
async def test_a_snapshot_tells_what_runs_without_being_written(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as datasource:
        await connection.execute(UNWRITTEN)
        found = await datasource.refresh()
        handler = (("public", "postgres_fdw_handler"),)
        assert {name[1]: relation.runs for name, relation in found.relations.items()} == {
            "v": (("pg_catalog", "current_setting"), ("public", "spy")),
            "above": (("pg_catalog", "current_setting"), ("public", "spy")),
            "t": (),
            "far": handler,
            "logs": handler,
            "logs_near": (),
            "logs_far": handler,
        }
        support = (("public", "made_in"), ("public", "made_out"))
        assert [column.runs for column in found.relations["public", "t"].columns] == [(("public", "gap"),), support, support, ()]
        volatile = {
            name[1]: any(f.volatility == "volatile" for f in each) for name, each in found.functions.items() if name[0] == "public"
        }
        assert {name for name in ("stepped", "moved", "middle", "rolled", "add") if not volatile[name]} == {"add"}
        assert found.functions["public", "stepped"][0].security_definer
        assert found.always == ()
        # What a child is said to hold, its parent shows.
        assert found.relations["public", "logs"].tags == {"secret"}
        assert [column.tags for column in found.relations["public", "logs"].columns] == [{"pii"}]

        await connection.execute(OVER_BUILT_IN)
        changed = await datasource.refresh()
        assert changed.always == (("public", "number_id"), ("public", "xid_order"))
        assert changed.version != found.version


@pytest.mark.asyncio
async def test_a_function_has_its_owner_and_the_least_trusted_language_of_what_it_is_made_of(
    server: PostgresServer, database: str
) -> None:
    role = f"app_{database}"
    async with admin(server, database) as connection, opened(server, database) as datasource:
        try:
            await connection.execute(
                f"""
                CREATE ROLE {role};
                CREATE FUNCTION add(a int, b int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT a + b';
                CREATE FUNCTION add(a text, b int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN a; END';
                CREATE FUNCTION abs_of(a int) RETURNS int IMMUTABLE STRICT LANGUAGE internal AS 'int4abs';
                CREATE FUNCTION file(a text, b text) RETURNS text STABLE LANGUAGE internal AS 'textcat';
                CREATE AGGREGATE total (int) (SFUNC = add, STYPE = int);
                CREATE AGGREGATE gathered (int) (SFUNC = array_append, STYPE = int[]);
                CREATE AGGREGATE sneaky (text) (SFUNC = file, STYPE = text);
                ALTER FUNCTION add(int, int) OWNER TO {role};
                ALTER FUNCTION abs_of(int) OWNER TO {role};
                """
            )
            snapshot = await datasource.refresh()
            found = {name: snapshot.function_resource("public", name) for name in ("add", "abs_of", "total", "gathered", "sneaky")}
            assert {name: one.language for name, one in found.items()} == {
                "add": "plpgsql",
                "abs_of": "internal",
                "total": "sql",
                "gathered": "sql",
                "sneaky": "internal",
            }
            assert (found["add"].owner, found["abs_of"].owner, found["total"].owner) == ("", role, "ostiary_admin")
        finally:
            await connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}")


@pytest.mark.asyncio
async def test_a_version_lasts_until_something_nameable_changes(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database) as first, opened(server, database) as second:
        await connection.execute("CREATE TABLE t (a int)")
        before = await first.refresh()
        assert (await second.refresh()).version == before.version
        assert await first.refresh() is before
        await connection.execute("INSERT INTO t SELECT generate_series(1, 10); ANALYZE t")
        counted = await first.refresh()
        assert counted.version == before.version
        assert counted.relations["public", "t"].estimated_rows == 10
        versions = [counted.version]
        for change in (
            "ALTER TABLE t ADD COLUMN b int",
            "ALTER TABLE t RENAME COLUMN b TO c",
            "COMMENT ON COLUMN t.a IS '@pii'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'",
            "ALTER FUNCTION f() VOLATILE",
            "CREATE UNIQUE INDEX u ON t (a)",
            "CREATE VIEW v AS SELECT a FROM t",
            "CREATE OR REPLACE VIEW v AS SELECT a FROM t WHERE f() > 0",
            "CREATE TYPE mood AS ENUM ('ok')",
            "ALTER TYPE mood ADD VALUE 'bad'",
            "DROP TABLE t CASCADE",
        ):
            await connection.execute(change)
            versions.append((await first.refresh()).version)
        assert len(set(versions)) == len(versions)


@pytest.mark.asyncio
async def test_an_old_snapshot_serves_while_a_new_one_is_read_behind(server: PostgresServer, database: str) -> None:
    async with admin(server, database) as connection, opened(server, database, snapshot_ttl_s=0) as datasource:
        old = await datasource.snapshot()
        await connection.execute("CREATE TABLE t (a int)")

        async def renewed() -> bool:
            return ("public", "t") in (await datasource.snapshot()).relations

        assert ("public", "t") not in old.relations
        await until(renewed)


@pytest.mark.asyncio
async def test_many_callers_of_a_cold_datasource_share_one_reading(server: PostgresServer, database: str) -> None:
    async with opened(server, database, pool_max=2) as datasource:
        snapshots = await asyncio.gather(*(datasource.snapshot() for _ in range(20)))
        assert len({id(snapshot) for snapshot in snapshots}) == 1


@pytest.mark.asyncio
async def test_no_credential_stands_in_an_error_or_a_representation(server: PostgresServer) -> None:
    settings = PostgresSettings("data", f"postgresql://agent:{CANARY}@/nowhere?host={server.root}/missing", acquire_timeout_s=1)
    datasource = await open_postgres(settings)
    try:
        with pytest.raises(Unavailable) as raised:
            await datasource.refresh()
        assert CANARY not in f"{raised.value!r}{raised.value.hint}{settings!r}{datasource.state()!r}"
        assert raised.value.message == "datasource `data` cannot be reached: nothing answers at its address"
    finally:
        await datasource.close()


@pytest.mark.asyncio
async def test_the_first_writable_host_of_several_is_used(server: PostgresServer, database: str) -> None:
    dsn = f"postgresql:///{database}?host={server.root}/missing,{server.root}&user=ostiary_admin&target_session_attrs=read-write"
    datasource = await open_postgres(PostgresSettings("data", dsn, accepted_powers=SUPERUSER))
    try:
        assert await one(datasource, "SELECT current_database()") == database
    finally:
        await datasource.close()


@pytest.mark.asyncio
async def test_a_connection_past_its_lifetime_is_closed_when_it_comes_back(server: PostgresServer, database: str) -> None:
    async with opened(server, database, pool_max=1, max_lifetime_s=0.001) as datasource:
        pids = {await one(datasource, "SELECT pg_backend_pid()") for _ in range(3)}
        assert len(pids) == 3


@pytest.mark.asyncio
async def test_closing_twice_closes_once(server: PostgresServer, database: str) -> None:
    async with opened(server, database) as datasource:
        await datasource.snapshot()
        await datasource.close()
        await datasource.close()
        with pytest.raises(Unavailable):
            await ask(datasource, "SELECT 1")
