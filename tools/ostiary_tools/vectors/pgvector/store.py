"""The store: collections in a schema of one database, two tables each."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ostiary_tools.vectors.admission import admit_filter, matrix_of, storable
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Metric
from ostiary_tools.vectors.pgvector import building, reading, writing
from ostiary_tools.vectors.pgvector.matching import matching
from ostiary_tools.vectors.pgvector.nearest import nearest
from ostiary_tools.vectors.pgvector.relations import LARGEST_DIMENSION, SCHEMA, relations, score
from ostiary_tools.vectors.pgvector.sessions import Sessions, wire
from ostiary_tools.vectors.port import Candidate, Capabilities, Chunk, Reach, Tell
from ostiary_tools.vectors.settings import PgvectorSettings

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

_CAPABILITIES = Capabilities(
    frozenset(IndexKind), frozenset(Element), frozenset(Metric), full_text=True, max_dimension=LARGEST_DIMENSION, rebuilds=True
)
_WRITES_S = 10
"""How many times as long as a search documents may take to be stored: an index that is written to is slow."""
_TURN = "select pg_advisory_xact_lock(hashtextextended('ostiary makes ' || $1, 0))"
_HAS_SCHEMA = "select to_regnamespace($1) is not null"
_HAS_TABLE = "select to_regclass($1) is not null"
_DROP = "drop table if exists {chunks}, {documents}, {words}"


class PgvectorStore:
    """One configured store. See `port.VectorStore`."""

    def __init__(self, settings: PgvectorSettings) -> None:
        self._settings = settings
        self._sessions = Sessions(settings)

    @property
    def name(self) -> str:
        """As configured."""
        return self._settings.name

    @property
    def capabilities(self) -> Capabilities:
        """All there is."""
        return _CAPABILITIES

    async def close(self) -> None:
        """End its sessions."""
        await self._sessions.close()

    async def nearest(self, collection: Collection, vector: "Vector", reach: Reach) -> Sequence[Candidate]:
        """See `port.Searched`."""
        asked = matrix_of(collection, [vector])[0]
        reach = _admitted(reach)
        if not _asks(reach):
            return ()
        async with self._sessions.one() as session:
            rows = await nearest(session, collection, wire(asked), reach)
        metric = collection.embedding.metric
        return [reading.candidate(row, score(metric, row["distance"]), vector=reach.vectors) for row in rows]

    async def matching(self, collection: Collection, words: str, reach: Reach) -> Sequence[Candidate]:
        """See `port.Searched`."""
        reach = _admitted(reach)
        if not _asks(reach):
            return ()
        readable = words.encode("utf-8", "replace").decode().replace("\0", " ")
        async with self._sessions.one() as session:
            rows = await matching(session, collection, readable, reach)
        return [reading.candidate(row, row["rank"], vector=reach.vectors) for row in rows]

    async def chunks(self, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
        """See `port.Searched`."""
        async with self._sessions.one() as session:
            return await reading.these(session, collection, storable(ids))

    async def count(self, collection: Collection) -> int:
        """See `port.Searched`."""
        async with self._sessions.one() as session:
            return await reading.count(session, collection)

    async def digests(self, collection: Collection, keys: Sequence[str]) -> Mapping[str, str]:
        """See `port.Indexed`."""
        async with self._sessions.one() as session:
            return await writing.digests(session, collection, storable(keys))

    async def put(self, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """See `port.Indexed`: all of it or nothing."""
        batch = await asyncio.to_thread(writing.batch_of, collection, chunks)
        if batch.rows:
            async with self._sessions.one() as session:
                await writing.put(session, collection, batch, _WRITES_S * self._settings.timeout_s)

    async def delete(self, collection: Collection, keys: Sequence[str]) -> int:
        """See `port.Indexed`."""
        async with self._sessions.one() as session:
            return await writing.delete(session, collection, storable(keys))

    def keys(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[str]]:
        """See `port.Indexed`."""
        return reading.keys(self._sessions.one, collection, batch)

    def scan(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[Chunk]]:
        """See `port.Managed`."""
        return reading.scan(self._sessions.one, collection, batch)

    async def sample(self, collection: Collection, count: int) -> Sequence[Candidate]:
        """See `port.Managed`."""
        async with self._sessions.one() as session:
            return await reading.sample(session, collection, count)

    async def create(self, collection: Collection) -> None:
        """See `port.Managed`. An index of lists is not made before `build`: without rows it would know no centres."""
        building.check(collection, collection.layout)
        mine = relations(collection)
        async with self._sessions.one() as session, session.transaction():
            await session.execute(_TURN, str(collection.id))
            if await session.fetchval(_HAS_TABLE, mine.fill("{chunks}")):
                return
            if not await session.fetchval(_HAS_SCHEMA, SCHEMA):
                await session.execute(mine.fill("create schema {schema}", schema=SCHEMA))
            await session.execute(mine.tables(like_words=session.abilities.like_words))
            if collection.layout.index is IndexKind.HNSW:
                await session.execute(mine.index(collection.layout, 1, lists=0, concurrently=False))

    async def build(self, collection: Collection, layout: Layout, tell: Tell) -> None:
        """See `port.Managed`."""
        await building.build(self._sessions, collection, layout, tell, self._settings.build_memory_mb)

    async def drop(self, collection: Collection) -> None:
        """See `port.Managed`. Waits for searches and writers that are under way."""
        async with self._sessions.one() as session:
            await session.execute(relations(collection).fill(_DROP))


def _admitted(reach: Reach) -> Reach:
    """Without keys that no document could have. Raises Refused for a filter that none could be."""
    if reach.condition is not None:
        admit_filter(reach.condition)
    return reach if reach.keys is None else replace(reach, keys=tuple(storable(reach.keys)))


def _asks(reach: Reach) -> bool:
    return reach.k > 0 and (reach.keys is None or bool(reach.keys))
