"""Where in a log a moment is: where recovery stops, and what ended right before that and right after.

Whatever people call a moment, a copy is stopped at an LSN, found in the very bytes that it will repeat: a time or a name may come
twice in a log, an LSN may not. Blocking, for threads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ostiary_tools.backup import wal
from ostiary_tools.backup.moment import Latest, Lsn, Moment, Name, Time, Transaction, written
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.restoring.told import Changed, Ended, Named, Outside, Place, Told, of_interest, told
from ostiary_tools.backup.wal_archive.records import NOWHERE, Chain
from ostiary_tools.errors import Damaged, Refused
from ostiary_tools.identifiers import one_line

_ALL = "`latest` is all that is kept"


@dataclass(frozen=True, slots=True)
class Stop:
    """Where recovery stops."""

    target: int
    """The record at which a server is told to."""
    after: bool
    """Whether it repeats that one, too: then it is the last that there is."""
    end: int
    """Where what it has repeated ends, when it has stopped where it should."""
    last: Ended | None
    """The last transaction that ended before."""
    following: Ended | None
    """The first one that the log has after it, where that was looked at."""
    told: datetime | None
    """When the last transaction ended that the server tells of: of one that it stops after it does not tell."""
    limits: Mapping[str, int]
    """What the server that wrote the log was started with, at most; empty where that never changed."""


@dataclass(slots=True)
class _Seen:
    """What was told of a log so far, in order."""

    moment: Moment
    at: Told | None = None
    """What the moment is called by; of a time or an LSN the first record after it."""
    next: Told | None = None
    """The one after that."""
    earlier: Ended | None = None
    last: Ended | None = None
    """The last transaction that ended before the moment, and the one before it."""
    newest: Place | None = None
    """The last record of all, where the log's end was reached."""
    following: Ended | None = None
    limits: dict[str, int] = field(default_factory=dict)
    outside: int = 0
    """Where a copy would first leave its data directory."""

    @property
    def every_from(self) -> int:
        """From where on a record matters, whatever it is."""
        if isinstance(self.moment, Lsn):
            return self.moment.position
        return self.at.start + 1 if self.at is not None else NOWHERE

    def take(self, record: Told) -> bool:
        """Whether all is known."""
        if self.at is not None:
            self.next = self.next or record
            self.following = record if isinstance(record, Ended) else None
        elif self._is_it(record):
            self.at = record
            if self._excluded:
                self.following = record if isinstance(record, Ended) else None
                return True
            self._before(record)
        else:
            self._before(record)
        return self.next is not None

    @property
    def _excluded(self) -> bool:
        """Whether recovery stops before the record."""
        return isinstance(self.moment, Time | Lsn)

    def _is_it(self, record: Told) -> bool:
        match self.moment, record:
            case Time(at), Ended(at=ended):
                return ended > at
            case Lsn(position), _:
                return record.start >= position
            case Name(name), Named(name=found):
                return found == name
            case Transaction(xid), Ended(xid=found):
                return found == xid % wal.EPOCH
        return False

    def _before(self, record: Told) -> None:
        match record:
            case Ended():
                self.earlier, self.last = self.last, record
            case Changed(limits=limits):
                self.limits |= {name: max(value, self.limits.get(name, 0)) for name, value in limits.items()}
            case Outside(start=start):
                self.outside = self.outside or start

    def stop(self) -> Stop:
        """Once the moment was found, or for `latest` at the end."""
        at = self.newest if isinstance(self.moment, Latest) else self.at
        if at is None:
            raise AssertionError("a copy is stopped at no moment")
        if self._excluded:
            return self._stop(at.start, at.follows)
        if self.next is not None:
            return self._stop(self.next.start, self.next.follows)
        unsaid = self.last is not None and self.last.start == at.start
        return Stop(at.start, True, at.end, self.last, None, _at(self.earlier if unsaid else self.last), self.limits)  # noqa: FBT003

    def _stop(self, target: int, end: int) -> Stop:
        return Stop(target, False, end, self.last, self.following, _at(self.last), self.limits)  # noqa: FBT003


def located(moment: Moment, feed: Feed, count: Callable[[int], None]) -> Stop:
    """Find it while the log is fetched. Raises Refused where the log holds no such moment, and Damaged where it has a gap."""
    seen = _Seen(moment)
    if not _looked_through(seen, feed, count):
        feed.complete()
        _refuse_what_is_not_there(seen, feed)
    if seen.outside:
        message = "a tablespace was made or dropped before that moment, and a copy would do so where the living server's files are"
        raise Refused("tablespaces", message, f"`lsn:{wal.shown(seen.outside)}` is the last moment before that")
    if isinstance(moment, Transaction) and isinstance(seen.at, Ended) and not seen.at.committed:
        raise Refused("moment", "that transaction was rolled back", "name one that was committed, or a time")
    return seen.stop()


def _looked_through(seen: _Seen, feed: Feed, count: Callable[[int], None]) -> bool:
    """Whether all was found before the log's end."""
    chain, begun = Chain(of_interest, seen.every_from), feed.brought.start
    for piece in feed.pieces(count):
        for record in chain.read(piece.name, piece.data, whole=piece.whole):
            if record.start >= begun and seen.take(told(record)):
                return True
            chain.every_from = seen.every_from
    if chain.newest is not None and chain.newest[0] >= begun:
        seen.newest = Place(*chain.newest, follows=0)
    return False


def _refuse_what_is_not_there(seen: _Seen, feed: Feed) -> None:
    moment = one_line(written(seen.moment))
    if isinstance(seen.moment, Latest):
        if seen.newest is None:
            raise Damaged("wal", "the log holds nothing", "use another backup")
    elif isinstance(seen.moment, Time | Lsn):
        newest = f"; its last transaction ended {written(Time(seen.last.at))}" if seen.last else ""
        raise Refused("moment", f"the log is kept up to {wal.shown(feed.reached)} and not beyond `{moment}`{newest}", _ALL)
    elif seen.at is None:
        hint = "see how it is written; a time or an LSN is another way to say it"
        raise Refused("moment", f"the kept log has no `{moment}` after the backup", hint)


def _at(ended: Ended | None) -> datetime | None:
    return ended.at if ended else None
