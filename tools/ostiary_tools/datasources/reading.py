"""Reads the versions of rows that a change touched, in memory that has a bound, and lets others go on between chunks."""

import asyncio
from typing import Any

from ostiary_tools.datasources.failures import DRIVER_ERRORS, statement_error
from ostiary_tools.datasources.images import MOST_VALUE_CHARS, Place, versions
from ostiary_tools.datasources.statement import PostgresReader
from ostiary_tools.datasources.streaming import SERVER_GRACE_S
from ostiary_tools.effects import Values
from ostiary_tools.errors import Refused

_MOST_CHARS = 256_000_000
"""Of all values of one table, before or after."""
_FIRST_ROWS = 16
_MOST_ROWS = 2_000
_CHUNK_CHARS = 4_000_000


async def read_versions(reader: PostgresReader, query: str, *values: Any) -> dict[Place, Values]:
    """What a query of `images` gives. Raises ToolError; Refused where it is too much to be kept."""
    prepared = await reader.own(query)
    patience_s = reader.limits.timeout_s + SERVER_GRACE_S
    start = asyncio.get_running_loop().time()
    found: dict[Place, Values] = {}
    chars, count = 0, _FIRST_ROWS
    try:
        portal = await prepared.cursor(*values, timeout=patience_s)
        while rows := await portal.fetch(count, timeout=patience_s):
            read = sum(_checked(value) for row in rows for value in tuple(row)[2:] if value is not None)
            chars += read
            if chars > _MOST_CHARS:
                raise _too_much()
            found |= versions(rows)
            count = max(1, min(4 * count, _MOST_ROWS, count * _CHUNK_CHARS // max(read, 1)))
    except DRIVER_ERRORS as error:
        elapsed_s = asyncio.get_running_loop().time() - start
        raise statement_error(error, analysing=False, timeout_s=reader.limits.timeout_s, elapsed_s=elapsed_s) from None
    return found


def _checked(value: str) -> int:
    if len(value) > MOST_VALUE_CHARS:
        raise _too_much()
    return len(value)


def _too_much() -> Refused:
    return Refused("effects", "what it changed is too large to be kept for an undo", "change fewer or smaller rows at once")
