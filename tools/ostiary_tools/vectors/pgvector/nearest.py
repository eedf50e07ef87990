"""The nearest chunks to a vector: by an index where there is one, by all vectors where that finds too few.

A filter is put to what the index gives, nearest first, and more than are asked for must fit before it is believed: what an index
misses, it misses among what it has hardly come to. A glance tells about how many must be looked at for that. Where they are so many
that to compare every vector that fits costs less, or where those that fit lie elsewhere, that is done.
"""

from dataclasses import dataclass
from typing import Any

from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Tuning
from ostiary_tools.vectors.pgvector.conditions import Bound, where
from ostiary_tools.vectors.pgvector.relations import relations
from ostiary_tools.vectors.pgvector.sessions import Session
from ostiary_tools.vectors.port import Reach

_EF_SEARCH = 100
"""Where nothing was tuned: above pgvector's own 40, which serves ten neighbours of many texts badly."""
_LARGEST_EF = 1_000
_BITS_OVERFETCH = 10
"""Where nothing was tuned: a bit a dimension ranks coarsely."""
_SPARE = 30
"""Chunks that must fit besides twice as many as are asked for."""
_GLANCE = 200
"""Nearest chunks that a filter is put to first."""
_DEAR = 40
"""How many times as long a chunk takes that comes by an index as one that is only held against the filter and compared."""
_MOST = 10_000
"""Chunks that a filter is put to by an index, however many there are."""
_ITERATES = {
    "hnsw.iterative_scan": "relaxed_order",
    "ivfflat.iterative_scan": "relaxed_order",
    # An end comes by what is asked for; one that came by itself would be taken for it, with what was only passed by.
    "hnsw.max_scan_tuples": "1000000",
    "hnsw.scan_mem_multiplier": "16",
}
_SET = "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)"
_BY_INDEX = """
with near as materialized (
    select c.key, c.number, c.text, c.metadata, c.embedding from {chunks} as c order by {indexed} limit {fetched}
)
select c.key, c.number, c.text, c.metadata, {distance} as distance {vector} from near as c
order by distance, c.key, c.number limit {k}
"""
_FITTING = """
with near as materialized (
    select c.key, c.number, c.text, c.metadata, c.embedding
    from (select * from {chunks} as c order by {indexed} limit {among}) as c where {condition} limit {fetched}
)
select c.key, c.number, c.text, c.metadata, {distance} as distance {vector}, (select count(*) from near) as fitting,
    (select reltuples::bigint from pg_class where oid = to_regclass('{chunks}')) as size
from near as c order by distance, c.key, c.number limit {k}
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
    asked = _Asked(session, collection, vector, reach)
    if reach.exact or reach.keys is not None or collection.layout.index is IndexKind.EXACT:
        return await asked.rows(_EXACT)
    effort = _effort(collection.layout, reach.tuning or collection.tuning, reach.k, filtered=reach.condition is not None)
    await _tell(session, effort)
    if reach.condition is None:
        rows = await asked.rows(_BY_INDEX, fetched=effort.fetched)
        # Also where there are no more: only comparing them all can tell.
        return rows if len(rows) >= reach.k else await asked.rows(_EXACT)
    return await _fitting(asked, effort.fetched) or await asked.rows(_EXACT)


async def _fitting(asked: "_Asked", fetched: int) -> list[Any]:
    """Those that fit among the nearest by the index; nothing where all had better be compared."""
    rows = await asked.rows(_FITTING, among=max(_GLANCE, fetched), fetched=fetched)
    if not rows or rows[0]["fitting"] >= fetched:
        return rows
    likely = fetched * max(_GLANCE, fetched) // rows[0]["fitting"]
    among = min(_MOST, rows[0]["size"] // _DEAR)
    if likely > among:
        return []
    rows = await asked.rows(_FITTING, among=among, fetched=fetched)
    return rows if rows and rows[0]["fitting"] >= fetched else []


@dataclass(frozen=True, slots=True)
class _Asked:
    """A search, and where it is made."""

    session: Session
    collection: Collection
    vector: bytes
    reach: Reach

    async def rows(self, template: str, **numbers: int) -> list[Any]:
        """As that template finds them."""
        mine, reach = relations(self.collection), self.reach
        bound = Bound(self.vector)
        condition = where(reach.condition, bound)
        if reach.keys is not None:
            condition += f" and c.key = any ({bound.add(list(reach.keys))}::text[])"
        statement = mine.fill(
            template,
            condition=condition,
            distance=mine.distance(),
            indexed=mine.indexed_distance(self.collection.layout.element),
            vector=", c.embedding" if reach.vectors else "",
            k=bound.add(reach.k),
            **{name: bound.add(number) for name, number in numbers.items()},
        )
        found: list[Any] = await self.session.fetch(statement, *bound.values)
        return found


def _effort(layout: Layout, tuning: Tuning | None, k: int, *, filtered: bool) -> _Effort:
    overfetch = tuning.overfetch if tuning is not None else _BITS_OVERFETCH if layout.element is Element.BIT else 1
    fetched = k * max(1, overfetch)
    if filtered:
        fetched = max(fetched, 2 * k + _SPARE)
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
    if effort.settings.items() <= session.reach.items():
        return
    texts = {name: str(value) for name, value in effort.settings.items()} | (_ITERATES if session.abilities.iterates else {})
    session.reach.clear()
    await session.execute(_SET, list(texts), list(texts.values()))
    session.reach.update(effort.settings)
