"""Standard input and output as one connection, without a thread.

A thread that reads or writes a pipe cannot be cancelled: a server that was asked to stop
would wait for its client. It also costs a call more than the call's own work. Here the
event loop says when a descriptor is ready, and only as much is read or written as cannot
block; the descriptors stay in blocking mode, because a terminal shares that with its shell.
"""

import asyncio
import os
import select
from collections import deque
from collections.abc import Callable
from typing import Self

_CHUNK = 1 << 18


class Wire:
    """Two descriptors as a connection: a line of text in, a text out."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._in = incoming
        self._out = outgoing
        self._lines: deque[bytes] = deque()
        self._begun: list[bytes] = []

    @classmethod
    def standard(cls) -> Self:
        """What stood at the descriptors 0 and 1.

        0 reads as empty from now on, and 1 is the error stream, so that no child takes a line of ours and no stray print
        tears one.
        """
        return cls(_taken(0, os.open(os.devnull, os.O_RDONLY)), _taken(1, os.dup(2)))

    def __aiter__(self) -> Self:
        """Over the lines; what is not UTF-8 is replaced, and fails as a message rather than as a stream."""
        return self

    async def __anext__(self) -> str:
        while not self._lines:
            await _ready(self._in, select.POLLIN)
            chunk = os.read(self._in, _CHUNK)
            *ended, begun = chunk.split(b"\n")
            for end in ended:
                self._lines.append(b"".join([*self._begun, end]))
                self._begun.clear()
            self._begun.append(begun)
            if not chunk:
                return self._last()
        return self._lines.popleft().decode(errors="replace")

    def _last(self) -> str:
        """The line that the end of the stream ended."""
        line = b"".join(self._begun)
        self._begun.clear()
        if not line:
            raise StopAsyncIteration
        return line.decode(errors="replace")

    async def write(self, text: str) -> None:
        """Write all of it, at a time what a pipe that is ready surely takes; while the reader takes nothing, this waits."""
        rest = memoryview(text.encode())
        while rest:
            await _ready(self._out, select.POLLOUT)
            rest = rest[os.write(self._out, rest[: select.PIPE_BUF]) :]

    async def flush(self) -> None:
        """Nothing is held back."""


def _taken(number: int, instead: int) -> int:
    """The descriptor under another number, with `instead` in its place."""
    taken = os.dup(number)
    os.dup2(instead, number)
    os.close(instead)
    return taken


async def _ready(number: int, event: int) -> None:
    """Wait until reading or writing a little cannot block; a file on a disk always is ready."""
    poll = select.poll()
    poll.register(number, event)
    if poll.poll(0):
        return
    loop = asyncio.get_running_loop()
    watch, forget = (loop.add_reader, loop.remove_reader) if event == select.POLLIN else (loop.add_writer, loop.remove_writer)
    ready = loop.create_future()
    watch(number, _once(ready))
    try:
        await ready
    finally:
        forget(number)


def _once(ready: "asyncio.Future[None]") -> Callable[[], None]:
    return lambda: None if ready.done() else ready.set_result(None)
