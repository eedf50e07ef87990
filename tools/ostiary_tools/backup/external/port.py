"""What an adapter of another tool promises: to read what it keeps, and to have it restore a backup into a folder of ours.

What a tool tells is taken over into our own manifests and segments, without members, so that everything that judges ours judges
theirs. It is believed as it is told: only a drill says what it is worth.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import ClusterFacts, Content, Kind, Manifest, Member
from ostiary_tools.backup.running import Command, started
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged, ProgramFailed, Unavailable

_PATIENCE_S = 300.0
"""For a look; a restore takes what it takes."""
_MOST_TOLD = 64 << 20
STRANGE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, OSError, StopIteration, Damaged)
"""How it shows that what a tool tells is not of the form, or not in the bounds, that we know."""
_MOST_SEGMENTS = 1 << 20
"""Of the log that one backup needs to be consistent: a terabyte of the largest."""
_SIZES = tuple(1 << power for power in range(20, 31))
"""Of a segment."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a tool keeps of one cluster."""

    backups: tuple[Manifest, ...] = ()
    """The oldest first; of each kind that it has, `id` is its own name for it."""
    log: tuple[Segment, ...] = ()
    """In order."""
    problems: tuple[str, ...] = ()
    """What it says is wrong."""


@dataclass(frozen=True, slots=True)
class Tool:
    """How one is called."""

    name: str
    """What this installation calls what it keeps."""
    program: Path
    stanza: str
    """What the tool calls it."""
    config: Path | None = None
    """The tool's own file."""
    account: Account | None = None
    """Whom it runs as."""

    def cluster(self, system_identifier: str) -> str:
        """What it keeps is a cluster of its own: its log goes on from no backup of ours, nor our log from its backups."""
        return f"{self.name} {system_identifier}"


class External(Protocol):
    """An adapter of one tool. Read-only: whatever it calls changes nothing of what the tool keeps."""

    @property
    def tool(self) -> Tool:
        """How it is called."""
        ...

    async def holding(self) -> Holding:
        """What it keeps. Raises Unavailable."""
        ...

    async def restore(self, backup: Manifest, data_dir: Path) -> None:
        """A data directory, the log up to where it is consistent with it, where there is an empty folder.

        Nothing is written outside that folder's parent. Raises Damaged where the tool finds that it cannot, and Unavailable.
        """
        ...


async def told(tool: Tool, *words: str) -> str:
    """What the tool says on stdout. Raises ProgramFailed with its complaint, and Unavailable where it says nothing in time."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await done(tool, *words)
    except TimeoutError:
        message = f"`{tool.program.name}` had not answered after {_PATIENCE_S:.0f} s"
        raise Unavailable(message, "see that it can reach its repository") from None


async def done(tool: Tool, *words: str) -> str:
    """Likewise, however long it takes."""
    async with started(Command(tool.program, words, account=tool.account, writes=True)) as running:
        data = await asyncio.to_thread(running.output.read, _MOST_TOLD)
        if await running.verdict():
            raise ProgramFailed(f"`{running.name}` ended with an error: {running.words() or 'it gave no reason'}")
    return data.decode(errors="replace")


def read(tool: Tool, text: str) -> Any:
    """JSON that it told. Raises Unavailable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise unread(tool) from None


def unread(tool: Tool) -> Unavailable:
    """That it told something else than we know."""
    return Unavailable(f"what `{tool.program.name}` tells is not understood", "see whether its version is one that is tested with")


@dataclass(frozen=True, slots=True)
class Described:
    """A backup as a tool describes it."""

    id: str
    kind: Kind
    parent: str | None
    times: tuple[float, float]
    """Begun and ended, in seconds since 1970."""
    lsns: tuple[str, str]
    first_segment: str
    """The one that the first LSN is in."""
    version: str
    system_identifier: str
    plain_bytes: int
    stored_bytes: int


def manifest(tool: Tool, one: Described) -> Manifest:
    """As ours. Raises one of `STRANGE` for what cannot be."""
    int(one.version.partition(".")[0])  # by which its server is chosen
    for lsn in one.lsns:
        wal.position(lsn)
    begun, ended = (datetime.fromtimestamp(seconds, UTC) for seconds in one.times)
    member = Member(tool.program.name, Content.BASE, one.plain_bytes, "", one.stored_bytes, "")
    cluster = ClusterFacts(tool.cluster(one.system_identifier), int(one.first_segment[:8], 16), *one.lsns, None)
    return Manifest(one.id, one.kind, tool.name, "", begun, ended, one.version, (member,), None, cluster, parent=one.parent)


def segment_bytes(name: str, lsn: str) -> int:
    """The size of segments in which that LSN is in the one of that name. Raises ValueError."""
    place, timeline = wal.position(lsn), int(name[:8], 16)
    return next(size for size in _SIZES if wal.name(timeline, place // size, size) == name)


def segments(tool: Tool, system_identifier: str, size: int, found: Mapping[str, float]) -> tuple[Segment, ...]:
    """Whole ones by name, with when they came."""
    return tuple(
        Segment(
            name, tool.name, tool.cluster(system_identifier), size, wal.shown(wal.begin(name, size) + size),
            datetime.fromtimestamp(found[name], UTC), Member("segment", Content.WAL, size, "", 0, ""),
        )
        for name in sorted(found)
        if wal.is_segment(name)
    )  # fmt: skip


def contained(folder: Path) -> None:
    """Refuse a copy that leads elsewhere: a server of it would write there, perhaps into what lives. Blocking. Raises Damaged."""
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            what = str(path.relative_to(folder))
            raise Damaged(what, f"the link `{what}` of the copy leads out of it", "it cannot be drilled where other servers live")


def needed(backup: Manifest, size: int, last: str) -> Sequence[str]:
    """Names of the segments from where it begins to the last that it needs. Raises one of `STRANGE`."""
    facts = backup.cluster
    if facts is None:
        return ()
    first, end = wal.position(facts.start_lsn) // size, wal.begin(last, size) // size
    if end - first > _MOST_SEGMENTS:
        raise ValueError(last)
    return [wal.name(facts.timeline, number, size) for number in range(first, end + 1)]
