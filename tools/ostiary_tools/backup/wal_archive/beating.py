"""Rows of clocks, as long as the log comes; without them it comes all the same."""

import asyncio
from collections.abc import Callable, Sequence

from ostiary_tools.backup.port import Source
from ostiary_tools.backup.wal_archive import clock
from ostiary_tools.backup.wal_archive.standing import Teller
from ostiary_tools.errors import ToolError

_AGAIN_S = 60.0


async def beating(sources: Callable[[], Sequence[Source]], beat_s: float, teller: Teller) -> None:
    """In the databases of all that are known by then, until cancelled. `sources` is asked in a thread."""
    ticking: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            for source in await asyncio.to_thread(sources):
                if source.dsn not in ticking:
                    ticking[source.dsn] = asyncio.create_task(_ticks(source, beat_s, teller), name="clock")
            await asyncio.sleep(beat_s)
    finally:
        for task in ticking.values():
            task.cancel()
        await asyncio.gather(*ticking.values(), return_exceptions=True)


async def _ticks(source: Source, beat_s: float, teller: Teller) -> None:
    while True:
        try:
            async with clock.ticking(source.dsn) as session:
                teller.change(clock="")
                while True:
                    await clock.beat(session)
                    await asyncio.sleep(beat_s)
        except ToolError as error:
            teller.change(clock=f"{source.name}: {error.message}; {error.hint}")
        await asyncio.sleep(_AGAIN_S)
