"""From documents to what is stored of them: compared, cut, embedded and written, each while the others go on.

Between two stages there is room for two portions, so a slow stage holds up those before it and memory does not grow with what
comes. What is written is written by whole documents under their keys: begun again after a kill, the same documents are told by
their digests and cost nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ostiary_tools.errors import Refused
from ostiary_tools.indexing.counts import Counts
from ostiary_tools.indexing.documents import Document, cut
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Chunk, Indexed, Tell

if TYPE_CHECKING:
    from ostiary_tools.embedders.port import Embedder
    from ostiary_tools.vectors.port import Matrix

Portion = Sequence[Document]

_ROOM = 2
_TEXTS = 256
"""Embedded at once."""
_WRITERS = 2
"""Portions that are written at once: to put a vector into an index that is searched takes the store more time than all else."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Documents that are new or other than before, with their chunks."""

    documents: list[Document]
    texts: list[list[str]]
    known: frozenset[str]
    """Keys of those that were there before."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What documents of one collection pass through."""

    store: Indexed
    collection: Collection
    embedder: "Embedder | None"
    counts: Counts
    tell: Tell

    async def run(self, portions: AsyncIterator[Portion]) -> None:
        """Take in all of it. Raises the first failure of any stage; what was stored until then stays."""
        compared: asyncio.Queue[_Cut | None] = asyncio.Queue(_ROOM)
        embedded: asyncio.Queue[list[Chunk] | None] = asyncio.Queue(_ROOM)
        writing = [self._write(embedded) for _ in range(_WRITERS)]
        await all_of(self._compare(portions, compared), self._embed(compared, embedded), *writing)

    async def _compare(self, portions: AsyncIterator[Portion], out: "asyncio.Queue[_Cut | None]") -> None:
        async for portion in portions:
            known = await self.store.digests(self.collection, [one.key for one in portion])
            changed = [one for one in portion if known.get(one.key) != one.digest]
            self.counts.unchanged += len(portion) - len(changed)
            if changed:
                texts = await asyncio.to_thread(self._texts, changed)
                await out.put(_Cut(changed, texts, frozenset(known)))
            await self._told()
        await out.put(None)

    def _texts(self, documents: list[Document]) -> list[list[str]]:
        tokens = self.embedder.tokens if self.embedder is not None else _no_tokens
        return [cut(one, tokens) for one in documents]

    async def _embed(self, given: "asyncio.Queue[_Cut | None]", out: "asyncio.Queue[list[Chunk] | None]") -> None:
        while (portion := await given.get()) is not None:
            chunks = await asyncio.to_thread(_chunks, portion, await self._vectors(portion))
            new = sum(one.key not in portion.known for one in portion.documents)
            self.counts.added += new
            self.counts.changed += len(portion.documents) - new
            await out.put(chunks)
        for _ in range(_WRITERS):
            await out.put(None)

    async def _vectors(self, portion: _Cut) -> "Matrix":
        import numpy as np  # an extra

        if self.embedder is None:
            return await asyncio.to_thread(np.asarray, [one.vector for one in portion.documents], np.float32)
        flat = [text for texts in portion.texts for text in texts]
        made = [await self.embedder.embed(flat[start : start + _TEXTS]) for start in range(0, len(flat), _TEXTS)]
        return np.concatenate(made)

    async def _write(self, given: "asyncio.Queue[list[Chunk] | None]") -> None:
        while (chunks := await given.get()) is not None:
            await self.store.put(self.collection, chunks)
            self.counts.chunks += len(chunks)
            await self._told()

    async def _told(self) -> None:
        await self.tell(self.counts.seen, None, f"{self.counts.seen:,} documents compared, {self.counts.chunks:,} chunks stored")


async def all_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Wait for all; the first that fails ends the others, and its failure is raised as it is."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def given(documents: Sequence[Document], size: int) -> AsyncIterator[Portion]:
    """In portions."""
    for start in range(0, len(documents), size):
        yield documents[start : start + size]


def _chunks(portion: _Cut, vectors: "Matrix") -> list[Chunk]:
    rows = iter(vectors)
    return [
        Chunk(one.key, number, text, one.metadata, one.digest, next(rows))
        for one, texts in zip(portion.documents, portion.texts, strict=True)
        for number, text in enumerate(texts)
    ]


def _no_tokens(_: str) -> int:
    raise Refused("vector", "a document without a vector cannot be cut: the collection has no embedder", "bring its vector")
