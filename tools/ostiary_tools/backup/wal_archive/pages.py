"""Pages of the write-ahead log, which a segment consists of: each says which log it is of and where in it it belongs.

Pure. PostgreSQL 14 to 18 have the same headers; what differs is the number that they begin with.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ostiary_tools.backup import wal
from ostiary_tools.errors import Damaged

CONTINUED = 0x0001
"""A record of the page before goes on in this one."""
LONG = 0x0002
"""The first page of a segment, whose header says more."""
OVERWRITTEN = 0x0008
"""A record of the page before ends nowhere: the server stopped while it was written."""
SHORT = struct.Struct("=HHIQI4x")
"""Magic, flags, timeline, address, how much of a record is left."""
FIRST = struct.Struct("=HHIQI4xQII")
"""Likewise, then system identifier, bytes of a segment, bytes of a page."""
_ANY = 0xD1
"""What the number that a page begins with has in common in all versions."""
_MAJORS = {0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
_HINT = "take a full backup now: no copy of an earlier one comes past this segment"


@dataclass(frozen=True, slots=True)
class Head:
    """What the first page of a segment says."""

    magic: int
    timeline: int
    """At its beginning; a later page may be of a later one."""
    address: int
    system_identifier: str
    segment_bytes: int
    page_bytes: int

    @property
    def major(self) -> int | None:
        """Of the server that wrote it, where it is one that is known."""
        return _MAJORS.get(self.magic)


def head(name: str, data: bytes) -> Head:
    """Of a segment of that name. Raises Damaged."""
    if len(data) >= FIRST.size:
        magic, flags, timeline, address, _left, system, segment_bytes, page_bytes = FIRST.unpack_from(data)
        sound = magic >> 8 == _ANY and flags & LONG and _power(page_bytes, 1 << 10) and _power(segment_bytes, wal.SMALLEST)
        if sound and segment_bytes % page_bytes == 0:
            return Head(magic, timeline, address, str(system), segment_bytes, page_bytes)
    raise damaged(name, "does not begin as a segment of a write-ahead log does")


def check(name: str, data: bytes, system_identifier: str, segment_bytes: int) -> Head:
    """That all of its pages are this cluster's, and where they belong; of a tail as far as it goes. Raises Damaged."""
    first = head(name, data)
    if first.system_identifier != system_identifier:
        raise damaged(name, "is of another cluster")
    if first.segment_bytes != segment_bytes:
        raise damaged(name, "is of another size than it says")
    if first.address != wal.begin(name, segment_bytes):
        raise damaged(name, "belongs to another place in the log")
    _check_pages(name, data, first)
    return first


def empty(data: bytes, start: int) -> bool:
    """Whether nothing is written from there on."""
    return data.count(0, start) == len(data) - start


def starts(data: bytes, first: Head) -> Iterator[int]:
    """Where the headers of its pages are, as far as they have begun."""
    return iter(range(0, len(data) - SHORT.size + 1, first.page_bytes))


def damaged(name: str, why: str) -> Damaged:
    """Of a segment."""
    return Damaged(name, f"the segment `{name}` of the write-ahead log {why}", _HINT)


def _check_pages(name: str, data: bytes, first: Head) -> None:
    timeline, own = first.timeline, int(name[:8], 16)
    for start in starts(data, first):
        magic, flags, of, address, _left = SHORT.unpack_from(data, start)
        if magic == 0 and start and empty(data, start):
            return  # whether the server left the rest empty, its last record tells
        if (magic, address, bool(flags & LONG)) != (first.magic, first.address + start, start == 0):
            raise damaged(name, f"has a page at {wal.shown(first.address + start)} that is not the one that belongs there")
        if not timeline <= of <= own:
            raise damaged(name, f"has a page at {wal.shown(first.address + start)} of timeline {of}")
        timeline = of


def _power(number: int, least: int) -> bool:
    return number >= least and number & (number - 1) == 0
