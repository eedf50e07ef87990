"""All that a statement could leave behind in a cluster, by name: what every session can see, files, and one session's own state.

Reads only, and writes nothing to the log. Whatever a transaction changes in any database
of the cluster, but for unlogged and temporary tables, moves the position of the log; the
other facets are what the log does not hold, and names for what it does.
"""

import asyncio
import os
import re
from pathlib import Path

import asyncpg

OF_A_START = "locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock'"
"""The lock that every session holds for a moment when it starts, as a condition on `pg_locks`."""
NOT_YET_IN = "backend_type = 'client backend' AND coalesce(state, 'starting') = 'starting'"
"""A session that starts has no name yet, as a condition on `pg_stat_activity`; before PostgreSQL 18 it has no state either."""
_CLUSTER = (
    (15, "wal", "pg_current_wal_insert_lsn()"),
    (15, "transaction numbers", "pg_snapshot_xmax(pg_current_snapshot())"),
    (15, "start", "pg_postmaster_start_time()"),
    (15, "configuration read", "pg_conf_load_time()"),
    (15, "recovery", "pg_is_in_recovery()"),
    (15, "settings", "(SELECT md5(string_agg(name || '=' || coalesce(setting, ''), ',' ORDER BY name)) FROM pg_settings)"),
    (
        15,
        "locks",
        (
            "(SELECT string_agg(concat_ws(' ', locktype, mode, relation, classid, objid), ',' ORDER BY locktype, "
            "mode, relation, classid, objid, l.pid) FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE "
            "locktype <> 'virtualxid' AND NOT (locktype = 'relation' AND mode = 'AccessShareLock') AND "
            f"NOT ({OF_A_START}) AND "
            "a.application_name IS DISTINCT FROM 'judge')"
        ),
    ),
    (15, "prepared transactions", "(SELECT string_agg(x::text, ',' ORDER BY gid) FROM pg_prepared_xacts x)"),
    (
        15,
        "replication slots",
        ("(SELECT string_agg(concat_ws(' ', slot_name, slot_type, plugin), ',' ORDER BY slot_name) FROM pg_replication_slots)"),
    ),
    (15, "replication origins", "(SELECT string_agg(x::text, ',' ORDER BY roident) FROM pg_replication_origin x)"),
    (15, "senders", "(SELECT count(*) FROM pg_stat_replication)"),
    (
        15,
        "other sessions",
        (
            "(SELECT string_agg(concat_ws(' ', pid, backend_type, application_name), ',' ORDER BY pid) FROM "
            "pg_stat_activity WHERE backend_type NOT IN ('parallel worker') AND application_name NOT IN ('judge', "
            f"'ostiary', 'ostiary marks', 'bare') AND NOT ({NOT_YET_IN}))"
        ),
    ),
    (15, "roles", "(SELECT md5(string_agg(x::text, '|' ORDER BY oid)) FROM pg_authid x)"),
    (15, "memberships", "(SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM pg_auth_members x)"),
    (
        15,
        "databases",
        (
            "(SELECT string_agg(x::text, '|' ORDER BY oid) FROM (SELECT oid, datname, datdba, datallowconn, "
            "datconnlimit, datacl FROM pg_database) x)"
        ),
    ),
    (15, "tablespaces", "(SELECT string_agg(x::text, '|' ORDER BY oid) FROM pg_tablespace x)"),
    (15, "settings of roles and databases", "(SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM pg_db_role_setting x)"),
    (15, "shared comments", "(SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM pg_shdescription x)"),
    (15, "statistics of databases", "(SELECT string_agg(datname || stats_reset, ',' ORDER BY datname) FROM pg_stat_database)"),
    (15, "statistics of the writer", "(SELECT stats_reset FROM pg_stat_bgwriter)"),
    (15, "statistics of the archiver", "(SELECT stats_reset FROM pg_stat_archiver)"),
    (15, "statistics of the log", "(SELECT stats_reset FROM pg_stat_wal)"),
    (15, "statistics of caches", "(SELECT string_agg(name || stats_reset, ',' ORDER BY name) FROM pg_stat_slru)"),
    (15, "statistics of slots", "(SELECT string_agg(slot_name || stats_reset, ',') FROM pg_stat_replication_slots)"),
    (15, "statistics of prefetching", "(SELECT stats_reset FROM pg_stat_recovery_prefetch)"),
    (16, "statistics of input and output", "(SELECT max(stats_reset) FROM pg_stat_io)"),
    (17, "statistics of checkpoints", "(SELECT stats_reset FROM pg_stat_checkpointer)"),
)
"""First major version, name, expression."""

_LARGE_OBJECTS = (
    ("large objects", "SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM pg_largeobject x"),
    ("owners of large objects", "SELECT md5(string_agg(x::text, '|' ORDER BY oid)) FROM pg_largeobject_metadata x"),
)
_SEQUENCES = (
    "SELECT 'sequences', string_agg(concat_ws(' ', schemaname, sequencename, last_value), ',' ORDER BY schemaname, sequencename)"
    " FROM pg_sequences"
)
_CATALOGS_BY_VALUE = (
    "pg_description",
    "pg_namespace",
    "pg_extension",
    "pg_trigger",
    "pg_event_trigger",
    "pg_policy",
    "pg_seclabel",
    "pg_default_acl",
    "pg_publication",
    "pg_foreign_server",
    "pg_user_mapping",
)
_CATALOGS_BY_ADDRESS = ("pg_class", "pg_proc", "pg_type", "pg_attribute", "pg_constraint", "pg_index", "pg_rewrite", "pg_operator")

_SESSION = """
SELECT 'setting ' || name, setting FROM pg_settings WHERE name NOT LIKE 'plpgsql.%'  -- there after the first call of one
UNION ALL SELECT 'roles', concat_ws(' ', current_user, session_user)
UNION ALL SELECT 'prepared statements', string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements WHERE from_sql
UNION ALL SELECT 'cursors', string_agg(name, ',' ORDER BY name) FROM pg_cursors WHERE is_holdable
UNION ALL SELECT 'channels', string_agg(c, ',' ORDER BY c) FROM pg_listening_channels() c
UNION ALL SELECT 'advisory locks', count(*)::text FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
UNION ALL SELECT 'temporary objects', string_agg(relname, ',') FROM pg_class WHERE relnamespace = pg_my_temp_schema()
"""

_CHURNED = re.compile(r"pg_internal\.init.*|pgss_query_texts\.stat|pgsql_tmp")
"""Files the server makes and changes while it is only read from."""
_DATA_OF_RELATIONS = frozenset({"base", "global", "pg_tblspc"})
"""Their content reaches the disk when the server pleases, and is told by the log."""
_KEPT_BY_THE_SERVER = _DATA_OF_RELATIONS | {
    "pg_wal",
    "pg_xact",
    "pg_subtrans",
    "pg_multixact",
    "pg_stat",
    "pg_stat_tmp",
    "pg_notify",
}


async def of_cluster(connection: asyncpg.Connection) -> dict[str, str]:
    """What belongs to no database."""
    major = connection.get_server_version().major
    parts = [f"SELECT '{name}', ({value})::text" for first, name, value in _CLUSTER if first <= major]
    return {row[0]: str(row[1]) for row in await connection.fetch(" UNION ALL ".join(parts))}


async def of_database(connection: asyncpg.Connection) -> dict[str, str]:
    """What of the connection's database cannot change unless the log grows: tables and catalogs, by rows or by their addresses.

    Raises LockNotAvailableError when a table is closed to readers.
    """
    whole = [*await _tables(connection, "p"), *_CATALOGS_BY_VALUE]
    parts = [f"SELECT '{name}', ({question})::text" for name, question in _LARGE_OBJECTS]
    parts += [_by_value(table) for table in whole]
    parts += [
        f"SELECT '{t}', md5(string_agg(x.ctid::text || x.xmin::text, '|' ORDER BY x.ctid)) FROM {t} x" for t in _CATALOGS_BY_ADDRESS
    ]
    return {row[0]: str(row[1]) for row in await connection.fetch(" UNION ALL ".join(parts))}


async def of_unlogged(connection: asyncpg.Connection) -> dict[str, str]:
    """What of the connection's database changes without a trace in the log. Raises as `of_database`."""
    parts = [_SEQUENCES, *(_by_value(table) for table in await _tables(connection, "u"))]
    found = {row[0]: str(row[1]) for row in await connection.fetch(" UNION ALL ".join(parts))}
    return found | await _of_statement_statistics(connection)


async def _tables(connection: asyncpg.Connection, persistence: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence = $1::text::\"char\""
        " AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        persistence,
    )
    return [row[0] for row in rows]


def _by_value(table: str) -> str:
    return f"SELECT $${table}$$, md5(string_agg(x::text, '|' ORDER BY x::text)) FROM {table} x"


async def of_session(connection: asyncpg.Connection) -> dict[str, str]:
    """What this session holds and would hand to the next user of it."""
    state = {"transaction": str(connection.is_in_transaction())}
    try:
        return state | {row[0]: str(row[1]) for row in await connection.fetch(_SESSION)}
    except asyncpg.InFailedSQLTransactionError:
        return {"transaction": "failed"}


async def only_notes(connection: asyncpg.Connection, start: str, end: str) -> bool:
    """Whether nothing but the running transactions, which the server notes now and then, was written to the log between."""
    if not start:
        return False
    for _ in range(100):  # what is not on the disk yet cannot be read; a note is there soon
        if await connection.fetchval("SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", end):
            records = "SELECT count(*) FROM pg_get_wal_records_info($1::text::pg_lsn, $2::text::pg_lsn)"
            try:
                return bool(await connection.fetchval(f"{records} WHERE record_type <> 'RUNNING_XACTS'", start, end) == 0)
            except asyncpg.UndefinedFileError:  # a checkpoint has removed it
                return False
        await asyncio.sleep(0.01)
    return False


def of_files(data: Path) -> dict[str, str]:
    """Names of all files in the data directory; of those the server does not change by itself, size and time too."""
    found: dict[str, str] = {}
    for folder, _, files in os.walk(data):
        inside = Path(folder).relative_to(data)
        names = sorted(name for name in files if not _CHURNED.fullmatch(name))
        if inside.parts and inside.parts[0] in _KEPT_BY_THE_SERVER:
            if inside.name != "pgsql_tmp" and (names or inside.parts[0] not in _DATA_OF_RELATIONS):
                found[f"names in {inside}"] = ",".join(names)
        else:
            found[f"names in {inside}"] = ",".join(names)
            for name in names:
                state = (data / inside / name).stat()
                found[f"file {inside / name}"] = f"{state.st_size} {state.st_mtime_ns}"
    return found


async def _of_statement_statistics(connection: asyncpg.Connection) -> dict[str, str]:
    if await connection.fetchval("SELECT to_regclass('public.pg_stat_statements_info')") is None:
        return {}
    row = await connection.fetchrow(
        "SELECT (SELECT stats_reset FROM pg_stat_statements_info), (SELECT count(*) FROM pg_stat_statements"
        " WHERE query LIKE 'SELECT%/* kept in the statistics */')"
    )
    return {"statistics of statements": str(tuple(row))}
