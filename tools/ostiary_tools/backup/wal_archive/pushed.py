"""What a server hands over by its `archive_command`: segments, what it left of one at a promotion, histories, and notes of backups.

Each is kept whole and durable before this returns, and the same again is harmless: a server asks again until it is told that it was
done, and then forgets what it has. Blocking.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.wal_archive import pages
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrived import Arrived
from ostiary_tools.backup.wal_archive.timelines import History
from ostiary_tools.errors import Damaged, Refused

_PARTIAL = re.compile(r"([0-9A-F]{24})\.partial", re.ASCII)
_HISTORY = re.compile(r"([0-9A-F]{8})\.history", re.ASCII)
_NOTE = re.compile(r"[0-9A-F]{24}\.[0-9A-F]{8}\.backup", re.ASCII)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A file of a server's `pg_wal`, as it names it."""

    path: Path
    repository: Repository
    datasource: str

    def keep(self) -> bool:
        """Whether there was anything to keep. Raises Damaged, Refused, NotWritten, LockedOut, OSError: then nothing of it stays."""
        if not self.repository.proven:
            hint = "prove it with `ostiary backup prove`: a log that nobody can decrypt is none"
            raise Refused("recovery_key", "the recovery key was never seen to work", hint)
        name = self.path.name
        if wal.is_segment(name):
            first = self._first(self.path)
            self._segment(name, first, wal.begin(name, first.segment_bytes) + first.segment_bytes)
        elif partial := _PARTIAL.fullmatch(name):
            first = self._first(self.path)
            self._segment(partial[1], first, self._left(partial[1], first))
        elif history := _HISTORY.fullmatch(name):
            timeline = int(history[1], 16)
            self._archive(self._neighbour()).keep_history(timeline, self.path.read_bytes(), self.datasource)
        elif not _NOTE.fullmatch(name):  # what that says is in the backup itself
            message = "this is no file of a write-ahead log"
            raise Refused("file", message, "let the server run it: `archive_command = 'ostiary backup keep-wal %p'`")
        return not _NOTE.fullmatch(name)

    def _segment(self, name: str, first: pages.Head, end: int) -> None:
        before = wal.name(int(name[:8], 16), first.address // first.segment_bytes - 1, first.segment_bytes) if first.address else ""
        beside = self.path.with_name(before)
        arrived = Arrived(self.path, name, end, first.segment_bytes, beside if before and beside.is_file() else None)
        self._archive(first).keep(arrived, self.datasource)

    def _archive(self, first: pages.Head) -> Archive:
        return Archive(self.repository, first.system_identifier)

    def _first(self, path: Path) -> pages.Head:
        with path.open("rb") as file:
            return pages.head(path.name[:24], file.read(pages.FIRST.size))

    def _neighbour(self) -> pages.Head:
        """Of the newest segment beside it: a history does not say of which cluster it is."""
        for path in sorted(self.path.parent.iterdir(), reverse=True):
            if wal.is_segment(path.name):
                return self._first(path)
        hint = "let the server itself hand it over, which has its log beside it"
        raise Damaged(self.path.name, "nothing beside the history tells of which cluster it is", hint)

    def _left(self, name: str, first: pages.Head) -> int:
        """Where the timeline of a segment was left that is not full; what comes after it there is none of it."""
        begin, timeline = wal.begin(name, first.segment_bytes), int(name[:8], 16)
        for history in self._histories(first):
            for leg in history.legs[:-1]:
                if leg.timeline == timeline and begin < leg.end < begin + first.segment_bytes:
                    return leg.end
        message = f"nothing tells where the timeline of `{self.path.name}` was left"
        raise Damaged(self.path.name, message, "let the server hand over its histories first")

    def _histories(self, first: pages.Head) -> Iterator[History]:
        """Those that are kept, the newest first."""
        archive = self._archive(first)
        yield from (archive.history(timeline) for timeline in reversed(archive.histories()))
