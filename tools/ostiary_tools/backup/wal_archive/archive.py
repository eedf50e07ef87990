"""The kept log of one cluster: segments come in once and whole, are found again, and run from here to there without a gap.

Blocking, for threads.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ostiary_tools.backup import streams, wal
from ostiary_tools.backup.keys import NoKey
from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.repository import Repository, read_signed
from ostiary_tools.backup.wal_archive.segment import DESCRIPTION, FOLDER, MEMBER, Contents, Segment, decode, encode
from ostiary_tools.errors import Damaged

_GAP = "take a full backup now: no copy of an earlier one comes past the gap"


@dataclass(frozen=True, slots=True)
class Arrived:
    """A segment as it came, or its beginning."""

    path: Path
    name: str
    end: int
    """The LSN, as a number, up to which it counts."""
    segment_bytes: int
    contents: Contents | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """Of one cluster."""

    repository: Repository
    system_identifier: str

    def keep(self, arrived: Arrived, datasource: str) -> Segment:
        """Durable when this returns; again is harmless. Raises Damaged where another log has that name, NotWritten and OSError."""
        data = _beginning(arrived)
        made = Segment(
            arrived.name,
            datasource,
            self.system_identifier,
            arrived.segment_bytes,
            wal.shown(arrived.end),
            datetime.now(UTC),
            Member(MEMBER, Content.WAL, len(data), sha256(data).hexdigest(), 0, ""),
            arrived.contents,
        )
        storage = self.repository.storage
        stage = storage.stage(made.folder, f"wal-{sha256(made.folder.encode()).hexdigest()[:16]}")
        try:
            if (kept := self._read(made.folder)) is not None:
                return _same(kept, made)
            made = replace(made, member=self._sealed(stage.create(MEMBER), data))
            text = encode(made)
            signature = self.repository.writer().sign(f"{made.folder}/{DESCRIPTION}.json", text)
            for name, content in ((f"{DESCRIPTION}.json", text), (f"{DESCRIPTION}.sig", signature)):
                with stage.create(name) as file:
                    streams.write_all(file, content)
            stage.commit()
        finally:
            stage.close()
        return made

    def segments(self, timeline: int, start: int = 0, end: int = 1 << 64) -> Iterator[Segment]:
        """Of one timeline in order, those that hold some of what lies between two LSNs: of each the whole one, else the longest.

        Raises Damaged where a description is not as it was signed.
        """
        for block in self.repository.storage.names(f"{FOLDER}/{self.system_identifier}"):
            if not block.startswith(f"{timeline:08X}") or not _touches(block, start, end):
                continue
            found: dict[str, Segment] = {}
            for name in self.repository.storage.names(f"{FOLDER}/{self.system_identifier}/{block}"):
                segment = self._load(f"{FOLDER}/{self.system_identifier}/{block}/{name}")
                other = found.get(segment.name)
                if other is None or other.end_position < segment.end_position:
                    found[segment.name] = segment
            for segment in (found[name] for name in sorted(found)):
                if segment.start_position < end and segment.end_position > start:
                    yield segment

    def continuous(self, timeline: int, start: int, end: int | None = None) -> Sequence[Segment]:
        """From one LSN to another, or as far as it goes. Raises Damaged, naming the segment that is missing or not whole."""
        found: list[Segment] = []
        reached = start
        for segment in self.segments(timeline, start, end or 1 << 64):
            if segment.start_position > reached:
                if end is None and found:
                    break
                raise _gap(timeline, reached, segment.segment_bytes)
            found.append(segment)
            reached = segment.end_position
            if not segment.whole:
                break
        if not found or (end is not None and reached < end):
            raise _gap(timeline, reached, found[-1].segment_bytes if found else 1 << 24)
        return found

    def timelines(self) -> Sequence[int]:
        """Of which something is kept, in order."""
        blocks = self.repository.storage.names(f"{FOLDER}/{self.system_identifier}")
        return sorted({int(block[:8], 16) for block in blocks if len(block) == len("0" * 16)})

    @contextmanager
    def plain(self, segment: Segment) -> Iterator[BinaryIO]:
        """Its bytes, compared at the end with what came; see `port.Kept`."""
        identities = self.repository.identities
        if not identities:
            raise NoKey("there is no key here to decrypt the log with", "name the operational key in `[backup] identity`")
        try:
            stored = self.repository.storage.open(f"{segment.folder}/{MEMBER}")
        except OSError:
            raise Damaged(segment.name, f"the bytes of `{segment.name}` are missing or cannot be read", _GAP) from None
        with streams.opened(segment.member, stored, identities) as plain:
            yield plain

    def _sealed(self, sink: BinaryIO, data: bytes) -> Member:
        stop = streams.Stop()
        try:
            with sink:
                sums = streams.seal(BytesIO(data), sink, self.repository.description.recipients, lambda _: None, stop)
        finally:
            stop.close()
        return Member(MEMBER, Content.WAL, sums.plain_bytes, sums.plain_sha256, sums.stored_bytes, sums.stored_sha256)

    def _read(self, folder: str) -> Segment | None:
        parent, _, name = folder.rpartition("/")
        return self._load(folder) if name in self.repository.storage.names(parent) else None

    def _load(self, folder: str) -> Segment:
        return decode(read_signed(self.repository.storage, self.repository.seal, f"{folder}/{DESCRIPTION}"), folder)


def clusters(repository: Repository) -> Sequence[str]:
    """System identifiers of those whose log is kept."""
    return repository.storage.names(FOLDER)


def _beginning(arrived: Arrived) -> bytes:
    size = arrived.end - wal.begin(arrived.name, arrived.segment_bytes)
    with arrived.path.open("rb") as file:
        data = file.read(size)
    if len(data) != size:
        raise Damaged(arrived.name, f"the segment `{arrived.name}` is shorter than was said", "have the server send it again")
    return data


def _same(kept: Segment, made: Segment) -> Segment:
    if kept.member.plain_sha256 != made.member.plain_sha256:
        message = f"another log is kept as `{made.name}` of this cluster"
        raise Damaged(made.name, message, "two servers with one identity write here: give one of them a new repository")
    return kept


def _touches(block: str, start: int, end: int) -> bool:
    """Whether it holds LSNs between these: its last eight digits are their higher half."""
    log = int(block[8:16], 16)
    return log << 32 < end and (log + 1) << 32 > start


def _gap(timeline: int, place: int, segment_bytes: int) -> Damaged:
    name = wal.name(timeline, place // segment_bytes, segment_bytes)
    return Damaged(name, f"the kept log has a gap: `{name}` is missing or not whole", _GAP)
