"""The nearest chunks to a vector: by an index where there is one, by all vectors where that found fewer than were asked for."""

from dataclasses import dataclass
from typing import Any

from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Tuning
from ostiary_tools.vectors.pgvector.conditions import Bound, where
from ostiary_tools.vectors.pgvector.relations import Relations, relations
from ostiary_tools.vectors.pgvector.sessions import Session
from ostiary_tools.vectors.port import Reach

_EF_SEARCH = 100
"""Where nothing was tuned: above pgvector's own 40, which serves ten neighbours of many texts badly."""
_LARGEST_EF = 1_000
_BITS_OVERFETCH = 10
"""Where nothing was tuned: a bit a dimension ranks coarsely."""
_SCANNED = 20_000
"""Rows that a filtered search by index looks at before every row is compared instead, which is faster from there on."""
_SET = "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)"
_BY_INDEX = """
with near as materialized (
    select c.key, c.number, c.text, c.metadata, c.embedding from {chunks} as c
    where {condition} order by {indexed} limit {fetched}
)
select c.key, c.number, c.text, c.metadata, {distance} as distance {vector} from near as c
order by distance, c.key, c.number limit {k}
"""
# The sum keeps every index out: one orders by the distance alone.
_EXACT = """
select c.key, c.number, c.text, c.metadata, {distance} + 0 as distance {vector} from {chunks} as c
where {condition} order by distance, c.key, c.number limit {k}
"""


@dataclass(frozen=True, slots=True)
class _Effort:
    """What a search by index is told."""

    fetched: int
    settings: dict[str, int]


async def nearest(session: Session, collection: Collection, vector: bytes, reach: Reach) -> list[Any]:
    """Rows with their distance, nearest first."""
    by_index = not reach.exact and reach.keys is None and collection.layout.index is not IndexKind.EXACT
    if by_index:
        effort = _effort(collection.layout, reach.tuning or collection.tuning, reach.k, filtered=reach.condition is not None)
        await _tell(session, effort)
        rows = await _rows(session, collection, vector, reach, _BY_INDEX, fetched=effort.fetched)
        # Also where there are no more: only comparing them all can tell.
        if len(rows) >= reach.k:
            return rows
    return await _rows(session, collection, vector, reach, _EXACT)


async def _rows(
    session: Session, collection: Collection, vector: bytes, reach: Reach, template: str, *, fetched: int = 0
) -> list[Any]:
    mine = relations(collection)
    bound = Bound(vector)
    condition = where(reach.condition, bound)
    if reach.keys is not None:
        condition += f" and c.key = any ({bound.add(list(reach.keys))}::text[])"
    statement = mine.fill(
        template,
        condition=condition,
        distance=mine.distance(),
        indexed=_indexed(mine, collection.layout),
        vector=", c.embedding" if reach.vectors else "",
        fetched=bound.add(fetched) if fetched else "",
        k=bound.add(reach.k),
    )
    found: list[Any] = await session.fetch(statement, *bound.values)
    return found


def _indexed(mine: Relations, layout: Layout) -> str:
    return mine.indexed_distance(layout.element)


def _effort(layout: Layout, tuning: Tuning | None, k: int, *, filtered: bool) -> _Effort:
    overfetch = tuning.overfetch if tuning is not None else _BITS_OVERFETCH if layout.element is Element.BIT else 1
    fetched = k * max(1, overfetch)
    if layout.index is IndexKind.HNSW:
        asked = tuning.ef_search if tuning is not None and tuning.ef_search else _EF_SEARCH
        if filtered:  # what was tuned was tuned without one, and a filter leaves few of the candidates
            asked = max(asked, _EF_SEARCH)
        return _Effort(fetched, {"hnsw.ef_search": min(_LARGEST_EF, max(asked, fetched))})
    return _Effort(fetched, {"ivfflat.probes": tuning.probes if tuning is not None and tuning.probes else _probes(layout)})


def _probes(layout: Layout) -> int:
    """The square root, as pgvector advises."""
    return max(1, round(layout.lists**0.5)) if layout.lists else 10


async def _tell(session: Session, effort: _Effort) -> None:
    """Set what is not set yet. The last search's settings stay: a round trip less for those that want the same."""
    wanted = effort.settings | ({"hnsw.max_scan_tuples": _SCANNED} if session.abilities.iterates else {})
    if wanted.items() <= session.reach.items():
        return
    texts = {name: str(value) for name, value in wanted.items()}
    if session.abilities.iterates:
        texts |= {"hnsw.iterative_scan": "relaxed_order", "ivfflat.iterative_scan": "relaxed_order"}
    session.reach.clear()
    await session.execute(_SET, list(texts), list(texts.values()))
    session.reach.update(wanted)
