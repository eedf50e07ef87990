"""The hits of a question, best first, made of rankings of what exists for the caller alone.

Places are counted, scores fused and likeness compared among visible things only, so none of it tells of hidden ones.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ostiary_tools.errors import TimedOut
from ostiary_tools.searching.diversity import diverse
from ostiary_tools.searching.fusion import fused, ranks
from ostiary_tools.searching.question import Question
from ostiary_tools.searching.sight import Hit, Sight
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Candidate, Reach, Searched

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

RANKED = 100
"""Hits of each ranking that are fused, or put in a diverse order. It is fixed: pages of one order are to fit to each other."""
_APPROXIMATE = 1_000
"""Candidates up to which an index is asked; for more every vector is compared."""
_MOST = 50_000
"""Candidates that one ranking looks at."""
_GROWTH = 4

Ask = Callable[[int, bool], Awaitable[Sequence[Candidate]]]
"""So many candidates, exactly or as the index finds them."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hit in its place."""

    hit: Hit
    score: float
    vector: float | None = None
    """How near it is."""
    words: int | None = None
    """Its place by words."""


@dataclass(frozen=True, slots=True)
class Window:
    """The first hits of an order."""

    ranked: Sequence[Ranked]
    ended: bool = False
    """Candidates were left that were not looked at."""
    bounded: bool = False
    """There may be more that is not in the order."""


@dataclass(frozen=True, slots=True)
class Searching:
    """One question on its way through one collection."""

    question: Question
    store: Searched
    collection: Collection
    sight: Sight
    vector: "Vector | None"
    """What is searched for, unless it is words alone."""
    left_out: frozenset[str]
    """Keys of documents that are no hits: those that were given."""
    least: float | None
    diversity: float

    async def window(self, wanted: int) -> Window:
        """At least so many hits where there are, and where they are ranked: all of one order that does not depend on `wanted`."""
        fixed = self.question.mode == "hybrid" or self.diversity > 0
        count = RANKED if fixed else wanted
        near, nearer = await self._near(count)
        worded, wordier = await self._worded(count)
        order = self._order(near, worded)
        full = fixed and max(len(near), len(worded)) >= RANKED
        if self.diversity > 0:
            order = await asyncio.to_thread(self._apart, order)
        return Window(order, nearer or wordier, bounded=full)

    async def _near(self, wanted: int) -> tuple[list[Hit], bool]:
        vector = self.vector
        if vector is None or self.question.mode == "text":
            return [], False

        async def ask(count: int, exact: bool) -> Sequence[Candidate]:
            return await self.store.nearest(self.collection, vector, self._reach(count, exact=exact))

        return await self._best(ask, wanted, self.least if self.question.mode == "vector" else None)

    async def _worded(self, wanted: int) -> tuple[list[Hit], bool]:
        if self.question.mode == "vector":
            return [], False

        async def ask(count: int, exact: bool) -> Sequence[Candidate]:
            return await self.store.matching(self.collection, self.question.words, self._reach(count, exact=exact))

        return await self._best(ask, wanted, None)

    def _reach(self, count: int, *, exact: bool) -> Reach:
        return Reach(count, self.question.condition, exact=exact, vectors=self.diversity > 0, alone=self.sight.hides)

    async def _best(self, ask: Ask, wanted: int, least: float | None) -> tuple[list[Hit], bool]:
        """The first that exist for the caller, and whether it ended before all was looked at."""
        count = min(_MOST, wanted * 2 if self.sight.hides else wanted + len(self.left_out) * _GROWTH)
        hits: list[Hit] = []
        while True:
            got = await ask(count, count > _APPROXIMATE)
            near = [one for one in got if least is None or one.score >= least]
            try:
                hits = await self.sight.hits([one for one in near if one.key not in self.left_out])
            except TimedOut:
                return hits, True
            if len(hits) >= wanted or len(near) < len(got):
                return hits[:wanted], False
            if len(got) < count:
                return hits, False
            if count >= _MOST:
                return hits, True
            count = min(_MOST, count * _GROWTH)

    def _order(self, near: Sequence[Hit], worded: Sequence[Hit]) -> list[Ranked]:
        if self.question.mode == "vector":
            found = [Ranked(hit, hit.candidate.score, vector=hit.candidate.score) for hit in near]
        else:
            rankings, weights = [[hit.id for hit in near], [hit.id for hit in worded]], self.question.weights
            scores = fused(rankings, weights) if self.question.mode == "hybrid" else fused(rankings[1:], [1.0])
            nearness, places = {hit.id: hit.candidate.score for hit in near}, ranks(rankings[1])
            hits = {hit.id: hit for hit in (*near, *worded)}
            found = [Ranked(hits[id_], score, nearness.get(id_), places.get(id_)) for id_, score in scores.items()]
            found = [one for one in found if self.least is None or one.score >= self.least]
        return sorted(found, key=lambda one: -one.score)

    def _apart(self, order: Sequence[Ranked]) -> list[Ranked]:
        import numpy as np  # part of an extra, which a question with a vector needs

        best = order[:RANKED]
        nothing = np.zeros(self.collection.embedding.dimension, np.float32)
        vectors = [nothing if one.hit.candidate.vector is None else one.hit.candidate.vector for one in best]
        places = diverse([one.score for one in best], np.stack(vectors) if best else np.empty((0, 1), np.float32), self.diversity)
        return [best[place] for place in places]
