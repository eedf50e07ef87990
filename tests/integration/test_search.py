"""The tool `search` through the real server and a real client, on pgvector and the bundled embedder."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fix_postgres import PostgresServer
from fix_search import BROUGHT, STORE, Document, Shelf, bundled, collection, found, refused, shelved
from mcp import Client

from ostiary_tools.vectors.collection import Embedding
from ostiary_tools.vectors.opening import open_stores

TEXTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "refunds": (
        "A refund is paid within a fortnight to the card.",
        {"lang": "en", "year": 2021, "tags": ("pay",)},
    ),
    "shipping": (
        "Parcels are shipped from Hamburg every day before noon.",
        {"lang": "en", "year": 2022, "tags": ("post",)},
    ),
    "returns": (
        "Goods may be sent back; we give the money back.",
        {"lang": "en", "year": 2023, "tags": ("pay", "post")},
    ),
    "passwords": ("Choose a long passphrase and never tell it to anybody.", {"lang": "en", "year": 2020}),
    "cats": ("Cats sleep most of the day and hunt at dusk.", {"lang": "en", "year": 2024}),
    "dogs": ("Dogs want to be walked twice a day, puppies more often.", {"lang": "en", "year": 2024}),
    "kittens": ("Kittens stay with their mother for twelve weeks.", {"lang": "en", "year": 2025}),
    "katzen": ("Katzen schlafen den größten Teil des Tages.", {"lang": "de", "year": 2024}),
    "code": ("Error E-4711 means that the spindle of the lathe is blocked.", {"year": 2019, "rate": 0.5, "open": True}),
    "bread": ("Knead the dough, let it rise for an hour and bake it hot.", {"lang": "en", "year": 2018, "note": 'a, "b"\nc'}),
}
LONG = " ".join(["Nothing much happens in this paragraph."] * 30)
POLICY = """
@id("all-else") permit (principal in Role::"reader", action, resource) unless { resource is Collection };
@id("searches") permit (principal in Role::"reader", action == Action::"search", resource is Collection)
unless { resource.tags.contains("secret") };
"""


@pytest.fixture(scope="module")
def library(postgres_server: PostgresServer, audit_template: str) -> Iterator[Shelf]:
    """Documents, a collection of vectors that are brought, and two that cannot be searched."""
    with shelved(postgres_server, audit_template, policy=POLICY, tags=("secret",)) as shelf:
        asyncio.run(filled(shelf))
        yield shelf


def pointing(number: int) -> list[float]:
    """Each is a little like the one before it and the one behind it."""
    return [1.0 if place == number else 0.5 if place == (number + 1) % 8 else 0.0 for place in range(8)]


async def filled(shelf: Shelf) -> None:
    documents = [Document(key, [text], metadata) for key, (text, metadata) in TEXTS.items()]
    documents.append(Document("long", [f"{LONG} Here the zebra is mentioned once. {LONG}", "The second part is about zebras."]))
    await shelf.keep(collection("handbook", bundled()), documents)
    brought = [Document(str(n), [f"text {n}"], {"n": n}, [pointing(n)]) for n in range(8)]
    await shelf.keep(collection("brought", BROUGHT), brought)
    await shelf.keep(collection("vault", bundled(), tags=("secret",)), documents[:1])
    await shelf.keep(collection("old", Embedding("wordllama", "another model", 256, normalised=True)), [])


@pytest.mark.asyncio
async def test_a_question_finds_the_passage_that_answers_it(library: Shelf):
    async with library.asked() as reader:
        result = await found(reader, collection="handbook", text="when do I get my money back", mode="vector", k=3)
        assert {"refunds", "returns"} <= {id_.partition("#")[0] for id_ in result.ids}
        assert list(result.hits[0]) == ["id", "score", "snippet", "lang", "tags", "year"]
        scores = [float(hit["score"]) for hit in result.hits]
        assert scores == sorted(scores, reverse=True)
        assert result.next == 3


@pytest.mark.asyncio
async def test_words_find_what_meaning_does_not_and_both_find_it_together(library: Shelf):
    async with library.asked() as reader:
        by_words = await found(reader, collection="handbook", text="E-4711", mode="text")
        assert by_words.ids[0] == "code#0"
        assert by_words.hits[0]["score"] == "1.0000"
        both = await found(reader, collection="handbook", text="E-4711")
        assert both.ids[0] == "code#0"
        assert both.hits[0]["text"] == "#1"
        assert both.hits[0]["vector"]


@pytest.mark.asyncio
async def test_weights_say_what_counts(library: Shelf):
    async with library.asked() as reader:
        asked = {"collection": "handbook", "text": "puppies E-4711"}
        by_meaning = await found(reader, **asked, weights=[1, 0])
        assert by_meaning.ids[:3] == (await found(reader, **asked, mode="vector")).ids[:3]
        by_words = await found(reader, **asked, weights=[0, 1])
        worded = (await found(reader, **asked, mode="text")).ids
        assert by_words.ids[: len(worded)] == worded


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"field": "lang", "eq": "de"}, {"katzen"}),
    ({"field": "year", "ge": 2021, "lt": 2023}, {"refunds", "shipping"}),
    ({"field": "lang", "null": True}, {"code", "long"}),
    ({"field": "tags", "contains": "post"}, {"shipping", "returns"}),
    ({"field": "open", "eq": True}, {"code"}),
    ({"field": "rate", "lt": 1}, {"code"}),
    ({"field": "year", "in": [2018, 2019]}, {"code", "bread"}),
    ({"and": [{"field": "lang", "ne": "de"}, {"not": {"field": "year", "lt": 2025}}]}, {"kittens"}),
    ({"or": [{"field": "lang", "eq": "de"}, {"field": "year", "eq": 2020}]}, {"katzen", "passwords"}),
    ({"field": "year", "eq": "2020"}, set()),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["vector", "hybrid"])
async def test_a_filter_leaves_what_it_says(library: Shelf, mode: str):
    async with library.asked() as reader:
        for condition, keys in FILTERS:
            result = await found(reader, collection="handbook", text="cats", filter=condition, mode=mode)
            assert {id_.partition("#")[0] for id_ in result.ids} == keys, condition


PAGED: list[dict[str, Any]] = [{"mode": "vector"}, {"mode": "hybrid"}, {"diversity": 0.5}, {"like": ["cats#0"]}]


@pytest.mark.asyncio
async def test_pages_hold_everything_once_in_one_order(library: Shelf):
    async with library.asked() as reader:
        for asked in PAGED:
            wanted = {"collection": "handbook", "text": "animals that sleep", **asked}
            whole = await found(reader, **wanted, k=100)
            assert whole.next is None
            assert len(whole.ids) == 12 - len(asked.get("like", ()))
            assert await paged(reader, wanted) == whole.ids
            assert len(set(whole.ids)) == len(whole.ids)


async def paged(reader: Client, wanted: dict[str, Any]) -> list[str]:
    pages: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = await found(reader, **wanted, k=5, offset=offset)
        pages += page.ids
        offset = page.next
    return pages


@pytest.mark.asyncio
async def test_like_and_unlike_lead_towards_and_away_and_are_no_hits(library: Shelf):
    async with library.asked() as reader:
        like = await found(reader, collection="brought", like=["3#0"], k=2)
        assert set(like.ids) == {"2#0", "4#0"}
        both = await found(reader, collection="brought", like=["3"], unlike=["2", "4#0"], k=20)
        assert sorted(both.ids) == ["0#0", "1#0", "5#0", "6#0", "7#0"]
        assert set(both.ids[-2:]) == {"1#0", "5#0"}
        worded = await found(reader, collection="handbook", text="cats", like=["kittens"], mode="vector", k=20)
        assert "kittens#0" not in worded.ids
        assert worded.ids[0] == "cats#0"


@pytest.mark.asyncio
async def test_diversity_puts_what_is_alike_further_down(library: Shelf):
    async with library.asked() as reader:
        near = await found(reader, collection="handbook", text="cats sleep all day", mode="vector", k=3)
        varied = await found(reader, collection="handbook", text="cats sleep all day", mode="vector", k=3, diversity=0.8)
        assert varied.ids[0] == near.ids[0]
        assert varied.ids != near.ids


@pytest.mark.asyncio
async def test_least_scores_are_held(library: Shelf):
    async with library.asked() as reader:
        everything = await found(reader, collection="handbook", text="cats", mode="vector", k=100)
        middle = float(everything.hits[4]["score"])
        above = await found(reader, collection="handbook", text="cats", mode="vector", k=100, min_score=middle + 0.00005)
        assert above.ids == [hit["id"] for hit in everything.hits if float(hit["score"]) > middle]
        assert (await found(reader, collection="handbook", text="cats", min_score=2)).ids == []


@pytest.mark.asyncio
async def test_a_snippet_is_the_part_around_the_words(library: Shelf):
    async with library.asked() as reader:
        result = await found(reader, collection="handbook", text="zebra", mode="text")
        [first] = [hit for hit in result.hits if hit["id"] == "long#0"]
        assert "the zebra is mentioned once" in first["snippet"]
        assert len(first["snippet"]) <= 300


@pytest.mark.asyncio
async def test_vectors_are_searched_with_as_they_are_given(library: Shelf):
    async with library.asked() as reader:
        vector = [0.0] * 8
        vector[3] = 2.0
        result = await found(reader, collection="brought", vector=vector, k=1)
        assert (result.ids, result.hits[0]["score"]) == (["3#0"], "0.8944")
        by_words = await found(reader, collection="brought", text="text 5", mode="text")
        assert by_words.ids[0] == "5#0"
        together = await found(reader, collection="brought", text="5", vector=vector, k=2)
        assert set(together.ids) == {"3#0", "5#0"}


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"text": "x"}, "hint: collections you may search: `brought`, `handbook`, `old`"),
    ({"collection": "handbook"}, "nothing is searched for"),
    ({"collection": "handbook", "text": " \n"}, "an empty text"),
    ({"collection": "handbook", "text": "a\0b"}, "U+0000"),
    ({"collection": "handbook", "unlike": ["cats#0"]}, "nothing is searched for"),
    ({"collection": "handbook", "like": ["nobody#0"]}, "`like` holds an id that is none of this collection"),
    ({"collection": "handbook", "like": ["cats#99999999999999"]}, "`like` holds an id"),
    ({"collection": "handbook", "text": "x", "unlike": ["' or true --"]}, "`unlike` holds an id"),
    ({"collection": "handbook", "vector": [1.0, 2.0]}, "2 dimensions and the collection 256"),
    ({"collection": "handbook", "vector": [0.0] * 256}, "no direction"),
    ({"collection": "handbook", "vector": [1e39] * 256}, "no finite number"),
    ({"collection": "handbook", "text": "x", "vector": [None]}, "`vector.0`"),
    ({"collection": "handbook", "vector": [0.1] * 256, "mode": "text"}, "there are none"),
    ({"collection": "handbook", "vector": [0.1] * 256, "mode": "hybrid"}, "there are none"),
    ({"collection": "handbook", "text": "x", "like": ["cats"], "mode": "text"}, "by words alone"),
    ({"collection": "handbook", "text": "x", "weights": [0, 0]}, "not both 0"),
    ({"collection": "handbook", "text": "x", "weights": [-1, 1]}, "two numbers from 0"),
    ({"collection": "handbook", "text": "x", "weights": [1]}, "two numbers from 0"),
    ({"collection": "handbook", "text": "x", "weights": [1, 1, 1]}, "`weights`"),
    ({"collection": "handbook", "text": "x", "mode": "magic"}, "`mode`"),
    ({"collection": "handbook", "text": "x", "k": 101}, "`k`"),
    ({"collection": "handbook", "text": "x", "k": 0}, "`k`"),
    ({"collection": "handbook", "text": "x", "offset": -1}, "`offset`"),
    ({"collection": "handbook", "text": "x", "diversity": 1.5}, "`diversity`"),
    ({"collection": "handbook", "text": "x", "filter": {"field": "lang"}}, "`filter`: nothing is asked"),
    ({"collection": "handbook", "text": "x", "filter": {"field": "lang' or true --", "eq": "x"}}, "`filter.field`"),
    ({"collection": "handbook", "text": "x", "surprise": 1}, "`surprise`"),
    ({"collection": "brought", "text": "x"}, "brought by its callers"),
    ({"collection": "old", "text": "x"}, "model `another model` of embedder `wordllama`, which is not configured"),
]


@pytest.mark.asyncio
async def test_what_cannot_be_searched_is_refused_in_words(library: Shelf):
    async with library.asked() as reader:
        wrong = [
            (arguments, told)
            for arguments, words in REFUSALS
            if words not in (told := await refused(reader, **arguments)) or told.startswith("internal")
        ]
        assert wrong == []


@pytest.mark.asyncio
async def test_a_hidden_collection_is_told_as_one_that_is_not_there(library: Shelf):
    async with library.asked() as reader:
        told = [
            (await refused(reader, collection=name, text="x")).replace(name, "NAME")
            for name in ("vault", "nowhere", "Vault", "../vault", "vault\0", "'; drop table", "ünder")
        ]
        assert told[0] == told[1]
        assert "vault" not in "".join(told[:2])
        assert {text.partition(":")[0] for text in told} == {"refused"}


@pytest.mark.asyncio
async def test_a_filter_nested_without_end_is_turned_away(library: Shelf):
    async with library.asked() as reader:
        given: Any = {"field": "a", "eq": 1}
        for _ in range(120):
            given = {"not": given}
        assert "nested too deeply" in await refused(reader, collection="handbook", text="x", filter=given)


@pytest.mark.asyncio
async def test_what_was_searched_for_is_not_in_the_audit_log_and_hits_are_counted(library: Shelf):
    known = len(await library.site.records())
    async with library.asked() as client:
        asked = {"text": "a canary", "filter": {"field": "canary", "eq": "canary"}, "unlike": ["canary"]}
        await refused(client, collection="handbook", **asked)
        await found(client, collection="handbook", text="a canary", k=1)
    records = (await library.site.records())[known:]
    assert "canary" not in json.dumps(records)
    assert [record.get("rows") for record in records if record["kind"] == "o"] == [None, 1]


@pytest.mark.asyncio
async def test_a_collection_that_its_store_no_longer_holds_is_told_so(library: Shelf):
    one = collection("dropped", BROUGHT)
    await library.keep(one, [Document("a", ["one"], {}, [pointing(1)])])
    async with library.asked() as reader, open_stores([library.store]) as stores:
        assert (await found(reader, collection="dropped", vector=pointing(1))).ids == ["a#0"]
        await stores[STORE].drop(one)
        for asked in ({"vector": pointing(1)}, {"text": "one", "mode": "text"}, {"like": ["a"]}):
            told = await refused(reader, collection="dropped", **asked)
            assert told.startswith("no_collection: the store does not hold this collection"), asked


@pytest.mark.asyncio
async def test_without_the_extra_the_hint_says_how_it_is_installed(library: Shelf, monkeypatch: pytest.MonkeyPatch):
    async with library.asked() as reader:
        monkeypatch.setattr("ostiary_tools.searching.question.find_spec", lambda _: None)
        assert "pip install 'ostiary[vector]'" in await refused(reader, collection="brought", vector=pointing(1))
