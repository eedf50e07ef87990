"""Workers on the queue of a house, in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
