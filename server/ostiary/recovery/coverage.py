"""Which moments can be restored: what lies of the log beside each other, and which backups it can be played onto.

Where a moment is not known exactly the later beginning and the earlier end are taken: no moment is promised that may be missing.
Of segments whose records could not be followed all that is known is when they came.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ostiary.recovery.facts import Live
from ostiary.recovery.report import Gap, Log, Span
from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.backup.wal_archive.timelines import END, Leg


@dataclass(frozen=True, slots=True)
class Run:
    """Segments that follow each other without a gap."""

    segments: tuple[Segment, ...]

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

    def of(self, system_identifier: str) -> bool:
        """Whether it is that cluster's."""
        return self.segments[0].system_identifier == system_identifier

    def holds(self, position: int) -> bool:
        """Whether what comes at or after that place is in it."""
        return self.segments[0].start_position <= position <= self.segments[-1].end_position


@dataclass(frozen=True, slots=True)
class Path:
    """A history of the cluster, through the timelines that it had, as far as its log is kept."""

    legs: tuple[Leg, ...]
    runs: tuple[Run, ...]

    def passes(self, timeline: int, position: int) -> bool:
        """Whether that place of that timeline is on it."""
        return any(leg.timeline == timeline and leg.start <= position < leg.end for leg in self.legs)


def paths(segments: Sequence[Segment], histories: Mapping[int, Sequence[Leg]]) -> tuple[Path, ...]:
    """To the end of each timeline, the newest last. `histories` are legs by timeline; without one a timeline stands for itself."""
    found = []
    for timeline in sorted({segment.timeline for segment in segments}):
        legs = tuple(histories.get(timeline) or (Leg(timeline, 0, END),))
        found.append(Path(legs, tuple(_runs(_along(legs, segments)))))
    return tuple(found)


def _along(legs: Sequence[Leg], segments: Sequence[Segment]) -> Iterator[Segment]:
    for leg in legs:
        for one in segments:
            if one.timeline == leg.timeline and leg.holds(one.start_position, one.segment_bytes):
                yield one


def _runs(segments: Iterable[Segment]) -> Iterator[Run]:
    found: list[Segment] = []
    for segment in segments:
        if found and found[-1].end_position != segment.start_position:
            yield Run(tuple(found))
            found = []
        found.append(segment)
    if found:
        yield Run(tuple(found))


def log_of(found: Sequence[Path]) -> Log:
    """The newest history of each cluster as a band with its gaps."""
    pieces = [path.runs for path in found]
    spans = tuple(run.span for runs in pieces for run in runs)
    gaps = tuple(
        Gap(Span(before.span.end, max(before.span.end, after.span.start)), before.next)
        for runs in pieces
        for before, after in pairwise(runs)
    )
    every = [segment for runs in pieces for run in runs for segment in run.segments]
    return Log(spans, gaps, len(every), sum(segment.member.stored_bytes for segment in every))


def window(made: Manifest, found: Sequence[Path], live: Live | None = None) -> Span:
    """The moments to which this backup can be restored, with as much of the log as follows it."""
    facts = made.cluster
    moment = Span(made.started_at, made.started_at)  # what was committed while it was made may not be in it
    if facts is None:
        return moment
    reached = wal.position(facts.point.lsn if facts.point else facts.end_lsn)
    ends = [
        end
        for path in found
        if path.passes(facts.timeline, reached)
        for run in path.runs
        if run.holds(reached) and (end := _end(run, live)) > made.ended_at
    ]
    return Span(made.ended_at, max(ends)) if ends else moment


def _end(run: Run, live: Live | None) -> datetime:
    """Who keeps the log knows of the time after its last commit; that all until then is kept must be seen."""
    if (
        live is not None
        and live.kept_until is not None
        and run.of(live.system_identifier)
        and run.holds(wal.position(live.kept_to))
    ):
        return max(run.span.end, live.kept_until)
    return run.span.end


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
