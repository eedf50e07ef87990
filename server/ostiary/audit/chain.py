"""The hash chain: each record's hash covers its fields and the hash before it.

Every field stands behind its length, so no two different records share a preimage,
and the stream's number is among them, so a record cannot move to another stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from ostiary_tools.control.journal import LogRow

PREIMAGE = 1
"""Version of the layout below; the first byte of what is hashed."""

# version, then (length, value) of: previous hash, stream, sequence number, microseconds since 1970, kind, call id;
# last the length of the body, which follows.
_LAYOUT = Struct(">BI32sIIIQIqIcI16sI")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Item(NamedTuple):
    """What a record says, before it has a place."""

    kind: bytes
    call_id: UUID
    body: str
    encoded: bytes
    """The body in UTF-8."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream's chain stands."""

    stream: int
    seq: int
    hash: bytes
    ts_us: int
    """Of the last record; the next is not earlier."""


def origin(installation: UUID, stream: int) -> str:
    """A stream's name in checkpoints."""
    return f"ostiary/{installation}/{stream}"


def genesis(installation: UUID, stream: int, epoch: bytes = b"") -> bytes:
    """The hash before a stream's first record; it binds the stream to the installation, and to the digest of its epoch's note."""
    return sha256(origin(installation, stream).encode() + epoch).digest()


def link(place: Place, items: Sequence[Item], now_us: int) -> tuple[list[LogRow], Place]:
    """Give each item its place after `place`; the rows to store and where the chain then stands."""
    ts_us = max(now_us, place.ts_us)
    ts = _EPOCH + timedelta(microseconds=ts_us)
    stream, seq, previous = place.stream, place.seq, place.hash
    pack, rows = _LAYOUT.pack, []
    for kind, call_id, body, encoded in items:
        seq += 1
        head = pack(PREIMAGE, 32, previous, 4, stream, 8, seq, 8, ts_us, 1, kind, 16, call_id.bytes, len(encoded))
        previous = sha256(head + encoded).digest()
        rows.append(LogRow(stream, seq, ts, kind, call_id, body, previous))
    return rows, Place(stream, seq, previous, ts_us)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
