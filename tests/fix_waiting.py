"""Waiting for a fact that sets no event of ours: in a server, in another process, in a file."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_PAUSE_S = 0.02


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
    """Look again and again until it is true; fail when it has not come true in time."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(_PAUSE_S)
