"""A SQLite backup as a new file. Until it is whole and equal to its fingerprint it has another name beside it."""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ostiary_tools.backup import sqlite
from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.engines.sqlite import stoppable
from ostiary_tools.backup.manifest import Content, Fingerprint, Kind
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Kept, Tell, chunks
from ostiary_tools.backup.restoring.feeding import check, members
from ostiary_tools.errors import Damaged, LockedOut, NotWritten, Refused

_DRAFT = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_EXISTS = "there is something of that name already"
_NEW = "a backup is restored to something new"


async def into_file(kept: Kept, path: Path, tell: Tell) -> None:
    """The backup as the new file `path`. Raises ToolError; then there is no such file."""
    fingerprint = kept.manifest.fingerprint
    if kept.manifest.kind is not Kind.SQLITE or fingerprint is None:
        raise Refused("kind", "this is no backup of a SQLite file", "restore it into a new database or folder")
    if await asyncio.to_thread(os.path.lexists, path):
        raise Refused("exists", _EXISTS, _NEW)
    stop = threading.Event()
    async with telling(tell, "restored", kept.manifest.plain_bytes) as pace:
        await stoppable(stop, _restore, kept, fingerprint, path, pace.add, stop)


def _restore(kept: Kept, fingerprint: Fingerprint, path: Path, told: Callable[[int], None], stop: threading.Event) -> None:
    check(kept)
    try:
        with _draft(path) as (draft, descriptor):
            _write(kept, descriptor, told, stop)
            sqlite.check(draft)
            now = sqlite.printed(draft, fingerprint.database, lambda _: None, stop)
            if found := compared(fingerprint, now):
                raise Damaged(found[0].name, f"the restored file is not what was backed up: {found[0]}", "use another backup")
            os.link(draft, path)
    except FileExistsError:
        raise Refused("exists", _EXISTS, _NEW) from None
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise NotWritten(f"the file could not be written: {why}", "see that its folder exists, and has room") from None


@contextmanager
def _draft(path: Path) -> Iterator[tuple[Path, int]]:
    """A file beside it that goes in any case, and whose name a killed restore leaves to the next one."""
    draft = path.with_name(f".{path.name}.restoring")
    descriptor = os.open(draft, _DRAFT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedOut("another restore is making this file", "wait for it, or cancel it") from None
        try:
            os.ftruncate(descriptor, 0)
            yield draft, descriptor
        finally:
            with suppress(FileNotFoundError):
                draft.unlink()
            _settled(path.parent)
    finally:
        os.close(descriptor)


def _write(kept: Kept, descriptor: int, told: Callable[[int], None], stop: threading.Event) -> None:
    [member] = members(kept.manifest, Content.SQLITE)
    with kept.plain(member) as plain, open(descriptor, "wb", closefd=False) as file:
        for piece in chunks(plain):
            if stop.is_set():
                raise sqlite.Stopped
            file.write(piece)
            told(len(piece))
    os.fsync(descriptor)


def _settled(folder: Path) -> None:
    """Names in a folder are durable once the folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
