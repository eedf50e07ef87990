"""A repository in a folder of this machine: what is written appears whole and durable, or not at all.

No link is followed, each step of a name is opened relative to the one before, and every name is checked, so nothing outside of the
folder is ever touched. What is being made lies in `staging/`, beside a lock file that the kernel frees when its holder dies.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from ostiary_tools.backup.storage.names import steps
from ostiary_tools.errors import LockedOut, NotWritten

STAGING = "staging"
_GUARD = "staging.lock"
_SMALL = 1 << 30
"""Bytes at most of a file that is read whole: a manifest of millions of tables has fewer."""
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Folder:
    """Storage in `root`, which is ours alone."""

    root: Path
    carried: bool = False
    """Whoever's it is, on whatever medium: then it is read and never written."""

    @property
    def at_once(self) -> int:
        """A disk of this machine is not waited for."""
        return 1

    def names(self, under: str) -> Sequence[str]:
        """All files and folders right below, sorted; none where there is no such folder."""
        try:
            with self._entered(steps(under)) as folder:
                return _names(folder)
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        """A small file whole."""
        with self.open(name) as file:
            if os.fstat(file.fileno()).st_size > _SMALL:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return file.read(_SMALL)

    def open(self, name: str) -> BinaryIO:
        """A regular file; anything else of that name is none."""
        *above, last = steps(name)
        with self._entered(above) as folder:
            file = os.open(last, _READ, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise FileNotFoundError(name)
        return open(file, "rb", buffering=0)  # noqa: PTH123 -- who asked closes it

    def write(self, name: str, data: bytes, *, new: bool = True) -> None:
        """Write it beside, make it durable, then give it its name."""
        *above, last = steps(name)
        draft = f"draft-{secrets.token_hex(8)}"
        with self._guarded(), self._entered([STAGING]) as staging, self._entered(above, make=True) as folder:
            try:
                with _Durable(os.open(draft, _NEW, 0o600, dir_fd=staging), "wb") as file:
                    _write_all(file, data)
                if new and _exists(last, folder):
                    raise FileExistsError(name)
                os.rename(draft, last, src_dir_fd=staging, dst_dir_fd=folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=staging)
            os.fsync(folder)

    def stage(self, name: str, work: str) -> "StagedFolder":
        """Begin a folder. What a killed process left of the same work goes first. Raises LockedOut while another is at it.

        What it committed is durable from then on: it may have been killed right before, and who finds it relies on it.
        """
        *above, last = steps(name)
        [work] = steps(work)
        with self._guarded(), self._entered([STAGING]) as staging:
            lock = _held(f"{work}.lock", staging)
            if lock is None:
                raise LockedOut("another process is making this", "wait for it, or cancel it")
            try:
                _remove(work, staging)
                os.mkdir(work, 0o700, dir_fd=staging)
                with suppress(FileNotFoundError), self._entered(above) as folder:
                    os.fsync(folder)
            except BaseException:
                os.close(lock)
                raise
        return StagedFolder(self, above, last, work, lock)

    def remove(self, name: str) -> None:
        """Move it out of sight, then take it away."""
        *above, last = steps(name)
        gone = f"gone-{secrets.token_hex(8)}"
        with self._guarded(), self._entered([STAGING]) as staging, suppress(FileNotFoundError):
            with self._entered(above) as folder:
                os.rename(last, gone, src_dir_fd=folder, dst_dir_fd=staging)
                os.fsync(folder)
            _remove(gone, staging)

    def sweep(self) -> int:
        """Take away what nobody holds."""
        with self._guarded(), self._entered([STAGING]) as staging:
            names = _names(staging)
            swept = 0
            for name in names:
                if name.endswith(".lock") or f"{name}.lock" not in names:
                    swept += self._swept(name, staging)
            return swept

    def _swept(self, name: str, staging: int) -> int:
        if not name.endswith(".lock"):
            _remove(name, staging)
            return 1
        lock = _held(name, staging)
        if lock is None:
            return 0
        _remove(name.removesuffix(".lock"), staging)
        os.unlink(name, dir_fd=staging)
        os.close(lock)
        return 1

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One at a time: what is made and not yet locked would look like something that was left over. Raises NotWritten."""
        if self.carried:
            raise NotWritten("a repository that was carried here is only read", "work with it where it was initialised")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._entered([]) as root:
            lock = os.open(_GUARD, _LOCK, 0o600, dir_fd=root)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with self._entered([STAGING], make=True):
                    yield
            finally:
                os.close(lock)

    @contextmanager
    def _entered(self, steps: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """That folder, opened step by step."""
        folder = os.open(self.root, _ENTER)
        try:
            if not self.carried:
                _ours_alone(folder)
            for step in steps:
                if make and not _exists(step, folder):
                    with suppress(FileExistsError):
                        os.mkdir(step, 0o700, dir_fd=folder)
                    os.fsync(folder)
                inner = os.open(step, _ENTER, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


class StagedFolder:
    """A folder in the making; its lock is held from the beginning until `close`."""

    def __init__(self, home: Folder, above: Sequence[str], last: str, work: str, lock: int) -> None:
        self._home = home
        self._above = above
        self._last = last
        self._work = work
        self._lock: int | None = lock

    def create(self, name: str) -> BinaryIO:
        """A new file, which is durable when it is closed."""
        [name] = steps(name)
        with self._home._entered([STAGING, self._work]) as folder:  # noqa: SLF001 -- one piece
            return cast("BinaryIO", _Durable(os.open(name, _NEW, 0o600, dir_fd=folder), "wb"))

    def commit(self) -> None:
        """Its files are durable since they were closed; now their names, then the folder's."""
        home = self._home
        with home._guarded(), home._entered([STAGING]) as staging, home._entered(self._above, make=True) as folder:  # noqa: SLF001
            if _exists(self._last, folder):
                raise FileExistsError(self._last)
            with home._entered([STAGING, self._work]) as staged:  # noqa: SLF001
                os.fsync(staged)
            os.rename(self._work, self._last, src_dir_fd=staging, dst_dir_fd=folder)
            os.fsync(folder)
            os.fsync(staging)

    def close(self) -> None:
        """Leave nothing of what was not committed."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            with self._home._guarded(), self._home._entered([STAGING]) as staging:  # noqa: SLF001
                _remove(self._work, staging)
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._work}.lock", dir_fd=staging)
        finally:
            os.close(lock)


class _Durable(FileIO):
    """What was written is on the disk when it is closed without an error."""

    def close(self) -> None:
        if not self.closed:
            try:
                os.fsync(self.fileno())
            finally:
                super().close()


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _names(folder: int) -> list[str]:
    return sorted(os.listdir(folder))


def _exists(name: str, folder: int) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False


def _held(name: str, folder: int) -> int | None:
    """The lock, now ours; nothing while somebody lives who has it."""
    lock = os.open(name, _LOCK, 0o600, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _ours_alone(folder: int) -> None:
    found = os.fstat(folder)
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise NotWritten("the folder of backups is open to others", "its operator makes it the server's own, with mode 0700")


def _remove(name: str, folder: int) -> None:
    """A file, or a folder with all in it; nothing is no error."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)
            return
        inner = os.open(name, _ENTER, dir_fd=folder)
        try:
            for below in _names(inner):
                _remove(below, inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)
