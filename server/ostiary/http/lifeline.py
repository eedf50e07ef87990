"""What ties a worker to the process that started it: a socket on its stdin.

Over it the worker is told what all workers share, and says when it is ready. Its end
means that nobody looks after the worker any more, however that came about: it stops.
"""

import asyncio
import json
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Self

from ostiary.exits import CommandFailed, Exit

_STDIN = 0
_READY = b"\n"
_MOST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Handover:
    """What a worker is told at its start. It has secrets in it, so it is in no command line and no environment."""

    worker: int
    keys: tuple[str, ...]
    """They seal what clients bring back with an answer, to whichever worker."""


class Lifeline:
    """The worker's end."""

    def __init__(self, line: socket.socket, told: Handover) -> None:
        self._line = line
        self.told = told

    @classmethod
    async def standard(cls) -> Self:
        """The one on stdin, with what was told. Raises CommandFailed where there is none."""
        try:
            line = socket.socket(fileno=_STDIN)
            line.setblocking(False)  # noqa: FBT003 the library's own way
            told = json.loads(await _first_line(line))
            return cls(line, Handover(told["worker"], tuple(told["keys"])))
        except (OSError, ValueError) as error:
            hint = "start several processes with `ostiary serve --http --workers`"
            raise CommandFailed("`--listener` is for the workers of a server alone", hint, Exit.USAGE) from error

    def ready(self) -> None:
        """Say that clients are answered from now on."""
        with suppress(OSError):  # who would hear it is gone, and `cut` tells
            self._line.send(_READY)

    async def cut(self) -> None:
        """Wait for its end."""
        with suppress(OSError):
            while await asyncio.get_running_loop().sock_recv(self._line, 1):
                pass


def handed_over(line: socket.socket, told: Handover) -> None:
    """Leave it on the line for the worker to read when it has started."""
    line.sendall(json.dumps(asdict(told)).encode() + b"\n")


async def is_ready(line: socket.socket) -> bool:
    """Wait until the worker says that it is ready; false when it ended before."""
    try:
        return await asyncio.get_running_loop().sock_recv(line, 1) == _READY
    except OSError:
        return False


async def _first_line(line: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"\n") and len(read) < _MOST_BYTES:
        if not (more := await asyncio.get_running_loop().sock_recv(line, 4096)):
            break
        read += more
    return read
