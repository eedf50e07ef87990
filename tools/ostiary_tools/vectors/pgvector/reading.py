"""All of a collection, in batches: each is a statement of its own, so nothing stays open and memory does not grow."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.filters import Value
from ostiary_tools.vectors.pgvector.relations import relations
from ostiary_tools.vectors.pgvector.sessions import Session, from_wire
from ostiary_tools.vectors.port import Candidate, Chunk

_KEYS = "select key, chunks from {documents} where $1::text is null or key > $1::text order by key limit $2"
_WHOLE = """
select c.key, c.number, c.text, c.metadata, c.embedding, d.digest from {chunks} as c join {documents} as d on d.key = c.key
where c.key = any ($1::text[]) order by c.key, c.number
"""
_THESE = """
select c.key, c.number, c.text, c.metadata, c.embedding from {chunks} as c
join unnest($1::text[], $2::integer[]) as asked (key, number) on c.key = asked.key collate "C" and c.number = asked.number
"""
_COUNT = "select coalesce(sum(chunks), 0)::bigint from {documents}"
_SAMPLE = """
select c.key, c.number, c.text, c.metadata, c.embedding
from (select key, number from {chunks} tablesample bernoulli ($1) order by random() limit $2) as drawn
join {chunks} as c using (key, number)
"""
_MORE = 1.5
"""How many times as many rows a sample draws as it keeps: chance draws fewer as often as more."""
_LARGEST_NUMBER = 2**31 - 1

Sessions = Callable[[], AbstractAsyncContextManager[Session]]


def candidate(row: Any, score: float, *, vector: bool) -> Candidate:
    """A row as what was found."""
    found = from_wire(row["embedding"]) if vector else None
    return Candidate(row["key"], row["number"], score, row["text"], metadata_of(row["metadata"]), found)


def metadata_of(text: str) -> dict[str, Value]:
    """As it was given: lists are tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}


async def count(session: Session, collection: Collection) -> int:
    """Of chunks."""
    found: int = await session.fetchval(relations(collection).fill(_COUNT))
    return found


async def these(session: Session, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
    """Chunks by their ids; what is no id names none."""
    asked = {
        (key, int(number)) for key, _, number in (one.rpartition("#") for one in ids) if number.isascii() and number.isdecimal()
    }
    storable = [(key, number) for key, number in asked if number <= _LARGEST_NUMBER and "\0" not in key]
    rows = await session.fetch(relations(collection).fill(_THESE), [key for key, _ in storable], [number for _, number in storable])
    return [candidate(row, 0.0, vector=True) for row in rows]


async def sample(session: Session, collection: Collection, wanted: int) -> Sequence[Candidate]:
    """Some by chance, all where there are fewer."""
    statement = relations(collection).fill(_SAMPLE)
    size = await count(session, collection)
    share = min(100.0, 100.0 * _MORE * (wanted + 100) / size) if size else 100.0
    rows = await session.fetch(statement, share, wanted)
    if len(rows) < min(wanted, size):
        rows = await session.fetch(statement, 100.0, wanted)
    return [candidate(row, 0.0, vector=True) for row in rows]


async def keys(sessions: Sessions, collection: Collection, batch: int) -> AsyncIterator[Sequence[str]]:
    """In their order."""
    last: str | None = None
    while True:
        async with sessions() as session:
            rows = await session.fetch(relations(collection).fill(_KEYS), last, batch)
        if not rows:
            return
        yield [row["key"] for row in rows]
        last = rows[-1]["key"]


async def scan(sessions: Sessions, collection: Collection, batch: int) -> AsyncIterator[Sequence[Chunk]]:
    """In the order of their keys, about `batch` at once: more where one document has more."""
    statement = relations(collection).fill(_WHOLE)
    last: str | None = None
    while True:
        async with sessions() as session:
            rows = await session.fetch(relations(collection).fill(_KEYS), last, batch)
            chosen = _up_to(batch, [(row["key"], row["chunks"]) for row in rows])
            found = await session.fetch(statement, chosen)
        if not chosen:
            return
        last = chosen[-1]
        if found:
            yield [_chunk(row) for row in found]


def _up_to(batch: int, documents: Sequence[tuple[str, int]]) -> list[str]:
    """The first of them, until they have so many chunks together; one at least."""
    chosen: list[str] = []
    for key, chunks in documents:
        if chosen and chunks > batch:
            break
        chosen.append(key)
        batch -= chunks
    return chosen


def _chunk(row: Any) -> Chunk:
    return Chunk(row["key"], row["number"], row["text"], metadata_of(row["metadata"]), row["digest"], from_wire(row["embedding"]))
