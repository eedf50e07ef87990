"""The clock in a copy: a table that a heartbeat writes to, by which the copy itself says up to when it goes."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from ostiary_tools.backup import wal
from ostiary_tools.backup.moment import Time, written
from ostiary_tools.errors import Damaged

# Only of a plain table in a schema of the same owner are rows read: a view could run what its owner wrote, for a superuser. The
# owner is one who may replicate, as our login may: whoever else lays a clock there could have every restore refused.
_THERE = """
SELECT count(*) = 3 FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace AND n.nspowner OPERATOR(pg_catalog.=) c.relowner
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.relowner AND (r.rolsuper OR r.rolreplication)
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attisdropped
WHERE n.nspname = 'ostiary' AND c.relname = 'clock' AND c.relkind = 'r' AND c.relpersistence = 'p'
    AND (a.attname, pg_catalog.format_type(a.atttypid, NULL))
        IN (('id', 'bigint'), ('at', 'timestamp with time zone'), ('lsn', 'pg_lsn'))
"""
_READ = "SELECT id, at, lsn::pg_catalog.text FROM ONLY ostiary.clock ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Clock:
    """Its newest row."""

    id: int
    at: datetime
    lsn: int


async def read(connection: asyncpg.Connection) -> Clock | None:
    """`None` where the database has none of ours, or an empty one."""
    if not await connection.fetchval(_THERE):
        return None
    row = await connection.fetchrow(_READ)
    return Clock(row["id"], row["at"], wal.position(row["lsn"])) if row and row["at"] and row["lsn"] else None


def agrees(clock: Clock, until: datetime | None, position: int) -> None:
    """That nothing in it is later than the moment. Raises Damaged."""
    if clock.lsn > position or (until is not None and clock.at > until):
        message = f"the clock in the copy goes on after the moment: it says {written(Time(clock.at))} and {wal.shown(clock.lsn)}"
        hint = f"see who writes to `ostiary.clock`; `lsn:{wal.shown(position)}` is the same moment, in the words of the log"
        raise Damaged("ostiary.clock", message, hint)
