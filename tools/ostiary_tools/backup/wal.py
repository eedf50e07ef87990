"""The write-ahead log of a full backup: which segments there must be, whether they are there, and what a snapshot sees."""

import io
import re
import struct
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary_tools.errors import Damaged

MEMBER = "wal"
_PIECE = 1 << 20
_PAGE = struct.Struct("=HHIQI4xQII")
"""The first page's header: magic, info, timeline, address, remainder, system identifier, size of a segment, size of a block."""
_SHORT = struct.Struct("=HHIQ")
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)
_NAME = re.compile(r"[0-9A-F]{24}")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")
EPOCH = 1 << 32
"""Numbers of transactions, after which a log begins anew with them."""
SMALLEST = 1 << 20
"""Bytes of a segment at least."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of one cluster's log."""

    system_identifier: str
    timeline: int
    start: int
    end: int
    segment_bytes: int

    @property
    def names(self) -> Sequence[str]:
        """Of all its segments, in order."""
        numbers = range(self.start // self.segment_bytes, (self.end - 1) // self.segment_bytes + 1)
        return [name(self.timeline, number, self.segment_bytes) for number in numbers]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions are seen."""

    first: int
    """All before it are."""
    end: int
    """It and all after it are not."""
    running: frozenset[int]
    """Between these, those that are not."""

    @classmethod
    def read(cls, text: str) -> "Snapshot":
        """As `pg_current_snapshot()` gives it. Raises Damaged."""
        try:
            first, end, running = text.split(":")
            return cls(int(first), int(end), frozenset(map(int, filter(None, running.split(",")))))
        except ValueError:
            raise Damaged("manifest", "the snapshot that the backup names cannot be read") from None

    def sees(self, transaction: int) -> bool:
        """Of a number as the log has it, which begins anew after 2^32."""
        whole = self.end - self.end % EPOCH + transaction
        if whole > self.end + EPOCH // 2:
            whole -= EPOCH
        elif whole < self.end - EPOCH // 2:
            whole += EPOCH
        return self.sees_whole(whole)

    def sees_whole(self, transaction: int) -> bool:
        """Of a number of 64 bits."""
        return transaction < self.first or (transaction < self.end and transaction not in self.running)


def position(text: str) -> int:
    """An LSN as a number. Raises Damaged."""
    found = _LSN.fullmatch(text)
    if found is None:  # Python reads signs, spaces and underscores as parts of a number
        raise Damaged("manifest", "an LSN that the backup names cannot be read")
    return (int(found[1], 16) << 32) + int(found[2], 16)


def shown(place: int) -> str:
    """A number as an LSN."""
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def name(timeline: int, number: int, segment_bytes: int) -> str:
    """Of the segment with that number."""
    each = EPOCH // segment_bytes
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def begin(segment: str, segment_bytes: int) -> int:
    """Where a segment of that name begins."""
    return (int(segment[8:16], 16) << 32) + int(segment[16:24], 16) * segment_bytes


def check(folder: Path, stretch: Stretch) -> None:
    """Whether all segments are there, whole, and of this cluster. Blocking. Raises Damaged, naming the first that is not."""
    for number, segment in enumerate(stretch.names, stretch.start // stretch.segment_bytes):
        path = folder / segment
        if not path.is_file():
            raise Damaged(segment, f"the segment `{segment}` of the write-ahead log is missing", "use another backup")
        with path.open("rb") as file:
            head = file.read(_PAGE.size)
        whole = path.stat().st_size == stretch.segment_bytes and len(head) == _PAGE.size
        _magic, _info, timeline, address, _rest, system, size, _block = _PAGE.unpack(head) if whole else (0,) * 8
        if (str(system), size, address) != (stretch.system_identifier, stretch.segment_bytes, number * size) or (
            timeline > stretch.timeline
        ):
            raise Damaged(segment, f"the segment `{segment}` of the write-ahead log is not what it should be", "use another backup")


def arrived(folder: Path, stretch: Stretch, page_bytes: int) -> bool:
    """Whether a folder that is being written has the log to the end of the stretch: a page after it has begun. Blocking."""
    after = (stretch.end // page_bytes + 1) * page_bytes
    segment = name(stretch.timeline, after // stretch.segment_bytes, stretch.segment_bytes)
    for path in (folder / segment, folder / f"{segment}.partial"):
        try:
            with path.open("rb") as file:
                file.seek(after % stretch.segment_bytes)
                head = file.read(_SHORT.size)
        except FileNotFoundError:
            continue
        return len(head) == _SHORT.size and _SHORT.unpack(head)[3] == after
    return False


class Packed(io.RawIOBase):
    """A tar of segments, as it is read; it is nowhere whole."""

    def __init__(self, folder: Path, stretch: Stretch) -> None:
        super().__init__()
        histories = sorted(path.name for path in folder.iterdir() if _HISTORY.fullmatch(path.name))
        self._pieces = _tar(folder, [*histories, *stretch.names])
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As much as comes next."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def is_segment(text: str) -> bool:
    """Whether a file of that name is a segment."""
    return bool(_NAME.fullmatch(text))


def is_name(text: str) -> bool:
    """Whether a file of that name may be in a member of this kind."""
    return bool(_NAME.fullmatch(text) or _HISTORY.fullmatch(text))


def _tar(folder: Path, names: Sequence[str]) -> Iterator[bytes]:
    for each in names:
        path = folder / each
        info = tarfile.TarInfo(each)
        info.size, info.mode = path.stat().st_size, 0o600
        yield info.tobuf(tarfile.USTAR_FORMAT)
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
