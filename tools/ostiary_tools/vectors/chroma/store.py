"""Chroma as a store of vectors. Collections are named by their UUID there, whatever they are called here."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.admission import matrix_of, storable
from ostiary_tools.vectors.chroma import nearest, reading, words, writing
from ostiary_tools.vectors.chroma.opening import Chroma
from ostiary_tools.vectors.chroma.records import chunk
from ostiary_tools.vectors.chroma.turns import Turns
from ostiary_tools.vectors.chroma.wanted import wanted
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Metric, Tuning
from ostiary_tools.vectors.port import Candidate, Capabilities, Chunk, Reach, Tell
from ostiary_tools.vectors.settings import ChromaSettings

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection as Stored

    from ostiary_tools.vectors.port import Vector

T = TypeVar("T")
_CAPABILITIES = Capabilities(
    indexes=frozenset({IndexKind.HNSW}),
    elements=frozenset({Element.VECTOR}),
    metrics=frozenset(Metric),
    full_text=True,
    max_dimension=16_000,
    rebuilds=False,
)
_M = range(2, 101)
_EF_CONSTRUCTION = 1000
_SPACES = {Metric.COSINE: "cosine", Metric.L2: "l2", Metric.INNER_PRODUCT: "ip"}


class ChromaStore:
    """Over a folder or a server."""

    def __init__(self, settings: ChromaSettings) -> None:
        self._name = settings.name
        self._turns = Turns(settings)

    @property
    def name(self) -> str:
        """As configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """The same for a folder and a server."""
        return _CAPABILITIES

    async def close(self) -> None:
        """After what runs."""
        await self._turns.close()

    async def _read(self, collection: Collection, work: "Callable[[Stored], T]") -> T:
        return await self._turns.read(partial(_of, collection, work))

    async def _write(self, collection: Collection, work: "Callable[[Stored], T]") -> T:
        return await self._turns.write(partial(_of, collection, work))

    async def nearest(self, collection: Collection, vector: "Vector", reach: Reach) -> Sequence[Candidate]:
        """By the index, and where that leaves some out, or it has to be exact, by all vectors."""
        point = matrix_of(collection, [vector])[0]
        asked = nearest.Question(point, collection.embedding.metric, reach.k, wanted(reach), reach.vectors)
        if reach.k < 1:
            return ()
        if reach.exact:
            return await self._read(collection, lambda stored: nearest.by_all(stored, asked))
        candidates = _candidates(reach, reach.tuning or collection.tuning)
        return await self._read(collection, lambda stored: nearest.by_index(stored, asked, candidates))

    async def matching(self, collection: Collection, words_: str, reach: Reach) -> Sequence[Candidate]:
        """By the words that begin so in a text, rare ones first."""
        what = wanted(reach)

        def found(stored: "Stored") -> Sequence[Candidate]:
            best = words.by_words(stored, words_, what, reach.k, alone=reach.alone)
            return reading.shown(stored, best, vectors=reach.vectors)

        return await self._read(collection, found)

    async def chunks(self, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
        """Those that are there."""
        unique = list(dict.fromkeys(storable(ids)))
        return await self._read(collection, lambda stored: list(reading.by_ids(stored, unique, vectors=True).values()))

    async def count(self, collection: Collection) -> int:
        """As Chroma counts."""
        return await self._read(collection, lambda stored: stored.count())

    async def digests(self, collection: Collection, keys: Sequence[str]) -> Mapping[str, str]:
        """Of those that are whole."""
        return await self._read(collection, lambda stored: writing.digests(stored, storable(keys)))

    async def put(self, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """In several calls of Chroma; until the last one no digest is told."""
        if chunks:
            await self._write(collection, lambda stored: writing.put(stored, writing.batch_of(collection, chunks)))

    async def delete(self, collection: Collection, keys: Sequence[str]) -> int:
        """How many documents there were."""
        return await self._write(collection, lambda stored: writing.delete(stored, storable(keys)))

    async def keys(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[str]]:
        """Bucket by bucket."""
        for buckets in await self._read(collection, lambda stored: reading.page_buckets(stored, batch)):
            for found in reading.batched(await self._read(collection, partial(_keys, buckets)), batch):
                yield found

    async def create(self, collection: Collection) -> None:
        """With its index, which is there from the first chunk on."""
        if collection.embedding.dimension not in range(1, _CAPABILITIES.max_dimension + 1):
            raise Refused("dimension", f"a vector has 1 to {_CAPABILITIES.max_dimension} dimensions", "choose another model")
        _check_layout(collection.layout)
        await self._turns.write(lambda chroma: chroma.create(collection.id, _configuration(collection)))

    async def build(self, collection: Collection, layout: Layout, tell: Tell) -> None:
        """Chroma builds while it is written to, and never anew."""
        _check_layout(layout)
        if _configuration(collection)["hnsw"] != _hnsw(collection, layout):
            raise Refused(
                "layout",
                "Chroma cannot change how a collection lies",
                "make another collection with this layout and index into it",
            )
        await self.count(collection)
        await tell(1, 1, "Chroma builds its index while it is written to")

    async def drop(self, collection: Collection) -> None:
        """Once more it does nothing."""
        await self._turns.write(lambda chroma: chroma.drop(collection.id))

    async def scan(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[Chunk]]:
        """Bucket by bucket."""
        for buckets in await self._read(collection, lambda stored: reading.page_buckets(stored, batch)):
            if found := await self._read(collection, partial(_chunks, buckets)):
                yield found

    async def sample(self, collection: Collection, count: int) -> Sequence[Candidate]:
        """From buckets by chance."""
        return await self._read(collection, partial(_sampled, count))


def _of(collection: Collection, work: "Callable[[Stored], T]", chroma: Chroma) -> T:
    return chroma.of(collection.id, work)


def _check_layout(layout: Layout) -> None:
    if layout.index is not IndexKind.HNSW:
        raise Refused("layout", f"Chroma has no index of kind `{layout.index}`", "use `hnsw`, or a store of kind pgvector")
    if layout.element is not Element.VECTOR:
        raise Refused("layout", f"Chroma does not index `{layout.element}`", "use `vector`, or a store of kind pgvector")
    if layout.m not in _M or layout.ef_construction not in range(2 * layout.m, _EF_CONSTRUCTION + 1):
        raise Refused("layout", "a parameter of HNSW is out of its range", "m from 2 to 100, ef_construction from 2 * m to 1000")


def _configuration(collection: Collection) -> dict[str, Any]:
    return {"hnsw": _hnsw(collection, collection.layout), "embedding_function": None}


def _hnsw(collection: Collection, layout: Layout) -> dict[str, Any]:
    return {
        "space": _SPACES[collection.embedding.metric],
        "ef_construction": layout.ef_construction,
        "max_neighbors": layout.m,
        "ef_search": nearest.EF_SEARCH,
    }


def _candidates(reach: Reach, tuning: Tuning | None) -> int:
    """How many the index is asked for; what it looks at anyway need not be asked for."""
    if tuning is None:
        return reach.k
    return max(reach.k * tuning.overfetch, tuning.ef_search if tuning.ef_search > nearest.EF_SEARCH else 0)


def _keys(buckets: Sequence[int], stored: "Stored") -> Sequence[str]:
    ids = reading.page(stored, buckets, True)["ids"]  # noqa: FBT003 all of them
    return list(dict.fromkeys(chunk.rpartition("#")[0] for chunk in ids))


def _chunks(buckets: Sequence[int], stored: "Stored") -> Sequence[Chunk]:
    parts = reading.page(stored, buckets, True, *reading.whole(vectors=True))  # noqa: FBT003 all of them
    found = [chunk(what, text, vector) for _, what, text, vector in reading.rows(parts) if vector is not None]
    return sorted(found, key=lambda one: (one.key, one.number))


def _sampled(count: int, stored: "Stored") -> Sequence[Candidate]:
    pages = list(reading.page_buckets(stored, max(1, count // 20)))
    random.shuffle(pages)
    ids: list[str] = []
    while pages and len(ids) < count:
        ids += reading.page(stored, pages.pop(), True)["ids"]  # noqa: FBT003 all of them
    return list(reading.by_ids(stored, random.sample(ids, min(count, len(ids))), vectors=True).values())
