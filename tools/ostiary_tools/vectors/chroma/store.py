"""Chroma as a store of vectors. Collections are named by their UUID there, whatever they are called here."""

import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.admission import matrix_of, storable
from ostiary_tools.vectors.chroma import nearest, paging, words, writing
from ostiary_tools.vectors.chroma.nearest import Found
from ostiary_tools.vectors.chroma.opening import Chroma
from ostiary_tools.vectors.chroma.records import chunk, ours
from ostiary_tools.vectors.chroma.turns import Turns
from ostiary_tools.vectors.chroma.wanted import Wanted, wanted
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Metric
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
        tuning = reach.tuning or collection.tuning
        asked = max(reach.k * (tuning.overfetch if tuning else 1), tuning.ef_search if tuning else 0, nearest.EF_SEARCH)
        metric = collection.embedding.metric

        def found(stored: "Stored", what: Wanted) -> Sequence[Found]:
            if reach.exact:
                return nearest.by_all(stored, point, what, metric, reach.k)
            return nearest.by_index(stored, point, what, metric, reach.k, asked=asked)

        return await self._found(collection, reach, found)

    async def matching(self, collection: Collection, words_: str, reach: Reach) -> Sequence[Candidate]:
        """By the words that begin so in a text, rare ones first."""
        return await self._found(collection, reach, lambda stored, what: words.by_words(stored, words_, what, reach.k))

    async def _found(
        self, collection: Collection, reach: Reach, find: "Callable[[Stored, Wanted], Sequence[Found]]"
    ) -> Sequence[Candidate]:
        if reach.k < 1:
            return ()
        what = wanted(reach)
        return await self._read(collection, lambda stored: nearest.shown(stored, find(stored, what), vectors=reach.vectors))

    async def chunks(self, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
        """Those that are there."""
        unique = list(dict.fromkeys(storable(ids)))
        return await self._read(collection, lambda stored: list(nearest.by_ids(stored, unique, vectors=True).values()))

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
        for buckets in await self._read(collection, lambda stored: paging.page_buckets(stored, batch)):
            for found in paging.batched(await self._read(collection, partial(_keys, buckets)), batch):
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
        for buckets in await self._read(collection, lambda stored: paging.page_buckets(stored, batch)):
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


def _keys(buckets: Sequence[int], stored: "Stored") -> Sequence[str]:
    found = paging.page(stored, buckets, True, "metadatas")  # noqa: FBT003 all of them
    return list(dict.fromkeys(str(record["key"]) for record in found["metadatas"] if ours(record)))


def _chunks(buckets: Sequence[int], stored: "Stored") -> Sequence[Chunk]:
    import numpy as np  # an extra, and heavy

    found = paging.page(stored, buckets, True, "metadatas", "documents", "embeddings")  # noqa: FBT003 all of them
    vectors = np.asarray(found["embeddings"], np.float32)
    parts = zip(found["metadatas"], found["documents"], vectors, strict=True)
    return sorted((chunk(*part) for part in parts if ours(part[0])), key=lambda one: (one.key, one.number))


def _sampled(count: int, stored: "Stored") -> Sequence[Candidate]:
    pages = list(paging.page_buckets(stored, max(1, count // 20)))
    random.shuffle(pages)
    ids: list[str] = []
    while pages and len(ids) < count:
        ids += paging.page(stored, pages.pop(), True)["ids"]  # noqa: FBT003 all of them
    return list(nearest.by_ids(stored, random.sample(ids, min(count, len(ids))), vectors=True).values())
