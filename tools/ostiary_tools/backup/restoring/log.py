"""The log that a copy repeats: what its backup brought, and then what was kept, segment by segment, in order and without a gap.

Blocking, for threads.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.together import ahead
from ostiary_tools.backup.wal_archive import pages, timelines
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged, NotWritten

_AHEAD_BYTES = 64 << 20
"""As much of the log at most is fetched while a segment is looked at: a store may be far away, and segments may have 1 GB."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment as it lies in the copy, or its beginning."""

    name: str
    data: bytes
    whole: bool


@dataclass(slots=True)
class Feed:
    """The log of one copy, in its folder. `reached` is up to where it is whole there."""

    archive: Archive
    folder: Path
    account: Account
    brought: wal.Stretch
    """By the backup."""
    timeline: int
    """That the log leads to."""
    reached: int = field(init=False)

    def __post_init__(self) -> None:
        self.reached = self.brought.start

    def pieces(self, told: Callable[[int], None]) -> Iterator[Piece]:
        """All of them from the backup's beginning on; each lies in the folder when it is given, and no later one.

        Raises Damaged where one is missing or not what was kept, NotWritten and NoKey.
        """
        kept = self._kept()
        for name in self.brought.names:
            begin = wal.begin(name, self.brought.segment_bytes)
            if kept and kept[0].start_position == begin:
                break
            yield self._own(name, begin)
        by = min(self.archive.repository.storage.at_once, _AHEAD_BYTES // self.brought.segment_bytes)
        with closing(ahead(self._read, kept, by=by)) as read:
            for segment, data in read:
                yield self._fetched(segment, data, told)

    def complete(self) -> None:
        """That nothing is kept beyond where this log ends. Raises Damaged, naming the segment that is missing."""
        for segment in self.archive.segments(self.timeline, self.reached):
            self.archive.continuous(self.timeline, self.reached, segment.end_position, origin=self.brought.timeline)

    def tell_of_timelines(self) -> None:
        """Put into the folder how the timeline came about: without it no server follows."""
        if self.timeline != self.brought.timeline:
            text = self.archive.history(self.timeline).text.encode()
            with self._writing(timelines.name(self.timeline)) as descriptor:
                os.write(descriptor, text)

    def _kept(self) -> Sequence[Segment]:
        """What follows, as far as it goes: from the segment on in which the backup's own log ends, unless there is less of it."""
        begun = self.brought.end - self.brought.end % self.brought.segment_bytes
        path = self.archive.path(self.timeline, self.brought.timeline)
        if path[0].end < self.brought.end:
            hint = "use a backup from before that, or of the other timeline"
            raise Damaged("wal", "the log went on from a moment before the backup was whole", hint)
        if not any(next(self.archive.segments(leg.timeline, max(begun, leg.start), leg.end), None) for leg in path):
            return ()
        found = self.archive.continuous(self.timeline, begun, origin=self.brought.timeline)
        if any(one.segment_bytes != self.brought.segment_bytes for one in found):
            raise Damaged("wal", "the kept log has segments of another size than the backup's", "use another backup")
        return () if found[-1].end_position < self.brought.end else found

    def _own(self, name: str, begin: int) -> Piece:
        data = (self.folder / name).read_bytes()[: self.brought.end - begin]
        pages.check(name, data, self.brought.system_identifier, self.brought.segment_bytes)
        self.reached = begin + len(data)
        return Piece(name, data, len(data) == self.brought.segment_bytes)

    def _longer(self, tail: Segment) -> Segment:
        """What there is in its place by now: the log may have gone on for long while what is before it was fetched."""
        return self.archive.longest(tail.folder.rpartition("/")[2])

    def _read(self, segment: Segment) -> tuple[Segment, bytes]:
        """What was kept, compared with what came."""
        found = segment if segment.whole else self._longer(segment)
        with self.archive.plain(found) as plain:
            return found, plain.read()

    def _fetched(self, segment: Segment, data: bytes, told: Callable[[int], None]) -> Piece:
        """Under its name once all of it was compared; of a tail the rest is empty."""
        pages.check(segment.name, data, self.brought.system_identifier, segment.segment_bytes)
        with self._writing(segment.name) as descriptor:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.ftruncate(descriptor, segment.segment_bytes)
        self.reached = segment.end_position
        told(len(data))
        return Piece(segment.name, data, segment.whole)

    @contextmanager
    def _writing(self, name: str) -> Iterator[int]:
        """A file of the account's, which has that name at the end."""
        draft = self.folder / f"{name}.draft"
        try:
            descriptor = os.open(draft, _FLAGS, 0o600)
            try:
                if self.account.uid != os.geteuid():
                    os.fchown(descriptor, self.account.uid, self.account.gid)
                yield descriptor
            finally:
                os.close(descriptor)
            draft.rename(self.folder / name)
        except OSError as error:
            why = (error.strerror or "input or output failed").lower()
            raise NotWritten(f"the copy could not be written: {why}", "see that there is room for it") from error
