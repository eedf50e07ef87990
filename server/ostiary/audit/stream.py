"""A leased stream: where it stands, its tree, and which intents have no outcome yet.

`resume` continues what another process left. It refuses a stream that contradicts
its checkpoints: signing over it would launder whatever happened to it.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from ostiary.audit.chain import Item, Place, genesis, link, microseconds, origin
from ostiary.audit.checkpoint import Signer, checkpoint_text, size_and_root
from ostiary.audit.merkle import Peaks, leaf_hash
from ostiary.audit.record import VERSION, Kind, Outcome, Status, canonical
from ostiary_tools.control.journal import Journal, LogRow, StoredCheckpoint, StreamEnd


class Contradiction(Exception):
    """A stream is not what its newest checkpoint says it was."""


class OpenIntent(NamedTuple):
    """An intent without an outcome."""

    seq: int
    agent: str
    tool: str


@dataclass(slots=True)
class Stream:
    """What one writer knows of its stream. Changes only when rows are durable."""

    installation: UUID
    place: Place
    peaks: Peaks = field(default_factory=Peaks)
    open: dict[UUID, OpenIntent] = field(default_factory=dict)
    """By call id, oldest first."""

    @property
    def number(self) -> int:
        """Its number."""
        return self.place.stream

    def link(self, items: Sequence[Item]) -> tuple[list[LogRow], Place]:
        """The rows these items would be; nothing changes yet."""
        return link(self.place, items, microseconds(datetime.now(UTC)))

    def advance(self, rows: Sequence[LogRow], place: Place) -> None:
        """The rows are durable."""
        for row in rows:
            self.peaks.add(leaf_hash(row.hash))
        self.place = place

    def checkpoint(self, signer: Signer) -> StoredCheckpoint:
        """Sign where the stream stands now."""
        note = signer.sign(checkpoint_text(origin(self.installation, self.number), self.peaks, self.place.hash))
        oldest = next(iter(self.open.values()), None)
        open_from = self.peaks.size + 1 if oldest is None else oldest.seq
        return StoredCheckpoint(self.number, self.peaks.size, note, self.peaks.packed(), open_from)

    def snapshot(self) -> "Stream":
        """As it is now, to be signed elsewhere."""
        oldest = dict([next(iter(self.open.items()))]) if self.open else {}
        return Stream(self.installation, self.place, self.peaks.copy(), oldest)


async def resume(
    journal: Journal, installation: UUID, end: StreamEnd, anchored: tuple[int, str] | None, epoch: bytes = b""
) -> Stream:
    """Continue a stream we hold the lease of, from its newest checkpoint on. `anchored` is size and root in the anchor.

    `epoch` is the digest of the note of its epoch. Reads what came after the checkpoint and after the oldest open intent that it
    names, not the history.
    Raises Contradiction.
    """
    number, stored = end.stream, end.checkpoint
    peaks = _peaks(stored)
    head = await journal.head(number)
    seen = peaks.size if stored is not None else 0
    if head.seq < max(seen, anchored[0] if anchored else 0):
        raise Contradiction(f"stream {number} ends at {head.seq}, before its newest checkpoint")
    hash_ = head.hash if head.seq else genesis(installation, number, epoch)
    stream = Stream(installation, Place(number, head.seq, hash_, microseconds(head.ts) if head.ts else 0), peaks)
    after = min(stored.open_from - 1, seen) if stored else 0
    async for page in journal.tail(number, after):
        for row in page:
            if row.kind == Kind.INTENT.encode():
                stream.open[row.call_id] = OpenIntent(row.seq, row.agent or "", row.tool or "")
            elif row.kind == Kind.OUTCOME.encode():
                stream.open.pop(row.call_id, None)
            if row.seq == peaks.size + 1:
                peaks.add(leaf_hash(row.hash))
                _agree(peaks, anchored, number)
    if peaks.size != head.seq:
        raise Contradiction(f"stream {number} has {peaks.size} records in a row and ends at {head.seq}")
    return stream


async def end_open_intents(journal: Journal, stream: Stream) -> int:
    """Write outcome `unknown` for every intent that its process left open; how many there were."""
    if not stream.open:
        return 0
    items = [unknown_outcome(call_id, intent) for call_id, intent in stream.open.items()]
    rows, place = stream.link(items)
    await journal.append(rows)
    stream.advance(rows, place)
    stream.open.clear()
    return len(rows)


def unknown_outcome(call_id: UUID, intent: OpenIntent) -> Item:
    """The outcome of an intent whose process died."""
    return outcome_item(call_id, intent, Outcome(Status.UNKNOWN, 0))


def outcome_item(call_id: UUID, intent: OpenIntent, outcome: Outcome) -> Item:
    """The record of an outcome; it names its intent, and its agent and tool so that both are found together."""
    fields = {"v": VERSION, "intent": intent.seq, "agent": intent.agent, "tool": intent.tool, **outcome.body()}
    return item(Kind.OUTCOME, call_id, canonical(fields))


def item(kind: Kind, call_id: UUID, body: str) -> Item:
    """A record to be. Raises ValueError when the body has no UTF-8 form."""
    return Item(kind.value.encode(), call_id, body, body.encode())


def anchored_root(newest: Mapping[str, tuple[int, str]], installation: UUID, number: int) -> tuple[int, str] | None:
    """The newest anchored size and root of a stream."""
    return newest.get(origin(installation, number))


def _peaks(stored: StoredCheckpoint | None) -> Peaks:
    if stored is None:
        return Peaks()
    try:
        peaks = Peaks.unpacked(stored.size, stored.peaks)
        size, root = size_and_root(stored.note)
    except ValueError as error:
        raise Contradiction(f"the newest checkpoint of stream {stored.stream} is damaged") from error
    _agree(peaks, (size, root), stored.stream)
    if size != stored.size:
        raise Contradiction(f"the newest checkpoint of stream {stored.stream} is stored under another size")
    return peaks


def _agree(peaks: Peaks, said: tuple[int, str] | None, number: int) -> None:
    if said is not None and said[0] == peaks.size and said[1] != b64encode(peaks.root()).decode():
        raise Contradiction(f"stream {number} is not what its checkpoint at {peaks.size} says")
