"""The verifier: says whether the records are what was written. It shares no code with the writer.

Works on rows and notes alone, from the database or from an export, with the public
key alone. It makes its own preimages, trees and parsing on purpose: a mistake in
the writer must not be a mistake here too. Pure, except for what it is fed.

What it cannot see: records after the newest anchor that were cut or rewritten, and
a call that was never recorded.
"""

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from ostiary.audit.notes import BEGINNING, STREAMS, End, Epoch, Frontier, Keys, Note, Unreadable, grow, parse_epoch, parse_note

MAX_FINDINGS = 100
"""Of one stream; one broken link is followed by as many as there are records."""

Record = tuple[int, int, int, bytes, bytes, bytes, bytes]
"""stream, seq, microseconds since 1970, kind, call id (16 bytes), body (UTF-8), hash."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written."""

    stream: int | None
    seq: int | None
    what: str
    short: bool = False
    """Records are missing at an end, and nothing else is said: so it looks where the database was put back, too."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A stretch that an epoch says is lost: the records after `after`, up to `up_to` at least."""

    stream: int
    after: int
    up_to: int


@dataclass(frozen=True, slots=True)
class Opened:
    """An epoch as it is told, always."""

    number: int
    time: str
    person: str
    reason: str
    lost: tuple[Lost, ...]
    """What no earlier one had named."""


_FIXED = struct.Struct(">B I32s II IQ Iq Ic I16s I".replace(" ", ""))


class StreamCheck:
    """Follows one stream, record by record."""

    def __init__(self, installation: str, stream: int, epoch: Epoch = BEGINNING, newest: Epoch = BEGINNING) -> None:
        self.stream = stream
        self.findings: list[Finding] = []
        self.count = 0
        self.seq = 0
        self._hash = epoch.genesis(installation, stream)
        self._ts = 0
        self._tree = Frontier()
        self._expected: dict[int, set[bytes]] = {}
        self._opening = epoch.text if stream == epoch.first else ""
        self._ended = newest
        self._end = newest.ends.get(stream, End()) if stream < newest.first else None
        self._beyond = 0

    def start_from(self, note: Note, peaks: bytes) -> None:
        """Start after the records of a believed note; its subtrees must make its root."""
        heights = [h for h in range(note.size.bit_length() - 1, -1, -1) if note.size >> h & 1]
        parts = [peaks[i : i + 32] for i in range(0, len(peaks), 32)]
        tree = Frontier(note.size, list(zip(heights, parts, strict=False)))
        if len(parts) != len(heights) or tree.root() != note.root or note.chain is None:
            self._find(note.size, "the checkpoint to start from does not hold what it says")
            return
        self.seq, self._hash, self._tree = note.size, note.chain, tree

    def expect(self, size: int, root: bytes) -> None:
        """The first `size` records must make this root, or an epoch says that they are lost."""
        if self._end is not None and size > self._end.seq:
            self._beyond = max(self._beyond, size)
            if size == self._end.known and root != self._end.root:
                self._find(
                    size, f"there is another checkpoint of {size} records than the one that epoch {self._ended.number} names"
                )
        elif size > self.seq:
            self._expected.setdefault(size, set()).add(root)

    def feed(self, records: Sequence[Record]) -> None:
        """The next records, in order."""
        if self._opening and self.seq == 0 and records:
            self._open(records[0])
        pack, digest, previous = _FIXED.pack, sha256, self._hash
        tree, expected = self._tree, self._expected
        for stream, seq, ts, kind, call_id, body, stored in records:
            if seq != self.seq + 1:
                self._find(seq, f"after record {self.seq} comes record {seq}: records are missing or out of order")
            if ts < self._ts:
                self._find(seq, "the record is dated before the one it follows")
            head = pack(1, 32, previous, 4, stream, 8, seq, 8, ts, 1, kind, 16, call_id, len(body))
            if digest(head + body).digest() != stored:
                self._find(seq, "the record is not what was written, or does not follow the one before it")
            previous = stored
            self.seq, self._ts = seq, ts
            height, value = 0, digest(b"\x00" + stored).digest()
            stack = tree.stack
            while stack and stack[-1][0] == height:
                value = digest(b"\x01" + stack.pop()[1] + value).digest()
                height += 1
            stack.append((height, value))
            tree.size += 1
            if seq in expected:
                self._compare(seq)
        self._hash = previous
        self.count += len(records)

    def finish(self) -> list[Finding]:
        """No more records; what is wrong."""
        missing = [size for size in self._expected if size > self.seq]
        if missing:
            what = f"a checkpoint has {max(missing)} records, and the last here is {self.seq}: the end was cut off"
            self._find(self.seq, what, short=True)
        if self._end is not None:
            self._agree(self._end, f"epoch {self._ended.number}")
        return self.findings

    def _agree(self, end: End, epoch: str) -> None:
        """A stream of an earlier epoch ends where the newest says."""
        if self.seq != end.seq or (self.seq and self._hash != end.hash):
            what = f"the stream ends at another record than {end.seq}, where it ended when {epoch} was opened"
            self._find(self.seq, what, short=self.seq < end.seq)
        if self._beyond > max(end.seq, end.known):
            what = f"a checkpoint has {self._beyond} records, and {epoch} names {max(end.seq, end.known)}: the end was cut off"
            self._find(self.seq, what, short=True)

    def _open(self, first: Record) -> None:
        try:
            told = json.loads(first[5])["note"]
        except (ValueError, KeyError, TypeError):
            told = ""
        if told != self._opening:
            self._find(first[1], "the first record of the epoch is not its note")

    def _compare(self, seq: int) -> None:
        if self._expected.pop(seq) != {self._tree.root()} or self._tree.size != seq:
            self._find(seq, f"the records up to {seq} are not those that the checkpoint at {seq} was made of")

    def _find(self, seq: int, what: str, *, short: bool = False) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(self.stream, seq, what, short))


@dataclass(slots=True)
class Verification:
    """All streams of an installation against all notes."""

    installation: str
    keys: Keys
    findings: list[Finding] = field(default_factory=list)
    streams: dict[int, StreamCheck] = field(default_factory=dict)
    epochs: dict[int, Epoch] = field(default_factory=dict)
    reached: int = 0
    """The newest epoch that a note of an anchor is of."""
    anchors: int = 0
    unread: int = 0
    """Lines of the anchor that are no notes."""

    def epoch(self, text: str) -> None:
        """The log was put back, and a person had it go on. Epochs come before all else, oldest first."""
        try:
            epoch, note = parse_epoch(text)
        except Unreadable as error:
            self.findings.append(Finding(None, None, str(error)))
            return
        if not self.keys.signed(note) or note.origin != f"ostiary/{self.installation}/epochs":
            self.findings.append(Finding(None, None, f"epoch {epoch.number} is not signed by this key for this installation"))
        elif epoch.number <= self.newest.number:
            self.findings.append(Finding(None, None, f"epoch {epoch.number} comes after epoch {self.newest.number}"))
        else:
            self.epochs[epoch.number] = epoch

    @property
    def newest(self) -> Epoch:
        """The epoch that the log is in."""
        return self.epochs[max(self.epochs)] if self.epochs else BEGINNING

    def opened(self) -> tuple[Opened, ...]:
        """All epochs, with what each says is lost and no earlier one had said."""
        told: list[Opened] = []
        before: dict[int, int] = {}
        for epoch in self.epochs.values():
            ends = {s: end for s, end in epoch.ends.items() if end.known > max(end.seq, before.get(s, 0))}
            lost = tuple(Lost(s, max(end.seq, before.get(s, 0)), end.known) for s, end in sorted(ends.items()))
            before.update({s: end.known for s, end in ends.items()})
            told.append(Opened(epoch.number, epoch.time, epoch.person, epoch.reason, lost))
        return tuple(told)

    def seal(self, text: str, peaks: bytes) -> None:
        """The records up to this note were exported and dropped. Seals come oldest first.

        An ordinary checkpoint is no seal: else whoever deletes records would put one in their place.
        """
        note = self._believed(text, "the seals")
        if note is None or note.stream is None:
            return
        if not any(line.startswith("sealed ") for line in note.extra):
            self.findings.append(Finding(note.stream, note.size, "a checkpoint stands where only a seal may"))
            return
        self.stream(note.stream).start_from(note, peaks)

    def anchor(self, notes: Iterable[str], source: str) -> None:
        """Notes that the records must agree with. Per origin the newest signature is looked at; every root is compared.

        An older note that agrees with the records needs no signature, one that disagrees is reported either way.
        """
        newest: dict[str, tuple[Note, str]] = {}
        for text in notes:
            try:
                note = parse_note(text)
            except Unreadable:
                self.unread += 1
                continue
            if not note.origin.startswith(f"ostiary/{self.installation}/"):
                self.findings.append(Finding(None, None, f"{source} has a checkpoint of another installation, `{note.origin}`"))
                continue
            self.anchors += 1
            self._expect(note, text, source)
            if note.stream is None or note.origin not in newest or note.size >= newest[note.origin][0].size:
                newest[note.origin] = (note, text)
        for _, text in newest.values():
            self._believed(text, source)

    def stream(self, number: int) -> StreamCheck:
        """The check of one stream."""
        if number not in self.streams:
            epoch = self.epochs.get(number // STREAMS, BEGINNING)
            self.streams[number] = StreamCheck(self.installation, number, epoch, self.newest)
        return self.streams[number]

    def finish(self) -> list[Finding]:
        """What is wrong; nothing when all is as it was written."""
        for number in {*self.newest.ends, *(one.first for one in self.epochs.values())}:
            self.stream(number)
        for number in sorted(self.streams):
            epoch = number // STREAMS
            if epoch and epoch not in self.epochs and self.streams[number].count:
                self.findings.append(Finding(number, None, f"the stream is of epoch {epoch}, which nobody has opened"))
            self.findings.extend(self.streams[number].finish())
        return self.findings

    def _believed(self, text: str, source: str) -> Note | None:
        try:
            note = parse_note(text)
        except Unreadable:
            self.findings.append(Finding(None, None, f"{source} cannot be read"))
            return None
        if not self.keys.signed(note):
            self.findings.append(Finding(note.stream, note.size, f"the newest checkpoint in {source} is not signed by this key"))
            return None
        return note

    def _expect(self, note: Note, text: str, source: str) -> None:
        if note.opens:
            self.reached = max(self.reached, note.size)
            known = self.epochs.get(note.size)
            if known is not None and known.text != text:
                self.findings.append(Finding(None, None, f"{source} has another epoch {note.size} than the log"))
            elif note.size > self.newest.number:
                what = f"{source} knows of epoch {note.size}, which is not here: the log was put back, or opening it broke off"
                self.findings.append(Finding(None, None, what, short=True))
            return
        for number, size, root in note.named:
            self.reached = max(self.reached, number // STREAMS)
            self.stream(number).expect(size, root)
        if note.stream is None:
            self._roster(note)

    def _roster(self, note: Note) -> None:
        """It names streams with sizes and roots; its own root is over these lines."""
        entries = [line for line in note.extra if line.startswith("stream ")]
        tree = Frontier()
        for entry in entries:
            grow(tree, sha256(b"\x00" + entry.encode()).digest())
        if len(entries) != note.size or tree.root() != note.root:
            self.findings.append(Finding(None, None, "the roster of streams does not hold what it says"))


def link_hash(previous: bytes, fields: tuple[int, int, int, bytes, bytes, bytes]) -> bytes:
    """The chain hash of a record (stream, seq, microseconds, kind, call id, body) after `previous`."""
    stream, seq, ts, kind, call_id, body = fields
    try:
        head = _FIXED.pack(1, 32, previous, 4, stream, 8, seq, 8, ts, 1, kind, 16, call_id, len(body))
    except struct.error as error:
        raise Unreadable("the fields of a record are of the wrong kind") from error
    return sha256(head + body).digest()


def included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2: the record whose chain hash is `leaf` stands at `index` of a tree of `size`."""
    if not 0 <= index < size:
        return False
    position, last, value = index, size - 1, sha256(b"\x00" + leaf).digest()
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            value = sha256(b"\x01" + sibling + value).digest()
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            value = sha256(b"\x01" + value + sibling).digest()
        position >>= 1
        last >>= 1
    return last == 0 and value == root


def consistent(old: int, size: int, path: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """RFC 9162, 2.1.4.2: the tree of `size` continues the tree of `old`."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not path and old_root == root
    nodes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not nodes:
        return False
    position, last = old - 1, size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    first = second = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first = sha256(b"\x01" + node + first).digest()
            second = sha256(b"\x01" + node + second).digest()
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            second = sha256(b"\x01" + second + node).digest()
        position >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == root
