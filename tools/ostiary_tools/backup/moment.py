"""A moment in a cluster's history, as people and agents name it: what a restore is to come to, and must be seen to have come to."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from ostiary_tools.backup import wal
from ostiary_tools.errors import Damaged, Refused
from ostiary_tools.identifiers import one_line

_LONGEST_NAME = 63
"""Of a restore point, as PostgreSQL keeps it."""
_XID = re.compile(r"[0-9]{1,20}", re.ASCII)
_XID_END = 1 << 64


@dataclass(frozen=True, slots=True)
class Time:
    """Every transaction that was committed by then, by the server's clock, and none that was committed later."""

    at: datetime
    """UTC."""


@dataclass(frozen=True, slots=True)
class Name:
    """A restore point that somebody made by `pg_create_restore_point`."""

    name: str


@dataclass(frozen=True, slots=True)
class Lsn:
    """A place in the log: what was committed before it, and nothing after."""

    position: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction, as `pg_current_xact_id()` gives it, and all that were committed before it."""

    xid: int


@dataclass(frozen=True, slots=True)
class Latest:
    """All that is kept."""


Moment: TypeAlias = Time | Name | Lsn | Transaction | Latest


def parsed(written: str) -> Moment:
    """`2026-01-31T12:00:00Z`, `name:before_migration`, `lsn:0/3000060`, `xid:7342` or `latest`. Raises Refused."""
    what, colon, rest = written.partition(":")
    match what:
        case "name" if colon and rest.isprintable() and 0 < len(rest.encode()) <= _LONGEST_NAME:
            return Name(rest)
        case "lsn" if colon:
            try:
                return Lsn(wal.position(rest))
            except Damaged:
                raise _unread(written) from None
        case "xid" if colon and _XID.fullmatch(rest) and 0 < int(rest) < _XID_END:
            return Transaction(int(rest))
        case "latest" if not colon:
            return Latest()
    try:
        at = datetime.fromisoformat(written)
        if at.utcoffset() is None:
            raise Refused("moment", "the time does not say its zone", "write it as 2026-01-31T12:00:00Z")
        return Time(at.astimezone(UTC))
    except (ValueError, OverflowError):  # the year 1 in one zone is none in another
        raise _unread(written) from None


def _unread(written: str) -> Refused:
    message = f"`{one_line(written, 60)}` is no moment"
    return Refused("moment", message, "write 2026-01-31T12:00:00Z, name:…, lsn:0/3000060, xid:7342 or latest")


def written(moment: Moment) -> str:
    """As `parsed` reads it."""
    match moment:
        case Time(at):
            return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        case Name(name):
            return f"name:{name}"
        case Lsn(position):
            return f"lsn:{wal.shown(position)}"
        case Transaction(xid):
            return f"xid:{xid}"
        case Latest():
            return "latest"
