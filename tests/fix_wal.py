"""A write-ahead log that no server wrote: small segments with pages and records as PostgreSQL 18 has them, but for their sums."""

import bisect
import random
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive.arrived import Arrived

SIZE = 1 << 20
"""Of a segment, the smallest there is."""
PAGE = 8192
SYSTEM = "7300000000000000001"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_MAGIC = 0xD118
_LONG, _SHORT = 40, 24
_HEAP = 10


def _micros(at: datetime) -> bytes:
    return struct.pack("=q", (at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))


@dataclass
class WrittenLog:
    """One timeline, from the beginning of a segment on."""

    first: int = 1
    """The number of that segment."""
    timeline: int = 1
    system: str = SYSTEM
    stream: bytearray = field(default_factory=bytearray)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def lsn(self, place: int) -> int:
        """Of a place in the stream."""
        each = SIZE // PAGE * (PAGE - _SHORT) - (_LONG - _SHORT)
        segment, rest = divmod(place, each)
        rest += _LONG - _SHORT
        page, rest = divmod(rest, PAGE - _SHORT)
        return (self.first + segment) * SIZE + page * PAGE + _SHORT + rest

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.lsn(len(self.stream))

    def add(self, owner: int, kind: int, data: bytes, xid: int = 0) -> int:
        """A record; where it ends."""
        main = b"\xff" + bytes([len(data)]) + data if len(data) < 256 else b"\xfe" + struct.pack("=I", len(data)) + data
        before = self.lsn(self.starts[-1]) if self.starts else 0
        self.starts.append(len(self.stream))
        self.stream += struct.pack("=IIQBB2xI", 24 + len(main), xid, before, kind, owner, 0) + main
        self.ends.append(len(self.stream))
        self.stream += bytes(-len(self.stream) % 8)
        return self.lsn(len(self.stream) - 1) + 1

    def commit(self, xid: int, at: datetime) -> int:
        """A transaction that was committed; where that ends."""
        return self.add(1, 0, _micros(at), xid)

    def point(self, name: str, at: datetime) -> int:
        """A restore point; what `pg_create_restore_point` returns."""
        return self.add(0, 0x70, _micros(at) + name.encode().ljust(64, b"\0"))

    def switch(self) -> None:
        """The rest of the segment stays empty."""
        self.add(0, 0x40, b"")
        number = self.segments - 1
        self.fill_to(number + 1, zero=True)

    @property
    def segments(self) -> int:
        """How many have begun."""
        return (self.lsn(len(self.stream) - 1) // SIZE - self.first + 1) if self.stream else 0

    def fill(self, number: int, seed: int = 7) -> "WrittenLog":
        """With records of rows and a commit for each, a second after the one before, until so many segments are full."""
        chance = random.Random(seed)  # noqa: S311 the same rows each time
        xid = 700 + len(self.starts)
        while self.segments <= number:
            for _ in range(3):
                self.add(_HEAP, 0, chance.randbytes(chance.choice((20, 60, 300, 9000))), xid)
            self.commit(xid, BEGAN + timedelta(seconds=xid - 700))
            xid += 1
        return self

    def fill_to(self, number: int, *, zero: bool) -> None:
        """Nothing more in the segments before that one."""
        assert zero
        while self.lsn(len(self.stream)) // SIZE - self.first < number:
            self.stream += bytes(8)

    def segment(self, number: int) -> bytes:
        """The bytes of one, by its number."""
        pages = []
        for page in range(SIZE // PAGE):
            begin = number * SIZE + page * PAGE
            place = self._place(begin)
            size = PAGE - (_SHORT if page else _LONG)
            content = bytes(self.stream[place : place + size]).ljust(size, b"\0")
            if page and not any(content):
                pages.append(bytes(PAGE))
                continue
            at = bisect.bisect_left(self.starts, place) - 1
            left = max(0, self.ends[at] - place) if at >= 0 else 0
            flags = (1 if left else 0) | (0 if page else 2)
            header = struct.pack("=HHIQI4x", _MAGIC, flags, self.timeline, begin, left)
            pages.append(header + (b"" if page else struct.pack("=QII", int(self.system), SIZE, PAGE)) + content)
        return b"".join(pages)

    def name(self, number: int) -> str:
        """Of a segment."""
        return wal.name(self.timeline, number, SIZE)

    def arrived(self, folder: Path, number: int, size: int = SIZE) -> Arrived:
        """A segment, or so much of it, in a folder."""
        path = folder / self.name(number)
        if not path.exists():
            path.write_bytes(self.segment(number))
        before = folder / self.name(number - 1)
        return Arrived(path, path.name, number * SIZE + size, SIZE, before if before.exists() else None)

    def _place(self, begin: int) -> int:
        """Of the first byte after the header of the page that begins there."""
        segment, rest = divmod(begin - self.first * SIZE, SIZE)
        each = SIZE // PAGE * (PAGE - _SHORT) - (_LONG - _SHORT)
        page = rest // PAGE
        return segment * each + (page * (PAGE - _SHORT) - (_LONG - _SHORT) if page else 0)


def history(*switches: tuple[int, int]) -> bytes:
    """A file that says which timelines were left, and where."""
    return "".join(f"{timeline}\t{wal.shown(place)}\tno recovery target specified\n" for timeline, place in switches).encode()
