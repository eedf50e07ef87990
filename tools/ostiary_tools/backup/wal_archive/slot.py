"""The replication slot for which a server keeps its log until it is kept here.

Nobody streams by it. It stands where the first segment begins that is not durable in the repository, and is moved on by a statement
once that segment is: so whatever lies in a spool may be lost. What it may hold back the server bounds by `max_slot_wal_keep_size`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import asyncpg

from ostiary_tools.backup import wal
from ostiary_tools.backup.reading import in_words
from ostiary_tools.backup.session import Facts, facts
from ostiary_tools.errors import Refused, Unavailable

_OLDEST = 14
_ASKED = """
SELECT pg_is_in_recovery() AS standby, current_setting('wal_level') AS wal_level,
    (SELECT r.rolsuper OR r.rolreplication FROM pg_roles r WHERE r.rolname = current_user) AS replicates,
    pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes, current_setting('wal_block_size')::int4 AS page_bytes,
    (SELECT c.system_identifier::text FROM pg_control_system() c) AS system_identifier
"""
UNBOUNDED = "the server would keep its log for us without a bound, also when nobody takes it, and fill its disk"
_SENDERS = 3
_SETTINGS = """
SELECT (SELECT setting::int8 FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS most,
    (SELECT setting::int8 FROM pg_settings WHERE name = 'max_wal_senders') AS senders,
    (SELECT setting::int8 FROM pg_settings WHERE name = 'max_replication_slots') AS slots,
    (SELECT setting FROM pg_settings WHERE name = 'idle_replication_slot_timeout') AS idle
"""
_TIMELINE = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"
_SLOT = "SELECT slot_type, restart_lsn::text, wal_status FROM pg_replication_slots WHERE slot_name = $1"
_MAKE = "SELECT pg_create_physical_replication_slot($1, true)"
_DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active"
_ADVANCE = """
SELECT pg_replication_slot_advance(slot_name, $2::text::pg_lsn) FROM pg_replication_slots
WHERE slot_name = $1 AND restart_lsn < $2::text::pg_lsn AND NOT active
"""
_LOOK = """
SELECT clock_timestamp() AS at, pg_current_wal_insert_lsn()::text AS inserted,
    (SELECT r.write_lsn::text FROM pg_stat_replication r WHERE r.application_name = $2 ORDER BY r.backend_start DESC LIMIT 1)
        AS written,
    s.wal_status, s.restart_lsn::text AS restart, s.safe_wal_size AS safe_bytes,
    (SELECT CASE WHEN g.setting = '-1' THEN NULL ELSE g.setting::int8 * 1024 * 1024 END
        FROM pg_settings g WHERE g.name = 'max_slot_wal_keep_size') AS most_bytes
FROM (VALUES (1)) one LEFT JOIN pg_replication_slots s ON s.slot_name = $1
"""


class Held(StrEnum):
    """How the log stands that a server keeps for a slot."""

    RESERVED = "reserved"
    EXTENDED = "extended"
    """More than the server would keep by itself."""
    UNRESERVED = "unreserved"
    """It goes at the next checkpoint."""
    LOST = "lost"
    """Some of it is gone."""
    MISSING = "missing"
    """There is no such slot."""


@dataclass(frozen=True, slots=True)
class Server:
    """One whose log can be kept."""

    session: Facts
    system_identifier: str
    timeline: int
    segment_bytes: int
    page_bytes: int


@dataclass(frozen=True, slots=True)
class Look:
    """How server and slot stand at one moment."""

    at: datetime
    """By the server's clock."""
    inserted: int
    """Whatever was committed by then is before it."""
    written: int | None
    """Up to where a receiver says that it has the log."""
    held: Held
    restart: int | None
    """From where on the server keeps its log."""
    safe_bytes: int | None
    """How much can still be written before some of it is gone; `None` without a bound."""
    most_bytes: int | None
    """`max_slot_wal_keep_size`; `None` without a bound."""


def named(repository: str) -> str:
    """The slot of that repository: several installations may keep the log of one server."""
    return f"ostiary_log_{repository}"


async def looked_at(connection: asyncpg.Connection) -> Server:
    """Raises Unavailable and Refused in words."""
    session = await facts(connection)
    with in_words():
        row = await connection.fetchrow(_ASKED)
    if session.major < _OLDEST:
        raise Unavailable("the log of servers older than PostgreSQL 14 is not kept", "upgrade the server")
    if row["standby"]:
        raise Refused("standby", "the log of a standby is not kept", "let the login for backups lead to its primary")
    if not row["replicates"]:
        raise Unavailable("the login for backups may not replicate", "a superuser says `ALTER ROLE … REPLICATION`")
    if row["wal_level"] == "minimal":
        raise Unavailable("the server writes no log that a copy could follow", "set `wal_level = replica` and restart it")
    with in_words():
        timeline = int((await connection.fetchval(_TIMELINE))[:8], 16)
    return Server(session, row["system_identifier"], timeline, row["segment_bytes"], row["page_bytes"])


async def shortcomings(connection: asyncpg.Connection) -> Sequence[tuple[str, str]]:
    """What is wrong with the server's settings, each with what mends it."""
    with in_words():
        row = await connection.fetchrow(_SETTINGS)
    found = []
    if row["most"] == -1:
        found.append((UNBOUNDED, "set `max_slot_wal_keep_size`, such as to half of what is free there"))
    if row["senders"] < _SENDERS:
        message = f"it lets {row['senders']} senders of its log work at once, and this takes one beside the two of a backup"
        found.append((message, "raise `max_wal_senders` and restart it"))
    if row["slots"] == 0:
        found.append(("it lets nobody have a replication slot", "raise `max_replication_slots` and restart it"))
    if row["idle"] not in {None, "0"}:
        message = "it lets go of slots by which nobody streams, and nobody streams by this one"
        found.append((message, "set `idle_replication_slot_timeout = 0`"))
    return found


async def reserved(connection: asyncpg.Connection, name: str) -> int:
    """From where on the server keeps its log for the slot, which is made where there was none, and anew where it was lost."""
    with in_words():
        row = await connection.fetchrow(_SLOT, name)
        if row is not None and (row["wal_status"] == Held.LOST or row["restart_lsn"] is None):
            await drop(connection, name)
            row = None
        if row is None:
            await _make(connection, name)
            row = await connection.fetchrow(_SLOT, name)
    if row is None or row["slot_type"] != "physical" or row["restart_lsn"] is None:
        raise Unavailable(f"the replication slot `{name}` is used by somebody else", "end what uses it, or drop it")
    return wal.position(row["restart_lsn"])


async def advance(connection: asyncpg.Connection, name: str, place: int) -> None:
    """The server may let go of all before that place; a slot that is further stays where it is."""
    with in_words():
        await connection.execute(_ADVANCE, name, wal.shown(place))


async def drop(connection: asyncpg.Connection, name: str) -> bool:
    """The server keeps nothing for it any more; whether there was one."""
    with in_words():
        return bool(await connection.fetch(_DROP, name))


async def look(connection: asyncpg.Connection, name: str, receiver: str) -> Look:
    """Now; `receiver` is the name of the session that receives. Raises Unavailable."""
    with in_words():
        row = await connection.fetchrow(_LOOK, name, receiver)
    return Look(
        row["at"],
        wal.position(row["inserted"]),
        wal.position(row["written"]) if row["written"] else None,
        Held(row["wal_status"]) if row["wal_status"] else Held.MISSING,
        wal.position(row["restart"]) if row["restart"] else None,
        row["safe_bytes"],
        row["most_bytes"],
    )


async def _make(connection: asyncpg.Connection, name: str) -> None:
    try:
        await connection.execute(_MAKE, name)
    except asyncpg.ConfigurationLimitExceededError as error:
        hint = "raise `max_replication_slots` and restart it, or drop one that nobody uses"
        raise Unavailable("all replication slots of the server are in use", hint) from error
