"""Standard input as a stream of lines that can be hung up from this side.

A thread that reads standard input cannot be cancelled: a server that was asked to stop
would wait for its client. Reading here ends when the client or `hang_up` ends it.
"""

import io
import os
import select
from typing import Any


class Wire(io.RawIOBase):
    """What stood at file descriptor 0; that one reads as empty from now on, so that no child takes a line of ours."""

    def __init__(self) -> None:
        self._wire = os.dup(0)
        self._ended, self._end = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def hang_up(self) -> None:
        """End the stream, also under a thread that reads it."""
        os.write(self._end, b"\0")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for bytes; none are the end."""
        ready, _, _ = select.select([self._wire, self._ended], [], [])
        return 0 if self._ended in ready else os.readv(self._wire, [buffer])


def lines(wire: Wire) -> io.TextIOWrapper:
    """Its text; what is not UTF-8 is replaced, and fails as a message rather than as a stream."""
    return io.TextIOWrapper(io.BufferedReader(wire), encoding="utf-8", errors="replace")
