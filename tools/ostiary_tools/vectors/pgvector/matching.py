"""The chunks that match words best: words that are rare in the collection count for more, and words like those asked for a little.

PostgreSQL's own rank knows nothing of how rare a word is, so each word is ranked by itself and weighed here. Words of more than a
tenth of all chunks find nothing by themselves unless there are no others.
"""

import math
from dataclasses import dataclass
from typing import Any

from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.pgvector.conditions import Bound, where
from ostiary_tools.vectors.pgvector.relations import relations
from ostiary_tools.vectors.pgvector.sessions import Session
from ostiary_tools.vectors.port import Reach
from ostiary_tools.words import FILLERS
from ostiary_tools.words import words as as_searched

_LONGEST = 10_000
"""Characters of what is asked that are read."""
_MOST_WORDS = 32
_FILLER = 0.1
_COUNTED = 1_000
"""A word of fewer chunks is never common."""
# Of many chunks about how many serves as well, and is known without counting.
_SIZE = """
select coalesce(
    (select reltuples::bigint from pg_class where oid = to_regclass('{chunks}') and reltuples > 10000),
    (select sum(chunks)::bigint from {documents}), 0
)
"""
_ASKED = """
with asked as (select lexeme from unnest(to_tsvector('pg_catalog.simple', $1)) limit $2),
all_words as (select lexeme as word, 1.0::float8 as likeness from asked {alike}),
quoted as (
    select word, max(likeness) as likeness,
        '''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''' as query
    from all_words group by word
)
select query, likeness,
    (select count(*) from (select from {chunks} as c where c.words @@ query::tsquery limit $3) as few) as chunks
from quoted
"""
_ALIKE = """
    union all
    select near.word, similarity(near.word, asked.lexeme)::float8 from asked cross join lateral (
        select w.word from {words} as w
        where w.word % asked.lexeme and w.word <> asked.lexeme and length(asked.lexeme) > 3
        order by similarity(w.word, asked.lexeme) desc, w.word limit 5
    ) as near
"""
_ALONE = """
select '''' || replace(replace(lexeme, '\\', '\\\\'), '''', '''''') || '''' as query, lexeme as word
from unnest(to_tsvector('pg_catalog.simple', $1)) limit $2
"""
_RANKED = """
with weighed as materialized (
    select query::tsquery as query, weight from unnest($1::text[], $2::float8[]) as given (query, weight)
)
select c.key, c.number, c.text, c.metadata {vector},
    (select sum(w.weight * ts_rank(c.words, w.query, 1)) from weighed as w) as rank
from {chunks} as c where c.words @@ $3::text::tsquery and {condition}
order by rank desc, c.key, c.number limit {k}
"""


@dataclass(frozen=True, slots=True)
class _Word:
    query: str
    likeness: float
    chunks: int


@dataclass(frozen=True, slots=True)
class _Weighed:
    query: str
    weight: float
    tells: bool
    """It finds chunks by itself."""


async def matching(session: Session, collection: Collection, words: str, reach: Reach) -> list[Any]:
    """Rows with their rank, best first."""
    weighed = await (_alone(session, words) if reach.alone else _among(session, collection, words))
    if not weighed:
        return []
    mine = relations(collection)
    telling = " | ".join(word.query for word in weighed if word.tells)
    bound = Bound([word.query for word in weighed], [word.weight for word in weighed], telling)
    statement = mine.fill(
        _RANKED, condition=_condition(reach, bound), vector=", c.embedding" if reach.vectors else "", k=bound.add(reach.k)
    )
    rows: list[Any] = await session.fetch(statement, *bound.values)
    return rows


async def _alone(session: Session, words: str) -> list[_Weighed]:
    """The words as they are: those that name nothing count little, and find nothing by themselves unless there are no others."""
    asked = await session.fetch(_ALONE, words[:_LONGEST], _MOST_WORDS)
    fillers = [FILLERS.issuperset(as_searched(row["word"])) for row in asked]
    return [
        _Weighed(row["query"], _FILLER if filler else 1.0, not filler or all(fillers))
        for row, filler in zip(asked, fillers, strict=True)
    ]


async def _among(session: Session, collection: Collection, words: str) -> list[_Weighed]:
    """The words and those like them that are in the collection, by how rare they are there."""
    mine = relations(collection)
    size = await session.fetchval(mine.fill(_SIZE))
    common = max(_COUNTED, size // 10)
    alike = mine.fill(_ALIKE) if session.abilities.like_words else ""
    asked = await session.fetch(mine.fill(_ASKED, alike=alike), words[:_LONGEST], _MOST_WORDS, common)
    found = [_Word(row["query"], row["likeness"], row["chunks"]) for row in asked if row["chunks"]]
    telling = any(word.chunks < common for word in found)
    return [_Weighed(word.query, _weight(word, size), word.chunks < common or not telling) for word in found]


def _condition(reach: Reach, bound: Bound) -> str:
    condition = where(reach.condition, bound)
    keys = f" and c.key = any ({bound.add(list(reach.keys))}::text[])" if reach.keys is not None else ""
    return condition + keys


def _weight(word: _Word, size: int) -> float:
    rarity = math.log(1 + (max(0, size - word.chunks) + 0.5) / (word.chunks + 0.5))
    return rarity * word.likeness**2
