"""A chunk as Chroma keeps it, and read back.

Beside a chunk's text and vector stand its `key`, its `number`, the `digest` and the `total` of its document, the `bucket` that
its key falls into, what filters ask for (see `where`), and all of its metadata as it was, in JSON.
"""

import json
from collections.abc import Mapping, Sequence
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

Record = Mapping[str, Any]


def recorded(chunk: Chunk, total: int) -> dict[str, Any]:
    """Its metadata in Chroma."""
    record: dict[str, Any] = {
        "key": chunk.key,
        "number": chunk.number,
        "digest": chunk.digest,
        "total": total,
        "bucket": bucket_of(chunk.key),
        "metadata": json.dumps({name: _plain(value) for name, value in chunk.metadata.items()}, ensure_ascii=False),
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


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _kept(value: Value) -> Any:
    """Numbers are floats: Chroma compares whole ones with floats wrongly."""
    if isinstance(value, bool | str):
        return value
    return float(value) if isinstance(value, int | float) else list(value)


def ours(record: Record | None) -> bool:
    """Whether we have put it; others may use the same server."""
    return bool(record) and "metadata" in (record or {})


def metadata_of(record: Record) -> dict[str, Value]:
    """As the chunk had it."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(record["metadata"]).items()}


def candidate(record: Record, text: str | None, score: float, vector: "Vector | None") -> Candidate:
    """What was found."""
    return Candidate(record["key"], record["number"], score, text or "", metadata_of(record), vector)


def chunk(record: Record, text: str | None, vector: "Vector") -> Chunk:
    """As it was put."""
    return Chunk(record["key"], record["number"], text or "", metadata_of(record), record["digest"], vector)


def score_of(distance: float, metric: Metric) -> float:
    """Chroma's distances are squared for L2, and taken from 1 otherwise."""
    return 1 / (1 + max(distance, 0.0) ** 0.5) if metric is Metric.L2 else 1 - distance


def whole(records: Sequence[Record]) -> str | None:
    """The digest of the document whose chunks these are, if all of them and no others are there."""
    digests = {record["digest"] for record in records}
    numbers = {record["number"] for record in records}
    if len(digests) == 1 and numbers == set(range(len(records))) and {record["total"] for record in records} == {len(records)}:
        return str(digests.pop())
    return None
