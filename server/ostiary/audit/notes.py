"""What was signed: notes, the public keys that are believed, and epochs of the log. It shares no code with the writer.

A note of an epoch says where every stream ended when the log had been put back to an earlier moment, and what is known to have
stood behind. Whatever was signed later of an earlier epoch's streams is held against the newest such note.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

STREAMS = 1024
"""Of one epoch: stream 1024 · n is the first of epoch n, and its first record is that of the epoch."""

_ED25519, _KEY_BYTES = 1, 32
_SIGNATURE_BYTES = 4 + 64  # key id and signature
_NOTE_LINES = 3  # origin, size, root
_DIGITS = 19


class Unreadable(ValueError):
    """A key, note or export that cannot be understood, so nothing can be told."""


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
        """The stream's number; `None` for the roster and for an epoch."""
        last = self.origin.rsplit("/", 1)[-1]
        return int(last) if last.isdecimal() and len(last) <= _DIGITS else None

    @property
    def opens(self) -> bool:
        """Whether it is that of an epoch, whose number is its size."""
        return self.origin.endswith("/epochs")

    @property
    def named(self) -> Iterator[tuple[int, int, bytes]]:
        """The streams that it says something of, each with a size and the root of so many records. Raises Unreadable."""
        if self.stream is not None:
            yield self.stream, self.size, self.root
            return
        try:
            for _, number, size, root in (line.split(" ") for line in self.extra if line.startswith("stream ")):
                yield int(number), int(size), unbase64(root)
        except ValueError as error:
            raise Unreadable("the roster of streams cannot be read") from error

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
            data = unbase64(match[3]) if match else b""
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
    if not separator or len(lines) < _NOTE_LINES or not signatures or None in signatures:
        raise Unreadable("a checkpoint is not a signed note")
    if not lines[1].isdecimal() or len(lines[1]) > _DIGITS:
        raise Unreadable("a checkpoint is not a signed note")
    raw = [unbase64(match[2]) for match in signatures if match]
    root = unbase64(lines[2])
    if len(root) != sha256().digest_size or any(len(r) != _SIGNATURE_BYTES for r in raw):
        raise Unreadable("a checkpoint has a root or signature of the wrong length")
    return Note(lines[0], int(lines[1]), root, tuple(lines[3:]), text + "\n", tuple((r[:4], r[4:]) for r in raw))


@dataclass(frozen=True, slots=True)
class End:
    """Where a stream ended when an epoch was opened, and the most that is known to have been there before."""

    seq: int = 0
    hash: bytes = b""
    """Of its last record; empty where it had none."""
    known: int = 0
    """So many records were signed for once; 0 where that is no more than are there."""
    root: bytes = b""
    """Of as many."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch as its note says it."""

    number: int
    text: str = ""
    """The note."""
    digest: bytes = b""
    """Of what was signed: every stream of the epoch begins with it."""
    ends: Mapping[int, End] = field(default_factory=dict)
    """Of all streams there were, of earlier epochs too."""
    person: str = ""
    reason: str = ""
    time: str = ""

    @property
    def first(self) -> int:
        """Its first stream."""
        return self.number * STREAMS

    def covers(self, stream: int, size: int) -> bool:
        """Whether it says of a stream of an earlier epoch that so many records were there once, or are."""
        end = self.ends.get(stream, End())
        return size <= max(end.seq, end.known)

    def genesis(self, installation: object, stream: int) -> bytes:
        """The hash before the first record of one of its streams."""
        return sha256(f"ostiary/{installation}/{stream}".encode() + self.digest).digest()


BEGINNING = Epoch(0)
"""What no note speaks of."""


def parse_epoch(text: str) -> tuple[Epoch, Note]:
    """Read the note of an epoch. Raises Unreadable."""
    note, tree, ends, why = parse_note(text), Frontier(), {}, {}
    if not note.opens or note.size < 1:
        raise Unreadable("this is no note of an epoch")
    try:
        for line in note.extra:
            word, *rest = line.split(" ")
            if word == "end":
                hash_, root = (b"" if part == "-" else unbase64(part) for part in rest[2:5:2])
                ends[int(rest[0])] = End(int(rest[1]), hash_, int(rest[3]), root)
            elif word == "why":
                why = {name: str(value) for name, value in json.loads(line[4:]).items()}
            if word in {"end", "why"}:
                grow(tree, sha256(b"\x00" + line.encode()).digest())
    except (ValueError, IndexError, AttributeError) as error:
        raise Unreadable("the note of an epoch cannot be read") from error
    if tree.root() != note.root:
        raise Unreadable("the note of an epoch does not hold what it says")
    time = next((line[5:] for line in note.extra if line.startswith("time ")), "")
    told = (why.get("person", ""), why.get("reason", ""), time)
    return Epoch(note.size, text, sha256(note.text.encode()).digest(), ends, *told), note


@dataclass(slots=True)
class Frontier:
    """An RFC 6962 tree that grows: complete subtrees by height, largest last in the number's bits."""

    size: int = 0
    stack: list[tuple[int, bytes]] = field(default_factory=list)

    def root(self) -> bytes:
        """Of what it holds."""
        if not self.stack:
            return sha256(b"").digest()
        value = self.stack[-1][1]
        for _, left in reversed(self.stack[:-1]):
            value = sha256(b"\x01" + left + value).digest()
        return value


def grow(tree: Frontier, value: bytes) -> None:
    """Add a leaf, given by its hash."""
    height = 0
    while tree.stack and tree.stack[-1][0] == height:
        value = sha256(b"\x01" + tree.stack.pop()[1] + value).digest()
        height += 1
    tree.stack.append((height, value))
    tree.size += 1


def unbase64(text: str) -> bytes:
    """Raises Unreadable."""
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise Unreadable("base64 is damaged") from error
