"""What every store of vectors does, whatever it is made of."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import pytest_asyncio
from fix_vectors import (
    DIMENSION,
    EXACT,
    Matrix,
    best,
    document,
    documents,
    holds,
    ids,
    layouts,
    new_collection,
    plain,
    recall,
    same,
    vectors,
)

from ostiary_tools.errors import NoCollection, Refused
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Metric
from ostiary_tools.vectors.filters import And, Compare, Comparison, Contains, Filter, IsNull, Not, OneOf, Or, Scalar, Value
from ostiary_tools.vectors.opening import open_stores
from ostiary_tools.vectors.port import Chunk, Reach, VectorStore
from ostiary_tools.vectors.settings import StoreSettings

pytestmark = pytest.mark.asyncio

SQL = "x'; drop table x; --"
ODD = (SQL, '"', "'", "\\", "$1", "%s", "../../etc/passwd", "a b", "ü", "\U0001f98a", "#", "a#1", "null", "{}", "$eq", "\n", " ")
ALL = Reach(1_000)


@pytest_asyncio.fixture
async def store(store_settings: StoreSettings) -> AsyncIterator[VectorStore]:
    async with open_stores([store_settings]) as stores:
        yield stores[store_settings.name]


@pytest_asyncio.fixture
async def collection(store: VectorStore) -> AsyncIterator[Collection]:
    made = new_collection(layout=plain(store))
    await store.create(made)
    yield made
    await store.drop(made)


async def unheard(_done: float, _total: float | None, _words: str) -> None:
    """Nobody asked how far it is."""


async def all_of(store: VectorStore, collection: Collection) -> list[Chunk]:
    return [chunk async for batch in store.scan(collection, batch=100) for chunk in batch]


async def test_what_was_put_is_found_again_letter_for_letter(store: VectorStore, collection: Collection):
    metadata: dict[str, Value] = {
        "text": "ü '\"\\\n",
        "whole": 7,
        "real": 2.5,
        "yes": True,
        "no": False,
        "list": ("a", "", "ü"),
        "none": (),
    }
    chunks = [*document("k", "first\n'\"", "second \U0001f98a", metadata=metadata), *document("other", "third")]
    await store.put(collection, chunks)
    found = await store.nearest(collection, chunks[1].vector, Reach(1, vectors=True))
    assert [(one.key, one.number, one.text, dict(one.metadata)) for one in found] == [("k", 1, "second \U0001f98a", metadata)]
    assert found[0].vector is not None
    assert found[0].vector.dtype == np.float32
    assert same(found[0].vector, chunks[1].vector)
    assert {type(value) for value in found[0].metadata.values()} == {str, int, float, bool, tuple}
    assert await store.count(collection) == 3
    assert (await store.nearest(collection, chunks[1].vector, Reach(1)))[0].vector is None


@pytest.mark.parametrize("metric", list(Metric))
async def test_scores_are_those_that_the_metric_states(store: VectorStore, metric: Metric):
    assert metric in store.capabilities.metrics
    made = new_collection(metric, plain(store))
    await store.create(made)
    chunks = documents(50)
    await store.put(made, chunks)
    for question in vectors(3, seed=9):
        expected = best(metric, chunks, question, 10)
        found = await store.nearest(made, question, Reach(10, exact=True))
        assert ids(found) == [id_ for id_, _ in expected]
        assert [one.score for one in found] == pytest.approx([score for _, score in expected], abs=1e-4)
    await store.drop(made)


FIELDS: tuple[dict[str, Value], ...] = (
    {},
    {"a": "x"},
    {"a": "xyz", "b": 1},
    {"a": "", "b": 0},
    {"a": "X", "b": 1.0, "c": True},
    {"a": "é", "b": 1.5, "c": False},
    {"a": "z", "b": -3},
    {"a": ("x", "y"), "b": 10},
    {"a": (), "b": 9},
    {"a": 1, "b": "1"},
    {"a": 0, "b": True},
    {"a": True, "b": "true"},
    {"a": False, "b": ("1",)},
    {"a": "1", "b": 2**40, "c": "true"},
    {"a": "true", "b": 0.1},
    {"a": "Z", "c": 1},
    {"a": "%", "c": 0},
    {"a": SQL, "c": "x"},
)
SCALARS: tuple[Scalar, ...] = ("x", "xy", "", "1", "true", "é", "Z", "%", SQL, 0, 1, 1.0, 1.5, -3, 0.1, 10, 2**40, True, False)
OPS: tuple[Comparison, ...] = ("eq", "ne", "lt", "le", "gt", "ge")
LEAVES: tuple[Filter, ...] = (
    *(Compare(field, op, value) for field in "abcd" for op in OPS for value in SCALARS),
    *(Contains(field, part) for field in "abcd" for part in ("x", "", "y", "1", "é", "%", SQL)),
    *(OneOf(field, values) for field in "abcd" for values in ((), ("x", 1, True), (1,), ("1", "true"), (SQL, 0.1), (False, 0))),
    *(IsNull(field) for field in "abcd"),
)


def conditions() -> Sequence[Filter]:
    """Every leaf and its negation, and combinations by chance, the same every time."""
    chance = random.Random(7)  # noqa: S311 no secret
    combined: list[Filter] = [And(()), Or(()), Not(And(())), Not(Or(()))]
    for _ in range(150):
        parts = tuple(chance.choice([leaf, Not(leaf)]) for leaf in chance.sample(LEAVES, chance.randint(1, 3)))
        one = chance.choice((And, Or))(parts)
        combined += [one, Not(one), And((one, chance.choice(LEAVES))), Or((Not(one), chance.choice(LEAVES)))]
    chosen = chance.sample(LEAVES, 220)
    return [*chosen, *map(Not, chosen), *combined]


@pytest.mark.parametrize("each", [8, pytest.param(1, marks=pytest.mark.slow)])
async def test_filters_find_what_the_language_says(store: VectorStore, collection: Collection, each: int):
    chunks = [chunk for n, metadata in enumerate(FIELDS) for chunk in document(f"k{n:02}", "text", metadata=metadata)]
    await store.put(collection, chunks)
    question = vectors(1)[0]
    wrong = []
    for condition in conditions()[::each]:
        expected = [chunk.id for chunk in chunks if holds(condition, chunk.metadata)]
        found = sorted(ids(await store.nearest(collection, question, replace(ALL, condition=condition))))
        if found != expected:
            wrong.append((condition, expected, found))
    assert wrong == []


async def test_filters_hold_for_words_too(store: VectorStore, collection: Collection):
    await store.put(collection, [chunk for n in range(20) for chunk in document(f"k{n}", "a zebra", metadata={"n": n})])
    found = await store.matching(collection, "zebra", Reach(5, Compare("n", "lt", 3)))
    assert sorted(ids(found)) == ["k0#0", "k1#0", "k2#0"]


@pytest.mark.parametrize("index", [IndexKind.HNSW, IndexKind.IVFFLAT, IndexKind.EXACT])
async def test_a_filter_takes_nothing_away_from_k(store: VectorStore, index: IndexKind):
    made = new_collection(layout=Layout(index))
    if index not in store.capabilities.indexes:
        with pytest.raises(Refused):
            await store.create(made)
        return
    await store.create(made)
    chunks = documents(600)
    await store.put(made, chunks)
    if store.capabilities.rebuilds:
        await store.build(made, made.layout, unheard)
    # What fits lies farthest away: an index that filters after the search finds none of it.
    question = chunks[0].vector
    order = [id_ for id_, _ in best(Metric.COSINE, chunks, question, 600)]
    last = {id_.split("#")[0] for id_ in order[-7:]}
    rare = Or(tuple(Compare("n", "eq", int(key[1:])) for key in sorted(last)))
    assert {one.key for one in await store.nearest(made, question, Reach(5, rare))} <= last
    for k, there in ((5, 5), (7, 7), (10, 7)):
        assert len(await store.nearest(made, question, Reach(k, rare))) == there
    half = Compare("even", "eq", value=True)
    found = await store.nearest(made, question, Reach(300, half))
    assert len({one.key for one in found}) == 300
    assert all(one.metadata["even"] for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert await store.nearest(made, question, Reach(5, Compare("n", "gt", 10_000))) == []
    await store.drop(made)


async def test_only_documents_that_were_named_are_looked_into(store: VectorStore, collection: Collection):
    chunks = documents(40)
    await store.put(collection, chunks)
    keys = ("d00003", "d00009", "nowhere", SQL, "\0", "\ud800")
    assert {one.key for one in await store.nearest(collection, chunks[0].vector, Reach(10, keys=keys))} == {"d00003", "d00009"}
    assert {one.key for one in await store.matching(collection, "number", Reach(10, keys=keys))} == {"d00003", "d00009"}
    assert list(await store.nearest(collection, chunks[0].vector, Reach(10, keys=()))) == []


async def test_a_document_put_again_is_there_once_with_its_new_chunks(store: VectorStore, collection: Collection):
    await store.put(collection, [*document("k", "one", "two", "three", digest="old"), *document("other", "four", digest="o")])
    await store.put(collection, document("k", "five", digest="new"))
    assert [(one.id, one.text) for one in await all_of(store, collection)] == [("k#0", "five"), ("other#0", "four")]
    assert await store.digests(collection, ["k", "other", "absent"]) == {"k": "new", "other": "o"}
    assert await store.count(collection) == 2
    assert list(await store.matching(collection, "three", Reach(5))) == []
    await store.put(collection, document("k", "a", "b", digest="more"))
    assert await store.digests(collection, ["k"]) == {"k": "more"}
    assert await store.count(collection) == 3


@pytest.mark.parametrize("new", [{}, {"b": "y"}, {"a": "1"}])
async def test_a_document_put_again_has_its_new_metadata_alone(store: VectorStore, collection: Collection, new: dict[str, Value]):
    first = document("k", "text", metadata={"a": 1, "b": "x", "c": ("m",)})
    await store.put(collection, first)
    await store.put(collection, [replace(first[0], metadata=new, digest="2")])
    found = await all_of(store, collection)
    assert [dict(one.metadata) for one in found] == [new]
    absent = [IsNull(field) for field in "abc"]
    asked: list[Filter] = [*absent, *map(Not, absent), Compare("a", "eq", 1), Compare("b", "eq", "x")]
    for condition in asked:
        hits = await store.nearest(collection, first[0].vector, Reach(1, condition))
        assert bool(hits) == (holds(condition, new) is True), condition


async def test_documents_are_taken_away_with_all_that_is_of_them(store: VectorStore, collection: Collection):
    await store.put(collection, [*document("a", "one", "two"), *document("b", "three")])
    assert await store.delete(collection, ["a", "absent"]) == 1
    assert await store.delete(collection, ["a"]) == 0
    assert await store.delete(collection, []) == 0
    assert [one.id for one in await all_of(store, collection)] == ["b#0"]
    assert await store.digests(collection, ["a", "b"]) == {"b": "1"}


async def test_chunks_are_had_by_their_ids(store: VectorStore, collection: Collection):
    chunks = [*document("a", "one", "two"), *document("a#1", "three")]
    await store.put(collection, chunks)
    found = await store.chunks(collection, ["a#1", "a#1#0", "a#7", "a", "#", "", "a#x", "a#-1", f"a#{2**70}", SQL, "a#²"])
    assert sorted((f"{one.key}#{one.number}", one.text, one.score) for one in found) == [
        ("a#1", "two", 0.0),
        ("a#1#0", "three", 0.0),
    ]
    whole = {chunk.text: chunk.vector for chunk in chunks}
    assert all(one.vector is not None and same(one.vector, whole[one.text]) for one in found)


@pytest.mark.parametrize("batch", [1, 7, 1_000])
async def test_batches_hold_every_key_and_chunk_once(store: VectorStore, collection: Collection, batch: int):
    chunks = [chunk for n in range(30) for chunk in document(f"k{n:02}", *["text"] * (1 + n % 4))]
    await store.put(collection, chunks)
    keys = [list(some) async for some in store.keys(collection, batch=batch)]
    assert sorted(key for some in keys for key in some) == [f"k{n:02}" for n in range(30)]
    assert max(map(len, keys)) <= batch
    scanned = [list(some) async for some in store.scan(collection, batch=batch)]
    assert sorted(chunk.id for some in scanned for chunk in some) == sorted(chunk.id for chunk in chunks)
    together = [{chunk.key for chunk in some} for some in scanned]
    assert sum(map(len, together)) == 30, "the chunks of a document come together"
    whole = {chunk.id: chunk for chunk in chunks}
    assert all(chunk == whole[chunk.id] and same(chunk.vector, whole[chunk.id].vector) for some in scanned for chunk in some)


async def test_a_sample_is_some_and_of_few_all(store: VectorStore, collection: Collection):
    assert list(await store.sample(collection, 5)) == []
    chunks = documents(300)
    await store.put(collection, chunks)
    some = await store.sample(collection, 20)
    assert len(set(ids(some))) == 20
    assert all(one.vector is not None and len(one.vector) == DIMENSION for one in some)
    assert len(set(ids(await store.sample(collection, 1_000)))) == 300
    assert {tuple(sorted(ids(await store.sample(collection, 20)))) for _ in range(3)} != {tuple(sorted(ids(some)))}


async def test_words_find_the_chunks_that_hold_them(store: VectorStore, collection: Collection):
    texts = ["the quick brown fox", "the lazy dog", "the fox and the dog", "nothing of it"]
    await store.put(collection, [chunk for n, text in enumerate(texts) for chunk in document(f"k{n}", text)])
    assert sorted(ids(await store.matching(collection, "fox", Reach(5)))) == ["k0#0", "k2#0"]
    assert ids(await store.matching(collection, "FOX dog", Reach(1))) == ["k2#0"]
    for words in ("", "  ", "zebra", "!", "\0"):
        assert list(await store.matching(collection, words, ALL)) == []
    for words in (*ODD, "fox & | ! <-> :*", "fox' | 'dog", "fox\0", "fox\ud800", "\\'", "$contains", "(" * 2_000, "fox " * 20_000):
        await store.matching(collection, words, Reach(5))


async def test_names_keys_and_fields_are_never_taken_for_code(store: VectorStore):
    made = new_collection(layout=plain(store), name=SQL)
    await store.create(made)
    chunks = [chunk for odd in ODD for chunk in document(odd, odd, metadata={odd: odd, "odd": odd, "list": (odd,)}, digest=odd)]
    await store.put(made, chunks)
    assert await store.digests(made, ODD) == {odd: odd for odd in ODD}
    assert sorted([key async for some in store.keys(made, batch=5) for key in some]) == sorted(ODD)
    for odd in ODD:
        for condition in (Compare(odd, "eq", odd), Compare("odd", "eq", odd), OneOf("odd", (odd,)), And((Contains("list", odd),))):
            assert ids(await store.nearest(made, chunks[0].vector, replace(ALL, condition=condition))) == [f"{odd}#0"], condition
        assert ids(await store.chunks(made, [f"{odd}#0"])) == [f"{odd}#0"]
    assert await store.delete(made, ODD) == len(ODD)
    await store.drop(made)


def bad_vectors() -> dict[str, object]:
    whole = vectors(1)[0]
    return {
        "another dimension": whole[:-1],
        "none": whole[:0],
        "a table": np.stack([whole, whole]),
        "nan": np.where(np.arange(DIMENSION) == 3, np.float32(np.nan), whole),
        "infinity": np.where(np.arange(DIMENSION) == 3, np.float32(np.inf), whole),
        "zeros": whole * 0,
        "too large": whole * np.float32(1e30),
    }


@pytest.mark.parametrize("what", list(bad_vectors()))
async def test_a_vector_that_cannot_be_compared_is_refused_and_nothing_stored(
    store: VectorStore, collection: Collection, what: str
):
    vector = bad_vectors()[what]
    await store.put(collection, document("there", "text"))
    with pytest.raises(Refused):
        await store.put(collection, [*document("good", "text"), replace(document("bad", "text")[0], vector=vector)])  # type: ignore[arg-type]  # on purpose
    with pytest.raises(Refused):
        await store.nearest(collection, vector, Reach(1))  # type: ignore[arg-type]  # on purpose
    assert [one.key for one in await all_of(store, collection)] == ["there"]


BAD_DOCUMENTS: dict[str, dict[str, object]] = {
    "no key": {"key": ""},
    "a long key": {"key": "k" * 5_000},
    "a key with U+0000": {"key": "a\0b"},
    "a chunk is missing": {"number": 1},
    "a negative number": {"number": -1},
    "U+0000": {"text": "a\0b"},
    "half a pair": {"text": "a\ud800b"},
    "a null": {"metadata": {"a": None}},
    "a map": {"metadata": {"a": {"b": 1}}},
    "mixed lists": {"metadata": {"a": ("x", 1)}},
    "not a number": {"metadata": {"a": float("nan")}},
    "infinity": {"metadata": {"a": float("inf")}},
    "a number without end": {"metadata": {"a": 10**40}},
    "a field without name": {"metadata": {"": 1}},
    "a field with U+0000": {"metadata": {"a\0": 1}},
    "a value with U+0000": {"metadata": {"a": "\0"}},
    "a text of megabytes": {"text": "word " * 1_000_000},
}


@pytest.mark.parametrize("what", list(BAD_DOCUMENTS))
async def test_a_document_that_could_not_be_kept_as_it_is_is_refused(store: VectorStore, collection: Collection, what: str):
    bad = replace(document("k", "secret-canary")[0], **BAD_DOCUMENTS[what])  # type: ignore[arg-type]  # on purpose
    with pytest.raises(Refused) as caught:
        await store.put(collection, [*document("good", "text"), bad])
    assert "canary" not in caught.value.message + caught.value.hint
    assert await store.count(collection) == 0


async def test_chunks_of_one_document_bear_one_digest(store: VectorStore, collection: Collection):
    one, two = document("k", "one", "two")
    for chunks in ([one, replace(two, digest="2")], [one, replace(two, number=0)], [one, replace(two, number=2)]):
        with pytest.raises(Refused):
            await store.put(collection, chunks)
    assert await store.count(collection) == 0


async def test_a_filter_without_end_is_refused(store: VectorStore, collection: Collection):
    deep: Filter = IsNull("a")
    for _ in range(5_000):
        deep = Not(deep)
    for condition in (deep, Or((IsNull("a"),) * 5_000), Compare("a\0", "eq", 1), Compare("a", "eq", float("nan")), IsNull("")):
        with pytest.raises(Refused):
            await store.nearest(collection, vectors(1)[0], Reach(1, condition))


async def test_of_two_writers_of_one_document_one_wins_whole(store: VectorStore, collection: Collection):
    async def write(writer: int) -> None:
        for turn in range(5):
            texts = [f"writer {writer} turn {turn}"] * (1 + writer)
            chunks = [chunk for key in ("a", "b", "c") for chunk in document(key, *texts, digest=texts[0])]
            random.Random(turn).shuffle(chunks)  # noqa: S311 no secret
            await store.put(collection, chunks)

    await asyncio.gather(*map(write, range(4)))
    told = await store.digests(collection, ["a", "b", "c"])
    chunks = await all_of(store, collection)
    for key, digest in told.items():
        texts = [chunk.text for chunk in chunks if chunk.key == key]
        assert set(texts) == {digest}
        assert len(texts) == 1 + int(digest.split()[1])
    assert set(told) == {"a", "b", "c"}


async def test_a_collection_dropped_meanwhile_is_told_as_gone(store: VectorStore):
    made = new_collection(layout=plain(store))
    await store.create(made)
    chunks = documents(200)
    await store.put(made, chunks)

    async def search() -> None:
        with suppress(NoCollection):
            while True:
                assert len(await store.nearest(made, chunks[0].vector, Reach(5))) == 5

    searching = [asyncio.ensure_future(search()) for _ in range(3)]
    await store.nearest(made, chunks[0].vector, Reach(5))
    await store.drop(made)
    async with asyncio.timeout(20):
        await asyncio.gather(*searching)


async def test_what_is_not_there_is_told_as_no_collection(store: VectorStore):
    absent = new_collection()
    chunks = documents(3)
    for asked in (
        store.nearest(absent, chunks[0].vector, Reach(1)),
        store.matching(absent, "text", Reach(1)),
        store.chunks(absent, ["a#0"]),
        store.count(absent),
        store.digests(absent, ["a"]),
        store.put(absent, chunks),
        store.delete(absent, ["a"]),
        store.sample(absent, 3),
        anext(aiter(store.keys(absent, batch=3))),
        anext(aiter(store.scan(absent, batch=3))),
    ):
        with pytest.raises(NoCollection):
            await asked
    await store.drop(absent)


async def test_making_and_dropping_once_more_does_nothing(store: VectorStore):
    made, other = new_collection(layout=plain(store)), new_collection(layout=plain(store))
    await asyncio.gather(*(store.create(made) for _ in range(5)), store.create(other))
    await store.put(made, documents(3))
    await store.create(made)
    assert await store.count(made) == 3
    assert await store.count(other) == 0
    await store.drop(made)
    await store.drop(made)
    assert await store.count(other) == 0
    await store.drop(other)


async def test_what_a_store_cannot_hold_is_refused_when_it_is_made(store: VectorStore):
    most = store.capabilities.max_dimension
    with pytest.raises(Refused):
        await store.create(new_collection(dimension=most + 1))
    for index in set(IndexKind) - store.capabilities.indexes:
        with pytest.raises(Refused):
            await store.create(new_collection(layout=Layout(index)))


async def test_every_layout_finds_what_comparing_all_finds(store: VectorStore):
    chunks, questions = documents(400), vectors(5, seed=3)
    made = new_collection(layout=plain(store))
    await store.create(made)
    await store.put(made, chunks)
    if not store.capabilities.rebuilds:
        await check_searches(store, made, chunks, questions)
        with pytest.raises(Refused):
            await store.build(made, EXACT, unheard)
    else:
        await check_layouts(store, made, chunks, questions)
    await store.drop(made)


async def check_layouts(store: VectorStore, made: Collection, chunks: list[Chunk], questions: Matrix) -> None:
    """Each that the store can change to."""
    for layout in layouts(store.capabilities.elements, store.capabilities.indexes):
        told: list[tuple[float, float | None]] = []

        async def tell(done: float, total: float | None, _words: str, told: list[tuple[float, float | None]] = told) -> None:
            told.append((done, total))

        await store.build(made, layout, tell)
        made = replace(made, layout=layout)
        assert told[-1] == (400.0, 400.0)
        await check_searches(store, made, chunks, questions)


async def check_searches(store: VectorStore, made: Collection, chunks: list[Chunk], questions: Matrix) -> None:
    """By its index it finds what is near, exactly all, and also what is put now."""
    truth = [best(Metric.COSINE, chunks, question, 10) for question in questions]
    found = [await store.nearest(made, question, Reach(10)) for question in questions]
    least = 0.6 if made.layout.element is Element.BIT else 0.95  # sixteen bits tell little
    assert np.mean([recall(own, true) for own, true in zip(found, truth, strict=True)]) >= least, made.layout
    exact = [await store.nearest(made, question, Reach(10, exact=True)) for question in questions]
    assert [ids(own) for own in exact] == [[id_ for id_, _ in true] for true in truth], made.layout
    await store.put(made, document("new", "text", seed=77))
    assert ids(await store.nearest(made, vectors(1, 77)[0], Reach(1))) == ["new#0"]
    assert await store.delete(made, ["new"]) == 1


async def test_nothing_asked_finds_nothing(store: VectorStore, collection: Collection):
    await store.put(collection, [])
    question = vectors(1)[0]
    assert list(await store.nearest(collection, question, Reach(5))) == []
    await store.put(collection, documents(5))
    assert list(await store.nearest(collection, question, Reach(0))) == []
    assert len(await store.nearest(collection, question, Reach(10_000))) == 5
    assert await store.digests(collection, []) == {}
    assert list(await store.chunks(collection, [])) == []
