"""A kept piece of one cluster's write-ahead log, and what it says of itself.

A segment lies in a folder of its own that comes into being whole, like a backup: its bytes, sealed, and a signed description.
The last one of a timeline may be kept before it is full, as a tail; each longer one lies beside the one before it, until the whole
one is there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostiary_tools.backup import strict_json, wal
from ostiary_tools.backup.manifest import Member
from ostiary_tools.errors import Damaged

FORMAT = 1
FOLDER = "wal"
"""Of a repository: `wal/<system identifier>/<timeline and log, 16 digits>/<name>/`."""
MEMBER = "segment.zst.age"
DESCRIPTION = "segment"
NAME = re.compile(r"[0-9A-F]{24}(\.[0-9A-F]{16})?", re.ASCII)
"""Of the folder of a segment, or of a tail."""
BLOCK = re.compile(r"[0-9A-F]{16}", re.ASCII)
SHORT = 24
"""Characters of a segment's name; a tail's folder says more."""
SYSTEM = re.compile(r"[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """A place that somebody named by `pg_create_restore_point`."""

    name: str
    lsn: str
    """As `pg_create_restore_point` returned it: where the next record may begin."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Contents:
    """What ends in it."""

    first_commit: datetime | None = None
    last_commit: datetime | None = None
    """The earliest and the latest by the server's clock; `None` where nothing was committed."""
    lowest_xid: int | None = None
    highest_xid: int | None = None
    """Of those that were committed, by their lower 32 bits."""
    points: tuple[RestorePoint, ...] = ()
    complete: bool = True
    """Whether what begins in the segment before and ends here is among it; it is where that segment was at hand."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment, or its beginning."""

    name: str
    """As PostgreSQL calls it: timeline, log and number, 24 hexadecimal digits."""
    datasource: str
    """As this installation called it when it came."""
    system_identifier: str
    segment_bytes: int
    """Of every segment of that cluster."""
    end: str
    """The LSN up to which it is kept; of a whole one where the next begins."""
    kept_at: datetime
    member: Member
    """Its bytes; of a tail no more than there are."""
    contents: Contents | None = None
    """`None` where its records could not be followed."""

    @property
    def timeline(self) -> int:
        """That it belongs to."""
        return int(self.name[:8], 16)

    @property
    def start_position(self) -> int:
        """Where it begins, as a number."""
        return wal.begin(self.name, self.segment_bytes)

    @property
    def end_position(self) -> int:
        """Up to where it is kept, as a number."""
        return wal.position(self.end)

    @property
    def whole(self) -> bool:
        """Whether it is no tail."""
        return self.end_position == self.start_position + self.segment_bytes

    @property
    def folder(self) -> str:
        """Where it lies in a repository."""
        return f"{block(self.system_identifier, self.name)}/{self.name}{'' if self.whole else f'.{self.end_position:016X}'}"


def block(system_identifier: str, name: str) -> str:
    """The folder that at most 256 segments share, of 16 MB each, so that to find one never means to list all."""
    return f"{FOLDER}/{system_identifier}/{name[:16]}"


def grouped(names: Sequence[str]) -> Sequence[Sequence[str]]:
    """Of each segment, in order, what is kept of it: the whole one, and tails from the longest on."""
    found: dict[str, list[str]] = {}
    for name in sorted(filter(NAME.fullmatch, names)):
        found.setdefault(name[:SHORT], []).append(name)
    return [sorted(each, key=_length, reverse=True) for each in found.values()]


def _length(name: str) -> str:
    return name[SHORT:] or "whole"  # after any tail's, which begin with a full stop


def encode(segment: Segment) -> bytes:
    """As it is kept."""
    return strict_json.encode(segment, FORMAT)


def decode(data: bytes, folder: str) -> Segment:
    """What lies in that folder says of itself. Raises Damaged."""
    found = strict_json.decode(folder, data, Segment, FORMAT)
    size, times = found.segment_bytes, [found.kept_at]
    if found.contents is not None:
        times += [t for t in (found.contents.first_commit, found.contents.last_commit) if t is not None]
        times += [point.at for point in found.contents.points]
    sound = (
        NAME.fullmatch(found.name)
        and len(found.name) == SHORT
        and SYSTEM.fullmatch(found.system_identifier)
        and size >= wal.SMALLEST
        and size & (size - 1) == 0
        and found.member.name == MEMBER
        and all(time.utcoffset() == timedelta(0) for time in times)
    )
    if not sound:
        raise strict_json.none_of_ours(folder)
    if found.folder != folder or not 0 < found.end_position - found.start_position == found.member.plain_bytes <= size:
        raise Damaged(folder, f"`{folder}` is the description of another segment", "do not restore from it")
    return found
