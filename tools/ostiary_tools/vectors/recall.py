"""Recall, measured: the share of the truly nearest that a search finds, and the least effort that finds enough of them.

Questions are vectors of the collection itself, and none is an answer to itself. Exact search says what is truly nearest.
Half of the questions choose the effort, with a standard error to spare; the other half, which it was not chosen by,
measures what is told.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Tuning
from ostiary_tools.vectors.port import Candidate, Managed, Reach, Searched, Tell

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

AT = 10
"""How many nearest count."""
GROWN = 2
"""A collection so many times as large or small as when it was measured may have another recall."""

_EXACT_S = 120.0
"""Time for exact answers; large collections are measured by fewer questions."""
_LEAST_QUESTIONS = 10
_GLANCE = 15
_SAME = 1e-6
"""Scores that differ by less are of vectors equally near."""
_CANDIDATES = (20, 40, 60, 80, 120, 160, 240, 320, 480, 640, 1000)
"""`ef_search`; pgvector takes no more."""
_OVERFETCH = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Truth:
    """What is nearest to a vector."""

    ids: frozenset[str]
    least: float
    """Score of the last of them. What is as near is as good: many texts may be the same."""


@dataclass(frozen=True, slots=True)
class Question:
    """A chunk whose neighbours are asked for."""

    id: str
    vector: "Vector"
    truth: Truth


@dataclass(frozen=True, slots=True)
class Measured:
    """Recall over some questions."""

    mean: float
    error: float
    """The standard error of the mean."""


def id_of(candidate: Candidate) -> str:
    """What the chunk is called."""
    return f"{candidate.key}#{candidate.number}"


def others(found: Sequence[Candidate], id_: str) -> list[Candidate]:
    """The first `AT` that are not the chunk itself."""
    return [one for one in found if id_of(one) != id_][:AT]


def truth_of(exact: Sequence[Candidate]) -> Truth:
    """Of an exact answer."""
    return Truth(frozenset(map(id_of, exact)), min((one.score for one in exact), default=math.inf))


def recall(found: Sequence[Candidate], truth: Truth) -> float:
    """The share of what is nearest that was found; 1 where there is nothing to find."""
    if not truth.ids:
        return 1.0
    close = truth.least - _SAME * max(1.0, abs(truth.least))
    right = {id_of(one) for one in found if id_of(one) in truth.ids or one.score >= close}
    return min(1.0, len(right) / len(truth.ids))


def measured(recalls: Sequence[float]) -> Measured:
    """Of one number for each question."""
    count, mean = len(recalls), math.fsum(recalls) / len(recalls)
    if count == 1:
        return Measured(mean, 0.0)
    variance = math.fsum((one - mean) ** 2 for one in recalls) / (count - 1)
    return Measured(mean, math.sqrt(variance / count))


def ladder(layout: Layout, chunks: int) -> tuple[Tuning, ...]:
    """What can be tried, less effort first."""
    wide = _OVERFETCH if layout.element is Element.BIT else (1,)
    if layout.index is IndexKind.HNSW:
        # A list as long as what is fetched, and one twice as long; a shorter one would be filled by scanning again.
        lists = [(ef, 0, 1) for ef in _CANDIDATES]
        bits = [(min(_CANDIDATES[-1], AT * overfetch * longer), 0, overfetch) for overfetch in _OVERFETCH for longer in (2, 4)]
        efforts = sorted(set(bits)) if layout.element is Element.BIT else lists
    elif layout.index is IndexKind.IVFFLAT:
        efforts = [(0, probes, overfetch) for probes in _probes(layout.lists, chunks) for overfetch in wide]
    else:
        efforts = [(0, 0, overfetch) for overfetch in wide]
    return tuple(Tuning(0.0, 0.0, *effort) for effort in efforts)


def _probes(lists: int, chunks: int) -> tuple[int, ...]:
    """A third more each, up to all lists: then every vector is compared."""
    most = lists or min(32768, max(10, chunks // 1000, math.isqrt(chunks)))
    steps = {min(most, math.ceil(1.33**power)) for power in range(40)}
    return tuple(sorted(steps))


async def asked(store: Managed, collection: Collection, count: int, tell: Tell) -> list[Question]:
    """So many questions with their true answers, fewer where that takes too long. Raises Refused for too few chunks."""
    sample = [(one, one.vector) for one in await store.sample(collection, count) if one.vector is not None]
    if len(sample) < 2:  # noqa: PLR2004  one has no neighbour
        raise Refused("recall", "the collection holds too little to measure", "index documents first")
    questions: list[Question] = []
    until = time.monotonic() + _EXACT_S
    for one, vector in sample:
        exact = await store.nearest(collection, vector, Reach(AT + 1, exact=True))
        questions.append(Question(id_of(one), vector, truth_of(others(exact, id_of(one)))))
        await tell(len(questions), len(sample), f"{len(questions)} of {len(sample)} questions answered exactly")
        if len(questions) >= _LEAST_QUESTIONS and time.monotonic() > until:
            break
    return questions


async def measure(store: Searched, collection: Collection, questions: Sequence[Question], effort: Tuning | None) -> Measured:
    """The recall of searches with that effort, or the collection's own."""
    recalls = []
    for question in questions:
        found = await store.nearest(collection, question.vector, Reach(AT + 1, tuning=effort))
        recalls.append(recall(others(found, question.id), question.truth))
    return measured(recalls)


async def tune(store: Managed, collection: Collection, target: float, *, questions: int, tell: Tell) -> Tuning:
    """The least effort that reaches the target, or the one that came nearest to it; its `recall` says which."""
    every = await asked(store, collection, 2 * questions, tell)
    choosing, held_out = every[::2], every[1::2]
    chunks = await store.count(collection)
    steps = ladder(collection.layout, chunks)
    best = Tuning(target, -1.0)
    for number, effort in enumerate(steps, 1):
        await tell(len(every) + number, None, f"trying {told(effort) or 'the index'}")
        if number < len(steps) and not await _promises(store, collection, choosing, effort, target):
            continue
        found = await measure(store, collection, held_out, effort)
        if found.mean > best.recall:
            best = replace(effort, target=target, recall=found.mean)
        if found.mean >= target:
            break
    return replace(best, chunks=chunks, questions=len(held_out), at=datetime.now(UTC))


async def _promises(store: Searched, collection: Collection, questions: Sequence[Question], effort: Tuning, target: float) -> bool:
    """Whether it reaches the target on these, with a standard error to spare. Some of them show when it is far from it."""
    some = await measure(store, collection, questions[:_GLANCE], effort)
    if some.mean + 3 * some.error < target:
        return False
    found = await measure(store, collection, questions, effort)
    return found.mean - found.error >= target


async def check(store: Managed, collection: Collection, tuning: Tuning, *, questions: int, tell: Tell) -> Tuning:
    """The same effort, measured again as the collection is now."""
    every = await asked(store, collection, questions, tell)
    found = await measure(store, collection, every, tuning)
    chunks = await store.count(collection)
    return replace(tuning, recall=found.mean, chunks=chunks, questions=len(every), at=datetime.now(UTC))


def grown(tuning: Tuning, chunks: int) -> bool:
    """Whether it was measured at so much smaller a size that it says little."""
    return chunks > tuning.chunks * GROWN


def warnings(tuning: Tuning, chunks: int | None) -> tuple[str, ...]:
    """What is wrong with it, in words; nothing of its size where that is not known."""
    low = f"recall is below the target of {tuning.target:g}" if tuning.recall < tuning.target else ""
    other = ""
    if chunks is not None and not tuning.chunks / GROWN <= chunks <= tuning.chunks * GROWN:
        other = f"it was measured at {tuning.chunks:,} chunks and holds {chunks:,} now"
    return tuple(filter(None, (low, other)))


def told(effort: Tuning) -> str:
    """In words; empty where there is nothing to choose."""
    numbers = (
        f"ef_search {effort.ef_search}" if effort.ef_search else "",
        f"probes {effort.probes}" if effort.probes else "",
        f"overfetch {effort.overfetch}" if effort.overfetch > 1 else "",
    )
    return ", ".join(filter(None, numbers))
