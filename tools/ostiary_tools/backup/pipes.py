"""Our ends of the pipes to a program that runs: its output, its input, what it says on stderr, and the line to its leash."""

import asyncio
import io
import os
import signal
import threading
from contextlib import suppress
from typing import Any

_TAIL = 65_536
"""Bytes of stderr that are kept: the last ones say why."""
_PIPE_BYTES = 1 << 20


class Output(io.RawIOBase):
    """What a program writes, for a thread to read. Closing it, in any thread, ends the program."""

    def __init__(self, descriptor: int, line: "Line") -> None:
        super().__init__()
        self._descriptor = descriptor
        self._line = line
        self._lock = threading.Lock()
        self._at_end = False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As much as there is. Raises ValueError once it was closed, so that it is never taken for whole."""
        with self._lock:
            if self._descriptor < 0 or self.closed:
                raise ValueError("a program's output that was closed is read")
            count = os.readv(self._descriptor, [buffer])
        if self.closed:
            raise ValueError("a program's output was closed while it was read")
        self._at_end = count == 0
        return count

    def read(self, size: int = -1, /) -> bytes:
        """As much as is asked for, less only at the end: programs write little at once, and each piece costs whoever takes it."""
        if size < 0:
            return self.readall()
        buffer, count = memoryview(bytearray(size)), 0
        while count < size and (more := self.readinto(buffer[count:])):
            count += more
        return bytes(buffer[:count])

    def close(self) -> None:
        """Does not wait for who reads: the program ends, and with it the reading. One that was read to its end ends by itself."""
        super().close()
        if not self._at_end:
            self._line.cut()

    def free(self) -> None:
        """Give the descriptor back, once the program is gone. Blocking."""
        super().close()
        with self._lock:
            self._descriptor = _freed(self._descriptor)


class Input(io.RawIOBase):
    """What a program reads, for a thread to write. Closing it is the end of what it reads."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """All of it. Raises BrokenPipeError where the program has ended."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        with self._lock:
            while rest and self._descriptor >= 0:
                rest = rest[os.write(self._descriptor, rest) :]
        if rest:
            raise BrokenPipeError("a program's input that was closed is written")
        return size

    def close(self) -> None:
        """The end, for the program."""
        super().close()
        with self._lock:
            self._descriptor = _freed(self._descriptor)


class Line:
    """Our end of the pipe to the leash."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def say(self, number: signal.Signals) -> None:
        """Pass the program a signal."""
        with self._lock, suppress(OSError):  # who would hear it has ended
            if self._descriptor >= 0:
                os.write(self._descriptor, bytes([number]))

    def cut(self) -> None:
        """End the program."""
        with self._lock:
            self._descriptor = _freed(self._descriptor)


class Stderr:
    """What a program says on stderr, as it comes."""

    def __init__(self, descriptor: int) -> None:
        self.said = bytearray()
        self.ended = asyncio.Event()
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self._read)

    def close(self) -> None:
        """No more of it is read."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            piece = os.read(self._descriptor, 8192)
            self.said += piece
            del self.said[:-_TAIL]
            if not piece:
                self._loop.remove_reader(self._descriptor)
                self.ended.set()


def pipe(readers: list[int], writers: list[int]) -> tuple[int, int]:
    """A pipe, its ends noted with whose they are."""
    read, write = os.pipe()
    readers.append(read)
    writers.append(write)
    with suppress(OSError, AttributeError, ImportError):  # Linux alone: fewer and longer reads
        import fcntl

        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return read, write


def _freed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1
