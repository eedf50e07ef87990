"""A drill: a backup is restored on a private ground, started, compared, looked through and thrown away.

It ends with the first damage, which is named and kept as evidence like a success. What keeps a drill from being held (no key, no
programs, no room) says nothing of the backup: it is raised, and nothing is recorded.
"""

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.checking import check
from ostiary_tools.backup.evidence import Check, Evidence, record
from ostiary_tools.backup.making import called_off, not_written
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.scratch import SERVER, Ground, Scratch, check_pages, has_checksums, serving
from ostiary_tools.backup.soundness import databases, sound
from ostiary_tools.backup.spool import spooled
from ostiary_tools.embedded.account import Account, blocked
from ostiary_tools.errors import Damaged, ProgramFailed, Unavailable

Examine = Callable[[Scratch, StoredBackup], Awaitable[str]]
"""Looks at a started copy for what only the installation knows, its audit log. What it found in words, empty where there is nothing
to find. Raises Damaged."""
_OURS = re.compile(
    r"no space left|out of memory|cannot allocate|could not fork|ended with an error: it gave no reason", re.IGNORECASE
)
"""How programs end for reasons that are this machine's: it is full, or it killed them."""
_READERS = ("`pg_restore`", "`pg_checksums`")
"""The programs whose failure is a finding."""


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


class Moving(Protocol):
    """Makes another copy and brings it to some moment after the backup. Raises Damaged where it does not come there."""

    def __call__(
        self, repository: Repository, kept: StoredBackup, folder: Path, tell: Tell
    ) -> AbstractAsyncContextManager[tuple[Scratch, str] | None]:
        """Its server, and what was seen in words; nothing where no log is kept that leads on."""
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
    moving: Moving | None = None
    """Of backups of clusters."""


async def hold(drill: Drill, repository: Repository, id_: str, tell: Tell) -> Evidence:
    """Hold it, and keep what was found. Raises ToolError where it could not be held, or not be recorded."""
    kept = await asyncio.to_thread(repository.load, id_)
    repository.writer()
    started = datetime.now(UTC)
    async with spooled(drill.spools, drill.account) as folder:
        _passable(folder, drill.account)
        checks = await _Held(drill, repository, kept, folder, tell).checks()
    manifest = sha256(encode(kept.manifest)).hexdigest()
    evidence = Evidence(id_, manifest, started, datetime.now(UTC), drill.by, tuple(checks))
    try:
        await called_off(lambda: None, record, repository, evidence)
    except OSError as error:
        raise not_written(error) from None
    return evidence


def _passable(folder: Path, account: Account) -> None:
    barrier = blocked(folder, account)
    if barrier is not None:
        message = f"servers of copies run as the user `{account.name}`, who may not pass `{barrier}`"
        raise Unavailable(message, f"let others pass with `chmod o+x {barrier}`, or choose another home")


class _Held:
    """One drill, step by step."""

    def __init__(self, drill: Drill, repository: Repository, kept: StoredBackup, folder: Path, tell: Tell) -> None:
        self._drill = drill
        self._repository = repository
        self._kept = kept
        self._folder = folder
        self._tell = tell
        self._open = AsyncExitStack()
        self._copy: Copy | None = None
        self._server: Scratch | None = None

    async def checks(self) -> list[Check]:
        """Until the first damage. Raises ToolError for what is not the backup's."""
        done: list[Check] = []
        async with self._open:
            for name, step in self._steps():
                began = time.monotonic()
                words, damage = await self._found(name, step)
                if words:
                    done.append(Check(name, words, round(time.monotonic() - began, 3), damage))
                if damage:
                    break
        return done

    def _steps(self) -> list[tuple[str, Callable[[], Awaitable[str]]]]:
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [("bytes", self._bytes), ("restore", self._restored)]
        if self._kept.manifest.kind is not Kind.SQLITE:
            steps += [("start", self._started), ("relations", self._sound), ("audit", self._examined), ("pages", self._pages)]
        if self._kept.manifest.kind.physical:
            steps += [("moment", self._moved)]
        return steps

    async def _found(self, name: str, step: Callable[[], Awaitable[str]]) -> tuple[str, str]:
        """In words, and what is damaged."""
        try:
            return await step(), ""
        except Damaged as found:
            if self._server is not None:
                await self._server.not_killed()
            if found.what == SERVER and _OURS.search(found.message):
                raise Unavailable(found.message, "see what this machine lacks, and hold the drill again") from None
            return found.message, found.what
        except ProgramFailed as error:
            if not error.message.startswith(_READERS) or _OURS.search(error.message):
                raise
            return error.message, name  # what is as it was kept, and is not taken by what reads it, was kept wrong
        except Unavailable:
            if self._server is None or not self._server.over:
                raise
            end = await self._server.end()
            if not isinstance(end, Damaged):
                raise end from None
            return end.message, end.what

    async def _bytes(self) -> str:
        found = await check(self._repository, self._kept, self._tell)
        for damage in found.damages:
            raise damage
        if not self._kept.readable:
            raise Unavailable("no key that opens this backup is here", "name one in `[backup] identity`, or give the recovery key")
        links = await asyncio.to_thread(chain, self._kept)
        of = f" of {len(links)} backups" if len(links) > 1 else ""
        return f"{sum(len(one.manifest.members) for one in links)} members{of} are what was kept, byte by byte"

    async def _restored(self) -> str:
        made = await self._drill.restoring(self._kept, self._folder, self._tell)
        if isinstance(made, str):
            return made
        self._copy = made
        return made.words

    async def _started(self) -> str:
        """Once more: a copy is worth what it is after a stop."""
        copy = self._made()
        self._server = await self._open.enter_async_context(serving(copy.data_dir, copy.ground, copy.superuser))
        found = await databases(self._server)
        return f"PostgreSQL {copy.ground.programs.version} started on it, and lets in to {len(found)} databases"

    async def _sound(self) -> str:
        await self._tell(0, None, "looking through tables and indexes")
        looked = await sound(self._serving())
        return f"{looked.tables} tables and {looked.indexes} indexes of {looked.databases} databases are sound"

    async def _examined(self) -> str:
        return await self._drill.examine(self._serving(), self._kept)

    async def _pages(self) -> str:
        copy = self._made()
        await self._serving().stop()
        if not await has_checksums(copy.data_dir, copy.ground):
            return "its pages have no checksums to compare with"
        await self._tell(0, None, "comparing every page with its checksum")
        return f"{await check_pages(copy.data_dir, copy.ground):,} pages agree with their checksums"

    async def _moved(self) -> str:
        """Another copy, at some moment that the kept log leads to, in the place of the first."""
        if self._drill.moving is None:
            return ""
        await asyncio.to_thread(shutil.rmtree, self._made().data_dir)
        async with self._drill.moving(self._repository, self._kept, self._folder, self._tell) as moved:
            if moved is None:
                return ""
            server, words = moved
            audited = await self._drill.examine(server, self._kept)
            await server.stop()
        return "; ".join(filter(None, (words, audited)))

    def _made(self) -> Copy:
        if self._copy is None:
            raise AssertionError("a copy is looked at that was not made")
        return self._copy

    def _serving(self) -> Scratch:
        if self._server is None:
            raise AssertionError("a copy is asked that was not started")
        return self._server
