"""Whether the kept log leads on from a backup: every segment from its beginning on, on every timeline that comes from there.

Of each the signature, the bytes, the pages and the chain of records are looked at, and that none is missing in between. Each damage
is named, and one does not hide the others. Blocking, for threads.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise

from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.port import chunks
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.vanished import log_lost
from ostiary_tools.backup.wal_archive import pages
from ostiary_tools.backup.wal_archive.archive import TWO, Archive, gap
from ostiary_tools.backup.wal_archive.looking import Commit, found
from ostiary_tools.backup.wal_archive.records import Chain
from ostiary_tools.backup.wal_archive.segment import DESCRIPTION, MEMBER, SHORT, Segment
from ostiary_tools.backup.wal_archive.timelines import Leg
from ostiary_tools.errors import Damaged, Refused

Told = Callable[[int], None]
"""Takes how many bytes more were compared, in the thread. What it raises ends the work."""
_ENCRYPTED = "no key that opens the log is here: what is stored was compared, and not what it decrypts to"
_EMPTY = "no log is kept that leads on from this backup"
_KEEP = 'say `wal = "kept"` in its plan and let `ostiary worker` run, or let the server run `ostiary backup keep-wal`'
_HINT = "take a full backup now: no copy of an earlier one comes past this segment"
_STRANGE = "look who put it there"
_MEMBERS = {MEMBER, f"{DESCRIPTION}.json", f"{DESCRIPTION}.sig"}


@dataclass(frozen=True, slots=True)
class VerifiedLog:
    """What was found of the log that leads on from one backup."""

    start: int
    """From where on it was looked at."""
    end: int
    """How far it reaches on the newest timeline, without a gap."""
    timelines: tuple[int, ...]
    segments: int
    last_commit: datetime | None
    """By the server's clock; `None` where none was seen."""
    damages: tuple[Damaged, ...]
    notes: tuple[str, ...] = ()
    """What was not compared, and why."""

    @property
    def words(self) -> str:
        """In a sentence."""
        many = f" of the timelines {', '.join(map(str, self.timelines))}" if len(self.timelines) > 1 else ""
        until = f"; its last commit is of {self.last_commit:%Y-%m-%d %H:%M:%S}Z" if self.last_commit else ""
        reach = f"{wal.shown(self.start)} to {wal.shown(self.end)}"
        return f"the log from {reach}, {self.segments} segments{many}, is as it was kept and has no gap{until}"


@dataclass(frozen=True, slots=True)
class _Way:
    """A part of the log, of one timeline."""

    timeline: int
    start: int
    latest: int
    """Where what is kept of it begins at the latest; before that the backup's own log is enough."""
    left: int = 0
    """Where a later timeline went on from it, at the last; 0 where none did."""


def verify_log(repository: Repository, manifest: Manifest, told: Told) -> VerifiedLog:
    """Look at all of it. Raises Refused where the backup is none that a log leads on from."""
    facts = manifest.cluster
    if facts is None:
        raise Refused("level", "no log leads on from a backup of this kind", "only that of a whole cluster has a log")
    look = _Look(Archive(repository, facts.system_identifier), told, wal.position(facts.start_lsn))
    look.strange()
    own = wal.position(facts.point.lsn if facts.point else facts.end_lsn)
    ways = look.ways(_Way(facts.timeline, look.start, own))
    for way in ways:
        look.walk(way)
    look.damages += _lost(repository, facts.system_identifier)
    if not look.segments and not look.damages:
        look.damages.append(Damaged("wal", _EMPTY, _KEEP))
    timelines, damages = tuple(way.timeline for way in ways), tuple(look.damages)
    notes = () if readable(repository) else (_ENCRYPTED,)
    return VerifiedLog(look.start, look.end, timelines, look.segments, look.last_commit, damages, notes)


def _lost(repository: Repository, system: str) -> Sequence[Damaged]:
    """What is known to have been kept before or behind what is there."""
    known = [one for one in repository.remembered.logs if one.system_identifier == system] if repository.remembered else ()
    return [Damaged("wal", one.words, one.hint) for log in known for one in log_lost(repository, log)]


def readable(repository: Repository) -> bool:
    """Whether a key that opens the log is here."""
    return any(identity.recipient in repository.description.recipients for identity in repository.identities)


@dataclass(slots=True)
class _Look:
    """One look, and what was found so far."""

    archive: Archive
    told: Told
    start: int
    end: int = 0
    segments: int = 0
    last_commit: datetime | None = None
    damages: list[Damaged] = field(default_factory=list)

    def strange(self) -> None:
        """What lies there and is neither a segment nor a history; names that are none of ours are not repeated."""
        for what, more in self.archive.strange().items():
            self.damages.append(Damaged(what, f"`{what}` holds {more} more than a log", _STRANGE))

    def ways(self, base: _Way) -> Sequence[_Way]:
        """The base's timeline, and those that come from it after the base began."""
        ways = {base.timeline: base}
        for timeline in sorted({*self.archive.timelines(), *self.archive.histories()}):
            legs = self._legs(timeline) if timeline > base.timeline else ()
            at = next((n for n, leg in enumerate(legs) if leg.timeline == base.timeline and leg.end > base.start), None)
            for leg, after in pairwise(legs[at:] if at is not None else ()):
                ways[leg.timeline] = replace(ways[leg.timeline], left=max(ways[leg.timeline].left, leg.end))
                ways.setdefault(after.timeline, _Way(after.timeline, after.start, after.start))
        return [ways[timeline] for timeline in sorted(ways)]

    def walk(self, way: _Way) -> None:
        """One timeline, from where it is to begin until nothing more is kept of it."""
        chain, size = Chain(), self.archive.segment_bytes(way.timeline)
        reached, begun = way.start, False
        for names in self.archive.groups(way.timeline, way.start):
            begin = wal.begin(names[0][:SHORT], size)
            if not begun and reached < begin <= way.latest:
                self.start = reached = begin
            if begin > reached:
                self.damages.append(gap(way.timeline, reached, size))
                chain = Chain()
            begun, reached = True, begin + size
            try:
                segment = self.archive.longest(names[0])
                reached = segment.end_position
                self._read(segment, names[1:], chain)
            except Damaged as damage:
                self.damages.append(damage)
                chain = Chain()
        if way.left - way.left % size > reached:
            self.damages.append(gap(way.timeline, reached, size))
        if begun:
            self.end = max(self.end, reached)

    def _legs(self, timeline: int) -> Sequence[Leg]:
        try:
            return self.archive.history(timeline).legs
        except Damaged as damage:
            self.damages.append(damage)
            return ()

    def _read(self, segment: Segment, others: Sequence[str], chain: Chain) -> None:
        """One segment, and the tails that were kept of it before."""
        self.segments += 1
        data = self._compared(segment)
        for name in others:
            less = self._compared_tail(name)
            if data is not None and less is not None and not data.startswith(less):
                raise Damaged(name, f"two logs are kept as `{segment.name}`", TWO)
        if data is None:
            return
        pages.check(segment.name, data, self.archive.system_identifier, segment.segment_bytes)
        for record in chain.read(segment.name, data, whole=segment.whole):
            one = found(record)
            if isinstance(one, Commit):
                self.last_commit = max(one.at, self.last_commit or one.at)

    def _compared_tail(self, name: str) -> bytes | None:
        """Likewise of one that makes room for longer ones, perhaps by now."""
        try:
            return self._compared(self.archive.load(name))
        except Damaged:
            if self.archive.holds(name):
                raise
            return None

    def _compared(self, segment: Segment) -> bytes | None:
        """What it decrypts to; without a key `None`, when what is stored was compared."""
        more = len(set(self.archive.repository.storage.names(segment.folder)) - _MEMBERS)
        if more:
            raise Damaged(segment.name, f"the folder of `{segment.name}` holds {more} more than was kept", _STRANGE)
        if not readable(self.archive.repository):
            self._compare_stored(segment)
            return None
        with self.archive.plain(segment) as plain:
            data = plain.read()
        self.told(len(data))
        return data

    def _compare_stored(self, segment: Segment) -> None:
        digest = hashlib.sha256()
        with self.archive.stored(segment) as stored:
            for piece in chunks(stored):
                digest.update(piece)
        self.told(segment.member.plain_bytes)
        if digest.hexdigest() != segment.member.stored_sha256:
            raise Damaged(segment.name, f"`{segment.name}` is damaged: it is not the file that was stored", _HINT)
