"""The kept log of one cluster: segments come in once and whole, are found again, and run from here to there without a gap.

Blocking, for threads.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from itertools import chain
from typing import BinaryIO

from ostiary_tools.backup import small, streams, wal
from ostiary_tools.backup.keys import NoKey
from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.plain import opened
from ostiary_tools.backup.port import Stage
from ostiary_tools.backup.repository import Repository, read_signed
from ostiary_tools.backup.wal_archive import looking, pages, timelines
from ostiary_tools.backup.wal_archive.arrived import Arrived
from ostiary_tools.backup.wal_archive.segment import (
    BLOCK,
    DESCRIPTION,
    FOLDER,
    MEMBER,
    NAME,
    SHORT,
    SYSTEM,
    Segment,
    block,
    decode,
    encode,
    grouped,
)
from ostiary_tools.backup.wal_archive.timelines import END, HISTORIES, History, Leg
from ostiary_tools.errors import Damaged, NotWritten

_GAP = "take a full backup now: no copy of an earlier one comes past the gap"
TWO = "two servers with one identity write here: give one of them a new repository"
_USUAL = 1 << 24
"""Bytes of a segment, unless a cluster was made with others."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Of one cluster."""

    repository: Repository
    system_identifier: str

    def keep(self, arrived: Arrived, datasource: str) -> Segment:
        """Durable when this returns; again is harmless. Raises Damaged where another log has that name, NotWritten and OSError.

        Likewise where its pages are not those that belong there: what came damaged is no log to rely on.
        """
        data = arrived.beginning()
        pages.check(arrived.name, data, self.system_identifier, arrived.segment_bytes)
        made = Segment(
            arrived.name,
            datasource,
            self.system_identifier,
            arrived.segment_bytes,
            wal.shown(arrived.end),
            datetime.now(UTC),
            Member(MEMBER, Content.WAL, len(data), sha256(data).hexdigest(), 0, ""),
        )
        with self._staged(made.folder) as stage:
            if (kept := self._read(made.folder)) is not None:
                return _same(kept, made)
            found = looking.contents(made.name, data, whole=made.whole, before=arrived.whole_before(self.system_identifier))
            made = replace(made, contents=found, member=self._sealed(stage.create(MEMBER), data))
            self._commit(stage, f"{made.folder}/{DESCRIPTION}", encode(made))
        return made

    def keep_history(self, timeline: int, text: bytes, datasource: str) -> History:
        """How a timeline came about, as the server wrote it; see `keep`. Raises Damaged also where it is none."""
        if len(text) > timelines.LONGEST:
            raise Damaged(timelines.name(timeline), f"the history of timeline {timeline} cannot be read")
        written = text.decode(errors="replace")
        made = History(timeline, datasource, self.system_identifier, datetime.now(UTC), written)
        self._agree(made)
        folder = f"{FOLDER}/{timelines.folder(self.system_identifier, timeline)}"
        with self._staged(folder) as stage:
            if timeline in self.histories():
                kept = self.history(timeline)
                if kept.legs != made.legs:
                    raise Damaged(timelines.name(timeline), f"another history of timeline {timeline} is kept", TWO)
                return kept
            self._commit(stage, f"{folder}/{timelines.DESCRIPTION}", timelines.encode(made))
        return made

    def histories(self) -> Sequence[int]:
        """Timelines whose history is kept, in order."""
        return [int(name, 16) for name in self._names(HISTORIES) if timelines.NAME.fullmatch(name)]

    def history(self, timeline: int) -> History:
        """Raises Damaged where it is missing, or not as it was signed."""
        if timeline not in self.histories():
            raise timelines.missing(timeline)
        folder = timelines.folder(self.system_identifier, timeline)
        with _called(timelines.name(timeline)):
            data = read_signed(self.repository.storage, self.repository.seal, f"{FOLDER}/{folder}/{timelines.DESCRIPTION}")
            return timelines.decode(data, self.system_identifier, timeline)

    def path(self, timeline: int, origin: int | None = None) -> Sequence[Leg]:
        """Which timeline holds which part of the log that leads to the end of one, from an `origin` on; else from that one on.

        Raises Damaged where a history is missing, and where it does not come from there.
        """
        if origin is None or origin == timeline:
            return [Leg(timeline, 0, END)]
        legs = self.history(timeline).legs
        for at, leg in enumerate(legs):
            if leg.timeline == origin:
                return [Leg(origin, 0, leg.end), *legs[at + 1 :]]
        raise Damaged(timelines.name(timeline), f"timeline {timeline} does not come from timeline {origin}", "choose another one")

    def segments(self, timeline: int, start: int = 0, end: int = END) -> Iterator[Segment]:
        """Of one timeline in order, those that hold some of what lies between two LSNs: of each the whole one, else the longest.

        Raises Damaged where a description is not as it was signed.
        """
        for names in self.groups(timeline, start, end):
            segment = self.longest(names[0])
            if segment.start_position >= end:
                return
            if segment.end_position > start:
                yield segment

    def groups(self, timeline: int, start: int = 0, end: int = END) -> Iterator[Sequence[str]]:
        """Of each segment the names under which it is kept, the one that holds most first. Some before and after may be among them.

        However much is kept, little of it is read to find those that lie between two LSNs.
        """
        size = self.segment_bytes(timeline)
        for each in self._blocks(timeline):
            if not _touches(each, start, end):
                continue
            for names in grouped(self._names(each)):
                begin = wal.begin(names[0][:SHORT], size)
                if begin < end and begin + size > start:
                    yield names

    def segment_bytes(self, timeline: int) -> int:
        """Of every segment; the usual ones where none that is kept can tell."""
        for name in chain.from_iterable(map(self._named, self._blocks(timeline))):
            with suppress(Damaged):
                return self.load(name).segment_bytes
        return _USUAL

    def load(self, name: str) -> Segment:
        """What is kept under a name. Raises Damaged where it is not as it was signed."""
        return self._load(f"{block(self.system_identifier, name)}/{name}")

    def longest(self, name: str) -> Segment:
        """Of the segment that was listed under that name what is kept by now: a tail goes once longer ones are there. As `load`."""
        if len(name) == SHORT:
            return self.load(name)
        there = [one for one in self._names(name[:16]) if one.startswith(name[:SHORT])]
        return self.load(next((names[0] for names in grouped(there)), name))

    def holds(self, name: str) -> bool:
        """Whether anything is kept under a name."""
        return name in self._names(name[:16])

    def strange(self) -> Mapping[str, int]:
        """Folders that hold more than a log has, and how much."""
        blocks = [name for name in self._names("") if BLOCK.fullmatch(name)]
        found = {"": len(self._names("")) - len(blocks) - (HISTORIES in self._names(""))}
        found[HISTORIES] = len(self._names(HISTORIES)) - len(self.histories())
        for each in blocks:
            found[each] = sum(not (NAME.fullmatch(name) and name.startswith(each)) for name in self._names(each))
        return {f"{FOLDER}/{self.system_identifier}/{name}".rstrip("/"): count for name, count in found.items() if count}

    def refuse_unsigned(self, timeline: int) -> None:
        """Raises Damaged where nothing that is called a segment of it is one: somebody may have put it there, or damaged it all."""
        damage = None
        for name in chain.from_iterable(map(self._named, self._blocks(timeline)[::-1])):
            try:
                self.load(name)
            except Damaged as found:
                damage = found
            else:
                return
        if damage is not None:
            raise Damaged(damage.what, damage.message, "look who put it there; another timeline than the newest can be named")

    def newest(self, timeline: int) -> Segment | None:
        """The last one of a timeline. However much is kept, little is read."""
        for each in reversed(self._blocks(timeline)):
            if groups := grouped(self._names(each)):
                return self.longest(groups[-1][0])
        return None

    def oldest(self, timeline: int) -> Segment | None:
        """Likewise the first one."""
        return next(self.segments(timeline), None)

    def continuous(self, timeline: int, start: int, end: int | None = None, *, origin: int | None = None) -> Sequence[Segment]:
        """From one LSN to another, or as far as it goes. Raises Damaged, naming the segment that is missing or not whole.

        With an `origin` it begins there, and goes through the switches that lead to the timeline.
        """
        legs = self.path(timeline, origin)
        found: list[Segment] = []
        reached, size = start, _USUAL
        for leg, segment in self._along(legs, start, end or END):
            size = segment.segment_bytes
            if segment.start_position > reached:
                if end is None and found and leg is legs[-1] and found[-1].timeline == leg.timeline:
                    break
                raise _gap(legs, reached, size)
            found.append(segment)
            reached = segment.end_position
            if not segment.whole:
                break
        if not found or (end is not None and reached < end):
            raise _gap(legs, reached, size)
        return found

    def timelines(self) -> Sequence[int]:
        """Of which segments are kept, in order. A folder alone makes no timeline: whoever writes here can make one."""
        blocks = [name for name in self._names("") if BLOCK.fullmatch(name)]
        return [one for one in sorted({int(name[:8], 16) for name in blocks}) if any(map(self._named, self._blocks(one)[::-1]))]

    @contextmanager
    def plain(self, segment: Segment) -> Iterator[BinaryIO]:
        """Its bytes, compared at the end with what came; see `port.Kept`."""
        identities = self.repository.identities
        if not identities:
            raise NoKey("there is no key here to decrypt the log with", "name the operational key in `[backup] identity`")
        called = replace(segment.member, name=segment.name)  # every segment's own name is the same
        if small.is_small(called):
            yield BytesIO(small.opened(called, self.stored(segment), identities))
            return
        with opened(called, self.stored(segment), identities) as plain:
            yield plain

    def stored(self, segment: Segment) -> BinaryIO:
        """Its bytes as they lie there. Raises Damaged where there are none."""
        try:
            return self.repository.storage.open(f"{segment.folder}/{MEMBER}")
        except OSError:
            raise Damaged(segment.name, f"the bytes of `{segment.name}` are missing or cannot be read", _GAP) from None

    def _along(self, legs: Sequence[Leg], start: int, end: int) -> Iterator[tuple[Leg, Segment]]:
        """The segments that a server would read on that way."""
        for leg in legs:
            for segment in self.segments(leg.timeline, max(start, leg.start), min(end, leg.end)):
                if leg.holds(segment.start_position, segment.segment_bytes):
                    yield leg, segment

    def _agree(self, made: History) -> None:
        """With those of the timelines that it comes from."""
        ours = made.legs
        for leg in ours[:-1]:
            if leg.timeline in self.histories():
                timelines.agree(ours, self.history(leg.timeline).legs)

    def _sealed(self, sink: BinaryIO, data: bytes) -> Member:
        recipients = self.repository.description.recipients
        with sink:
            stored = small.sealed(data, recipients)
            if stored is not None:
                streams.write_all(sink, stored)
                sums = streams.Sums(len(data), sha256(data).hexdigest(), len(stored), sha256(stored).hexdigest())
            else:
                sums = _streamed(data, sink, recipients)
        return Member(MEMBER, Content.WAL, sums.plain_bytes, sums.plain_sha256, sums.stored_bytes, sums.stored_sha256)

    @contextmanager
    def _staged(self, folder: str) -> Iterator[Stage]:
        try:
            stage = self.repository.storage.stage(folder, f"wal-{sha256(folder.encode()).hexdigest()[:16]}")
            try:
                yield stage
            finally:
                stage.close()
        except OSError as error:
            raise NotWritten(f"the log could not be kept: {streams.words(error)}", streams.ROOM) from None

    def _commit(self, stage: Stage, what: str, text: bytes) -> None:
        """With what it says of itself, signed for where it lies."""
        signature = self.repository.writer().sign(f"{what}.json", text)
        name = what.rpartition("/")[2]
        for file_name, content in ((f"{name}.json", text), (f"{name}.sig", signature)):
            with stage.create(file_name) as file:
                streams.write_all(file, content)
        stage.commit()

    def _read(self, folder: str) -> Segment | None:
        parent, _, name = folder.rpartition("/")
        return self._load(folder) if name in self.repository.storage.names(parent) else None

    def _load(self, folder: str) -> Segment:
        with _called(folder.rpartition("/")[2]):
            return decode(read_signed(self.repository.storage, self.repository.seal, f"{folder}/{DESCRIPTION}"), folder)

    def _named(self, block_name: str) -> Sequence[str]:
        return list(filter(NAME.fullmatch, self._names(block_name)))

    def _blocks(self, timeline: int) -> Sequence[str]:
        return [name for name in self._names("") if BLOCK.fullmatch(name) and name.startswith(f"{timeline:08X}")]

    def _names(self, below: str) -> Sequence[str]:
        return self.repository.storage.names(f"{FOLDER}/{self.system_identifier}/{below}".rstrip("/"))


def _streamed(data: bytes, sink: BinaryIO, recipients: Sequence[str]) -> streams.Sums:
    stop = streams.Stop()
    try:
        return streams.seal(BytesIO(data), sink, recipients, lambda _: None, stop)
    finally:
        stop.close()


@contextmanager
def _called(name: str) -> Iterator[None]:
    """Say of which segment or history it is what cannot be relied on."""
    try:
        yield
    except Damaged as damage:
        raise Damaged(name, f"what `{name}` says of itself is not what was signed: {damage.message}", damage.hint) from None


def clusters(repository: Repository) -> Sequence[str]:
    """System identifiers of those whose log is kept."""
    return list(filter(SYSTEM.fullmatch, repository.storage.names(FOLDER)))


def _same(kept: Segment, made: Segment) -> Segment:
    if kept.member.plain_sha256 != made.member.plain_sha256:
        raise Damaged(made.name, f"another log is kept as `{made.name}` of this cluster", TWO)
    return kept


def _touches(block: str, start: int, end: int) -> bool:
    """Whether it holds LSNs between these: its last eight digits are their higher half."""
    log = int(block[8:16], 16)
    return log << 32 < end and (log + 1) << 32 > start


def gap(timeline: int, place: int, segment_bytes: int) -> Damaged:
    """That the log is missing there."""
    name = wal.name(timeline, place // segment_bytes, segment_bytes)
    return Damaged(name, f"the kept log has a gap: `{name}` is missing or not whole", _GAP)


def _gap(legs: Sequence[Leg], place: int, segment_bytes: int) -> Damaged:
    begin = place - place % segment_bytes
    timeline = next((leg.timeline for leg in legs if leg.holds(begin, segment_bytes)), legs[-1].timeline)
    return gap(timeline, place, segment_bytes)
