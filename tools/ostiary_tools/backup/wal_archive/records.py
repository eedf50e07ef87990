"""The records of a write-ahead log, one after the other, from segment to segment: each names the one before it.

A segment has 100,000 of them, and a restore waits while they are read: hence the one loop in which nothing is called for most.
They are read here and not through `pg_waldump`, which prints names that users chose as they are: one with a line break in it would
forge a commit. PostgreSQL 14 to 18 have the same records, as far as they are looked at. Sums of records are not compared; whether
bytes are those that came is known by the sum of the whole segment. Pure.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive.pages import CONTINUED, FIRST, OVERWRITTEN, SHORT, Head, damaged, empty, head, starts
from ostiary_tools.errors import Damaged

XLOG, TRANSACTION, TABLESPACE = 0, 1, 5
"""Whose records are looked into."""
_LOOKED_INTO = frozenset({XLOG, TRANSACTION, TABLESPACE})
RESTORE_POINT = 0x70
PARAMETER_CHANGE = 0x60
COMMIT, COMMIT_PREPARED = 0x00, 0x30
ABORT, ABORT_PREPARED = 0x20, 0x40
_SWITCH = 0x40
"""The rest of the segment is empty."""
_RECORD = struct.Struct("=IIQBB6x")
"""Its bytes, transaction, the record before, kind, whose it is; then its sum."""
_LARGEST = 1 << 30
NOWHERE = 1 << 64
"""Beyond every log."""
_SIZE = struct.Struct("=I")
COMMITS = frozenset({COMMIT, COMMIT_PREPARED})
_SHORT_DATA, _LONG_DATA = 255, 254
"""What the main part of a record begins with."""
_PASSED = {253: 3, 252: 5}
"""What may come before it, and how long it is: where the record came from, the transaction around its own."""


class Record(NamedTuple):
    """One of those that are looked into; there are thousands in a segment."""

    start: int
    end: int
    """Where the next one may begin."""
    owner: int
    kind: int
    """With the flags of its kind."""
    xid: int
    data: bytes
    """Its main part."""
    magic: int
    """Of its page."""
    follows: int
    """Where the one before it ended; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """What the pages of a segment hold without their headers, after what was open before it."""

    name: str
    first: Head
    bytes: bytes
    open: int = 0
    """How much of it is from before."""
    open_at: int = 0

    def lsn(self, place: int) -> int:
        """Where a place in it lies in the log."""
        if place < self.open:
            return self.open_at + place
        here = place - self.open + FIRST.size
        if here < self.first.page_bytes:
            return self.first.address + here
        page, rest = divmod(here - self.first.page_bytes, self.first.page_bytes - SHORT.size)
        return self.first.address + (page + 1) * self.first.page_bytes + SHORT.size + rest

    def page(self, place: int) -> tuple[int, int]:
        """Up to which place from that one on LSNs go along with places, and by how much they are ahead."""
        if place < self.open:
            return self.open, self.open_at
        lsn = self.lsn(place)
        return place + self.first.page_bytes - lsn % self.first.page_bytes, lsn - place

    def place(self, page: int) -> int:
        """Where what a page holds begins; `page` is its header's place in the segment."""
        size = self.first.page_bytes
        return self.open + (page // size - 1) * (size - SHORT.size) + size - FIRST.size if page else self.open

    def check_rest(self, place: int, after: int) -> None:
        """That nothing follows the record at that place, which says so. Raises Damaged."""
        if not empty(self.bytes, after):
            raise self.broken(place, "was the last one, and is followed by more")

    def broken(self, place: int, why: str) -> Damaged:
        """That the chain breaks there."""
        return damaged(self.name, f"has a record at {wal.shown(self.lsn(place))} that {why}")


def told_of(owner: int, kind: int) -> bool:
    """Whether such a record is a commit, or a restore point."""
    return (owner == TRANSACTION and kind & 0x70 in COMMITS) or (owner == XLOG and kind & 0xF0 == RESTORE_POINT)


class Chain:
    """Reads segments that come in order. Its private fields hold how the last one ended; before the first that is not known."""

    def __init__(self, wanted: Callable[[int, int], bool] = told_of, every_from: int = NOWHERE) -> None:
        self.wanted = wanted
        """Whether records of that owner, one of those that are looked into, and kind are given."""
        self.every_from = every_from
        """All that begin there or later are given, whatever they are; may change from one that was given to the next."""
        self.newest: tuple[int, int] | None = None
        """Where the last record begins and ends that is more than the end of its segment, once a segment was read."""
        self.end = 0
        """Where the last record ended, once a segment was read; 0 where it is not known."""
        self._known = False
        self._open = b""
        """What there is of a record that goes on in the next segment; of one that nobody looks into, and which any user can
        make as long as 1 GB, its head alone."""
        self._open_at = 0
        self._to_come = 0
        """How much more there is to be of it."""
        self._last = 0
        """Where the last record began; 0 where it is not known."""
        self.passed = False
        """Whether what was read last began within a record whose beginning was not there."""

    def read(self, name: str, data: bytes, *, whole: bool = True) -> Iterator[Record]:
        """Those that end in this segment, or in the beginning of it that there is. Raises Damaged where the chain breaks."""
        stream, place = self._begun(name, data)
        self.passed = place > 0
        left, log, unpack = _left(stream, data), stream.bytes + bytes(_RECORD.size), _RECORD.unpack_from
        size, least, looked_into, every_from = len(stream.bytes), _RECORD.size, _LOOKED_INTO, self.every_from
        begun, border, ahead, last, latest = place, 0, 0, self._last, size - _SIZE.size
        self._known, self._open = self._known or place <= size, b""
        while place <= latest:
            length, xid, before, kind, owner = unpack(log, place)
            end = place + length
            if left and (goes_on := next((one for one in left if place < one < end), None)):
                self._remember(stream, begun, place, last)
                begun, place, last = goes_on, goes_on, 0
                continue
            if not least <= length < _LARGEST:
                if length or whole:
                    raise stream.broken(place, "is none")
                break
            if end > size:
                headed = size - place >= least
                kept = place + least if headed and owner not in looked_into else size
                self._open, self._open_at, self._to_come = stream.bytes[place:kept], stream.lsn(place), end - size
                break
            if place >= border:
                border, ahead = stream.page(place)
            if before != last and last:
                raise stream.broken(place, "does not follow the one before it")
            after = (end + 7) & ~7
            if owner == XLOG and kind & 0xF0 == _SWITCH:
                stream.check_rest(place, after)
                self._remember(stream, begun, place, last)
                self._last, self.end = place + ahead, stream.first.address + stream.first.segment_bytes
                return
            last = place + ahead
            if last >= every_from or (owner in looked_into and self.wanted(owner, kind)):
                main = _main(stream.bytes[place:end]) if owner in looked_into else b""
                follows = self._ended(stream, place)
                yield Record(last, stream.lsn(after - 1) + 1, owner, kind, xid, main, stream.first.magic, follows)
                every_from = self.every_from
            place = after
        self._remember(stream, begun, place, last)
        self._last, self.end = last, self._ended(stream, place)

    def _remember(self, stream: _Stream, begun: int, place: int, last: int) -> None:
        """The newest of the records from `begun` up to that place; where none lies there, the newest stays the one of before."""
        if place > begun:
            self.newest = last, self._ended(stream, place)

    def _ended(self, stream: _Stream, place: int) -> int:
        """Where the record ended that one which begins at that place comes after."""
        return stream.lsn(place - 1) + 1 if place else self.end

    def _begun(self, name: str, data: bytes) -> tuple[_Stream, int]:
        """What a segment holds, and where in it the first record begins."""
        first = head(name, data)
        _, flags, _, _, left = SHORT.unpack_from(data)
        payload = _payload(data, first)
        if self._open and flags & OVERWRITTEN:
            self._open, self._last = b"", 0
        if not self._open:
            stream = _Stream(name, first, payload)
            if not flags & CONTINUED:
                return stream, 0
            if self._known:
                raise stream.broken(0, "goes on, and was not begun")
            return stream, (left + 7) & ~7
        # As long as it is here, without what was passed over.
        begun = _SIZE.pack(len(self._open) + self._to_come) + self._open[_SIZE.size :]
        stream = _Stream(name, first, begun + payload, len(begun), self._open_at)
        if not flags & CONTINUED or left != self._to_come:
            raise stream.broken(0, "was begun before, and does not go on")
        return stream, 0


def _payload(data: bytes, first: Head) -> bytes:
    size = first.page_bytes
    return b"".join([data[FIRST.size : size], *(data[page + SHORT.size : page + size] for page in range(size, len(data), size))])


def _left(stream: _Stream, data: bytes) -> list[int]:
    """Where the server went on without the record that was open there."""
    pages = (page for page in starts(data, stream.first) if page and SHORT.unpack_from(data, page)[1] & OVERWRITTEN)
    return [stream.place(page) for page in pages]


def _main(record: bytes) -> bytes:
    """Its main part, where no other is before it; those that are looked into have none."""
    place = _RECORD.size
    while place < len(record) and record[place] in _PASSED:
        place += _PASSED[record[place]]
    if place + 1 < len(record) and record[place] == _SHORT_DATA:
        return record[place + 2 : place + 2 + record[place + 1]]
    return record[place + 5 :] if place < len(record) and record[place] == _LONG_DATA else b""
