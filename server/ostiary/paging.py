"""Rows of a permit's statements in other portions than a reply: for keys that are given, or page by page."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from ostiary_policies.model import Intent
from ostiary_tools.datasources.port import ReadLimits, RowStream
from ostiary_tools.result import Result, Rows

LOOKUP_ROWS = 1_000
"""Looked up at once at most."""
_LOOKUP_CHARS = 250_000
"""Of one row."""

Row = tuple[str | None, ...]


def reading(limits: ReadLimits, intent: Intent) -> ReadLimits:
    """Bounds of what is read for a reply: of rows that are looked up the reply shows some only, and a part of each."""
    return replace(limits, max_rows=LOOKUP_ROWS, max_chars=_LOOKUP_CHARS) if intent.lookups else limits


def shown(result: Result, limits: ReadLimits, intent: Intent) -> Result:
    """What of a result made of looked up rows may stand in a reply."""
    if not intent.lookups or not isinstance(result, Rows) or len(result.rows) <= limits.max_rows:
        return result
    return replace(result, rows=result.rows[: limits.max_rows], truncated=True)


def array(keys: Sequence[str]) -> str:
    """The keys as one array in PostgreSQL's input syntax, each quoted: nothing in a key is read as anything but the key."""
    quoted = (key.replace("\\", "\\\\").replace('"', '\\"') for key in keys)
    return "{" + ",".join(f'"{key}"' for key in quoted) + "}"


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
