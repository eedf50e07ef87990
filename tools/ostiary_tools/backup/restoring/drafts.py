"""A new file of a restore: beside its place under another name, until it is whole. Blocking."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ostiary_tools.errors import LockedOut, NotWritten, Refused

_DRAFT = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ATTEMPTS = 3


@contextmanager
def drafted(path: Path) -> Iterator[tuple[Path, int]]:
    """Its draft and a descriptor of that. The draft goes in any case; one that a kill left is the next one's. Raises ToolError."""
    try:
        refuse_existing(path)
        with _held(path.with_name(f".{path.name}.restoring")) as (draft, descriptor):
            yield draft, descriptor
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise NotWritten(f"the file could not be written: {why}", "see that its folder exists, and has room") from None


def publish(draft: Path, descriptor: int, path: Path) -> None:
    """Make it durable, and then found. Raises Refused where something is there by now."""
    os.fsync(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        refuse_existing(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def refuse_existing(path: Path) -> None:
    """Nothing is restored over what there is. Raises Refused."""
    if os.path.lexists(path):
        raise Refused("exists", "there is something of that name already", "a backup is restored to something new")


@contextmanager
def _held(draft: Path) -> Iterator[tuple[Path, int]]:
    descriptor = _alone(draft)
    try:
        try:
            os.ftruncate(descriptor, 0)
            yield draft, descriptor
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
    finally:
        os.close(descriptor)


def _alone(draft: Path) -> int:
    """The draft, locked: ours, and under no other name. One that was published by a restore that was killed then lives on."""
    for _ in range(_ATTEMPTS):
        descriptor = os.open(draft, _DRAFT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            break
        found = os.fstat(descriptor)
        if (found.st_nlink, found.st_uid, found.st_mode & 0o077) == (1, os.geteuid(), 0):
            return descriptor
        try:
            if found.st_nlink:  # else it went while we opened it, and what has its name now is another's
                draft.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
    raise LockedOut("another restore is making this file", "wait for it, or cancel it")
