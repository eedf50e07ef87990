"""Workers on the queue of a house, in this process and in one of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fix_server import Site

from ostiary.app import House
from ostiary.worker import Worker


@asynccontextmanager
async def working(house: House, at_once: int = 2) -> AsyncIterator[Worker]:
    """One that works while the block lasts."""
    stop, worker = asyncio.Event(), Worker(house.queue, house.gate.call, at_once)
    task = asyncio.create_task(worker.work(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


@asynccontextmanager
async def program(site: Site) -> AsyncIterator[asyncio.subprocess.Process]:
    """`ostiary worker`, killed at the end of the block if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ostiary", "worker", "--config", str(site.folder / "ostiary.toml")),
        env={"PATH": os.environ["PATH"], "HOME": str(site.folder)},
        cwd=site.folder,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
