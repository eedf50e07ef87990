"""What is in the log: commits with their times, and restore points. Where in the kept log one of them is.

Blocking, for threads.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import BinaryIO, Protocol

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive.records import ABORT_PREPARED, COMMIT_PREPARED, TRANSACTION, Chain, Record
from ostiary_tools.backup.wal_archive.segment import Contents, RestorePoint, Segment
from ostiary_tools.errors import Damaged

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST_S = 7_000 * 365 * 86_400
_TIME = struct.Struct("=q")
_COUNT = struct.Struct("=I")
_HAS_INFO = 0x80
_DATABASE, _SUBXACTS, _RELATIONS, _INVALIDATIONS, _TWOPHASE, _STATISTICS = 1, 2, 4, 8, 16, 256
_NEWER_STATISTICS = 0xD118
"""From PostgreSQL 18 on an item of them is longer."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Of one transaction; of one that was rolled back its end, where such records are asked for."""

    xid: int
    """Its lower 32 bits, as the log has it."""
    start: int
    end: int
    """Once the log is replayed up to here it is committed."""
    at: datetime
    """By the server's clock; what is later in the log may be a little earlier by it."""


def found(record: Record) -> Commit | RestorePoint | None:
    """What a record says; `None` where it cannot be read."""
    told = _told(record)
    if told is None:
        return None
    xid, microseconds = told
    at = _time(microseconds)
    if record.owner == TRANSACTION:
        return Commit(xid, record.start, record.end, at)
    name = record.data[_TIME.size :].partition(b"\0")[0].decode(errors="replace")
    return RestorePoint(name, wal.shown(record.end), at)


def contents(name: str, data: bytes, *, whole: bool, before: tuple[str, bytes] | None = None) -> Contents | None:
    """Of a segment, with the name and bytes of the one before it if they are there; `None` where its records cannot be followed."""
    chain = Chain()
    try:
        if before is not None:
            for _ in chain.read(*before):
                pass
        return _summed(chain.read(name, data, whole=whole), chain)
    except Damaged:
        return None


class Archived(Protocol):
    """An archive, as far as it is needed here."""

    def plain(self, segment: Segment) -> AbstractContextManager[BinaryIO]:
        """The bytes of a segment."""
        ...


def followed(archive: Archived, segments: Iterable[Segment]) -> Iterator[Commit | RestorePoint]:
    """All that is in segments that come in order without a gap. Raises Damaged where the log breaks off or cannot be read."""
    chain = Chain()
    for segment in segments:
        with archive.plain(segment) as stream:
            data = stream.read()
        for record in chain.read(segment.name, data, whole=segment.whole):
            one = found(record)
            if one is None:
                raise Damaged(segment.name, f"a commit in `{segment.name}` cannot be read", "use the newest version of Ostiary")
            yield one


def restore_points(archive: Archived, segments: Sequence[Segment], name: str) -> Sequence[RestorePoint]:
    """Those of that name, in order; there may be several. See `transaction`."""
    found_there: list[RestorePoint] = []
    for before, segment in _pairs(segments):
        told = segment.contents
        every = told.points if told is not None and told.complete else _points(archive, before, segment)
        found_there += [one for one in every if one.name == name and one not in found_there]
    return found_there


def transaction(archive: Archived, segments: Sequence[Segment], xid: int) -> Commit | None:
    """The commit of a transaction in segments that come in order without a gap; `None` where there is none.

    Only those are decrypted whose description leaves it open. Numbers come again after 2^32 of them: then the first one is found.
    """
    low = xid % (1 << 32)
    for before, segment in _pairs(segments):
        told = segment.contents
        if told is not None and told.complete and not _spans(told, low):
            continue
        for one in _followed(archive, before, segment):
            if isinstance(one, Commit) and one.xid == low:
                return one
    return None


def _pairs(segments: Sequence[Segment]) -> Iterator[tuple[Segment | None, Segment]]:
    """Each with the one before it."""
    return pairwise((None, *segments))  # type: ignore[arg-type] # the second of a pair is always one


def _followed(archive: Archived, before: Segment | None, segment: Segment) -> Iterator[Commit | RestorePoint]:
    return followed(archive, (segment,) if before is None else (before, segment))


def _points(archive: Archived, before: Segment | None, segment: Segment) -> Sequence[RestorePoint]:
    return [one for one in _followed(archive, before, segment) if isinstance(one, RestorePoint)]


def _spans(told: Contents, xid: int) -> bool:
    return told.lowest_xid is not None and told.highest_xid is not None and told.lowest_xid <= xid <= told.highest_xid


def _summed(records: Iterable[Record], chain: Chain) -> Contents | None:
    """Without a value for each commit: there are thousands in a segment."""
    commits: list[tuple[int, int]] = []
    points: list[RestorePoint] = []
    for record in records:
        told = _told(record)
        if told is None:
            return None
        if record.owner == TRANSACTION:
            commits.append(told)
        elif isinstance(point := found(record), RestorePoint):
            points.append(point)
    if not commits:
        return Contents(points=tuple(points), complete=not chain.passed)
    xids, times = zip(*commits, strict=True)
    between = (_time(min(times)), _time(max(times)), min(xids), max(xids))
    return Contents(*between, tuple(points), complete=not chain.passed)


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _told(record: Record) -> tuple[int, int] | None:
    """Of a commit its transaction and its time; `None` where it cannot be read."""
    if len(record.data) < _TIME.size:
        return None
    (microseconds,) = _TIME.unpack_from(record.data)
    xid = _prepared(record) if record.kind & 0x70 in (COMMIT_PREPARED, ABORT_PREPARED) else record.xid
    return None if xid is None or abs(microseconds) > _LONGEST_S * 1_000_000 else (xid, microseconds)


def _prepared(record: Record) -> int | None:
    """Which transaction ended that had been prepared: it stands after all else that was done."""
    try:
        place = _TIME.size + _COUNT.size
        (has,) = _COUNT.unpack_from(record.data, _TIME.size) if record.kind & _HAS_INFO else (0,)
        place += 8 if has & _DATABASE else 0
        for what, size in _lists(record.magic):
            if has & what:
                place += _COUNT.size + size * int(_COUNT.unpack_from(record.data, place)[0])
        return int(_COUNT.unpack_from(record.data, place)[0]) if has & _TWOPHASE else None
    except struct.error:
        return None


def _lists(magic: int) -> Iterator[tuple[int, int]]:
    """What may be listed in a commit, in this order, and how long an item is."""
    yield _SUBXACTS, 4
    yield _RELATIONS, 12
    yield _STATISTICS, 16 if magic >= _NEWER_STATISTICS else 12
    yield _INVALIDATIONS, 16
