"""Where in a log a snapshot ends: a copy that is recovered up to a place holds what was committed before it.

A snapshot sees some transactions and not others. Where all that it sees come before all that it does not, the first commit it does
not see is the place. Blocking, for threads.
"""

from collections.abc import Iterator
from pathlib import Path

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive import pages
from ostiary_tools.backup.wal_archive.looking import Commit, found
from ostiary_tools.backup.wal_archive.records import COMMITS, TRANSACTION, Chain
from ostiary_tools.errors import Damaged

_HINT = "use another backup"


def boundary(folder: Path, stretch: wal.Stretch, snapshot: wal.Snapshot) -> int | None:
    """The place in a stretch that lies in a folder; `None` where a commit is seen after one that is not. Raises Damaged."""
    first = 0
    for commit in _commits(folder, stretch):
        seen = snapshot.sees(commit.xid)
        if seen and first:
            return None
        if not seen and not first:
            first = commit.start
    if not first:
        raise Damaged("wal", "the write-ahead log of the backup ends before its point", _HINT)
    return first


def _commits(folder: Path, stretch: wal.Stretch) -> Iterator[Commit]:
    chain = Chain(lambda owner, kind: owner == TRANSACTION and kind & 0x70 in COMMITS)
    for name in stretch.names:
        data = (folder / name).read_bytes()[: stretch.end - wal.begin(name, stretch.segment_bytes)]
        pages.check(name, data, stretch.system_identifier, stretch.segment_bytes)
        for record in chain.read(name, data, whole=len(data) == stretch.segment_bytes):
            commit = found(record)
            if not isinstance(commit, Commit):
                raise Damaged(name, f"a commit in `{name}` cannot be read", "use the newest version of Ostiary")
            if commit.start >= stretch.start:
                yield commit
