"""What has arrived goes into the archive: whole segments in order, then the beginning of the one that is coming.

Of a segment that fills slowly many tails are kept, each longer than the one before it. All but the last two go again, and those
once the next segment is whole: whoever reads one while a longer one is kept still has it. Blocking, for one thread at a time.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrivals import PARTIAL, Arrivals, Spool, head, reached
from ostiary_tools.backup.wal_archive.arrived import Arrived
from ostiary_tools.backup.wal_archive.segment import SHORT, Segment, block
from ostiary_tools.errors import Damaged, ToolError

_AT_ONCE_S = 1.0
"""How long one turn may take, so that how it stands is told meanwhile."""
_TAILS = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log a segment begins."""

    timeline: int
    position: int


class Post:
    """Of one cluster, for one holder of its spool."""

    def __init__(self, archive: Archive, datasource: str, spool: Spool) -> None:
        self._archive = archive
        self._datasource = datasource
        self._left = list(spool.left())
        self._tails: list[str] = []
        self._before: Path | None = None
        try:
            self._newest = newest = _newest(archive)
        except BaseException:
            self.release()  # else nobody of this process ever got at it again
            raise
        self._due: int | None = None
        """Where the next segment begins, or one that was kept in part."""
        self.kept_to = self.whole_to = 0
        """All before it is in the archive, also in whole segments."""
        if newest is not None:
            self._due = self.whole_to = newest.end_position if newest.whole else newest.start_position
            self.kept_to = newest.end_position

    def next(self) -> Place | None:
        """What is to be received next: after all that is kept or left in whole segments; `None` where nothing is kept."""
        if self._newest is None or self._due is None:
            return None
        timeline, size, place = self._newest.timeline, self._newest.segment_bytes, self._due
        names = {path.name for left in self._left for path in left.whole()}
        while wal.name(timeline, place // size, size) in names:
            place += size
        return Place(timeline, place)

    def missing(self, held: int) -> Place | None:
        """The first segment that is not kept before one that is, which another has kept: the server has those from `held` on."""
        if self._newest is None:
            return None
        timeline, size, reached = self._newest.timeline, self._newest.segment_bytes, None
        for names in self._archive.groups(timeline, max(held - size, 0)):
            begin = wal.begin(names[0][:SHORT], size)
            if reached is not None and begin > (place := max(reached, held - held % size)):
                return Place(timeline, place)
            reached = begin + size if len(names[0]) == SHORT else begin
        return None

    def begin(self, place: Place) -> None:
        """It is received from there on: from `next` or `missing`, or from elsewhere: that is gone, or its timeline was left."""
        if self._newest is None or self._newest.timeline != place.timeline or self.next() != place:
            self.kept_to = self.whole_to = place.position
        self._due = place.position

    def settle(self, *, alone: bool = False) -> None:
        """Keep what earlier times have left, to the last byte. Raises as `Archive.keep`, and then what is left stays.

        What follows on nothing that is kept, or came damaged, is not kept: for that the server holds it. `alone` is without one:
        then it stays for the next, since what damages is perhaps the repository, and there may be no other copy.
        """
        while self._left:
            left, settled = self._left[0], not alone
            with suppress(Damaged):
                self._histories(left)
                self._whole(left, limit_s=float("inf"))
                for path in left.begun():
                    self._ending(path)
                settled = True
            self._left.pop(0)
            left.remove() if settled else left.release()
            self._before = None

    def release(self) -> None:
        """Leave what is left to the next."""
        for left in self._left:
            left.release()
        self._left.clear()

    def post(self, run: Arrivals, written: int | None, *, tail: bool) -> bool:
        """Keep what has come by now, up to where it is known to be `written`; whether there is more. Raises as `Archive.keep`."""
        self.settle()
        self._histories(run)
        if self._whole(run, limit_s=_AT_ONCE_S):
            return True
        begun = run.begun()
        for path in begun[:-1]:  # its timeline was left
            self._ending(path)
            path.unlink()
        if tail and begun and written:
            self._tail(begun[-1], written)
        return False

    def _histories(self, run: Arrivals) -> None:
        for path in run.histories():
            self._archive.keep_history(int(path.name[:8], 16), path.read_bytes(), self._datasource)
            path.unlink()

    def _whole(self, run: Arrivals, limit_s: float) -> bool:
        until = monotonic() + limit_s
        for path in run.whole():
            if path == self._before:
                continue
            if monotonic() > until:
                return True
            size = path.stat().st_size
            begin = self._follows(path, size)
            kept = self._archive.keep(Arrived(path, path.name, begin + size, size, self._before), self._datasource)
            if self._before is not None:
                self._before.unlink(missing_ok=True)
            self._before = path  # what crosses from it into the next one is told then
            self._kept(kept)
            self._due = self.whole_to = kept.end_position
        return False

    def _ending(self, path: Path) -> None:
        """A segment of which no more comes."""
        size, end = head(path).segment_bytes, reached(path)
        begin = self._follows(path, size)
        if end > max(self.kept_to, begin):
            self._kept(self._archive.keep(Arrived(path, path.name.removesuffix(PARTIAL), end, size), self._datasource))

    def _tail(self, path: Path, written: int) -> None:
        name, size = path.name.removesuffix(PARTIAL), path.stat().st_size
        begin = self._follows(path, size)
        end = min(written, begin + size)
        if end > max(self.kept_to, begin):
            with suppress(FileNotFoundError):  # it has become whole
                self._kept(self._archive.keep(Arrived(path, name, end, size, self._before), self._datasource))

    def _follows(self, path: Path, size: int) -> int:
        """Where it begins. Raises Damaged where something is missing before it."""
        begin = wal.begin(path.name, size)
        if self._due is not None and begin > self._due:
            raise Damaged(path.name, f"what comes before `{path.name}` is missing in the spool", "it is asked for again")
        return begin

    def _kept(self, segment: Segment) -> None:
        self.kept_to = max(self.kept_to, segment.end_position)
        if segment.whole:
            self._remove(self._tails_before(segment))
            self._tails = []
        else:
            self._tails = [*(one for one in self._tails if one != segment.folder), segment.folder]
            self._remove(self._tails[:-_TAILS])
            self._tails = self._tails[-_TAILS:]

    def _tails_before(self, segment: Segment) -> Sequence[str]:
        """Those of the segment before, which is whole by now; its own stay until the next is, for whoever reads them."""
        number = segment.start_position // segment.segment_bytes - 1
        name = wal.name(segment.timeline, number, segment.segment_bytes)
        folder = block(self._archive.system_identifier, name)
        return [f"{folder}/{each}" for each in self._archive.repository.storage.names(folder) if each.startswith(f"{name}.")]

    def _remove(self, folders: Sequence[str]) -> None:
        for folder in folders:
            with suppress(ToolError, OSError):  # a store that locks what is in it lets it go later, and it does no harm
                self._archive.repository.storage.remove(folder)


def _newest(archive: Archive) -> Segment | None:
    timelines: Sequence[int] = archive.timelines()
    return archive.newest(timelines[-1]) if timelines else None
