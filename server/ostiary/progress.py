"""How far a call is, for a client that gave a token: words on the way, never part of the answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

Tell = Callable[[float, float | None, str], Awaitable[None]]
"""Takes what is done, of how much if that is known, and a few words. It neither fails nor waits for a slow client."""

BEAT_S = 2
"""How often a statement that runs says so; clients take it as a sign of life and wait on."""
ROWS_S = 0.5
"""How often an export says how many rows are written."""


@asynccontextmanager
async def beating(tell: Tell | None) -> AsyncIterator[None]:
    """Tell every few seconds, while the block lasts, that the statement runs on."""
    if tell is None:
        yield
        return
    task = asyncio.create_task(_beat(tell), name="progress")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _beat(tell: Tell) -> None:
    for seconds in count(BEAT_S, BEAT_S):
        await asyncio.sleep(BEAT_S)
        await tell(seconds, None, f"the statement has run for {seconds} s")


class RowsTold:
    """Tells how many rows are written, the first time at once and then not too often."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell = tell
        self._at = 0.0

    async def __call__(self, rows: int) -> None:
        """Tell it, if it is time."""
        now = asyncio.get_running_loop().time()
        if self._tell is not None and now - self._at >= ROWS_S:
            self._at = now
            await self._tell(rows, None, f"{rows:,} rows written")
