"""A throw-away PostgreSQL in which what was judged is run: it may leave no trace, and must answer as the statement itself.

Two callers are judged: one from whom nothing is hidden, whose statements are compared with
the bare text on the same data; and the agent of the cases, compared with the bare text on a
copy that lacks what is hidden from him. So whatever he could learn of it would show.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import asyncpg
from fix_fingerprint import OF_A_START
from fix_postgres import PostgresServer, new_server, short_directory
from fix_sql import CASES, sees_everything, view_of
from fuzz.properties import Broken
from pglast.parser import ParseError, scan

from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.postgres import PostgresDatasource, PostgresSettings, open_postgres
from ostiary_tools.errors import DatabaseError, TimedOut, ToolError, Unavailable
from ostiary_tools.powers import Power
from ostiary_tools.result import Rows
from ostiary_tools.sql.inventory import REFUSED_FUNCTIONS
from ostiary_tools.sql.judge import Judged, bind
from ostiary_tools.view import SchemaView

GENERATED = CASES.parent / "generated" / "schema.sql"
_SHARED_TYPES = re.compile(r"^CREATE (TYPE|DOMAIN) .*\n", re.MULTILINE)
_WITHOUT_HIDDEN = """
ALTER TABLE employees DROP COLUMN salary, DROP COLUMN notes;
ALTER TABLE customers DROP COLUMN password_hash;
DROP FUNCTION steal();
DROP TABLE secrets;
"""
_MOST_ROWS = 5_000
_SECONDS = 2
LIMITS = ReadLimits(timeout_s=_SECONDS, max_rows=_MOST_ROWS, max_chars=50_000_000)
_SESSION = {
    "search_path": "pg_catalog, public",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "statement_timeout": f"{_SECONDS}s",
    "lock_timeout": "2s",
    "client_min_messages": "error",
    "default_transaction_read_only": "on",
}
Bare = tuple[list[str], list[tuple[str | None, ...]]] | str
"""Names and rows, or the SQLSTATE of the failure."""
_INCOMPARABLE = re.compile(
    r"random|now|clock|timeofday|current|local|uuid|user|today|tomorrow|yesterday|tablesample|_shuffle|_sample|timezone|to_timestamp|timestamptz|age\W|ctid|explain|pg_typeof|reg(class|type|proc|namespace)",
    re.IGNORECASE,
)
"""Answers that differ by call, by copy, by login, with the order of rows in a file, or on purpose."""
_PLACE_IN_CATALOG = re.compile(r"(?s)(?=.*\bctid\b)(?=.*(\bpg_|information_schema))", re.IGNORECASE)
"""Offered catalogs have no places of rows, so these columns are refused as unknown: a stated limit."""
_WORD = re.compile(r"\w+")
_GRANTS = 'GRANT USAGE ON SCHEMA public, crm, "Odd Schema" TO fuzz_reader; ' + " ".join(
    f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO fuzz_reader;" for schema in ("public", "crm", '"Odd Schema"')
)
"""The bare text runs as one who may only read: it may be hostile."""
_TRACES = f"""
SELECT concat_ws(' ', pg_current_wal_insert_lsn(), pg_snapshot_xmax(pg_current_snapshot()), pg_conf_load_time(),
  (SELECT count(*) FROM pg_locks WHERE (locktype = 'advisory' OR mode NOT IN ('AccessShareLock', 'ExclusiveLock'))
    AND NOT ({OF_A_START})),
  (SELECT count(*) FROM pg_prepared_xacts), (SELECT count(*) FROM pg_replication_slots), pg_notification_queue_usage(),
  (SELECT md5(string_agg(concat(pid), ',' ORDER BY pid)) FROM pg_stat_activity WHERE application_name = 'bystander'),
  (SELECT md5(string_agg(concat(datname, stats_reset), ',' ORDER BY datname)) FROM pg_stat_database),
  (SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings))
"""


@dataclass
class Live:
    """A running throw-away server, and what was seen so far."""

    server: PostgresServer
    datasource: PostgresDatasource
    whole: asyncpg.Connection
    """Bare, with everything in it."""
    without: asyncpg.Connection
    """Bare, in the copy that lacks what is hidden."""
    bystander: asyncpg.Connection
    everything: SchemaView
    agent: SchemaView
    traces: str = ""
    seen: Counter[str] = field(default_factory=Counter)

    async def check(self, text: str, judged: Judged, view: SchemaView) -> None:
        """Run the judged statement and the text itself. Raises Broken."""
        ours = await self._ours(judged)
        await self._no_trace(text)
        if judged.parameter_count or judged.catalogs or _INCOMPARABLE.search(text):
            self.seen["run"] += 1
            return
        bare = await _bare(self.whole if view is self.everything else self.without, text)
        self.seen["answered" if isinstance(ours, Rows) else "failed alike"] += 1
        _compare(ours, bare)

    async def refused(self, text: str, view: SchemaView) -> bool:
        """Whether the server itself would have answered a text that was refused, if it names nothing that does harm."""
        if _PLACE_IN_CATALOG.match(text) or any(word.lower() in REFUSED_FUNCTIONS for word in _WORD.findall(text)):
            return False
        return not isinstance(await _bare(self.whole if view is self.everything else self.without, text), str)

    async def _ours(self, judged: Judged) -> Rows | ToolError:
        values = tuple("1" for _ in range(judged.parameter_count))
        try:
            async with self.datasource.read(LIMITS) as reader:
                return await reader.rows(bind(judged, values))
        except (DatabaseError, TimedOut) as error:
            return error
        except Unavailable as error:
            raise Broken("unavailable", str(error)) from None

    async def _no_trace(self, text: str) -> None:
        traces = str(await self.bystander.fetchval(_TRACES))
        before, self.traces = self.traces or traces, traces
        if before != traces:
            raise Broken("trace", f"{before} became {traces} by {text}")

    def files(self) -> frozenset[str]:
        """Names of all that lies beside the data."""
        return frozenset(str(path) for path in (*self.server.data.glob("*"), *self.server.root.glob("*")))


def _compare(ours: Rows | ToolError, bare: Bare) -> None:
    if isinstance(ours, ToolError):
        if not isinstance(bare, str) and not isinstance(ours, TimedOut):
            raise Broken("fails", f"only the judged statement fails: {ours}")
        return
    if isinstance(bare, str):
        # Which of several failing rows comes first, and whether a row is computed that no one asks for, is the planner's.
        if not bare.startswith(("22", "57", "53", "54")):
            raise Broken("answers", f"the bare statement fails with {bare}")
        return
    names, rows = bare
    if [head.name for head in ours.columns] != names:
        raise Broken("columns", f"{[head.name for head in ours.columns]} and not {names}")
    # Of more rows than are fetched, which come first is the planner's.
    if len(rows) <= _MOST_ROWS and Counter(ours.rows) != Counter(rows):
        raise Broken("rows", f"{ours.rows[:3]} and not {rows[:3]}")


async def _bare(connection: asyncpg.Connection, text: str) -> Bare:
    """The text in the wrapper that the datasource puts around it, so that the plans are alike; or its SQLSTATE."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return "cannot be sent"
    wrapped = f"SELECT * FROM (SELECT * FROM (\n{_without_end(text)}\n) AS j OFFSET 0) AS q LIMIT {_MOST_ROWS + 1}"
    try:
        prepared = await connection.prepare(wrapped, name="")
        names = [attribute.name for attribute in prepared.get_attributes()]
        return names, [tuple(record) for record in await prepared.fetch()]
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    except (asyncpg.UnsupportedClientFeatureError, asyncpg.InternalClientError) as error:
        return type(error).__name__


def _without_end(text: str) -> str:
    """The text without the semicolons around it."""
    try:
        tokens = [token for token in scan(text) if not token.name.endswith("COMMENT")]
    except ParseError:
        return text
    while tokens and tokens[-1].name == "ASCII_59":
        text = text[: tokens.pop().start]
    while tokens and tokens[0].name == "ASCII_59":
        text = " " * (tokens[0].end + 1) + text[tokens.pop(0).end + 1 :]
    return text


async def _connected(dsn: str) -> asyncpg.Connection:
    """A bare connection that takes every value as the text the server prints."""
    connection = await asyncpg.connect(dsn, server_settings=_SESSION, statement_cache_size=0)
    types = await connection.fetch("SELECT oid::int8 AS oid, typname::text AS name FROM pg_type")
    settings = connection._protocol.get_settings()  # set_type_codec refuses composite and pseudo-types
    for row in types:
        settings.add_python_codec(row["oid"], row["name"], "pg_catalog", [], "scalar", str, str, "text")
    return connection


@contextmanager
def throw_away_server() -> Iterator[PostgresServer]:
    """A server in which nothing writes by itself."""
    import shutil

    root = short_directory()
    quiet = {
        "fsync": "off",
        "autovacuum": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "checkpoint_timeout": "1d",
        "max_wal_size": "4GB",
    }
    server = new_server(root, quiet)
    # With checksums the first reader of a row writes to the log. Without them this program fails, which is as good.
    server.run("pg_checksums", "--disable", "-D", str(server.data), check=False)
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


@asynccontextmanager
async def opened(server: PostgresServer) -> AsyncIterator[Live]:
    """Two copies of the data, one of them without what is hidden."""
    server.sql("CREATE ROLE fuzz_reader LOGIN")
    for name in ("fuzz_whole", "fuzz_without"):
        server.sql(f"CREATE DATABASE {name}")
        server.sql((CASES / "shop.sql").read_text("utf-8"), name)
        server.sql(_SHARED_TYPES.sub("", GENERATED.read_text("utf-8")), name)
    server.sql(_WITHOUT_HIDDEN, "fuzz_without")
    for name in ("fuzz_whole", "fuzz_without"):
        # It stands before the built-in one by its argument's type; the judge names the built-in.
        server.sql("DROP FUNCTION lower(varchar)", name)
        server.sql(_GRANTS, name)
        server.sql("ANALYZE", name)
        # What a reader finds dead on a page it removes, and that is written to the log.
        server.sql("VACUUM (FREEZE); VACUUM (FREEZE)", name)
    server.sql("CHECKPOINT")
    # As a superuser, so that nothing but the judge stands before the server.
    settings = PostgresSettings("shop", server.dsn(database="fuzz_whole"), pool_max=1, accepted_powers=frozenset({Power.SUPERUSER}))
    datasource = await open_postgres(settings)
    bare = [await _connected(server.dsn("fuzz_reader", name)) for name in ("fuzz_whole", "fuzz_without")]
    bystander = await asyncpg.connect(server.dsn(database="fuzz_whole"), server_settings={"application_name": "bystander"})
    try:
        snapshot = await datasource.refresh()
        yield Live(server, datasource, bare[0], bare[1], bystander, sees_everything(snapshot), view_of(snapshot))
    finally:
        for connection in (*bare, bystander):
            connection.terminate()
        await datasource.close()


def corpus() -> list[str]:
    """Every statement of the cases, honest and hostile."""
    import tomllib

    from fix_sql import cases

    texts = [case.sql for folder in ("honest", "refuse") for case in cases(folder)]
    for path in sorted((CASES.parent / "attacks").glob("*.toml")):
        found = (case.get("sql") for case in tomllib.loads(path.read_text("utf-8"))["case"])
        texts.extend(text for text in found if isinstance(text, str) and len(text) < 5_000)
    return texts
