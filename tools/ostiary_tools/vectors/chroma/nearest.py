"""The chunks nearest to a vector: by Chroma's index, and by all vectors where that must be or the index leaves some out."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ostiary_tools.vectors.chroma.reading import Found, Parts, get, page, page_buckets, rows, shown, whole
from ostiary_tools.vectors.chroma.records import candidate, kept, score_of
from ostiary_tools.vectors.chroma.wanted import Wanted
from ostiary_tools.vectors.chroma.where import Where
from ostiary_tools.vectors.collection import Metric
from ostiary_tools.vectors.port import Candidate

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api.models.Collection import Collection
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix, Vector

EF_SEARCH = 100
"""Of every collection here, as Chroma has it: with 40, a filter that one in twenty passes found 94 of the 100 nearest, with 100
98. More is had by asking for more: Chroma's index looks at no fewer candidates than it is to find."""
_MOST = 2_000
"""Results of the index; what more of it would be needed for is found by all vectors."""
_PAGE = 4_000
"""Vectors at once: each number of one is an object on its way from Chroma."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for."""

    vector: "Vector" = field(compare=False)
    metric: Metric
    k: int
    wanted: Wanted
    vectors: bool
    """Whether they are given too."""


def by_index(collection: "Collection", asked: Question, candidates: int) -> Sequence[Candidate]:
    """The nearest of so many candidates of Chroma's index, or more; fewer than `k` only where there are no more."""
    while asked.wanted.where is not False and candidates <= _MOST:
        found, seen = (_queried if candidates <= asked.k else _queried_widely)(collection, asked, candidates)
        if len(found) >= asked.k or seen >= _number(collection, asked.wanted.where):
            return found
        candidates = candidates * 4 if seen == candidates else _MOST + 1
    return by_all(collection, asked)


def _queried(collection: "Collection", asked: Question, candidates: int) -> tuple[Sequence[Candidate], int]:
    """Those that are wanted, best first, and how many were looked at."""
    parts = _query(collection, asked, candidates, *whole(vectors=asked.vectors))
    scores = {chunk: score_of(far, asked.metric) for chunk, far in zip(parts["ids"], parts["distances"], strict=True)}
    found = [candidate(what, text, scores[chunk], vector) for chunk, what, text, vector in rows(parts)]
    return [one for one in found if asked.wanted.met_by(one)], len(scores)


def _queried_widely(collection: "Collection", asked: Question, candidates: int) -> tuple[Sequence[Candidate], int]:
    """Likewise, with the texts of the best alone."""
    parts = _query(collection, asked, candidates, *([] if asked.wanted.all else ["metadatas"]))
    records = parts.get("metadatas", [None] * len(parts["ids"]))
    scored = zip((score_of(far, asked.metric) for far in parts["distances"]), parts["ids"], records, strict=True)
    found = [(score, chunk) for score, chunk, record in scored if asked.wanted.all or asked.wanted.met_by(kept(record))]
    return shown(collection, found[: asked.k], vectors=asked.vectors), len(records)


def _query(collection: "Collection", asked: Question, candidates: int, *include: str) -> Parts:
    condition = asked.wanted.where
    found = collection.query(
        query_embeddings=asked.vector[None, :],
        n_results=candidates,
        where=None if condition is True else condition,  # type: ignore[arg-type]  # it is written as they are
        include=["distances", *include],  # type: ignore[list-item]  # likewise
    )
    return {part: found[part][0] for part in ("ids", "distances", *include)}  # type: ignore[literal-required]  # likewise


def _number(collection: "Collection", condition: Where) -> int:
    return collection.count() if condition is True else len(get(collection, condition)["ids"])


def by_all(collection: "Collection", asked: Question) -> Sequence[Candidate]:
    """Likewise by comparing every vector, page by page."""
    if asked.wanted.where is False:
        return []
    scored = (found for buckets in page_buckets(collection, _PAGE) for found in _scored(collection, asked, buckets))
    return shown(collection, heapq.nlargest(asked.k, scored), vectors=asked.vectors)


def _scored(collection: "Collection", asked: Question, buckets: Sequence[int]) -> Iterator[Found]:
    import numpy as np  # an extra, and heavy

    if asked.wanted.all:
        parts = page(collection, buckets, True, "embeddings")  # noqa: FBT003 all of them
    else:
        records = page(collection, buckets, asked.wanted.where, "metadatas")
        named = zip(records["ids"], records["metadatas"], strict=True)
        met = [chunk for chunk, record in named if asked.wanted.met_by(kept(record))]
        parts = get(collection, bool(met), "embeddings", ids=met)
    if parts["ids"]:
        scores = _scores(np.asarray(parts["embeddings"], np.float32), asked.vector, asked.metric)
        yield from zip(map(float, scores), parts["ids"], strict=True)


def _scores(vectors: "Matrix", vector: "Vector", metric: Metric) -> "NDArray[np.float32]":
    import numpy as np  # an extra, and heavy

    if metric is Metric.L2:
        return np.asarray(1 / (1 + np.linalg.norm(vectors - vector, axis=1)))
    products = vectors @ vector
    if metric is Metric.COSINE:
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
        products = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(products)
