"""Documents stored and taken away, each in one transaction with all of its chunks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ostiary_tools.vectors.admission import admit, matrix_of
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.pgvector.relations import SCHEMA, relations
from ostiary_tools.vectors.pgvector.sessions import Session, wire
from ostiary_tools.vectors.port import Chunk

_PATIENCE = "select set_config('statement_timeout', $1, true)"
_COLUMNS = ("key", "number", "text", "metadata", "embedding")
# In the order of keys, so that of two writers of the same documents one waits for the other, and none for each other.
_DOCUMENTS = """
insert into {documents} (key, digest, chunks)
select key, digest, chunks from unnest($1::text[], $2::text[], $3::integer[]) as given (key, digest, chunks)
order by key collate "C"
on conflict (key) do update set digest = excluded.digest, chunks = excluded.chunks
"""
_OLD_CHUNKS = "delete from {chunks} where key = any ($1::text[])"
# A word stays when its last chunk goes: it finds nothing then.
_WORDS = """
insert into {words} (word)
select distinct word collate "C" from {chunks} as c cross join lateral unnest(tsvector_to_array(c.words)) as found (word)
where c.key = any ($1::text[]) and length(word) between 4 and 40 and word !~ '[0-9]'
order by 1
on conflict (word) do nothing
"""
_DELETED = """
with gone as (
    delete from {documents} where key in (
        select key from {documents} where key = any ($1::text[]) order by key collate "C" for update
    ) returning key
), chunks as (delete from {chunks} where key in (select key from gone))
select count(*) from gone
"""
_DIGESTS = "select key, digest from {documents} where key = any ($1::text[])"

Row = tuple[str, int, str, str, bytes]


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents as the database takes them, in the order of their keys."""

    keys: list[str]
    digests: list[str]
    counts: list[int]
    rows: list[Row]


def batch_of(collection: Collection, chunks: Sequence[Chunk]) -> Batch:
    """Look at what is given, and put it so. Raises Refused. Blocking."""
    documents = admit(chunks)
    if not documents:
        return Batch([], [], [], [])
    inside = [chunk for own in documents.values() for chunk in own]
    vectors = matrix_of(collection, [chunk.vector for chunk in inside])
    return Batch(
        list(documents),
        [own[0].digest for own in documents.values()],
        [len(own) for own in documents.values()],
        [
            (chunk.key, chunk.number, chunk.text, json.dumps(dict(chunk.metadata), ensure_ascii=False), wire(vector))
            for chunk, vector in zip(inside, vectors, strict=True)
        ],
    )


async def put(session: Session, collection: Collection, batch: Batch, timeout_s: float) -> None:
    """All of it or nothing."""
    mine = relations(collection)
    async with session.transaction():
        await session.execute(_PATIENCE, str(int(timeout_s * 1000)))
        await session.execute(mine.fill(_DOCUMENTS), batch.keys, batch.digests, batch.counts, timeout=timeout_s)
        await session.execute(mine.fill(_OLD_CHUNKS), batch.keys, timeout=timeout_s)
        rows = {"schema_name": SCHEMA, "columns": _COLUMNS, "records": batch.rows}
        await session.copy_records_to_table(mine.chunks, **rows, timeout=timeout_s)
        if session.abilities.like_words:
            await session.execute(mine.fill(_WORDS), batch.keys, timeout=timeout_s)


async def delete(session: Session, collection: Collection, keys: Sequence[str]) -> int:
    """How many documents there were."""
    count: int = await session.fetchval(relations(collection).fill(_DELETED), list(keys))
    return count


async def digests(session: Session, collection: Collection, keys: Sequence[str]) -> Mapping[str, str]:
    """Of those that are there."""
    return {row["key"]: row["digest"] for row in await session.fetch(relations(collection).fill(_DIGESTS), list(keys))}
