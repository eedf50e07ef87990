"""The log that a copy repeats: what its backup brought, and then what was kept, segment by segment, in order and without a gap.

Blocking, for threads.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged, NotWritten

_AT_ONCE = 16
"""Segments that are fetched before anybody looks at them, where nothing tells which one is wanted."""
_PIECE = 1 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Feed:
    """Puts kept segments into a folder. `reached` is up to where the log in it is whole."""

    archive: Archive
    folder: Path
    account: Account
    timeline: int
    start: int
    reached: int
    segment_bytes: int
    _coming: list[Segment] | None = field(default=None, init=False)

    def more(self, enough: Callable[[Segment], bool], told: Callable[[int], None]) -> bool:
        """Fetch on, up to the first one that is enough; whether there was any. Raises Damaged, NotWritten and NoKey."""
        if self._coming is None:
            self._coming = list(self._kept())
        taken: list[Segment] = []
        while self._coming and len(taken) < _AT_ONCE and not (taken and enough(taken[-1])):
            taken.append(self._coming.pop(0))
        for segment in taken:
            self._put(segment, told)
            self.reached = segment.end_position
        if taken:
            stretch = wal.Stretch(self.archive.system_identifier, self.timeline, self.start, self.reached, self.segment_bytes)
            wal.check(self.folder, stretch)
        return bool(taken)

    def whole(self) -> None:
        """That no kept segment lies beyond where the log in the folder ends. Raises Damaged, naming the one that is missing."""
        for segment in self.archive.segments(self.timeline, self.reached):
            self.archive.continuous(self.timeline, self.reached, segment.end_position)

    def _kept(self) -> Sequence[Segment]:
        """What comes after the folder's log, as far as it goes; nothing where nothing does."""
        begun = self.reached - self.reached % self.segment_bytes
        if next(self.archive.segments(self.timeline, begun), None) is None:
            return ()
        found = self.archive.continuous(self.timeline, begun)
        if any(one.segment_bytes != self.segment_bytes for one in found):
            raise Damaged("wal", "the kept log has segments of another size than the backup's", "use another backup")
        return [one for one in found if one.end_position > self.reached]

    def _put(self, segment: Segment, told: Callable[[int], None]) -> None:
        """Under its name once all of it was compared; of a tail the rest is empty."""
        draft = self.folder / f"{segment.name}.draft"
        try:
            descriptor = os.open(draft, _FLAGS, 0o600)
            with open(descriptor, "wb", buffering=0) as file, self.archive.plain(segment) as plain:  # noqa: PTH123 a descriptor
                if self.account.uid != os.geteuid():
                    os.fchown(descriptor, self.account.uid, self.account.gid)
                while piece := plain.read(_PIECE):
                    file.write(piece)
                    told(len(piece))
                os.ftruncate(descriptor, self.segment_bytes)
            draft.rename(self.folder / segment.name)
        except OSError as error:
            why = (error.strerror or "input or output failed").lower()
            raise NotWritten(f"the copy could not be written: {why}", "see that there is room for it") from error
