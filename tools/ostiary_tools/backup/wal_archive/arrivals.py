"""Where a cluster's log arrives, on this machine, before it is kept: a folder for each time that it was received.

Each time begins in a new folder, so that a program that is about to end never writes where the next one does. What an earlier time
has left is kept first. A folder whose holder lives is nobody else's; the kernel frees it when he dies. Blocking, for threads.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive import pages

PARTIAL = ".partial"
_LOCK = "held.lock"
_LOG = "log"
_HOLD = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_PART = re.compile(r"[0-9A-F]{24}\.partial")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")
_ALIGNED = 8
"""Where a record may begin."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One time."""

    folder: Path
    lock: int

    @property
    def log(self) -> Path:
        """Where the program writes."""
        return self.folder / _LOG

    def begin(self, segment: str) -> None:
        """Say with which segment it begins: a program goes on from the last one that it finds."""
        (self.log / f"{segment}{PARTIAL}").touch(0o600)

    def whole(self) -> Sequence[Path]:
        """Segments that have come, in order."""
        return sorted(path for path in self.log.iterdir() if wal.is_segment(path.name))

    def begun(self) -> Sequence[Path]:
        """Of each timeline the segment that is coming, in order; only of the last one more can come."""
        return sorted(path for path in self.log.iterdir() if _PART.fullmatch(path.name) and path.stat().st_size)

    def histories(self) -> Sequence[Path]:
        """Of timelines, in order."""
        return sorted(path for path in self.log.iterdir() if _HISTORY.fullmatch(path.name))

    def release(self) -> None:
        """Leave what is in it to the next."""
        os.close(self.lock)

    def remove(self) -> None:
        """With all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)


@dataclass(frozen=True, slots=True)
class Spool:
    """Of one cluster."""

    root: Path

    def open(self) -> Arrivals:
        """A new one, ours."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=self.root))
        lock = os.open(made / _LOCK, _HOLD, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (made / _LOG).mkdir(mode=0o700)  # what has none yet nobody else takes
        return Arrivals(made, lock)

    def left(self) -> Sequence[Arrivals]:
        """What others have left whose holders are gone, now ours, the oldest first."""
        found = [self._taken(folder) for folder in self._folders()]
        return sorted((one for one in found if one is not None), key=lambda one: one.folder.stat().st_mtime_ns)

    def bytes(self) -> int:
        """Of all that has arrived and is not kept yet."""
        count = 0
        for folder in self._folders():
            with suppress(FileNotFoundError):
                for path in (folder / _LOG).iterdir():
                    with suppress(FileNotFoundError):
                        count += path.stat().st_size
        return count

    def _folders(self) -> Sequence[Path]:
        return [path for path in self.root.iterdir() if path.is_dir()] if self.root.is_dir() else []

    def _taken(self, folder: Path) -> Arrivals | None:
        if not (folder / _LOG).is_dir():
            return None  # it is being made, or nothing ever came
        with suppress(FileNotFoundError):  # whose holder removes it now
            lock = os.open(folder / _LOCK, _HOLD, 0o600)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (folder / _LOG).is_dir():
                    return Arrivals(folder, lock)
            os.close(lock)
        return None


def head(path: Path) -> pages.Head:
    """What a segment that was coming says of itself. Raises Damaged."""
    with path.open("rb") as file:
        return pages.head(path.name, file.read(pages.FIRST.size))


def reached(path: Path) -> int:
    """Up to which LSN there is something in it, when nobody can be asked any more; it may be some bytes less. Raises Damaged.

    The rest of it is zeros, whether they came or not.
    """
    first, data = head(path), path.read_bytes()
    begin, page = wal.begin(path.name, first.segment_bytes), 0
    for start in pages.starts(data, first):
        if start and pages.SHORT.unpack_from(data, start)[3] != begin + start:
            break
        page = start
    count = page + len(data[page : page + first.page_bytes].rstrip(b"\0"))
    return min(begin + -(-count // _ALIGNED) * _ALIGNED, begin + first.segment_bytes)
