"""A SQLite file, copied to the spool by SQLite's own backup while others write it, checked there, and kept."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from ostiary_tools.backup import sqlite
from ostiary_tools.backup.manifest import Content
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Keeping, Made, Source, Tell
from ostiary_tools.backup.together import threaded
from ostiary_tools.errors import Refused

P = ParamSpec("P")
T = TypeVar("T")


class SqliteEngine:
    """Makes backups of SQLite files."""

    async def make(self, source: Source, keeping: Keeping, spool: Path, tell: Tell) -> Made:
        """Take one; see `port.Engine`."""
        if source.path is None:
            raise Refused("kind", "the datasource is no SQLite file", "make a logical backup of it")
        copy, stop = spool / "copy.db", threading.Event()
        async with telling(tell, "copied") as pace:
            await stoppable(stop, sqlite.copy, source.path, copy, pace.stand, stop)
        await stoppable(stop, sqlite.check, copy)
        fingerprint = await stoppable(stop, sqlite.printed, copy, source.name, lambda _: None, stop)
        file, size = copy.open("rb", buffering=0), copy.stat().st_size
        copy.unlink()  # whatever becomes of us, nothing that is not encrypted stays
        async with telling(tell, "kept", size) as pace:
            member = await keeping.put("database.db", Content.SQLITE, file, pace.add)
        return Made(sqlite.version(), (member,), fingerprint)


async def stoppable(stop: threading.Event, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread; when cancelled, it is stopped, and has ended when this raises."""
    task = threaded(work, *args, **kwargs)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        task.exception()
        raise
