"""Rows of a permit's statements in other portions than a reply: for keys that are given, or page by page."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from ostiary_policies.actions import Action
from ostiary_policies.model import Intent
from ostiary_tools.datasources.port import ReadLimits, RowStream
from ostiary_tools.errors import DatabaseError
from ostiary_tools.result import Hits, Result, Rows

LOOKUP_ROWS = 1_000
"""Looked up at once at most."""
_LOOKUP_CHARS = 250_000
"""Of one row."""

_DATA = "22"
"""SQLSTATE's class of values that are none of their type."""

Row = tuple[str | None, ...]


def reading(limits: ReadLimits, intent: Intent) -> ReadLimits:
    """Bounds of what is read for a reply: of rows that are looked up the reply shows some only, and a part of each."""
    looks_up = intent.lookups and not intent.to_collection
    return replace(limits, max_rows=LOOKUP_ROWS, max_chars=_LOOKUP_CHARS) if looks_up else limits


def finds(intent: Intent) -> bool:
    """Whether its reply is made of what is found, of which nobody knows before how much it is."""
    return bool(intent.lookups) or any(access.action is Action.SEARCH for access in intent.accesses)


def shown(result: Result, limits: ReadLimits, intent: Intent) -> Result:
    """What of a result may stand in a reply, where no statement has bounded it."""
    match result:
        case Rows(rows=rows) if finds(intent) and len(rows) > limits.max_rows:
            return replace(result, rows=rows[: limits.max_rows], truncated=True)
        case Hits(rows=rows) if finds(intent) and len(rows) > limits.max_rows:
            return replace(result, rows=rows[: limits.max_rows], more=True)
    return result


def array(keys: Sequence[str]) -> str:
    """The keys as one array in PostgreSQL's input syntax, each quoted: nothing in a key is read as anything but the key."""
    quoted = (key.replace("\\", "\\\\").replace('"', '\\"') for key in keys)
    return "{" + ",".join(f'"{key}"' for key in quoted) + "}"


def not_looked_up(error: DatabaseError) -> DatabaseError:
    """The error without its words: the server quotes what it stumbles over, and a key may be of a row that the caller has not."""
    if error.sqlstate.startswith(_DATA):
        hint = "give ids as they were told; if none was given, index the rows anew"
        return DatabaseError(error.sqlstate, "one of the keys is none that a row of this collection can have", hint)
    message = "the rows behind this collection cannot be looked up"
    return DatabaseError(error.sqlstate, message, "what they are read from has changed: index them anew")


async def paged(stream: RowStream, size: int, most: int) -> AsyncGenerator[Rows, None]:
    """The rows so many at a time, and so many in all; the last page, which may be empty, says whether there would be more."""
    waiting: list[Row] = []
    given = 0
    async with aclosing(stream.chunks()) as chunks:
        async for chunk in chunks:
            waiting += chunk
            while len(waiting) > size and given + size < most:
                yield Rows(stream.columns, tuple(waiting[:size]))
                del waiting[:size]
                given += size
            if given + len(waiting) > most:
                break
    last = tuple(waiting[: most - given])
    yield Rows(stream.columns, last, truncated=len(waiting) > len(last))
