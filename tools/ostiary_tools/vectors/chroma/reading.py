"""Chunks read back, those of some ids or all that fulfil a condition, page by page.

Chroma pages by counting, and what is deleted meanwhile would have it leave out others. So each chunk has the `bucket` that its key
falls into, and a page is some buckets: the chunks of a document together, and as many pages as the size of the collection asks for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ostiary_tools.vectors.chroma.records import BUCKETS, Kept, candidate, kept
from ostiary_tools.vectors.chroma.where import MOST_VALUES, Where, both
from ostiary_tools.vectors.port import Candidate

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

    from ostiary_tools.vectors.port import Vector

T = TypeVar("T")
Parts = Mapping[str, Sequence[Any]]
"""What Chroma answers: ids, and beside them what was asked for, each in a list of its own."""
Found = tuple[float, str]
"""A score, and the id of a chunk."""


def batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """In lists of at most so many."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def whole(*, vectors: bool) -> list[str]:
    """All that is stored of a chunk."""
    return ["metadatas", "documents", "embeddings"] if vectors else ["metadatas", "documents"]


def get(collection: "Collection", where: Where, *include: str, limit: int | None = None, **more: Any) -> Parts:
    """What fulfils the condition; nothing is asked where none can."""
    if where is False:
        return {"ids": [], **{part: [] for part in include}}
    asked = None if where is True else where
    found = collection.get(where=asked, include=list(include), limit=limit, **more)  # type: ignore[arg-type]  # as it is written
    return {part: found[part] for part in ("ids", *include)}  # type: ignore[literal-required]  # likewise


def rows(parts: Parts) -> Iterator[tuple[str, Kept, str, "Vector | None"]]:
    """What of it is ours: id, record, text, and the vector where it was asked for."""
    import numpy as np  # an extra, and heavy

    vectors = np.asarray(parts["embeddings"], np.float32) if "embeddings" in parts else [None] * len(parts["ids"])
    for chunk, record, text, vector in zip(parts["ids"], parts["metadatas"], parts["documents"], vectors, strict=True):
        if what := kept(record):
            yield chunk, what, text, vector


def by_ids(collection: "Collection", ids: Sequence[str], *, vectors: bool) -> Mapping[str, Candidate]:
    """Those that are there, with the score 0."""
    found: dict[str, Candidate] = {}
    for some in batched(ids, MOST_VALUES):
        parts = get(collection, True, *whole(vectors=vectors), ids=some)
        found.update({chunk: candidate(what, text, 0.0, vector) for chunk, what, text, vector in rows(parts)})
    return found


def shown(collection: "Collection", found: Sequence[Found], *, vectors: bool) -> Sequence[Candidate]:
    """With all that is stored of them, in this order; what was taken away meanwhile is left out."""
    stored = by_ids(collection, [chunk for _, chunk in found], vectors=vectors)
    return [replace(stored[chunk], score=score) for score, chunk in found if chunk in stored]


def page_buckets(collection: "Collection", batch: int) -> Sequence[Sequence[int]]:
    """The buckets of each page of about so many chunks."""
    width = max(1, min(BUCKETS, BUCKETS * batch // max(collection.count(), 1)))
    return [range(start, min(start + width, BUCKETS)) for start in range(0, BUCKETS, width)]


def page(collection: "Collection", buckets: Sequence[int], where: Where, *include: str) -> Parts:
    """What of these buckets fulfils the condition."""
    of_page = {"bucket": {"$gte": 0} if len(buckets) == BUCKETS else {"$in": list(buckets)}}
    return get(collection, both([of_page, where]), *include)
