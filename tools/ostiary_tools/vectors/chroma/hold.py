"""One process at a time on a folder of Chroma.

Two would not see each other: the index that one has in memory does not hear of what the other one writes, and answers without
it from then on. So whoever has the folder open holds a lock, which the kernel frees when its process dies; whoever wants it says
so by another lock, and the holder gives it back between two of its calls.
"""

import fcntl
import os
import time
from pathlib import Path

from ostiary_tools.errors import Unavailable

_PAUSE_S = 0.02


class Hold:
    """The right to open a folder. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None

    def take(self, patience_s: float) -> None:
        """Wait for it so long. Raises Unavailable when it is not to be had."""
        held = self._open("ostiary.lock")
        try:
            if not _locked(held, fcntl.LOCK_EX):
                self._wait(held, time.monotonic() + patience_s)
        except BaseException:
            os.close(held)
            raise
        self._held = held

    def _wait(self, held: int, until: float) -> None:
        wish = self._open("ostiary.wanted")
        try:
            _locked(wish, fcntl.LOCK_SH)
            while not _locked(held, fcntl.LOCK_EX):
                if time.monotonic() > until:
                    raise Unavailable(
                        "another process has the store's folder open and does not give it back",
                        "for several processes at once run `chroma run --path FOLDER` and configure its `url`",
                    )
                time.sleep(_PAUSE_S)
        finally:
            os.close(wish)

    def wanted(self) -> bool:
        """Whether another process waits for it."""
        wish = self._open("ostiary.wanted")
        try:
            return not _locked(wish, fcntl.LOCK_EX)
        finally:
            os.close(wish)

    def give(self) -> None:
        """Back."""
        if self._held is not None:
            os.close(self._held)
        self._held = None

    def _open(self, name: str) -> int:
        return os.open(self._folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
