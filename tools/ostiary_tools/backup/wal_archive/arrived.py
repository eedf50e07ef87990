"""A segment as it came, before it is kept. Blocking, for threads."""

from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive import pages
from ostiary_tools.errors import Damaged


@dataclass(frozen=True, slots=True)
class Arrived:
    """A segment as it came, or its beginning."""

    path: Path
    name: str
    end: int
    """The LSN, as a number, up to which it counts."""
    segment_bytes: int
    before: Path | None = None
    """The whole segment before it, where it is still there: what crosses from it is told only then."""

    def beginning(self) -> bytes:
        """As much of it as counts. Raises Damaged where there is less, and OSError."""
        size = self.end - wal.begin(self.name, self.segment_bytes)
        with self.path.open("rb") as file:
            data = file.read(size) if 0 < size <= self.segment_bytes else b""
        if not data or len(data) != size:
            raise Damaged(self.name, f"the segment `{self.name}` is shorter than was said", "have the server send it again")
        return data

    def whole_before(self, system_identifier: str) -> tuple[str, bytes] | None:
        """The segment before, if it is what it should be: it only adds to what is told of this one."""
        if self.before is None:
            return None
        number = wal.begin(self.name, self.segment_bytes) // self.segment_bytes - 1
        name = wal.name(int(self.name[:8], 16), number, self.segment_bytes)
        try:
            with self.before.open("rb") as file:
                data = file.read(self.segment_bytes)
            pages.check(name, data, system_identifier, self.segment_bytes)
        except (OSError, Damaged):
            return None
        return (name, data) if len(data) == self.segment_bytes else None
