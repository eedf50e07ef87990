"""A kept log in outline: of a long one, what lies inside a part without a gap is taken from its names.

So a report costs no more the longer a log is kept. What it says of the inside is as good as names are: whether the segments are
what was kept, `verify` says. Blocking, for threads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ostiary_tools.backup import wal
from ostiary_tools.backup.together import each
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.segment import SHORT, Segment

READ = 256
"""Segments of a timeline that are read, at least: the newest. Of those before only where a part without a gap begins and ends."""
_BACK = 8
"""So many before an end are looked at for a commit."""


def outlined(archive: Archive, timeline: int, read: int = READ) -> Iterator[Segment]:
    """Segments of a timeline in order, as `Archive.segments`. Raises Damaged where one that is read is not as it was signed."""
    names = [group[0] for group in archive.groups(timeline)]
    size = archive.segment_bytes(timeline)
    looked = [name for at, name in enumerate(names) if at >= len(names) - read or _at_an_edge(names, at, size)]
    loaded, of_these = each(archive.longest, looked, at_once=archive.repository.storage.at_once), set(looked)
    like: Segment  # the first one is at an edge
    for name in names:
        if name in of_these:
            like = next(loaded)
            yield like
        else:
            # No commit is said to be in it, and none later than of those that were read.
            end = wal.shown(wal.begin(name, size) + size)
            yield replace(like, name=name, end=end, contents=None)


def _at_an_edge(names: Sequence[str], at: int, size: int) -> bool:
    """Whether it begins a part without a gap, or is among the last ones of it."""
    near = names[max(at - 1, 0) : at + _BACK + 1]
    places = [wal.begin(name[:SHORT], size) // size for name in near]
    whole = all(len(name) == SHORT for name in near)
    return not whole or at == 0 or places != list(range(places[0], places[0] + len(places)))
