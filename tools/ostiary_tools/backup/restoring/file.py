"""A SQLite backup as a new file. Until it is whole and equal to its fingerprint it has another name beside it."""

import threading
from collections.abc import Callable
from pathlib import Path

from ostiary_tools.backup import sqlite
from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.engines.sqlite import stoppable
from ostiary_tools.backup.manifest import Content, Fingerprint, Kind
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Kept, Tell, chunks
from ostiary_tools.backup.restoring.drafts import drafted, publish
from ostiary_tools.backup.restoring.feeding import members
from ostiary_tools.errors import Damaged, Refused


async def into_file(kept: Kept, path: Path, tell: Tell) -> None:
    """The backup as the new file `path`. Raises ToolError; then there is no such file."""
    fingerprint = kept.manifest.fingerprint
    if kept.manifest.kind is not Kind.SQLITE or fingerprint is None:
        raise Refused("kind", "this is no backup of a SQLite file", "restore it into a new database or folder")
    stop = threading.Event()
    async with telling(tell, "restored", kept.manifest.plain_bytes) as pace:
        await stoppable(stop, _restore, kept, fingerprint, path, pace.add, stop)


def _restore(kept: Kept, fingerprint: Fingerprint, path: Path, told: Callable[[int], None], stop: threading.Event) -> None:
    with drafted(path) as (draft, descriptor):
        _write(kept, descriptor, told, stop)
        sqlite.check(draft)
        now = sqlite.printed(draft, fingerprint.database, lambda _: None, stop)
        if found := compared(fingerprint, now):
            raise Damaged(found[0].name, f"the restored file is not what was backed up: {found[0]}", "use another backup")
        publish(draft, descriptor, path)


def _write(kept: Kept, descriptor: int, told: Callable[[int], None], stop: threading.Event) -> None:
    [member] = members(kept.manifest, Content.SQLITE)
    with kept.plain(member) as plain, open(descriptor, "wb", closefd=False) as file:
        for piece in chunks(plain):
            if stop.is_set():
                raise sqlite.Stopped
            file.write(piece)
            told(len(piece))
