"""What a store of vectors does: a contract in three parts, so that who may search is handed no way to write.

Implementations: `pgvector`, `chroma`. Nothing here blocks the event loop. Everything raises `Unavailable`
when the store cannot be reached, `Refused` for what it cannot do, `NoCollection` for a collection that it
does not hold (any more), and `ToolError` otherwise; no message quotes a text, a vector or a value.
Vectors are `float32` arrays, given back to within the rounding of such numbers. A document is one text under
one key; it is cut into chunks, numbered from 0, and a chunk is what is embedded, found and shown. The id of
a chunk is `key#number`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Metric, Tuning
from ostiary_tools.vectors.filters import Filter, Value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    """Of shape `(dimension,)`."""
    Matrix = NDArray[np.float32]
    """Of shape `(n, dimension)`."""

Tell = Callable[[float, float | None, str], Awaitable[None]]
"""Takes what is done, of how much if that is known, in words."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do; what it cannot is refused in words before it is asked for."""

    indexes: frozenset[IndexKind]
    elements: frozenset[Element]
    metrics: frozenset[Metric]
    full_text: bool
    """It ranks by words, and not only finds those that hold them."""
    max_dimension: int
    rebuilds: bool
    """The layout of a collection that exists can be changed."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, as it is stored."""

    key: str
    """Of its document."""
    number: int
    text: str
    metadata: Mapping[str, Value]
    digest: str
    """Of the whole document, its metadata and what made its chunks: equal digests need no new vectors."""
    vector: "Vector" = field(compare=False)

    @property
    def id(self) -> str:
        """What it is called."""
        return f"{self.key}#{self.number}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that a store found, with its score: more is better."""

    key: str
    number: int
    score: float
    """Of `nearest` by the metric, see `Metric`; of `matching` the store's own rank, comparable only within one answer."""
    text: str
    metadata: Mapping[str, Value]
    vector: "Vector | None" = field(default=None, compare=False)
    """Where it was asked for."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a search goes."""

    k: int
    condition: Filter | None = None
    exact: bool = False
    """Compare every vector, whatever index there is."""
    tuning: Tuning | None = None
    """Instead of the collection's own."""
    keys: tuple[str, ...] | None = None
    """Chunks of these documents only."""
    vectors: bool = False
    """Give the vectors too."""
    alone: bool = False
    """Rank by each chunk alone: how rare a word is, or which words are like it, tells of chunks that somebody may not see."""


class Searched(Protocol):
    """A collection that is looked into."""

    async def nearest(self, collection: Collection, vector: "Vector", reach: Reach) -> Sequence[Candidate]:
        """The `k` chunks nearest, best first, fewer only where there are no more: a filter takes nothing away from `k`."""
        ...

    async def matching(self, collection: Collection, words: str, reach: Reach) -> Sequence[Candidate]:
        """The `k` chunks that match the words best, best first; none matches an empty text."""
        ...

    async def chunks(self, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
        """These chunks with their vectors, those that are there, in no order; their score is 0."""
        ...

    async def count(self, collection: Collection) -> int:
        """How many chunks there are."""
        ...


class Indexed(Searched, Protocol):
    """A collection that is written to."""

    async def digests(self, collection: Collection, keys: Sequence[str]) -> Mapping[str, str]:
        """The digest of each of these documents that is there whole."""
        ...

    async def put(self, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """Store documents, each with all of its chunks, in the place of what was stored under their keys: all of it or nothing.

        A store that cannot do all at once leaves documents that are there whole or are not told by `digests`.
        """
        ...

    async def delete(self, collection: Collection, keys: Sequence[str]) -> int:
        """Take these documents away; how many there were."""
        ...

    def keys(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[str]]:
        """The keys of all documents, each once, in batches; what is written meanwhile may be among them or not."""
        ...


class Managed(Indexed, Protocol):
    """A collection that is made, rebuilt and dropped."""

    async def create(self, collection: Collection) -> None:
        """Make room for it. Once more it does nothing."""
        ...

    async def build(self, collection: Collection, layout: Layout, tell: Tell) -> None:
        """Have it lie so from now on; it is searched and written to meanwhile, where the store can."""
        ...

    async def drop(self, collection: Collection) -> None:
        """Take it away with all that is in it. Once more it does nothing."""
        ...

    def scan(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[Chunk]]:
        """All chunks in batches, those of a document together in one; memory does not grow with the collection."""
        ...

    async def sample(self, collection: Collection, count: int) -> Sequence[Candidate]:
        """Some chunks by chance, with their vectors; all where there are fewer."""
        ...


class VectorStore(Managed, Protocol):
    """All of it."""

    @property
    def name(self) -> str:
        """As configured."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...
