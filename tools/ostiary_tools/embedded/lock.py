"""Locks that the kernel frees when their holder dies: `flock` on files that are never deleted.

Three files stand in the postgres directory of a home:

`turn`     held alone while a process starts, adopts, stops or deletes the server;
`holders`  shared by every process that uses the server; who gets it alone is the last;
`alive`    handed to the server itself: it is free when no process of the server is left,
           whatever a process id in a file may say.

None of the first two reaches a child: Python opens files close-on-exec.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

_POLL_S = 0.02


def open_lock(path: Path) -> int:
    """A descriptor of the lock file, made when missing; it holds nothing yet."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def take_shared(fd: int) -> None:
    """Take the lock together with others, or turn a lock held alone into a shared one. Raises OSError if one holds it alone."""
    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


def try_alone(fd: int) -> bool:
    """Take the lock alone. False while anybody else holds it; a share held until then may be lost."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the lock file for the length of a block."""
    fd = open_lock(path)
    try:
        yield fd
    finally:
        os.close(fd)


def is_held(path: Path) -> bool:
    """Whether any process holds the lock now."""
    with opened(path) as fd:
        return not try_alone(fd)


@asynccontextmanager
async def turn(path: Path, waiting: Callable[[float], None]) -> AsyncIterator[None]:
    """Hold the lock alone for a block; `waiting` is told the seconds waited so far, and may raise to give up.

    Asked again and again rather than waited for, so that a cancelled caller leaves no thread behind in the kernel.
    """
    with opened(path) as fd:
        waited_s = 0.0
        while not try_alone(fd):
            waiting(waited_s)
            await asyncio.sleep(_POLL_S)
            waited_s += _POLL_S
        yield


def holders_of(path: Path) -> tuple[int, ...]:
    """Process ids that hold the lock, as Linux tells in /proc/locks; empty elsewhere, and without those of other containers."""
    try:
        inode = path.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return ()
    fields = [line.split() for line in lines]
    # `7: FLOCK ADVISORY READ 4242 fe:00:1234567 0 EOF`; a waiter's line has `->` in second place.
    found = {int(f[4]) for f in fields if len(f) > 5 and f[1] == "FLOCK" and f[5].rpartition(":")[2] == str(inode)}  # noqa: PLR2004 - the columns above
    return tuple(sorted(pid for pid in found if pid > 0))
