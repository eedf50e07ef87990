"""Which moments can be restored: what lies of the log beside each other, and which backups it can be played onto.

Where a moment is not known exactly the later beginning and the earlier end are taken: no moment is promised that may be missing.
Of segments that nobody could look into (without `pg_waldump`) all that is known is when they came.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ostiary.recovery.report import Gap, Log, Span
from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.wal_archive.segment import Segment


@dataclass(frozen=True, slots=True)
class Run:
    """Segments of one timeline that follow each other without a gap."""

    segments: tuple[Segment, ...]

    @property
    def timeline(self) -> int:
        """Of all of them."""
        return self.segments[0].timeline

    @property
    def next(self) -> str:
        """The segment that is missing after it, or not whole."""
        last = self.segments[-1]
        return last.name if not last.whole else wal.name(last.timeline, last.end_position // last.segment_bytes, last.segment_bytes)

    @property
    def span(self) -> Span:
        """From its first commit to its last one."""
        start = _beginning(self.segments[0])
        return Span(start, max([start, *filter(None, map(_ending, self.segments))]))

    def holds(self, position: int) -> bool:
        """Whether what comes at or after that place is in it."""
        return self.segments[0].start_position <= position <= self.segments[-1].end_position


def runs(segments: Iterable[Segment]) -> Iterator[Run]:
    """Of segments in order."""
    found: list[Segment] = []
    for segment in segments:
        if found and not (found[-1].timeline == segment.timeline and found[-1].end_position == segment.start_position):
            yield Run(tuple(found))
            found = []
        found.append(segment)
    if found:
        yield Run(tuple(found))


def log_of(found: Sequence[Run]) -> Log:
    """Runs as a band with its gaps."""
    spans = tuple(run.span for run in found)
    gaps = tuple(
        Gap(Span(before.span.end, max(before.span.end, after.span.start)), before.next)
        for before, after in pairwise(found)
        if before.timeline == after.timeline
    )
    every = [segment for run in found for segment in run.segments]
    return Log(spans, gaps, len(every), sum(segment.member.stored_bytes for segment in every))


def window(made: Manifest, found: Sequence[Run]) -> Span:
    """The moments to which this backup can be restored, with as much of the log as follows it."""
    facts = made.cluster
    if facts is None:
        return Span(made.started_at, made.started_at)  # what was committed while it was made is not in it
    reached = wal.position(facts.point.lsn if facts.point else facts.end_lsn)
    for run in found:
        if run.timeline == facts.timeline and run.holds(reached) and run.span.end > made.ended_at:
            return Span(made.ended_at, run.span.end)
    return Span(made.started_at, made.started_at)


def merged(windows: Iterable[Span]) -> tuple[Span, ...]:
    """In order; those that overlap as one."""
    found: list[Span] = []
    for one in sorted(windows, key=lambda one: (one.start, one.end)):
        if found and one.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, one.end))
        else:
            found.append(one)
    return tuple(found)


def _beginning(segment: Segment) -> datetime:
    contents = segment.contents
    return contents.first_commit if contents and contents.first_commit else segment.kept_at


def _ending(segment: Segment) -> datetime | None:
    """`None` where nothing was committed in it."""
    contents = segment.contents
    return segment.kept_at if contents is None else contents.last_commit
