"""A drill: a backup is restored on a private ground, started, compared, looked through and thrown away.

It ends with the first damage, which is named and kept as evidence like a success. What keeps a drill from being held (no key, no
programs, no room) says nothing of the backup: it is raised, and nothing is recorded.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from ostiary_tools.backup.evidence import Check, Evidence, record
from ostiary_tools.backup.making import called_off, not_written
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.scratch import Ground, Scratch, check_pages, serving
from ostiary_tools.backup.soundness import sound
from ostiary_tools.backup.spool import spooled
from ostiary_tools.backup.verification import to_compare, verify
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged

Examine = Callable[[Scratch, StoredBackup], Awaitable[str]]
"""Looks at a started copy for what only the installation knows, its audit log. What it found in words, empty where there is nothing
to find. Raises Damaged."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What a backup was restored to, and compared with its fingerprint: a stopped data directory."""

    data_dir: Path
    ground: Ground
    superuser: str
    words: str
    """What was compared."""


class Restoring(Protocol):
    """Makes a copy in a folder; of a SQLite file none is left to look at. Raises Damaged where it is not what was backed up."""

    async def __call__(self, kept: StoredBackup, folder: Path, tell: Tell) -> Copy | str:
        """The copy, or what was compared in words."""
        ...


@dataclass(frozen=True, slots=True)
class Drill:
    """How drills are held here."""

    restoring: Restoring
    examine: Examine
    spools: Path
    """Where a copy lies while it is looked at; it needs as much room as the database."""
    account: Account
    """Whom servers of copies run as."""
    by: str
    """The version of what holds it."""


async def hold(drill: Drill, repository: Repository, id_: str, tell: Tell) -> Evidence:
    """Hold it, and keep what was found. Raises ToolError where it could not be held, or not be recorded."""
    kept = await asyncio.to_thread(repository.load, id_)
    repository.writer()
    started = datetime.now(UTC)
    async with spooled(drill.spools, drill.account) as folder:
        checks = await _Held(drill, repository, kept, folder, tell).checks()
    manifest = sha256(encode(kept.manifest)).hexdigest()
    evidence = Evidence(id_, manifest, started, datetime.now(UTC), drill.by, tuple(checks))
    try:
        await called_off(lambda: None, record, repository, evidence)
    except OSError as error:
        raise not_written(error) from None
    return evidence


class _Held:
    """One drill, step by step."""

    def __init__(self, drill: Drill, repository: Repository, kept: StoredBackup, folder: Path, tell: Tell) -> None:
        self._drill = drill
        self._repository = repository
        self._kept = kept
        self._folder = folder
        self._tell = tell
        self._copy: Copy | None = None

    async def checks(self) -> list[Check]:
        """Until the first damage."""
        done: list[Check] = []
        for name, step in self._steps():
            began = time.monotonic()
            try:
                words, damage = await step(), ""
            except Damaged as found:
                words, damage = found.message, found.what
            if words:
                done.append(Check(name, words, round(time.monotonic() - began, 3), damage))
            if damage:
                break
        return done

    def _steps(self) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [("bytes", self._bytes), ("restore", self._restored)]
        if self._kept.manifest.kind is not Kind.SQLITE:
            steps += [("relations", self._sound), ("audit", self._examined), ("pages", self._pages)]
        return steps

    async def _bytes(self) -> str:
        async with telling(self._tell, "read", to_compare(self._kept)) as pace:
            found = await called_off(lambda: None, verify, self._repository, self._kept.manifest.id, pace.add)
        for damage in found.damages:
            raise damage
        return f"{len(self._kept.manifest.members)} members are what was kept, byte by byte"

    async def _restored(self) -> str:
        made = await self._drill.restoring(self._kept, self._folder, self._tell)
        if isinstance(made, str):
            return made
        self._copy = made
        return made.words

    async def _sound(self) -> str:
        copy = self._made()
        await self._tell(0, None, "looking through tables and indexes")
        async with serving(copy.data_dir, copy.ground, copy.superuser) as scratch:
            looked = await sound(scratch)
            await scratch.stop()
        return f"{looked.tables} tables and {looked.indexes} indexes of {looked.databases} databases are sound"

    async def _examined(self) -> str:
        copy = self._made()
        async with serving(copy.data_dir, copy.ground, copy.superuser) as scratch:
            words = await self._drill.examine(scratch, self._kept)
            await scratch.stop()
        return words

    async def _pages(self) -> str:
        copy = self._made()
        await self._tell(0, None, "comparing every page with its checksum")
        return f"{await check_pages(copy.data_dir, copy.ground):,} pages agree with their checksums"

    def _made(self) -> Copy:
        if self._copy is None:
            raise AssertionError("a copy is looked at that was not made")
        return self._copy
