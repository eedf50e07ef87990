"""How far the bytes of a backup or a restore are: how many, how fast, and how long it takes yet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ostiary_tools.backup.port import Tell

_EVERY_S = 1.0
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_THOUSAND = 1000.0


@dataclass(slots=True)
class Pace:
    """Bytes so far. Threads add to it; the interpreter lets one add at a time, and one that is lost is a piece in a gigabyte."""

    total: int | None = None
    done: int = 0
    waits: str = ""
    """What all of it waits for, where it does: that is told instead."""

    def add(self, count: int) -> None:
        """So many more."""
        self.done += count

    def stand(self, done: int, total: int) -> None:
        """Here, of so many."""
        self.done, self.total = done, total


@asynccontextmanager
async def telling(tell: Tell, what: str, total: int | None = None) -> AsyncIterator[Pace]:
    """Tell now and then, while the block lasts, what was counted; `what` says of what in a word or two."""
    pace = Pace(total)
    ticking = asyncio.create_task(_tick(pace, tell, what))
    try:
        yield pace
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


async def _tick(pace: Pace, tell: Tell, what: str) -> None:
    started = asyncio.get_running_loop().time()
    while True:
        await asyncio.sleep(_EVERY_S)
        rate = pace.done / (asyncio.get_running_loop().time() - started)
        await tell(pace.done, pace.total, pace.waits or f"{what}: {words(pace.done, rate, pace.total)}")


def words(done: int, rate: float, total: int | None) -> str:
    """Such as `1.2 GB, 150 MB/s, about 40 s left`."""
    told = f"{size(done)}, {size(rate)}/s"
    if total is None or total <= done or rate <= 0:
        return told
    seconds = (total - done) / rate
    left = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 two minutes
    return f"{told}, about {left} left"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in _UNITS[:-1]:
        if count < _THOUSAND:
            return f"{count:.3g} {unit}"
        count /= _THOUSAND
    return f"{count:.3g} {_UNITS[-1]}"
