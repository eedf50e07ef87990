"""Whether a cluster can be backed up whole, and by this login; every refusal says what to change."""

from dataclasses import dataclass

import asyncpg

from ostiary_tools.backup.engines.archiving import FAILS, failing
from ostiary_tools.backup.programs import OLDEST
from ostiary_tools.backup.reading import in_words
from ostiary_tools.backup.session import Facts, facts
from ostiary_tools.errors import Refused, Unavailable

_SENDERS = 2
"""One sends the files, one the log."""
_ASKED = f"""
SELECT pg_catalog.pg_is_in_recovery() AS standby, pg_catalog.current_setting('wal_level') AS wal_level,
    pg_catalog.current_setting('max_wal_senders')::pg_catalog.int4 AS senders,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication) AS used,
    pg_catalog.current_setting('archive_mode') OPERATOR(pg_catalog.<>) 'off' AS archives,
    pg_catalog.current_setting('archive_command') IN ('', '(disabled)')
        AND coalesce(pg_catalog.current_setting('archive_library', true), '') = '' AS archives_nowhere,
    {FAILS} AS archiving_fails,
    (SELECT r.rolsuper OR r.rolreplication FROM pg_catalog.pg_roles r
        WHERE r.rolname OPERATOR(pg_catalog.=) current_user) AS replicates,
    (SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) 10) AS superuser,
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_tablespace t WHERE t.spcname NOT IN ('pg_default', 'pg_global')) AS tablespaces,
    (SELECT pg_catalog.sum(pg_catalog.pg_database_size(d.oid))::pg_catalog.int8 FROM pg_catalog.pg_database d
        WHERE pg_catalog.has_database_privilege(d.oid, 'CONNECT')) AS bytes,
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size')) AS segment_bytes,
    pg_catalog.current_setting('wal_block_size')::pg_catalog.int4 AS page_bytes,
    (SELECT c.system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system() c) AS system_identifier,
    CASE WHEN NOT pg_catalog.pg_is_in_recovery()
        THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) END AS segment
"""  # noqa: S608  the constant


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is known of a server that can be backed up whole."""

    session: Facts
    superuser: str
    """The role that it was made with."""
    bytes: int
    """About what there is to send."""
    segment_bytes: int
    page_bytes: int
    """Of its write-ahead log."""
    system_identifier: str
    segment: str
    """Of its log, that is written now."""
    archives: bool
    """Whether its log is archived, too."""

    @property
    def timeline(self) -> int:
        """On which it is."""
        return int(self.segment[:8], 16)


async def looked_at(connection: asyncpg.Connection) -> Cluster:
    """Raises Unavailable and Refused in words."""
    session = await facts(connection)
    if session.major < OLDEST:
        raise Unavailable(f"servers older than PostgreSQL {OLDEST} are not backed up", "upgrade the server")
    with in_words():
        row = await connection.fetchrow(_ASKED)
    _refuse_what_it_is(row)
    _refuse_what_it_lacks(row)
    known = ("superuser", "bytes", "segment_bytes", "page_bytes", "system_identifier", "segment", "archives")
    return Cluster(session, *(row[name] for name in known))


def _refuse_what_it_is(row: asyncpg.Record) -> None:
    if row["standby"]:
        raise Refused("standby", "a standby is not backed up whole", "let the login for backups lead to its primary")
    if row["tablespaces"]:
        hint = "make logical backups of its databases, or move what is in the tablespaces to `pg_default`"
        raise Refused("tablespaces", "a cluster with tablespaces of its own is not backed up whole", hint)


def _refuse_what_it_lacks(row: asyncpg.Record) -> None:
    if not row["replicates"]:
        raise Unavailable("the login for backups may not replicate", "a superuser says `ALTER ROLE … REPLICATION`")
    if row["wal_level"] == "minimal":
        raise Unavailable("the server writes no log that a copy could follow", "set `wal_level = replica` and restart it")
    if row["senders"] - row["used"] < _SENDERS:
        message = f"{row['used']} of the server's {row['senders']} WAL senders are in use, and a backup takes {_SENDERS}"
        raise Unavailable(message, "raise `max_wal_senders` and restart it, or end what uses them")
    if row["archives"] and (row["archives_nowhere"] or row["archiving_fails"]):
        raise failing()
