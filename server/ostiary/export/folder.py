"""The folder of exports: a file appears in it whole, under a name nobody had, or not at all.

All names are ours but the beginning of a file's name, and that is checked where it is
used. Everything is done relative to the opened folder, and no link is followed. Blocking.
"""

import fcntl
import os
import re
import secrets
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ostiary_tools.errors import NotWritten

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PART = re.compile(r"\.[0-9a-f]{32}\.part", re.ASCII)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NewFile:
    """A file that is being written: `open`, write to it, `keep` and `close` it, or `discard` it. All raise OSError and NotWritten.

    The private fields hold one invariant: what `open` opened is open until `close` or `discard`, which may be called at any time.
    """

    def __init__(self, directory: Path, name: str, suffix: str) -> None:
        self._directory = directory
        self._name = name
        self._suffix = suffix
        self._part = f".{secrets.token_hex(16)}.part"
        self._final: str | None = None
        self._folder: int | None = None
        self._file: int | None = None

    def open(self) -> None:
        """Make it, with the folder where that is missing, and remove what killed writers left there."""
        if not _NAME.fullmatch(self._name):
            raise NotWritten("the name is none for a file", "use letters, digits, `_` and `-`, at most 64")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self._folder)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise NotWritten("the export folder is open to others", "its operator makes it the server's own, with mode 0700")
        # One at a time: a file that is made and not yet locked would look like one that was left over.
        fcntl.flock(self._folder, fcntl.LOCK_EX)
        try:
            _remove_left_over(self._folder)
            self._file = os.open(self._part, _NEW, 0o600, dir_fd=self._folder)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            fcntl.flock(self._folder, fcntl.LOCK_UN)

    def used(self) -> int:
        """Bytes of all files in the folder now."""
        assert self._folder is not None  # noqa: S101 -- it is open
        with os.scandir(self._folder) as entries:
            return sum(map(_size, entries))

    def write(self, data: memoryview) -> None:
        """Write all of it."""
        assert self._file is not None  # noqa: S101 -- it is open
        while data:
            data = data[os.write(self._file, data) :]

    def keep(self) -> Path:
        """Let it appear under a name of its own that begins with `name`."""
        assert self._file is not None and self._folder is not None  # noqa: S101, PT018 -- it is open
        os.fsync(self._file)
        final = f"{self._name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.{self._suffix}"
        # A link fails where something has that name, a rename would take its place.
        os.link(self._part, final, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
        self._final = final
        os.unlink(self._part, dir_fd=self._folder)
        os.fsync(self._folder)
        return self._directory / final

    def close(self) -> None:
        """Close it."""
        for opened in (self._file, self._folder):
            if opened is not None:
                os.close(opened)
        self._file = self._folder = None

    def discard(self) -> None:
        """Close it and leave nothing of it, also when it was kept."""
        if self._file is not None:
            for name in filter(None, (self._part, self._final)):
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._folder)
        self.close()


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # another export ended meanwhile
        return 0


def _remove_left_over(folder: int) -> None:
    """Remove what writers left that were killed: the kernel has freed their locks."""
    for name in os.listdir(folder):
        if _PART.fullmatch(name):
            with suppress(OSError):
                left = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
                try:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=folder)
                finally:
                    os.close(left)
