"""A cluster as it was at a moment: the newest backup before it, and the kept log up to there and not one record further.

A server in recovery says little: it lets in before it is there, and where its log ends too soon it takes that for the end. So the
moment is found in the log before the server starts, recovery is held there, and before the copy takes a statement it must have
stopped at that very record, with the transaction before it as its last one.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ostiary_tools.backup import wal
from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.moment import Moment, Time, written
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring import clock
from ostiary_tools.backup.restoring.bases import Asked, Way, too_early, ways
from ostiary_tools.backup.restoring.cluster import RECOVERY, ground_of, halted, promoted, unless
from ostiary_tools.backup.restoring.combining import laid_out
from ostiary_tools.backup.restoring.folders import hand_over, let_pass, settle, staged, steps
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.restoring.survey import Stop, located
from ostiary_tools.backup.restoring.unpacking import Unpacked, cluster_facts
from ostiary_tools.backup.scratch import AT_LEAST_AS, Ground, Scratch, check_pages, control_data, has_checksums, serving
from ostiary_tools.errors import Damaged

_ALWAYS = "template1"
"""A database that every cluster has at every moment."""
_HINT = "what was restored is gone again; say where it failed to whoever keeps the server, and try an earlier moment"
_EARLY = ("recovery came to an end before the moment was reached", _HINT)


@dataclass(frozen=True, slots=True)
class Reached:
    """The proof that a copy is what it was at a moment."""

    base: StoredBackup
    moment: Moment
    position: int
    """Where in the log recovery stopped."""
    last: datetime | None
    """When the last transaction ended that is in it; `None` where none has since its base."""
    following: datetime | None
    """When the next one ended, by the log; `None` where it was not looked for, or the log holds none."""
    clock: clock.Clock | None
    timeline: int
    """That the copy is of."""

    @property
    def words(self) -> str:
        """In a sentence."""
        told = f"it is at `{written(self.moment)}`, stopped at {wal.shown(self.position)} of the log by its target"
        last = f"its last transaction ended {_shown(self.last)}" if self.last else "no transaction ended since its base"
        following = f", the log's next one {_shown(self.following)}" if self.following else ""
        read = f"; its clock stands at {_shown(self.clock.at)}" if self.clock else ""
        return f"{told}: {last}{following}{read}"


@dataclass(frozen=True, slots=True)
class Restored:
    """A data directory as it was at a moment; its server is stopped."""

    data_dir: Path
    reached: Reached
    steps: tuple[str, ...]
    """What a person does to use it, in order."""
    found: tuple[str, ...] = ()
    """What else was looked at in it, in words."""


Examine: TypeAlias = Callable[[Scratch, Reached], Awaitable[str]]
"""Looks at a started copy for what only the installation knows. What it found in words, empty where there is nothing to find."""


class TooEarly(Exception):
    """The moment comes before the base was whole."""


async def into_folder(
    asked: Asked, target: Path, sought: Sought, tell: Tell, *, runtime_dir: Path | None = None, examine: Examine | None = None
) -> Restored:
    """The cluster as it was, as a data directory where nothing is yet. Raises ToolError; then nothing is there."""
    found = await asyncio.to_thread(ways, asked)
    for way in found:
        ground = await asyncio.to_thread(ground_of, way.base.manifest, target, sought, runtime_dir)
        async with staged(target) as stage:
            data_dir = stage / "data"
            try:
                async with recovered_to(asked.moment, way, data_dir, ground, tell) as (server, reached):
                    words = await examine(server, reached) if examine else ""
                    await server.stop()
            except TooEarly:
                continue
            if await has_checksums(data_dir, ground):
                await tell(way.base.manifest.plain_bytes, None, "checking every page")
                await check_pages(data_dir, ground)
            await asyncio.to_thread(hand_over, data_dir, target, ground.account)
        return Restored(target, reached, steps(target, ground), (words,) if words else ())
    raise too_early(found[-1].base)


@asynccontextmanager
async def recovered_to(
    moment: Moment, way: Way, data_dir: Path, ground: Ground, tell: Tell, *, durable: bool = True
) -> AsyncIterator[tuple[Scratch, Reached]]:
    """A server of a copy that is at the moment, as was seen, and takes statements while the block lasts.

    The folder that `data_dir` is made in is ours and private. Raises Damaged where the copy did not come to the moment, and
    TooEarly where its backup was whole only after.
    """
    copy = await _unpacked(way.base, data_dir, ground, tell)
    stop = await _located(moment, way, copy, ground, tell)
    await asyncio.to_thread(settle, data_dir, ground.account)
    chosen = {**RECOVERY, **await _told(stop, way, data_dir, ground), "fsync": "on" if durable else "off"}
    async with serving(data_dir, ground, cluster_facts(way.base.manifest).superuser, chosen) as server:
        await _held(server, stop, tell)
        read = await _clock(server, way.base, moment, stop)
        await promoted(server, _ALWAYS)
        last, following = (one.at if one else None for one in (stop.last, stop.following))
        yield server, Reached(way.base, moment, stop.end, last, following, read, way.timeline)


async def _unpacked(base: StoredBackup, data_dir: Path, ground: Ground, tell: Tell) -> Unpacked:
    async with telling(tell, "unpacked", base.manifest.plain_bytes) as pace:
        stop = threading.Event()
        copy = await laid_out(base, data_dir, ground, partial(unless, stop, pace.add), stop.set)
    await asyncio.to_thread(let_pass, data_dir.parent, ground.account)
    return copy


async def _located(moment: Moment, way: Way, copy: Unpacked, ground: Ground, tell: Tell) -> Stop:
    """Where recovery stops, once the log in the copy goes that far."""
    feed = Feed(way.archive, copy.data_dir / "pg_wal", ground.account, copy.stretch, way.timeline)
    async with telling(tell, "fetched of the log") as pace:
        off = threading.Event()
        found = await called_off(off.set, located, moment, feed, partial(unless, off, pace.add))
    if found.end < wal.position(cluster_facts(way.base.manifest).end_lsn):
        raise TooEarly
    await asyncio.to_thread(feed.tell_of_timelines)
    return found


async def _told(stop: Stop, way: Way, data_dir: Path, ground: Ground) -> dict[str, str]:
    """What the server is told of where to stop, and how much it must have of what the original had, then and since."""
    facts = await control_data(data_dir, ground)
    limits = {name: max(int(facts.get(label, "0")), stop.limits.get(name, 0)) for label, name in AT_LEAST_AS.items()}
    return {
        **{name: str(value) for name, value in limits.items() if value},
        "recovery_target_lsn": wal.shown(stop.target),
        "recovery_target_inclusive": "on" if stop.after else "off",
        "recovery_target_timeline": str(way.timeline),
    }


async def _held(server: Scratch, stop: Stop, tell: Tell) -> None:
    """Wait until recovery is held, and see that it is where it was to be. Raises Damaged."""
    found = await halted(server, _ALWAYS, stop.target, partial(tell, 0, None), _EARLY)
    if found.state != "paused" or not found.place or wal.position(found.place) != stop.end:
        message = f"recovery stopped at {found.place or 'the beginning'} and not at {wal.shown(stop.end)}, where the moment is"
        raise Damaged("wal", message, _HINT)
    if found.ended_at != stop.told:
        raise Damaged("wal", "the last transaction of the copy is not the last one before the moment", _HINT)


async def _clock(server: Scratch, base: StoredBackup, moment: Moment, stop: Stop) -> clock.Clock | None:
    """What the copy's own clock says; it may be in no database, or in one that is gone by then."""
    held = base.manifest.fingerprint
    if held is None:
        return None
    asking = await server.connect(_ALWAYS)
    try:
        there = await asking.fetchval("SELECT true FROM pg_catalog.pg_database WHERE datname = $1 AND datallowconn", held.database)
    finally:
        asking.terminate()
    if not there:
        return None
    asking = await server.connect(held.database)
    try:
        async with asking.transaction(isolation="repeatable_read", readonly=True):
            read = await clock.read(asking)
    finally:
        asking.terminate()
    if read is not None:
        clock.agrees(read, moment.at if isinstance(moment, Time) else None, stop.end)
    return read


def _shown(at: datetime) -> str:
    return written(Time(at))
