"""Some moment after a backup that its log leads to: a drill comes to another one each time, to the microsecond."""

import secrets
from datetime import datetime, timedelta

from ostiary_tools.backup import wal
from ostiary_tools.backup.moment import Lsn, Moment, Time
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.restoring.bases import Way
from ostiary_tools.backup.restoring.unpacking import cluster_facts
from ostiary_tools.backup.wal_archive.archive import Archive

_TICK = timedelta(microseconds=1)


def any_moment(repository: Repository, kept: StoredBackup) -> tuple[Way, Moment] | None:
    """With the way there; `None` where no log is kept after the backup. Blocking. Raises Damaged where it has a gap at once."""
    facts = cluster_facts(kept.manifest)
    archive = Archive(repository, facts.system_identifier)
    point = wal.position(facts.point.lsn if facts.point else facts.end_lsn)
    if next(archive.segments(facts.timeline, point), None) is None:
        return None
    segments = archive.continuous(facts.timeline, point)
    way = Way(kept, archive, facts.timeline)
    times = [one.contents.last_commit for one in segments if one.contents and one.contents.last_commit]
    if times and max(times) > kept.manifest.ended_at:
        return way, Time(_between(kept.manifest.ended_at, max(times)))
    # A place before the last record, which may be as long as a segment is: what begins after it there is to stop at.
    end = segments[-1].start_position
    return (way, Lsn(point + secrets.randbelow(end - point))) if end > point else None


def _between(start: datetime, end: datetime) -> datetime:
    return start + secrets.randbelow((end - start) // _TICK) * _TICK
