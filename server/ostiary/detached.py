"""A worker that a server starts when a job waits and nobody works: on its own feet, since clients kill their servers.

Two servers may start one each at the same moment. That does no harm: workers share the queue, and one without work ends.
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ostiary.config import Config
from ostiary.queue import Queue
from ostiary.shelves import Shelves
from ostiary_tools.control.connect import JournalError
from ostiary_tools.errors import Unavailable

_log = logging.getLogger(__name__)

_ROUND_S = 20.0
"""How often a server looks whether what another was asked for has been left."""
_START_S = 20.0
"""Until a worker that was started should have been heard of."""


@asynccontextmanager
async def worked(queue: Queue, shelves: Shelves, config: Config, file: Path | None) -> AsyncIterator[None]:
    """While the block lasts, no job waits without a worker, no collection follows its rows and no plan is kept without one.

    `file` is the configuration that was asked for by name.
    """
    if config.jobs.worker == "own":
        yield
        return
    task = asyncio.create_task(_keep(queue, shelves, config, file), name="worker")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep(queue: Queue, shelves: Shelves, config: Config, file: Path | None) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROUND_S):
                await queue.news.wait()
        queue.news.clear()
        try:
            due, there = await queue.table.standing()
            if not there and (due or config.plans or await shelves.followed()):
                await _start(config.home.state, file)
                await asyncio.sleep(_START_S)
        except (JournalError, Unavailable, OSError) as error:
            _log.warning("no worker was started for the jobs that wait: %s", error)


async def _start(state: Path, file: Path | None) -> None:
    """Start one that outlives us; what is waited for is the process that leaves it behind."""
    options = [f"--config={file}"] if file is not None else []  # found from the folder that we are in
    log = os.open(state / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            # Without -P a module of the folder that the server was started in would come before ours.
            *(sys.executable, "-P", "-m", "ostiary", "worker", "--detached", *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    await process.wait()
    _log.info("a worker was started; it logs to %s", state / "worker.log")
