"""Calls of Chroma, which block, in threads of their own: several that read, and one that writes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from ostiary_tools.errors import ToolError
from ostiary_tools.vectors.chroma.failures import in_words
from ostiary_tools.vectors.chroma.folder import held_to_version, prepared
from ostiary_tools.vectors.chroma.hold import Hold
from ostiary_tools.vectors.chroma.opening import Chroma, connected, opened
from ostiary_tools.vectors.settings import ChromaSettings

T = TypeVar("T")
_READERS = 8
_LOOK_S = 0.25
"""How often who holds a folder looks whether another process wants it."""


class Turns:
    """Opens Chroma when it is first asked, and gives a folder to other processes between two calls."""

    def __init__(self, settings: ChromaSettings) -> None:
        self._settings = settings
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="chroma")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="chroma-writes")
        self._hold = Hold(settings.path) if settings.path else None
        self._chroma: asyncio.Future[Chroma] | None = None
        self._door = asyncio.Lock()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._looking: asyncio.Task[None] | None = None

    async def read(self, work: Callable[[Chroma], T]) -> T:
        """Beside others."""
        return await self._run(self._reading, work)

    async def write(self, work: Callable[[Chroma], T]) -> T:
        """After all that were asked for before: two at once would mix the chunks of a document that both put."""
        return await self._run(self._writing, work)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[Chroma], T]) -> T:
        async with self._door:
            chroma = await self._opened()
            self._running += 1
            self._idle.clear()
        return await self._in(threads, partial(work, chroma), self._ended)

    async def _opened(self) -> Chroma:
        """Who stops waiting leaves it to the next one."""
        if self._chroma is None:
            self._chroma = asyncio.get_running_loop().run_in_executor(self._reading, _told, self._open)
        try:
            chroma = await asyncio.shield(self._chroma)
        except ToolError:
            self._chroma = None
            raise
        if self._hold and self._looking is None:
            self._looking = asyncio.create_task(self._look(self._hold))
        return chroma

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T], ended: Callable[[], None] = lambda: None) -> T:
        """In a thread of these. Who stops waiting does not stop it: `ended` is called when it has ended."""
        future = asyncio.get_running_loop().run_in_executor(threads, _told, work)

        def over(done: asyncio.Future[T]) -> None:
            ended()
            if not done.cancelled():
                done.exception()  # told to whoever still waits

        future.add_done_callback(over)
        return await asyncio.shield(future)

    def _ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()

    def _open(self) -> Chroma:
        # Chroma begins with parts of numpy: a thread that imports numpy itself at this moment would be given halves of it.
        import numpy as np  # noqa: F401 an extra, and heavy

        if not self._settings.path or not self._hold:
            return connected(self._settings)
        prepared(self._settings.path)
        self._hold.take(self._settings.timeout_s)
        try:
            held_to_version(self._settings.path)
            return opened(self._settings.path)
        except BaseException:
            self._hold.give()
            raise

    async def _look(self, hold: Hold) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            # To look is to lock for a moment, which whoever has the folder now could take for a wish.
            if self._chroma is not None and await self._in(self._reading, hold.wanted):
                async with self._door:
                    await self._give()

    async def _give(self) -> None:
        """When nothing runs any more; who holds the door lets nothing begin."""
        await self._idle.wait()
        if self._chroma:
            opening, self._chroma = self._chroma, None
            await asyncio.wait({opening})
            if not opening.exception():
                await self._in(self._reading, partial(self._close, opening.result()))

    def _close(self, chroma: Chroma) -> None:
        try:
            chroma.close()
        finally:
            if self._hold:
                self._hold.give()

    async def close(self) -> None:
        """After what runs."""
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        async with self._door:
            await self._give()
        self._reading.shutdown(wait=False)
        self._writing.shutdown(wait=False)


def _told(work: Callable[[], T]) -> T:
    try:
        return work()
    except ToolError:
        raise
    except BaseException as error:
        raise in_words(error) from error
