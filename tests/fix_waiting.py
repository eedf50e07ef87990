"""Waiting for what sets no event of ours: a fact in a server or a file, the end of a program. None waits for ever."""

import asyncio
import inspect
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

_PAUSE_S = 0.02


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
    """Look again and again until it is true; fail when it has not come true in time."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(_PAUSE_S)


async def ended(process: asyncio.subprocess.Process, seconds: float = 60) -> tuple[str, str]:
    """All that a program says on stdout and stderr, at its end; one that has not ended in time is killed, which fails."""
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise AssertionError(f"the program had not ended after {seconds:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return (out or b"").decode(), (err or b"").decode()


@asynccontextmanager
async def going_on(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Something that has no end goes on while the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@contextmanager
def ending(process: subprocess.Popen[str] | subprocess.Popen[bytes], seconds: float = 60) -> Iterator[None]:
    """Kill a program that is not done with the block in time, so that who reads what it says comes to an end."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
