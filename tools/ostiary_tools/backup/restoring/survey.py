"""Where in a log a moment is: at which record recovery stops, and what ended right before it and right after it.

Whatever people call a moment, a copy is stopped at an LSN, found in the very files that it will repeat: a time or a name may come
twice in a log, an LSN may not.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from ostiary_tools.backup import wal
from ostiary_tools.backup.moment import Latest, Lsn, Moment, Name, Time, Transaction, written
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.restoring.records import Changed, Ended, Named, Outside, Reader, Record, Told
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.errors import Damaged, Refused
from ostiary_tools.identifiers import one_line

_EPOCH = 1 << 32
_ALL = "`latest` is all that is kept"

Fetch: TypeAlias = Callable[[Callable[[Segment], bool]], Awaitable[bool]]
"""`Feed.more`, in a thread."""


@dataclass(frozen=True, slots=True)
class Place:
    """A record of a log."""

    position: int
    after: bool
    """Whether that record is repeated, too: then it is the last that there is."""
    before: int
    """Where the record before it begins."""
    last: Ended | None
    """The last transaction that ended before recovery stops."""
    following: Ended | None
    """The first one after; `None` where nothing after it was looked at, or is there."""
    told: datetime | None
    """When the last transaction ended that a server which stops here tells of: of one that it stops after it does not tell."""
    limits: Mapping[str, int]
    """What the server that wrote it was started with, at most; empty where that never changed."""

    def reached(self, replayed: int) -> bool:
        """Whether a server that has repeated the log up to there stopped at this place, no earlier and no later."""
        return self.position < replayed if self.after else self.before < replayed <= self.position


@dataclass(slots=True)
class _Seen:
    """What was told of a log so far, in order."""

    moment: Moment
    at: Told | None = None
    """What the moment is called by, or of a time the first transaction after it."""
    last: Ended | None = None
    earlier: Ended | None = None
    """The one before the last."""
    following: Ended | None = None
    limits: dict[str, int] = field(default_factory=dict)
    outside: bool = False
    newest: int = 0
    """The record that was told last."""

    def take(self, record: Told) -> bool:
        """Whether all is known."""
        if record.lsn <= self.newest:
            return False
        self.newest = record.lsn
        later = self.at is not None or self._later(record)
        if self.at is None and self._is_it(record):
            self.at = record
        if not later:
            self._before(record)
        elif isinstance(record, Ended):
            self.following = record
        return self.following is not None

    def _later(self, record: Told) -> bool:
        """Whether it comes after the moment."""
        match self.moment, record:
            case Time(at), Ended(at=ended):
                return ended > at
            case Lsn(position), _:
                return record.lsn >= position
        return False

    def _is_it(self, record: Told) -> bool:
        match self.moment, record:
            case Time(at), Ended(at=ended):
                return ended > at
            case Name(name), Named(name=found):
                return found == name
            case Transaction(xid), Ended(xid=found):
                return found == xid % _EPOCH
        return False

    def _before(self, record: Told) -> None:
        match record:
            case Ended():
                self.earlier, self.last = self.last, record
            case Changed(limits=limits):
                self.limits |= {name: max(value, self.limits.get(name, 0)) for name, value in limits.items()}
            case Outside():
                self.outside = True

    def place(self, stop: Record, *, after: bool = False) -> Place:
        told = self.earlier if after and self.last and self.last.lsn == stop.lsn else self.last
        return Place(stop.lsn, after, stop.before, self.last, self.following, told.at if told else None, self.limits)


async def located(moment: Moment, reader: Reader, feed: Feed, fetch: Fetch) -> Place:
    """Find it while the log is fetched. Raises Refused where the log holds no such moment, and Damaged where it has a gap."""
    seen, enough = _Seen(moment), _enough(moment)
    while True:
        await reader.read(feed.timeline, seen.newest or feed.start, feed.reached, seen.take)
        if place := await _place(seen, reader, feed):
            break
        if not await fetch(enough):
            place = await _end(seen, reader, feed)
            break
    if seen.outside:
        message = "a tablespace was made or dropped before that moment, and a copy would do so where the living server's files are"
        raise Refused("tablespaces", message, "restore to a moment before it")
    if isinstance(moment, Transaction) and isinstance(seen.at, Ended) and not seen.at.committed:
        raise Refused("moment", "that transaction was rolled back", "name one that was committed, or a time")
    return place


def _enough(moment: Moment) -> Callable[[Segment], bool]:
    """Whether a segment may hold the moment; a guess, by what its description says."""
    match moment:
        case Time(at):
            return lambda one: (
                one.kept_at > at if one.contents is None else one.contents.last_commit is not None and one.contents.last_commit > at
            )
        case Lsn(position):
            return lambda one: one.end_position > position
        case Name(name):
            return lambda one: one.contents is not None and any(point.name == name for point in one.contents.points)
    return lambda _: False


async def _place(seen: _Seen, reader: Reader, feed: Feed) -> Place | None:
    """Where the moment is, if the log in the folder goes so far."""
    match seen.moment:
        case Time():
            return seen.place(seen.at) if seen.at else None
        case Lsn(position):
            found = await reader.next(feed.timeline, position, feed.reached) if feed.start < position < feed.reached else ()
            return seen.place(found[0]) if found else None
    if seen.at is None:
        return None
    found = await reader.next(feed.timeline, seen.at.lsn, feed.reached, 2)
    return seen.place(found[1]) if len(found) > 1 else None


async def _end(seen: _Seen, reader: Reader, feed: Feed) -> Place:
    """Where all of the log was looked at."""
    feed.whole()
    if isinstance(seen.moment, Latest):
        if last := await reader.last(feed.timeline, seen.newest or feed.start, feed.reached):
            return seen.place(last, after=True)
        raise Damaged("wal", "the log holds nothing", "use another backup")
    if seen.at is not None:
        return seen.place(seen.at, after=True)
    told = one_line(written(seen.moment))
    if isinstance(seen.moment, Time | Lsn):
        newest = f"at {written(Time(seen.last.at))}" if seen.last else "nowhere"
        message = (
            f"the log is kept up to {wal.shown(feed.reached)} and does not go beyond `{told}`: its last transaction ended {newest}"
        )
        raise Refused("moment", message, _ALL)
    raise Refused("moment", f"the kept log has no `{told}`", "see how it is written; a time or an LSN is another way to say it")
