"""Which backup a copy begins with that is to come to a moment: the newest one that was whole before it and leads there.

Blocking, for threads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import ClusterFacts, Kind
from ostiary_tools.backup.moment import Latest, Lsn, Moment, Name, Time, Transaction, written
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.looking import restore_points
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.errors import Damaged, Refused
from ostiary_tools.identifiers import one_line

PHYSICAL = frozenset({Kind.FULL, Kind.INCREMENTAL})
_SHOWN = 5
"""Places of one name that are told; there may be thousands."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be restored."""

    repository: Repository
    datasource: str
    moment: Moment
    kinds: frozenset[Kind] = PHYSICAL
    """Of the backups that it may begin with."""
    timeline: int | None = None
    """That it is on; the newest where none is named."""


@dataclass(frozen=True, slots=True)
class Way:
    """A backup to begin with, and the log that leads on from it."""

    base: StoredBackup
    archive: Archive
    timeline: int


def ways(asked: Asked) -> Sequence[Way]:
    """Those that may lead to the moment, of the newest cluster, the newest backup first.

    Whether a backup is early enough for a time our own clock says here, and the log in the end. Raises Refused where there is
    none, and where a name says no one moment.
    """
    bases = _bases(asked)
    if not bases:
        raise Refused("moment", "there is no backup that a log could be repeated on", "make a full one: what comes after it counts")
    newest = _facts(bases[0])
    if isinstance(asked.moment, Time):  # which may be of a cluster that was there before
        newest = next((_facts(one) for one in bases if _may(one, asked.moment)), newest)
    of_it = [one for one in bases if _facts(one).system_identifier == newest.system_identifier]
    archive = Archive(asked.repository, newest.system_identifier)
    timeline = asked.timeline or max([*archive.timelines(), *(_facts(one).timeline for one in of_it)])
    archive.refuse_unsigned(timeline)
    leading = [one for one in of_it if _leads(archive, one, timeline)]
    if not leading:
        raise Refused("moment", f"no backup leads to timeline {timeline}", "make a full one, or put back its history")
    moment = _placed(archive, timeline, asked.moment, leading) if isinstance(asked.moment, Name) else asked.moment
    able = [Way(one, archive, timeline) for one in leading if _may(one, moment)]
    if not able and isinstance(moment, Transaction) and _snapshot(leading[0]).first + wal.EPOCH <= moment.xid:
        raise _no_such(moment)
    if not able:
        raise too_early(leading[-1])
    return able


def too_early(oldest: StoredBackup) -> Refused:
    """That a moment comes before all that can be restored."""
    hint = f"the first that can be restored is lsn:{_facts(oldest).end_lsn}, at about {oldest.manifest.ended_at:%Y-%m-%dT%H:%M:%SZ}"
    return Refused("moment", "no backup was whole before that moment", hint)


def _bases(asked: Asked) -> Sequence[StoredBackup]:
    """The newest first."""
    kept = asked.repository.newest_first()
    return [one for one in kept if one.manifest.datasource == asked.datasource and one.manifest.kind in asked.kinds]


def _may(one: StoredBackup, moment: Moment) -> bool:
    """Whether it may come before the moment."""
    facts = _facts(one)
    match moment:
        case Time(at):
            return one.manifest.started_at <= at
        case Lsn(position):
            return wal.position(facts.end_lsn) <= position
        case Transaction(xid):
            snapshot = _snapshot(one)
            # The log has half of the number: after so many more it would be taken for another.
            return not snapshot.sees_whole(xid) and xid < snapshot.first + wal.EPOCH
        case Name() | Latest():
            return True


def _leads(archive: Archive, one: StoredBackup, timeline: int) -> bool:
    """Whether the log goes on from it to that timeline."""
    facts = _facts(one)
    if facts.timeline == timeline:
        return True
    if facts.timeline > timeline or facts.point is None:
        return False
    try:
        legs = archive.history(timeline).legs
    except Damaged:  # what begins on that timeline needs none
        return False
    return any(leg.timeline == facts.timeline and wal.position(facts.point.lsn) <= leg.end for leg in legs)


def _placed(archive: Archive, timeline: int, moment: Name, bases: Sequence[StoredBackup]) -> Lsn:
    """The one place of that name."""
    found = [point for run in _runs(archive, timeline, bases[-1]) for point in restore_points(archive, run, moment.name)]
    if not found:
        raise _no_such(moment)
    if len(found) > 1:
        places = " or ".join(f"lsn:{point.lsn} ({point.at:%Y-%m-%dT%H:%M:%SZ})" for point in found[-_SHOWN:])
        newest = "" if len(found) <= _SHOWN else f"the newest {_SHOWN} are "
        told = one_line(written(moment))
        raise Refused("moment", f"the kept log has `{told}` {len(found)} times", f"say which: {newest}{places}")
    return Lsn(wal.position(found[0].lsn))


def _no_such(moment: Moment) -> Refused:
    return Refused("moment", f"the kept log has no `{one_line(written(moment))}`", "a time or an LSN is another way to say it")


def _snapshot(one: StoredBackup) -> wal.Snapshot:
    point = _facts(one).point
    if point is None:
        raise Damaged("manifest", f"the backup `{one.manifest.id}` does not say to which moment it goes", "use another backup")
    return wal.Snapshot.read(point.snapshot)


def _runs(archive: Archive, timeline: int, oldest: StoredBackup) -> Iterator[Sequence[Segment]]:
    """What is kept from a backup on, cut where something is missing."""
    facts = _facts(oldest)
    run: list[Segment] = []
    for leg in archive.path(timeline, facts.timeline):
        for segment in archive.segments(leg.timeline, max(leg.start, wal.position(facts.start_lsn)), leg.end):
            if not leg.holds(segment.start_position, segment.segment_bytes):
                continue
            if run and segment.start_position != run[-1].end_position:
                yield run
                run = []
            run.append(segment)
    if run:
        yield run


def _facts(one: StoredBackup) -> ClusterFacts:
    if one.manifest.cluster is None:
        raise Damaged("manifest", f"the backup `{one.manifest.id}` does not say of which cluster it is", "use another backup")
    return one.manifest.cluster
