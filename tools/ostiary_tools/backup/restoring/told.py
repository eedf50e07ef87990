"""What a log tells to who looks for a moment in it: which transactions ended, what was named, and what no copy may repeat."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from ostiary_tools.backup.wal_archive import looking
from ostiary_tools.backup.wal_archive.records import (
    ABORT,
    ABORT_PREPARED,
    COMMITS,
    PARAMETER_CHANGE,
    RESTORE_POINT,
    TABLESPACE,
    TRANSACTION,
    XLOG,
    Record,
)
from ostiary_tools.backup.wal_archive.segment import RestorePoint
from ostiary_tools.errors import Damaged

_ENDS = frozenset({*COMMITS, ABORT, ABORT_PREPARED})
_LIMITS = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction")
"""In the order in which the log has them."""
_CHANGE = struct.Struct(f"={len(_LIMITS)}i")


@dataclass(frozen=True, slots=True)
class Place:
    """Of a record."""

    start: int
    end: int
    follows: int
    """Where the one before it ended; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Ended(Place):
    """A transaction that was committed or rolled back."""

    xid: int
    """Its lower 32 bits, as the log has it."""
    at: datetime
    committed: bool


@dataclass(frozen=True, slots=True)
class Named(Place):
    """A restore point."""

    name: str


@dataclass(frozen=True, slots=True)
class Changed(Place):
    """The server was started with other limits; who repeats its history needs as much."""

    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outside(Place):
    """A tablespace was made or dropped: files beyond the data directory, where the living server's are."""


Told: TypeAlias = Place | Ended | Named | Changed | Outside


def of_interest(owner: int, kind: int) -> bool:
    """Whether such a record says more than its place."""
    if owner == TRANSACTION:
        return kind & 0x70 in _ENDS
    return owner == TABLESPACE or (owner == XLOG and kind & 0xF0 in {RESTORE_POINT, PARAMETER_CHANGE})


def told(record: Record) -> Told:
    """What it says. Raises Damaged where it cannot be read."""
    place = (record.start, record.end, record.follows)
    if not of_interest(record.owner, record.kind):
        return Place(*place)
    if record.owner == TABLESPACE:
        return Outside(*place)
    if record.owner == XLOG and record.kind & 0xF0 == PARAMETER_CHANGE:
        return Changed(*place, _limits(record))
    match looking.found(record):
        case looking.Commit(xid=xid, at=at):
            return Ended(*place, xid, at, record.kind & 0x70 in COMMITS)
        case RestorePoint(name=name):
            return Named(*place, name)
    raise Damaged("wal", "the end of a transaction in the log cannot be read", "use the newest version of Ostiary")


def _limits(record: Record) -> Mapping[str, int]:
    if len(record.data) < _CHANGE.size:
        raise Damaged("wal", "a change of settings in the log cannot be read", "use the newest version of Ostiary")
    return dict(zip(_LIMITS, _CHANGE.unpack_from(record.data), strict=True))
