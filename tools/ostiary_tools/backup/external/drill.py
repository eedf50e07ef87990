"""A drill of a backup that another tool keeps: it restores it into a spool of ours, and the copy is looked through like our own.

What is proven is that the tool gives back a cluster which starts, is consistent and is sound. What rows it had nobody has noted, so
none are compared.
"""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import asyncpg

from ostiary_tools.backup.evidence import Check, Evidence, record
from ostiary_tools.backup.external.port import External, contained
from ostiary_tools.backup.making import called_off, not_written
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.programs import Sought, to_serve
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.restoring.folders import let_pass, settle
from ostiary_tools.backup.scratch import SERVER, Ground, Scratch, check_pages, has_checksums, serving
from ostiary_tools.backup.soundness import databases, sound
from ostiary_tools.backup.spool import spooled
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged, ProgramFailed, Unavailable

EXTERNAL = "external"
"""Where evidence of such drills lies in a repository, in a folder by name."""
_OURS = re.compile(
    r"no space left|out of memory|cannot allocate|could not fork|permission denied|it gave no reason|lock file"
    r"|pg_verifybackup not found",
    re.IGNORECASE,
)
"""Why tools and servers end for reasons that are this machine's."""
_RECOVERY = {"recovery_target": "immediate", "recovery_target_action": "promote", "hot_standby": "on", "fsync": "off"}
_SIGNALS = ("recovery.signal", "standby.signal")
"""What the tool, or the server that was copied, had in mind for it."""
_POLL_S = 0.05
_ALWAYS = "template1"
"""A database that every cluster has."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where such drills are held."""

    spools: Path
    account: Account
    """Whom servers of copies run as."""
    sought: Sought
    superuser: str
    """Of the clusters that are restored."""
    by: str
    runtime_dir: Path | None = None


def folder(name: str) -> str:
    """Of evidence of what has that name."""
    return f"{EXTERNAL}/{name}"


async def hold(external: External, backup: Manifest, place: Place, repository: Repository, tell: Tell) -> Evidence:
    """Hold it, and keep what was found. Raises ToolError where it could not be held, or not be recorded."""
    repository.writer()
    started = datetime.now(UTC)
    async with spooled(place.spools, external.tool.account or place.account) as spool:
        checks = await _Held(external, backup, place, spool, tell).checks()
    stated = sha256(encode(backup)).hexdigest()
    evidence = Evidence(backup.id, stated, started, datetime.now(UTC), place.by, tuple(checks))
    try:
        await called_off(lambda: None, record, repository, evidence, folder(backup.datasource))
    except OSError as error:
        raise not_written(error) from None
    return evidence


class _Held:
    """One drill, step by step."""

    def __init__(self, external: External, backup: Manifest, place: Place, spool: Path, tell: Tell) -> None:
        self._external = external
        self._backup = backup
        self._place = place
        self._spool = spool
        self._tell = tell
        self._open = AsyncExitStack()
        self._servers: list[Scratch] = []

    async def checks(self) -> list[Check]:
        """Until the first damage. Raises ToolError for what is not the backup's."""
        steps = (("restore", self._restored), ("start", self._started), ("relations", self._sound), ("pages", self._pages))
        done: list[Check] = []
        async with self._open:
            for name, step in steps:
                await self._tell(0, None, f"drill of {self._backup.id}: {name}")
                began = time.monotonic()
                words, damage = await _found(step)
                done.append(Check(name, words, round(time.monotonic() - began, 3), damage))
                if damage:
                    break
        return done

    async def _restored(self) -> str:
        await asyncio.to_thread(self._vacant)
        await self._external.restore(self._backup, self._data_dir)
        await asyncio.to_thread(self._taken_over)
        return f"`{self._external.tool.program.name}` restored its backup `{self._backup.id}`"

    async def _started(self) -> str:
        ground = await self._ground()
        server = await self._open.enter_async_context(serving(self._data_dir, ground, self._place.superuser, _RECOVERY))
        self._servers.append(server)
        await _consistent(server)
        found = await databases(server)
        return f"PostgreSQL {ground.programs.version} recovered it until it was consistent, and lets in to {len(found)} databases"

    async def _sound(self) -> str:
        looked = await sound(self._servers[-1])
        return f"{looked.tables} tables and {looked.indexes} indexes of {looked.databases} databases are sound"

    async def _pages(self) -> str:
        ground = await self._ground()
        await self._servers[-1].stop()
        if not await has_checksums(self._data_dir, ground):
            return "its pages have no checksums to compare with"
        return f"{await check_pages(self._data_dir, ground):,} pages agree with their checksums"

    async def _ground(self) -> Ground:
        major = int(self._backup.server_version.split(".")[0])
        programs = await asyncio.to_thread(to_serve, major, self._place.account, self._place.sought)
        return Ground(programs, self._place.account, self._place.runtime_dir)

    @property
    def _data_dir(self) -> Path:
        return self._spool / "copy" / "data"

    def _vacant(self) -> None:
        """An empty folder that is the tool's."""
        for path in (self._data_dir.parent, self._data_dir):
            path.mkdir(mode=0o700)
            _give(path, self._external.tool.account)

    def _taken_over(self) -> None:
        """What was restored, for whom servers of copies run as. Nothing in it leads out of it."""
        contained(self._data_dir.parent)
        self._data_dir.chmod(0o700)
        for path in (self._data_dir, *self._data_dir.rglob("*")):
            _give(path, self._place.account)
        for name in _SIGNALS:
            (self._data_dir / name).unlink(missing_ok=True)
        settle(self._data_dir, self._place.account)
        for path in (self._spool.parent, self._spool, self._data_dir.parent):
            let_pass(path, self._place.account)


def _give(path: Path, account: Account | None) -> None:
    if account is not None and account.uid != os.geteuid():
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


async def _found(step: Callable[[], Awaitable[str]]) -> tuple[str, str]:
    """In words, and what is damaged."""
    try:
        return await step(), ""
    except Damaged as found:
        if _OURS.search(found.message):
            raise Unavailable(found.message, "see what this machine lacks, and hold the drill again") from None
        return found.message, found.what
    except ProgramFailed as error:
        if _OURS.search(error.message):
            raise
        return error.message, SERVER


async def _consistent(server: Scratch) -> None:
    """Wait until recovery has ended, which it does only where the copy is consistent. Raises Damaged."""
    connection = None
    try:
        connection = await server.connect(_ALWAYS)
        while True:
            if not await connection.fetchval("SELECT pg_is_in_recovery()"):
                return
            await asyncio.sleep(_POLL_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, Damaged):
        raise await server.end() from None
    finally:
        if connection is not None:
            connection.terminate()
