"""A chunk as Chroma keeps it, and read back.

Beside its text and vector stand the `key` of its document, the `bucket` that the key falls into, what filters ask for (see
`where`), and in `chunk` all that it is besides, as JSON: few entries, since each costs Chroma a row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from ostiary_tools.vectors.chroma.where import FIELDS
from ostiary_tools.vectors.collection import Metric
from ostiary_tools.vectors.filters import Value
from ostiary_tools.vectors.holding import kind_of
from ostiary_tools.vectors.port import Candidate, Chunk

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

BUCKETS = 4096


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of a chunk beside its text and vector."""

    key: str
    number: int
    total: int
    """How many chunks its document has."""
    digest: str
    metadata: Mapping[str, Value]


def recorded(chunk: Chunk, total: int) -> dict[str, Any]:
    """Its metadata in Chroma."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in chunk.metadata.items()}
    record: dict[str, Any] = {
        "key": chunk.key,
        "bucket": bucket_of(chunk.key),
        "chunk": json.dumps([chunk.number, total, chunk.digest, plain], ensure_ascii=False),
    }
    if chunk.metadata:
        record[FIELDS] = [f"{kind_of(value)}:{name}" for name, value in chunk.metadata.items()]
    for name, value in chunk.metadata.items():
        if value != ():  # Chroma takes no empty list
            record[f"{kind_of(value)}:{name}"] = _kept(value)
    return record


def bucket_of(key: str) -> int:
    """Where a document is looked for when all are looked through, bucket by bucket."""
    return crc32(key.encode()) % BUCKETS


def _kept(value: Value) -> Any:
    """Numbers are floats: Chroma compares whole ones with floats wrongly."""
    if isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else list(value)


def kept(record: Mapping[str, Any] | None) -> Kept | None:
    """What we have put; others may use the same server, and what they put is nothing here."""
    if not record or "chunk" not in record:
        return None
    number, total, digest, plain = json.loads(record["chunk"])
    metadata = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return Kept(record["key"], number, total, digest, metadata)


def candidate(what: Kept, text: str | None, score: float, vector: "Vector | None") -> Candidate:
    """What was found."""
    return Candidate(what.key, what.number, score, text or "", what.metadata, vector)


def chunk(what: Kept, text: str | None, vector: "Vector") -> Chunk:
    """As it was put."""
    return Chunk(what.key, what.number, text or "", what.metadata, what.digest, vector)


def score_of(distance: float, metric: Metric) -> float:
    """Chroma's distances are squared for L2, and taken from 1 otherwise."""
    return 1 / (1 + max(distance, 0.0) ** 0.5) if metric is Metric.L2 else 1 - distance


def whole(chunks: Sequence[Kept]) -> str | None:
    """The digest of the document whose chunks these are, if all of them and no others are there."""
    digests = {one.digest for one in chunks}
    numbers = {one.number for one in chunks}
    if len(digests) == 1 and numbers == set(range(len(chunks))) and {one.total for one in chunks} == {len(chunks)}:
        return digests.pop()
    return None
