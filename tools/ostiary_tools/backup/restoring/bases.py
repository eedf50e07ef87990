"""Which backup a copy begins with that is to come to a moment: the newest one that was whole before it."""

from collections.abc import Sequence

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import ClusterFacts
from ostiary_tools.backup.moment import Latest, Lsn, Moment, Name, Time, Transaction
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.errors import Refused


def candidates(repository: Repository, datasource: str, moment: Moment) -> Sequence[StoredBackup]:
    """Those that may come before it, the newest first, all of the cluster that the newest of them is of. Blocking.

    By our own clock, for a time: that a base is early enough, the log says in the end. Raises Refused where there is none.
    """
    of_it = [one.kept for one in repository.listed() if one.kept is not None]
    bases = [one for one in reversed(of_it) if one.manifest.datasource == datasource and one.manifest.kind.physical and _facts(one)]
    if not bases:
        raise Refused(
            "moment", "there is no backup that a log could be repeated on", "make a full one; only what comes after it counts"
        )
    able = [one for one in bases if _may(one, moment)]
    if not able:
        raise too_early(bases[-1])
    cluster = _of(able[0]).system_identifier
    return [one for one in able if _of(one).system_identifier == cluster]


def too_early(oldest: StoredBackup) -> Refused:
    """That a moment comes before all that can be restored."""
    facts = _of(oldest)
    hint = f"the first that can be restored is lsn:{facts.end_lsn}, at about {oldest.manifest.ended_at:%Y-%m-%dT%H:%M:%SZ}"
    return Refused("moment", "no backup was whole before that moment", hint)


def _may(one: StoredBackup, moment: Moment) -> bool:
    facts = _of(one)
    match moment:
        case Time(at):
            return one.manifest.started_at <= at
        case Lsn(position):
            return wal.position(facts.end_lsn) <= position
        case Transaction(xid):
            return facts.point is None or not wal.Snapshot.read(facts.point.snapshot).sees_whole(xid)
        case Name() | Latest():
            return True


def _facts(one: StoredBackup) -> ClusterFacts | None:
    return one.manifest.cluster


def _of(one: StoredBackup) -> ClusterFacts:
    facts = one.manifest.cluster
    if facts is None:
        raise AssertionError("a backup of no cluster is taken for a base")
    return facts
