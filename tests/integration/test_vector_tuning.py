"""Recall as it is tuned and told, against exact numbers computed here, on a real pgvector; and near-duplicates it finds."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio
from fix_postgres import PostgresServer

np = pytest.importorskip("numpy", reason="the extra `vector` is not installed")

from ostiary_tools.errors import Refused  # noqa: E402  needs what may be missing
from ostiary_tools.vectors import recall  # noqa: E402
from ostiary_tools.vectors.collection import (  # noqa: E402
    Collection,
    Element,
    Embedding,
    IndexKind,
    Layout,
    Metric,
    Tuning,
)
from ostiary_tools.vectors.filters import Compare  # noqa: E402
from ostiary_tools.vectors.pgvector import nearest  # noqa: E402
from ostiary_tools.vectors.pgvector.store import PgvectorStore  # noqa: E402
from ostiary_tools.vectors.port import Chunk, Reach  # noqa: E402
from ostiary_tools.vectors.reports import near_duplicates, normalised  # noqa: E402
from ostiary_tools.vectors.settings import PgvectorSettings  # noqa: E402

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

pytestmark = pytest.mark.asyncio

DIMENSION = 32


@pytest_asyncio.fixture
async def store(postgres_server: PostgresServer, make_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[PgvectorStore]:
    """A store of the test's own."""
    database = await make_database("CREATE EXTENSION vector; CREATE EXTENSION pg_trgm;")
    opened = PgvectorStore(PgvectorSettings("own", postgres_server.dsn(database=database)))
    yield opened
    await opened.close()


def rows(count: int, seed: int = 3) -> "Matrix":
    """Rows without structure, the hardest for an index."""
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return normalised(drawn.astype(np.float32))


def collection(layout: Layout) -> Collection:
    return Collection(uuid4(), "own", "own", Embedding("", "", DIMENSION, normalised=False, metric=Metric.COSINE), layout)


async def filled(store: PgvectorStore, one: Collection, matrix: "Matrix") -> None:
    await store.create(one)
    for start in range(0, len(matrix), 1000):
        batch = range(start, min(len(matrix), start + 1000))
        await store.put(one, [Chunk(str(row), 0, f"text {row}", {}, "d", matrix[row]) for row in batch])


async def silent(_done: float, _total: float | None, _words: str) -> None:
    """Nobody listens."""


async def independent(store: PgvectorStore, one: Collection, matrix: "Matrix", asked: int) -> float:
    """Recall at 10 of the collection as it is searched, computed with numpy over all rows."""
    shares = []
    for row in np.random.default_rng(99).choice(len(matrix), asked, replace=False):
        near = np.argsort(-(matrix @ matrix[row]), kind="stable")
        true = {str(other) for other in near if other != row} & {str(other) for other in near[:11]}
        found = [hit.key for hit in await store.nearest(one, matrix[row], Reach(11)) if hit.key != str(row)]
        shares.append(len(true & set(found[:10])) / 10)
    return sum(shares) / len(shares)


async def test_the_recall_that_is_told_is_what_an_exact_computation_gives(store: PgvectorStore):
    """A graph built with next to nothing needs effort: what is chosen reaches the target on questions nobody chose it by."""
    one, matrix = collection(Layout(m=4, ef_construction=8)), rows(2000)
    await filled(store, one, matrix)

    tuning = await recall.tune(store, one, 0.95, questions=80, tell=silent)

    assert tuning.recall >= tuning.target == 0.95
    assert (tuning.chunks, tuning.questions, tuning.probes, tuning.overfetch) == (2000, 80, 0, 1)
    assert tuning.at is not None
    least = recall.ladder(one.layout, 2000)[0]
    assert tuning.ef_search > least.ef_search, "the least effort does not reach it on such a graph"
    assert await independent(store, replace(one, tuning=least), matrix, 100) < 0.9
    assert await independent(store, replace(one, tuning=tuning), matrix, 100) == pytest.approx(tuning.recall, abs=0.05)


async def test_an_index_that_cannot_reach_the_target_is_told_with_what_it_gives(
    store: PgvectorStore, monkeypatch: pytest.MonkeyPatch
):
    """Bits of rows without structure, and no more of them fetched than asked for."""
    one, matrix = collection(Layout(element=Element.BIT)), rows(1000)
    await filled(store, one, matrix)
    monkeypatch.setattr(recall, "_OVERFETCH", (1, 2))

    tuning = await recall.tune(store, one, 0.99, questions=30, tell=silent)

    assert tuning.recall < tuning.target == 0.99
    assert tuning.overfetch == 2
    assert await independent(store, replace(one, tuning=tuning), matrix, 100) == pytest.approx(tuning.recall, abs=0.08)


async def test_bits_reach_the_target_by_fetching_more(store: PgvectorStore):
    one, matrix = collection(Layout(element=Element.BIT)), rows(1000)
    await filled(store, one, matrix)

    tuning = await recall.tune(store, one, 0.95, questions=30, tell=silent)

    assert tuning.recall >= 0.95
    assert tuning.overfetch > 2
    assert await independent(store, replace(one, tuning=tuning), matrix, 100) >= 0.92


async def test_lists_are_probed_until_the_target_is_reached(store: PgvectorStore):
    one, matrix = collection(Layout(IndexKind.IVFFLAT, lists=30)), rows(1000)
    await filled(store, one, matrix)
    await store.build(one, one.layout, silent)

    tuning = await recall.tune(store, one, 0.95, questions=30, tell=silent)

    assert tuning.recall >= 0.95
    assert 1 < tuning.probes <= 30
    assert await independent(store, replace(one, tuning=replace(tuning, probes=1)), matrix, 60) < 0.6


@pytest.mark.parametrize("dear", [1, 40], ids=["by the index", "by what is less work"])
async def test_a_filter_costs_no_recall_however_little_it_lets_through(
    store: PgvectorStore, monkeypatch: pytest.MonkeyPatch, dear: int
):
    """As much as half and as little as a two-hundredth, with the least effort that can be tuned: no less than without a filter.

    How an index comes out is chance, so it is held against itself, and against what it was tuned for.
    """
    monkeypatch.setattr(nearest, "_DEAR", dear)
    one, matrix = collection(Layout(IndexKind.EXACT)), rows(4000)
    bucket = np.random.default_rng(4).integers(0, 1000, len(matrix))
    await store.create(one)
    await store.put(one, [Chunk(str(n), 0, "t", {"bucket": int(bucket[n])}, "d", row) for n, row in enumerate(matrix)])
    await store.build(one, Layout(m=8, ef_construction=16), silent)
    one = replace(one, layout=Layout(m=8, ef_construction=16), tuning=Tuning(0.9, 0.9, ef_search=20))

    async def found(share: int) -> float:
        let_through, right = np.flatnonzero(bucket < share), 0
        condition = Compare("bucket", "lt", share) if share < 1000 else None
        for question in rows(50, seed=5):
            near = let_through[np.argsort(-(matrix[let_through] @ question))[:10]]
            hits = await store.nearest(one, question, Reach(10, condition))
            right += len({hit.key for hit in hits} & {str(row) for row in near})
        return right / 500

    whole = await found(1000)
    for share in (500, 50, 5):
        assert await found(share) >= max(0.9, whole), f"{share / 10:g} % let through"


async def test_what_a_filter_lets_through_is_found_where_it_lies_far_from_what_is_asked(store: PgvectorStore):
    """The index comes to none of it for a long time, and to what happens to be on its way first."""
    one, matrix = collection(Layout()), rows(800)
    matrix[:, 0] += np.where(np.arange(800) < 700, 4.0, -4.0)
    await store.create(one)
    await store.put(one, [Chunk(str(n), 0, "t", {"far": n >= 700}, "d", row) for n, row in enumerate(matrix)])

    found = await store.nearest(one, matrix[0], Reach(10, Compare("far", "eq", value=True)))

    scores = normalised(matrix[700:]) @ normalised(matrix[:1])[0]
    assert [hit.key for hit in found] == [str(700 + row) for row in np.argsort(-scores)[:10]]


async def test_what_grew_is_measured_again_and_warned_of(store: PgvectorStore):
    one, matrix = collection(Layout(m=4, ef_construction=8)), rows(1500)
    await filled(store, one, matrix[:300])
    before = await recall.tune(store, one, 0.95, questions=50, tell=silent)
    assert recall.warnings(before, 300) == ()

    await filled(store, one, matrix)
    after = await recall.check(store, replace(one, tuning=before), before, questions=60, tell=silent)

    assert recall.warnings(before, 1500) == ("it was measured at 300 chunks and holds 1,500 now",)
    assert (after.chunks, after.ef_search, after.target) == (1500, before.ef_search, 0.95)
    assert after.recall < before.recall
    assert recall.warnings(after, 1500) == ("recall is below the target of 0.95",)


async def test_duplicates_do_not_spoil_what_is_measured(store: PgvectorStore):
    """Each text fifteen times: which ten of them are told is chance."""
    one = collection(Layout())
    await filled(store, one, np.repeat(rows(100), 15, axis=0))

    tuning = await recall.tune(store, one, 0.99, questions=30, tell=silent)

    assert tuning.recall >= 0.99


@pytest.mark.parametrize("chunks", [0, 1])
async def test_too_little_to_measure_is_refused(store: PgvectorStore, chunks: int):
    one = collection(Layout())
    await filled(store, one, rows(chunks))

    with pytest.raises(Refused, match="too little to measure"):
        await recall.tune(store, one, 0.95, questions=10, tell=silent)


async def test_near_duplicates_are_found_as_pairs_each_once(store: PgvectorStore):
    one, matrix = collection(Layout()), rows(300)
    matrix[200:210] = matrix[100:110] + 0.001
    await filled(store, one, matrix)

    pairs, asked = await near_duplicates(store, one, await store.sample(one, 5000), 0.99, silent)

    assert asked == 300
    assert {frozenset((pair.one.key, pair.other.key)) for pair in pairs} == {
        frozenset((str(100 + row), str(200 + row))) for row in range(10)
    }
    assert len(pairs) == 10
    assert all(pair.score > 0.99 for pair in pairs)
