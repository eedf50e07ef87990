"""A new epoch of the audit log in the database: its record, its note, and the end of all that came back to life with the log.

One transaction, so whoever is killed in it has opened nothing and ended nothing. The administrator's alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from ostiary_tools.control.connect import CONNECTION_ERRORS, Lost, Rejected, connect, disconnect, reason
from ostiary_tools.control.journal import LogRow
from ostiary_tools.control.migrate import MONTHS_AHEAD

_END = """
SELECT approvals.put_back() AS approvals, changes.put_back() AS changes, jobs.put_back() AS jobs, cursors.put_back() AS cursors,
    (SELECT count(*) FROM tokens.token WHERE revoked_at IS NULL AND expires_at > now()) AS tokens
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How much of what an earlier moment brought back was ended."""

    approvals: int
    """Calls that waited for people, or that people had granted."""
    changes: int
    """Proposed, about to be committed, or applied and not taken back."""
    jobs: int
    """That waited or ran."""
    cursors: int
    tokens: int
    """Not ended: those that are valid, of which some may have been revoked since."""


async def open_epoch(admin_dsn: str, number: int, note: str, ends: str, record: Callable[[Ended], LogRow]) -> Ended:
    """Open it, with `record` of what was ended. `ends` is JSON: every stream's end as it was verified.

    Raises Unreachable; Rejected when a process still records, or the log has changed; Lost when nobody knows.
    """
    connection = await connect(admin_dsn, "epoch", statement_timeout_s=120)
    try:
        await connection.fetchval("SELECT audit.make_partitions($1)", MONTHS_AHEAD)
        async with connection.transaction():
            ended = Ended(**await connection.fetchrow(_END))
            row = record(ended)
            given = (number, note, ends, row.ts, row.call_id, row.body, row.hash)
            await connection.execute("SELECT audit.open_epoch($1, $2, $3::jsonb, $4, $5, $6, $7)", *given)
        return ended
    except CONNECTION_ERRORS as error:
        raise Lost(f"it is not known whether the epoch was opened: {reason(error)}") from error
    except asyncpg.PostgresError as error:
        raise Rejected(f"no epoch was opened: {reason(error)}") from error
    finally:
        await disconnect(connection)
