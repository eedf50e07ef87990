"""Whether a copy of all that is kept has all that was: the repository cannot say it, for who writes there may cut off its end.

Blocking, for threads.
"""

from ostiary_tools.backup import wal
from ostiary_tools.backup.remembered import KeptLog
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.restoring.moments import Reached
from ostiary_tools.backup.wal_archive.archive import Archive


def extent(repository: Repository, reached: Reached) -> str:
    """In a sentence, for a copy that is at `latest`."""
    system = reached.base.manifest.cluster.system_identifier if reached.base.manifest.cluster else ""
    logs = [one for one in repository.remembered.logs if one.system_identifier == system] if repository.remembered else []
    known = next((one for one in logs if one.timeline == reached.timeline), None)
    if known is None:
        return f"nobody here remembers how far the log was kept: the repository says that it ends at {wal.shown(reached.position)}"
    later = [one.timeline for one in logs if one.timeline > reached.timeline]
    other = f"; it went on as timeline {later[-1]}, which this copy is not of" if later else ""
    newest = Archive(repository, system).newest(reached.timeline)
    there = newest.end_position if newest is not None else 0
    if there < known.end:
        return f"not all is there: {_kept(known)}, and it ends at {wal.shown(reached.position)}; what came after is gone{other}"
    return f"{_kept(known)}, and the copy has all of that{other}"


def _kept(known: KeptLog) -> str:
    return f"the log is known to have been kept to {wal.shown(known.end)} on {known.at:%Y-%m-%d %H:%M:%S}Z"
