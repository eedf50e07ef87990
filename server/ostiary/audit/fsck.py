"""The verifier: says whether the records are what was written. It shares no code with the writer.

Works on rows and notes alone, from the database or from an export, with the public
key alone. It makes its own preimages, trees and parsing on purpose: a mistake in
the writer must not be a mistake here too. Pure, except for what it is fed.

What it cannot see: records after the newest anchor that were cut or rewritten, and
a call that was never recorded.
"""

import re
import struct
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_FINDINGS = 100
"""Of one stream; one broken link is followed by as many as there are records."""

_ED25519, _KEY_BYTES = 1, 32
_SIGNATURE_BYTES = 4 + 64  # key id and signature
_NOTE_LINES = 3  # origin, size, root

Record = tuple[int, int, int, bytes, bytes, bytes, bytes]
"""stream, seq, microseconds since 1970, kind, call id (16 bytes), body (UTF-8), hash."""


class Unreadable(ValueError):
    """A key, note or export that cannot be understood, so nothing can be told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written."""

    stream: int | None
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed checkpoint. Believed only as far as its signature was looked at."""

    origin: str
    size: int
    root: bytes
    extra: tuple[str, ...]
    text: str
    signatures: tuple[tuple[bytes, bytes], ...]
    """Key id and signature."""

    @property
    def stream(self) -> int | None:
        """The stream's number; `None` for the roster."""
        last = self.origin.rsplit("/", 1)[-1]
        return int(last) if last.isdecimal() else None

    @property
    def chain(self) -> bytes | None:
        """Hash of the last record, when the note names it."""
        return next((b64decode(line[6:]) for line in self.extra if line.startswith("chain ")), None)


@dataclass(frozen=True, slots=True)
class Keys:
    """The public keys that are believed, by key id."""

    by_id: dict[bytes, Ed25519PublicKey]

    @classmethod
    def parse(cls, text: str) -> "Keys":
        """From lines `name+id+base64`. Raises Unreadable."""
        found = {}
        for line in filter(None, (raw.strip() for raw in text.splitlines())):
            match = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", line)
            data = _unbase64(match[3]) if match else b""
            if match is None or len(data) != 1 + _KEY_BYTES or data[0] != _ED25519:
                raise Unreadable("the public key is not a line `name+id+key` with an ed25519 key")
            key_id = sha256(match[1].encode() + b"\n" + data).digest()[:4]
            if key_id.hex() != match[2]:
                raise Unreadable("the public key does not have the id it names")
            found[key_id] = Ed25519PublicKey.from_public_bytes(data[1:])
        if not found:
            raise Unreadable("there is no public key")
        return cls(found)

    def signed(self, note: Note) -> bool:
        """Whether one of these keys signed it."""
        for key_id, signature in note.signatures:
            key = self.by_id.get(key_id)
            if key is not None:
                try:
                    key.verify(signature, note.text.encode())
                except InvalidSignature:
                    continue
                return True
        return False


def parse_note(note: str) -> Note:
    """Read a signed note. Raises Unreadable."""
    text, separator, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    signatures = [re.fullmatch(r"— (\S+) ([A-Za-z0-9+/=]+)", line) for line in tail.splitlines()]
    if not separator or len(lines) < _NOTE_LINES or not lines[1].isdecimal() or not signatures or None in signatures:
        raise Unreadable("a checkpoint is not a signed note")
    raw = [_unbase64(match[2]) for match in signatures if match]
    root = _unbase64(lines[2])
    if len(root) != sha256().digest_size or any(len(r) != _SIGNATURE_BYTES for r in raw):
        raise Unreadable("a checkpoint has a root or signature of the wrong length")
    return Note(lines[0], int(lines[1]), root, tuple(lines[3:]), text + "\n", tuple((r[:4], r[4:]) for r in raw))


@dataclass(slots=True)
class _Frontier:
    """An RFC 6962 tree that grows: complete subtrees by height, largest last in the number's bits."""

    size: int = 0
    stack: list[tuple[int, bytes]] = field(default_factory=list)

    def root(self) -> bytes:
        if not self.stack:
            return sha256(b"").digest()
        value = self.stack[-1][1]
        for _, left in reversed(self.stack[:-1]):
            value = sha256(b"\x01" + left + value).digest()
        return value


_FIXED = struct.Struct(">B I32s II IQ Iq Ic I16s I".replace(" ", ""))


class StreamCheck:
    """Follows one stream, record by record."""

    def __init__(self, installation: str, stream: int) -> None:
        self.stream = stream
        self.findings: list[Finding] = []
        self.count = 0
        self.seq = 0
        self._hash = sha256(f"ostiary/{installation}/{stream}".encode()).digest()
        self._ts = 0
        self._tree = _Frontier()
        self._expected: dict[int, set[bytes]] = {}

    def start_from(self, note: Note, peaks: bytes) -> None:
        """Start after the records of a believed note; its subtrees must make its root."""
        heights = [h for h in range(note.size.bit_length() - 1, -1, -1) if note.size >> h & 1]
        parts = [peaks[i : i + 32] for i in range(0, len(peaks), 32)]
        tree = _Frontier(note.size, list(zip(heights, parts, strict=False)))
        if len(parts) != len(heights) or tree.root() != note.root or note.chain is None:
            self._find(note.size, "the checkpoint to start from does not hold what it says")
            return
        self.seq, self._hash, self._tree = note.size, note.chain, tree

    def expect(self, size: int, root: bytes) -> None:
        """The first `size` records must make this root."""
        if size > self.seq:
            self._expected.setdefault(size, set()).add(root)

    def feed(self, records: Sequence[Record]) -> None:
        """The next records, in order."""
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
            self._find(self.seq, f"a checkpoint has {max(missing)} records, and the last here is {self.seq}: the end was cut off")
        return self.findings

    def _compare(self, seq: int) -> None:
        if self._expected.pop(seq) != {self._tree.root()} or self._tree.size != seq:
            self._find(seq, f"the records up to {seq} are not those that the checkpoint at {seq} was made of")

    def _find(self, seq: int, what: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(self.stream, seq, what))


@dataclass(slots=True)
class Verification:
    """All streams of an installation against all notes."""

    installation: str
    keys: Keys
    findings: list[Finding] = field(default_factory=list)
    streams: dict[int, StreamCheck] = field(default_factory=dict)
    anchors: int = 0
    unread: int = 0
    """Lines of the anchor that are no notes."""

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
            if note.stream is None:
                self._roster(note)
            else:
                self.stream(note.stream).expect(note.size, note.root)
            if note.stream is None or note.origin not in newest or note.size >= newest[note.origin][0].size:
                newest[note.origin] = (note, text)
        for _, text in newest.values():
            self._believed(text, source)

    def stream(self, number: int) -> StreamCheck:
        """The check of one stream."""
        if number not in self.streams:
            self.streams[number] = StreamCheck(self.installation, number)
        return self.streams[number]

    def finish(self) -> list[Finding]:
        """What is wrong; nothing when all is as it was written."""
        for number in sorted(self.streams):
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

    def _roster(self, note: Note) -> None:
        """Every stream that the roster names must have at least that many records, with that root."""
        entries = [line for line in note.extra if line.startswith("stream ")]
        tree = _Frontier()
        for entry in entries:
            _grow(tree, sha256(b"\x00" + entry.encode()).digest())
            _, number, size, root = entry.split(" ")
            self.stream(int(number)).expect(int(size), _unbase64(root))
        if len(entries) != note.size or tree.root() != note.root:
            self.findings.append(Finding(None, None, "the roster of streams does not hold what it says"))


def _grow(tree: _Frontier, value: bytes) -> None:
    height = 0
    while tree.stack and tree.stack[-1][0] == height:
        value = sha256(b"\x01" + tree.stack.pop()[1] + value).digest()
        height += 1
    tree.stack.append((height, value))
    tree.size += 1


def _unbase64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise Unreadable("base64 is damaged") from error


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
