"""Documents put into Chroma, and taken out.

A document is written by several calls of Chroma, and a kill may come between any two. What tells that it is whole is what lies
there: as many chunks as each of them says, numbered from 0, all of one digest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ostiary_tools.vectors.admission import admit, matrix_of
from ostiary_tools.vectors.chroma.reading import batched, get
from ostiary_tools.vectors.chroma.records import Kept, kept, recorded, whole
from ostiary_tools.vectors.collection import Collection as Described
from ostiary_tools.vectors.port import Chunk

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

    from ostiary_tools.vectors.port import Matrix

_RECORDS = 250
"""Of one call. Chroma's own client lets no other code of its process run while it writes: more would hold up all other calls."""
_CHARACTERS = 4_000_000
"""Likewise: a server takes 40 MB."""
_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents as they are stored."""

    totals: Mapping[str, int]
    """How many chunks each has."""
    chunks: Sequence[Chunk]
    vectors: "Matrix"
    """Of the chunks, in their order."""


def batch_of(collection: Described, chunks: Sequence[Chunk]) -> Batch:
    """Raises Refused for what is no document, or no vector of the collection, before anything is written."""
    documents = admit(chunks)
    own = [one for document in documents.values() for one in document]
    totals = {key: len(document) for key, document in documents.items()}
    return Batch(totals, own, matrix_of(collection, [one.vector for one in own]))


def put(collection: "Collection", batch: Batch) -> None:
    """New chunks first, over the old ones of their ids; then what the documents have no more."""
    old = stored(collection, list(batch.totals))
    for part in calls(batch.chunks):
        some = batch.chunks[part]
        collection.upsert(
            ids=[one.id for one in some],
            embeddings=batch.vectors[part],
            documents=[one.text for one in some],
            metadatas=[_instead(recorded(one, batch.totals[one.key]), old.get(one.id, {})) for one in some],
        )
    new = {one.id for one in batch.chunks}
    _remove(collection, [chunk for chunk, record in old.items() if chunk not in new and kept(record)])


def _instead(record: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Chroma lays new metadata over old: what is not said to be gone stays."""
    return dict.fromkeys(old) | record


def calls(chunks: Sequence[Chunk]) -> Iterator[slice]:
    """As many as one call takes; a document that fits into one is not cut in two, and is never seen half new."""
    start = size = document = 0
    for end, one in enumerate(chunks):
        document = document if one.number else end
        if end - start == _RECORDS or size + len(one.text) > _CHARACTERS:
            cut = document if document > start else end
            yield slice(start, cut)
            start, size = cut, sum(len(other.text) for other in chunks[cut:end])
        size += len(one.text)
    yield slice(start, len(chunks))


def stored(collection: "Collection", keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """What there is of these documents, by the ids of the chunks."""
    found: dict[str, Mapping[str, Any]] = {}
    for some in batched(list(dict.fromkeys(keys)), _KEYS):
        parts = get(collection, {"key": {"$in": some}}, "metadatas")
        found.update(zip(parts["ids"], parts["metadatas"], strict=True))
    return found


def _documents(collection: "Collection", keys: Sequence[str]) -> Mapping[str, Mapping[str, Kept]]:
    """Likewise as chunks of ours, by document."""
    documents: dict[str, dict[str, Kept]] = {}
    for chunk, record in stored(collection, keys).items():
        if what := kept(record):
            documents.setdefault(what.key, {})[chunk] = what
    return documents


def digests(collection: "Collection", keys: Sequence[str]) -> Mapping[str, str]:
    """Of those that are whole."""
    told = {key: whole(list(chunks.values())) for key, chunks in _documents(collection, keys).items()}
    return {key: digest for key, digest in told.items() if digest is not None}


def delete(collection: "Collection", keys: Sequence[str]) -> int:
    """How many documents there were, whole or not."""
    documents = _documents(collection, keys)
    _remove(collection, [chunk for chunks in documents.values() for chunk in chunks])
    return len(documents)


def _remove(collection: "Collection", ids: Sequence[str]) -> None:
    for some in batched(ids, _RECORDS):
        collection.delete(ids=some)
