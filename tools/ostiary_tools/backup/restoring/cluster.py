"""A backup of a cluster as a running copy, recovered to exactly the moment that was fingerprinted; or a data directory for people.

The copy is recovered to the first commit that the backup's snapshot does not see, and held there. A copy that did not get there, or
that holds anything else, is an error and goes again.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import asyncpg

from ostiary_tools.backup import wal
from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.manifest import Fingerprint, Kind, Manifest
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Kept, Tell
from ostiary_tools.backup.programs import Sought, to_serve
from ostiary_tools.backup.restoring.combining import laid_out
from ostiary_tools.backup.restoring.folders import hand_over, let_pass, settle, staged, standing, steps
from ostiary_tools.backup.restoring.unpacking import Unpacked, cluster_facts
from ostiary_tools.backup.scratch import Ground, Scratch, check_pages, has_checksums, serving
from ostiary_tools.backup.streams import Stopped
from ostiary_tools.backup.wal_archive.boundary import boundary
from ostiary_tools.errors import Damaged, Refused, Unavailable

_POLL_S = 0.05
_TOLD_EVERY = 20
RECOVERY = {
    "hot_standby": "on",
    "recovery_target": "",
    "recovery_target_time": "",
    "recovery_target_xid": "",
    "recovery_target_name": "",
    "recovery_target_inclusive": "off",
    "recovery_target_timeline": "current",
    "recovery_target_action": "pause",
}
_NAMED = 5
"""Differences that are told; there may be thousands."""
_STATE = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE 'over' END,
    pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()
"""
_EARLY = ("the write-ahead log of the backup ends before its point", "use another backup")


@dataclass(frozen=True, slots=True)
class Halted:
    """How far a recovery came."""

    state: str
    """`paused`, or `over` where it could not be held."""
    place: str
    """The end of the last record that was repeated, as an LSN; empty where none was."""
    ended_at: datetime | None
    """When the last transaction ended that the server tells of."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A data directory that holds what was backed up; its server is stopped."""

    data_dir: Path
    steps: tuple[str, ...]
    """What a person does to use it, in order."""


async def into_folder(kept: Kept, target: Path, sought: Sought, tell: Tell, *, runtime_dir: Path | None = None) -> Restored:
    """The backup as a data directory where nothing is yet. Raises ToolError; then nothing is there."""
    ground = await asyncio.to_thread(ground_of, kept.manifest, target, sought, runtime_dir)
    async with staged(target) as stage:
        data_dir = stage / "data"
        async with recovered(kept, data_dir, ground, tell) as server:
            await server.stop()
        if await has_checksums(data_dir, ground):
            await tell(kept.manifest.plain_bytes, None, "checking every page")
            await check_pages(data_dir, ground)
        await asyncio.to_thread(hand_over, data_dir, target, ground.account)
    return Restored(target, steps(target, ground))


@asynccontextmanager
async def recovered(kept: Kept, data_dir: Path, ground: Ground, tell: Tell, *, durable: bool = True) -> AsyncIterator[Scratch]:
    """A server of a copy that holds exactly what was fingerprinted, and takes statements while the block lasts.

    The folder that `data_dir` is made in is ours and private; the server's user may pass it from when all is unpacked. A copy that
    is thrown away again need not be `durable`. Raises Damaged where it is not what was backed up.
    """
    facts = cluster_facts(kept.manifest)
    total = sum(one.manifest.plain_bytes for one in await asyncio.to_thread(chain, kept))
    async with telling(tell, "unpacked", total) as pace:
        stop = threading.Event()
        copy = await laid_out(kept, data_dir, ground, partial(unless, stop, pace.add), stop.set)
    target = await _target(copy)
    await asyncio.to_thread(let_pass, data_dir.parent, ground.account)
    await asyncio.to_thread(settle, data_dir, ground.account)
    chosen = {**RECOVERY, "recovery_target_lsn": wal.shown(target), "fsync": "on" if durable else "off"}
    async with serving(data_dir, ground, facts.superuser, chosen) as server:
        fingerprint = kept.manifest.fingerprint
        database = fingerprint.database if fingerprint else "template1"
        # One that could not be held is over; nor does it end before its target.
        await halted(server, database, target, partial(tell, kept.manifest.plain_bytes, None), _EARLY)
        if fingerprint is not None:
            await tell(kept.manifest.plain_bytes, None, "comparing every row")
            await _compare(server, fingerprint)
        await promoted(server, database)
        yield server


def unless(stop: threading.Event, told: Callable[[int], None], count: int) -> None:
    """Tell of so many bytes more. Raises Stopped once it is called off."""
    if stop.is_set():
        raise Stopped
    told(count)


async def _target(copy: Unpacked) -> int:
    """Where in the log the backup's snapshot ends."""
    snapshot = wal.Snapshot.read(copy.point.snapshot)
    found = await called_off(lambda: None, boundary, copy.data_dir / "pg_wal", copy.stretch, snapshot)
    if found is None:
        raise Damaged("wal", "what was fingerprinted belongs to no one place in the backup's log", "use another backup")
    return found


async def halted(
    server: Scratch, database: str, target: int, say: Callable[[str], Awaitable[None]], early: tuple[str, str]
) -> Halted:
    """Wait until recovery is held at its target or over: a server that merely lets in may not be there yet.

    Raises Damaged where the log ends before the target; `early` is how that is said, and its hint.
    """
    connection, turn = None, 0
    try:
        connection = await server.connect(database)
        while True:
            state, place, ended_at = await connection.fetchrow(_STATE)
            if state in {"paused", "over"}:
                return Halted(state, place or "", ended_at)
            if not turn % _TOLD_EVERY:
                await say(f"recovering: at {place or 'the beginning'} of {wal.shown(target)}")
            turn += 1
            await asyncio.sleep(_POLL_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, Damaged, Unavailable):
        if not await server.gone():
            raise
        raise await _ended(server, early) from None
    finally:
        if connection is not None:
            connection.terminate()


async def _ended(server: Scratch, early: tuple[str, str]) -> Damaged | Unavailable:
    """Why, once it has; a server that ends closes its sessions first."""
    error = await server.end()
    return Damaged("wal", *early) if "recovery ended before" in error.message else error


async def _compare(server: Scratch, before: Fingerprint) -> None:
    connection = await server.connect(before.database)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            now = await taken(connection, before.database, Kind.FULL, way=before.way, workers=1)
    finally:
        connection.terminate()
    if found := compared(before, now):
        named = "; ".join(map(str, found[:_NAMED]))
        raise Damaged(found[0].name, f"the copy is not what was backed up: {named}", "use another backup")


async def promoted(server: Scratch, database: str) -> None:
    """Let it take statements, on a timeline of its own. Raises Damaged and Unavailable."""
    connection = await server.connect(database)
    try:
        if not await connection.fetchval("SELECT NOT pg_is_in_recovery() OR pg_promote(true, 600)"):
            raise Unavailable("the copy's server was not done with its recovery in ten minutes", "try again")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        raise await _ended(server, _EARLY) from None
    finally:
        connection.terminate()


def ground_of(manifest: Manifest, target: Path, sought: Sought, runtime_dir: Path | None) -> Ground:
    """What a copy of it stands on. Raises Refused and Unavailable before anything is written."""
    if not manifest.kind.physical:
        raise Refused("kind", "this is no backup of a cluster", "a logical one is restored into a new database")
    account = standing(target)
    return Ground(to_serve(major(manifest), account, sought), account, runtime_dir)


def major(manifest: Manifest) -> int:
    """Of the server that was backed up. Raises Damaged."""
    try:
        return int(manifest.server_version.split(".")[0])
    except ValueError:
        raise Damaged("manifest", "the version that the backup names cannot be read", "use another backup") from None
