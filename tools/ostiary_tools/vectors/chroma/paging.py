"""All chunks of a collection, or all that fulfil a condition, page by page.

Chroma pages by counting, and what is deleted meanwhile would have it leave out others. So each chunk has the `bucket` that its key
falls into, and a page is some buckets: the chunks of a document together, and as many pages as the size of the collection asks for.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ostiary_tools.vectors.chroma.records import BUCKETS
from ostiary_tools.vectors.chroma.where import Where, both

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

T = TypeVar("T")
PAGE = 1_000


def page_buckets(collection: "Collection", batch: int) -> Sequence[Sequence[int]]:
    """The buckets of each page of about so many chunks."""
    width = max(1, min(BUCKETS, BUCKETS * batch // max(collection.count(), 1)))
    return [range(start, min(start + width, BUCKETS)) for start in range(0, BUCKETS, width)]


def page(collection: "Collection", buckets: Sequence[int], where: Where, *include: str) -> dict[str, Any]:
    """What of these buckets fulfils the condition."""
    of_page: Where = True if len(buckets) == BUCKETS else {"bucket": {"$in": list(buckets)}}
    return get(collection, both([of_page, where]), *include)


def get(collection: "Collection", where: Where, *include: str, limit: int | None = None, **more: Any) -> dict[str, Any]:
    """What fulfils the condition; nothing is asked where none can."""
    if where is False:
        return {"ids": [], **{part: [] for part in include}}
    asked = None if where is True else where
    return dict(collection.get(where=asked, include=list(include), limit=limit, **more))  # type: ignore[arg-type]  # as it is written


def batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """In lists of at most so many."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
