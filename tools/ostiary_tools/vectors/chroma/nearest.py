"""The chunks nearest to a vector: by Chroma's index, and by all vectors where that must be or the index leaves some out."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ostiary_tools.vectors.chroma.paging import PAGE, batched, get, page, page_buckets
from ostiary_tools.vectors.chroma.records import candidate, ours, score_of
from ostiary_tools.vectors.chroma.wanted import Wanted
from ostiary_tools.vectors.chroma.where import MOST_VALUES, Where
from ostiary_tools.vectors.collection import Metric
from ostiary_tools.vectors.port import Candidate

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api.models.Collection import Collection
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix, Vector

EF_SEARCH = 40
"""Of every collection here. More is had by asking for more: Chroma's index looks at no fewer candidates than it is to find."""
_MOST = 2_000
"""Results of the index; what more of it would be needed for is found by all vectors."""
Found = tuple[float, str]
"""A score, and the id of the chunk."""


def by_index(
    collection: "Collection", vector: "Vector", wanted: Wanted, metric: Metric, count: int, *, asked: int
) -> Sequence[Found]:
    """The `count` nearest that Chroma finds among `asked` or more; fewer only where there are no more."""
    if wanted.where is False:
        return []
    while asked <= _MOST:
        found, seen = _queried(collection, vector, wanted, metric, asked)
        if len(found) >= count or seen >= _number(collection, wanted.where):
            return found[:count]
        asked = asked * 4 if seen == asked else _MOST + 1
    return by_all(collection, vector, wanted, metric, count)


def _queried(collection: "Collection", vector: "Vector", wanted: Wanted, metric: Metric, asked: int) -> tuple[Sequence[Found], int]:
    """Those that are wanted, best first, and how many were looked at."""
    result = collection.query(
        query_embeddings=vector[None, :],
        n_results=asked,
        where=None if wanted.where is True else wanted.where,  # type: ignore[arg-type]  # it is written as they are
        include=["distances"] if wanted.all else ["distances", "metadatas"],
    )
    ids, distances = result["ids"][0], (result["distances"] or [[]])[0]
    if wanted.all:
        return [(score_of(far, metric), chunk) for chunk, far in zip(ids, distances, strict=True)], len(ids)
    records = (result["metadatas"] or [[]])[0]
    found = [
        (score_of(far, metric), chunk) for chunk, record, far in zip(ids, records, distances, strict=True) if wanted.met_by(record)
    ]
    return found, len(ids)


def _number(collection: "Collection", condition: Where) -> int:
    return collection.count() if condition is True else len(get(collection, condition)["ids"])


def by_all(collection: "Collection", vector: "Vector", wanted: Wanted, metric: Metric, count: int) -> Sequence[Found]:
    """Likewise by comparing every vector, page by page."""
    if wanted.where is False:
        return []
    scored = (
        found for buckets in page_buckets(collection, PAGE) for found in _compared(collection, vector, wanted, metric, buckets)
    )
    return heapq.nlargest(count, scored)


def _compared(
    collection: "Collection", vector: "Vector", wanted: Wanted, metric: Metric, buckets: Sequence[int]
) -> Iterator[Found]:
    import numpy as np  # an extra, and heavy

    found = page(collection, buckets, wanted.where, "metadatas", "embeddings")
    met = [place for place, record in enumerate(found["metadatas"]) if wanted.met_by(record)]
    if met:
        scores = _scores(np.asarray(found["embeddings"], np.float32)[met], vector, metric)
        yield from zip(map(float, scores), (found["ids"][place] for place in met), strict=True)


def _scores(vectors: "Matrix", vector: "Vector", metric: Metric) -> "NDArray[np.float32]":
    import numpy as np  # an extra, and heavy

    if metric is Metric.L2:
        return np.asarray(1 / (1 + np.linalg.norm(vectors - vector, axis=1)))
    products = vectors @ vector
    if metric is Metric.COSINE:
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
        products = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(products)


def shown(collection: "Collection", found: Sequence[Found], *, vectors: bool) -> Sequence[Candidate]:
    """With all that is stored of them, in this order; what was taken away meanwhile is left out."""
    stored = by_ids(collection, [chunk for _, chunk in found], vectors=vectors)
    return [replace(stored[chunk], score=score) for score, chunk in found if chunk in stored]


def by_ids(collection: "Collection", ids: Sequence[str], *, vectors: bool) -> Mapping[str, Candidate]:
    """Those that are there, with the score 0."""
    import numpy as np  # an extra, and heavy

    stored: dict[str, Candidate] = {}
    for some in batched(ids, MOST_VALUES):
        result = collection.get(
            ids=some, include=["metadatas", "documents", "embeddings"] if vectors else ["metadatas", "documents"]
        )
        whole = np.asarray(result["embeddings"], np.float32) if vectors else [None] * len(result["ids"])
        parts = zip(result["ids"], result["metadatas"] or [], result["documents"] or [], whole, strict=True)
        stored.update({chunk: candidate(record, text, 0.0, vector) for chunk, record, text, vector in parts if ours(record)})
    return stored
