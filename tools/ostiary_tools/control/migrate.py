"""Numbered SQL migrations of the control database, applied once, in order, as an administrator.

A migration that was applied is never edited: its checksum is recorded, and a
difference stops everything. Two processes that migrate at once wait for each other.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from ostiary_tools.control.connect import Connection, Rejected, connect, disconnect, reason

MONTHS_AHEAD = 3
"""Partitions of the audit log kept in advance."""

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS ostiary_control;
CREATE TABLE IF NOT EXISTS ostiary_control.migration (
    version int4 PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def shipped() -> tuple[Migration, ...]:
    """The migrations of this version, in order."""
    folder = files("ostiary_tools.control") / "migrations"
    found = [f for f in folder.iterdir() if f.name.endswith(".sql")]
    return tuple(sorted((Migration(int(f.name[:4]), f.name[5:-4], f.read_text("utf-8")) for f in found), key=lambda m: m.version))


async def migrate(admin_dsn: str, migrations: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Bring the database to this version and return the names of what was applied, none when nothing was missing.

    Raises Unreachable, or Rejected when a recorded migration differs from the shipped one, when the database is
    newer than this version, or when the server refuses; then the failed migration left nothing behind.
    """
    wanted = shipped() if migrations is None else migrations
    connection = await connect(admin_dsn, "migrate", statement_timeout_s=600)
    try:
        await connection.execute("SELECT pg_advisory_lock(4713, 0)")
        await connection.execute(_LEDGER)
        missing = _missing(wanted, await _applied(connection))
        for migration in missing:
            await _apply(connection, migration)
        await connection.fetchval("SELECT audit.make_partitions($1)", MONTHS_AHEAD)
    except asyncpg.PostgresError as error:
        raise Rejected(f"the migration failed: {reason(error)}") from error
    finally:
        await disconnect(connection)
    return tuple(f"{m.version:04}_{m.name}" for m in missing)


async def pending(admin_dsn: str) -> tuple[str, ...]:
    """Names of the shipped migrations that the database lacks. Raises as `migrate` does; changes nothing."""
    connection = await connect(admin_dsn, "migrate")
    try:
        known = await connection.fetchval("SELECT to_regclass('ostiary_control.migration') IS NOT NULL")
        missing = _missing(shipped(), await _applied(connection) if known else {})
    finally:
        await disconnect(connection)
    return tuple(f"{m.version:04}_{m.name}" for m in missing)


async def _applied(connection: Connection) -> dict[int, str]:
    rows = await connection.fetch("SELECT version, checksum FROM ostiary_control.migration")
    return {row["version"]: row["checksum"] for row in rows}


def _missing(wanted: tuple[Migration, ...], applied: Mapping[int, str]) -> tuple[Migration, ...]:
    for migration in wanted:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise Rejected(f"migration {migration.version:04} was applied in another form than this version ships")
    newer = max(applied, default=0)
    if newer > max((m.version for m in wanted), default=0):
        raise Rejected(f"the control database is at migration {newer:04}, which this version does not know")
    return tuple(m for m in wanted if m.version not in applied)


async def _apply(connection: Connection, migration: Migration) -> None:
    """Apply one file and the new shape of schema `audit`, with the event triggers lifted for the transaction only."""
    async with connection.transaction():
        guards = await connection.fetch("SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'ostiary\\_guard\\_%'")
        for guard in guards:
            await connection.execute(f'ALTER EVENT TRIGGER "{guard["evtname"]}" DISABLE')
        await connection.execute(migration.sql)
        await connection.execute("SELECT audit.keep_shape()")
        for guard in guards:
            await connection.execute(f'ALTER EVENT TRIGGER "{guard["evtname"]}" ENABLE ALWAYS')
        await connection.execute(
            "INSERT INTO ostiary_control.migration (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )
