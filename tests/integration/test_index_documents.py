"""`index_documents` through a real client: given documents, brought vectors, and rows, by a real worker on a real store."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fix_indexing import OWNER, SOURCE, Desk, OpenDesk, asked
from fix_server import HIDES, READS_ALL
from fix_waiting import until
from mcp import Client

from ostiary.following import Following
from ostiary.worker import Worker
from ostiary_tools.vectors.collection import Collection, Embedding


@asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[Worker]:
    """A worker while the block lasts."""
    stop = asyncio.Event()
    worker = Worker(desk.house.queue, desk.house.gate.call, 2)
    task = asyncio.create_task(worker.work(stop))
    try:
        yield worker
    finally:
        stop.set()
        await task


async def refreshed(client: Client, name: str = "notes") -> str:
    """What a refresh came to."""
    reply = await asked(client, collection=name, refresh=True)
    found = re.search(r'job\(id="([0-9a-f-]+)"\)', reply)
    assert found, reply
    await until(lambda: _ended(client, found[1]))
    return await asked(client, "job", id=found[1])


async def _ended(client: Client, id_: str) -> bool:
    return (await asked(client, "job", id=id_)).startswith(("index_documents completed", "index_documents failed"))


@pytest.mark.asyncio
async def test_given_documents_are_stored_once_changed_and_deleted(desk: OpenDesk):
    async with desk() as it, it.client() as ada:
        made = await it.collection("handbook", None)
        first = [{"key": "a.md", "text": "# Cats\nsleep", "kind": "markdown"}, {"key": "b", "text": "dogs", "metadata": {"n": 1}}]
        assert await asked(ada, collection="handbook", documents=first) == (
            "indexed `handbook`: 2 added, 0 changed, 0 unchanged, 0 deleted; 2 chunks stored"
        )
        second = [first[0], {"key": "b", "text": "dogs", "metadata": {"n": 2}}, {"key": "c", "text": "x " * 2000}]
        told = await asked(ada, collection="handbook", documents=second)
        assert re.fullmatch(r"indexed `handbook`: 1 added, 1 changed, 1 unchanged, 0 deleted; (\d+) chunks stored", told)
        assert "2 deleted" in await asked(ada, collection="handbook", delete=["a.md", "c", "nothing"])
        assert await it.stored(made) == {"b": "dogs"}


@pytest.mark.asyncio
async def test_rows_are_indexed_by_a_worker_and_follow_what_becomes_of_them(desk: OpenDesk):
    async with desk(rows=2500) as it, it.client() as ada, working(it):
        made = await it.collection()
        told = await refreshed(ada)
        assert told == (
            "index_documents completed\nindexed `notes`: 2,500 added, 0 changed, 0 unchanged, 0 deleted; 2,500 chunks stored"
        )
        [one] = await it.store.chunks(made, ["7#0"])
        assert dict(one.metadata) == {"year": 2007, "rate": 1.75, "done": False}
        await it.rows("DELETE FROM notes WHERE id % 5 = 0")
        await it.rows("UPDATE notes SET body = 'anew' WHERE id <= 3")
        await it.rows("UPDATE notes SET body = '', title = '' WHERE id = 4")
        await it.rows("INSERT INTO notes (id, title, body) VALUES (9000, 'late', 'row')")
        again = await refreshed(ada)
        stored, expected = await it.stored(made), dict(await it.expected())
    del expected["4"]
    assert again.endswith("1 added, 3 changed, 1,996 unchanged, 501 deleted; 4 chunks stored; 1 rows without text left out")
    assert stored == expected


CREATE: dict[str, Any] = {
    "action": "create",
    "name": "made",
    "source": {"sql": "select id, title, body, year from notes", "key": "id", "template": "{title}: {body}", "metadata": ["year"]},
}


@pytest.mark.asyncio
async def test_a_collection_of_rows_is_created_indexed_and_has_what_its_owner_may_read(desk: OpenDesk):
    hides = {"tags": ("hidden",), "tagged": {"public.notes.secret": ["hidden"]}, "policy": READS_ALL + HIDES}
    async with desk(**hides) as it, it.client() as ada, working(it):
        assert "made" in await asked(ada, "manage_collection", **CREATE)
        assert "40 added" in await refreshed(ada, "made")
        refused = {
            wrong: await asked(ada, "manage_collection", **CREATE | {"name": "wrong", "source": CREATE["source"] | given})
            for wrong, given in WRONG.items()
        }
    assert {wrong: text for wrong, text in refused.items() if wrong not in text} == {}


WRONG: dict[str, dict[str, Any]] = {
    "secret": {"sql": "select id, secret as title, body, year from notes"},
    "the statement has no column `nr`": {"key": "nr"},
    "the template shows `titel`, which is no column": {"template": "{titel}"},
    "has more than one column `id`": {"sql": "select a.id, b.id, a.title, a.body, a.year from notes a, notes b"},
    "one SELECT without parameters": {"sql": "select id, title, body, year from notes where id = $1"},
    "what the collection follows cannot be read": {"follows": "notify a; drop table notes"},
    "rows are followed every 10 to 86,400 seconds": {"follows": "every 1 s"},
}


@pytest.mark.asyncio
async def test_a_collection_follows_its_rows_as_its_owner_when_their_database_says_so(desk: OpenDesk):
    async with desk() as it, it.client() as ada, working(it) as worker:
        made = await it.collection(source=replace(SOURCE, follows="notify notes_changed"))
        following = asyncio.create_task(
            Following(it.house.shelves, it.house.queue, it.house.datasources, it.house.gate, it.house.owners).follow(worker)
        )
        try:
            await until(lambda: _holds(it, made))  # what was there before it listened
            await it.rows("INSERT INTO notes (id, title, body) VALUES (100, 'late', 'row')")
            await it.rows("NOTIFY notes_changed")
            await it.rows("DELETE FROM notes WHERE id = 7")
            await it.rows("NOTIFY notes_changed")
            await until(lambda: _holds(it, made))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        assert worker.follows
        records = [one for one in await it.site.records() if one.get("tool") == "index_documents" and "decision" in one]
        assert await asked(ada, collection="notes", documents=[{"key": "x", "text": "y"}]) == (
            "refused: the documents of this collection are rows\nrule: collection\nhint: change the rows, and give `refresh`"
        )
    asks = [one for one in records if one["origin"] == "follow"]
    assert {(one["agent"], one["decision"], one["transport"]) for one in records} == {("ada", "permit", "worker")}
    assert 2 <= len(asks) == len(records) - len(asks)


async def _holds(it: Desk, made: Collection) -> bool:
    return await it.stored(made) == await it.expected()


@pytest.mark.asyncio
async def test_a_collection_is_refreshed_every_so_often_and_refusals_are_not_repeated_at_once(desk: OpenDesk):
    async with desk() as it:
        made = await it.collection(source=replace(SOURCE, follows="every 3600 s"))
        nobody = replace(OWNER, roles=("nobody",))
        await it.collection("orphan", replace(SOURCE, follows="every 10 s"), owner=nobody)
        following = Following(it.house.shelves, it.house.queue, it.house.datasources, it.house.gate, it.house.owners)
        for _ in range(3):
            assert await following.round() == 2
        async with working(it):
            await until(lambda: _holds(it, made))
        assert await following.round() == 2
        records = [one for one in await it.site.records() if one.get("origin") == "follow" and "decision" in one]
    assert sorted(one["decision"] for one in records) == ["permit", "refused"]


CANARY = "canary text"
BAD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"documents": [{"key": "a", "text": CANARY}, {"key": "b", "text": " \n"}]}, "refused: document 2 (`b`) has no text"),
    ({"documents": [{"key": "", "text": CANARY}]}, "refused: document 1 needs a key of 1 to 1000 bytes"),
    ({"documents": [{"key": "k" * 1001, "text": CANARY}]}, "refused: document 1 (`kkk"),
    ({"documents": [{"key": "a", "text": CANARY}] * 2}, "refused: document 2 (`a`) has the key of another one"),
    ({"documents": [{"key": "a", "text": CANARY}], "delete": ["a"]}, "refused: 1 keys are to be stored and deleted"),
    ({"documents": [{"key": "a", "text": "x" * 5_000_001}]}, "refused: the texts of one call are longer than 5 MB"),
    ({"documents": [{"key": "a", "text": "{" + CANARY, "kind": "json"}]}, "refused: document 1 (`a`): "),
    ({"documents": [{"key": "a\0", "text": CANARY}]}, "refused: "),
    ({"documents": [{"key": "a", "text": CANARY, "kind": "pdf"}]}, "invalid_arguments: `documents.0.kind`"),
    ({"documents": [{"key": "a", "text": CANARY, "metadata": {"m": ["x", 1]}}]}, "invalid_arguments: `documents.0.metadata.m"),
    ({"documents": [{"key": "a", "text": CANARY, "metadata": {"m": None}}]}, "invalid_arguments: `documents.0.metadata.m"),
    ({"documents": [{"key": "a", "text": CANARY, "metadata": {"m": float("nan")}}]}, "invalid_arguments: `documents.0.metadata.m"),
    ({"documents": [{"key": "a", "text": CANARY, "metadata": {"m": 2**70}}]}, "refused: document 1 (`a`): a number of metadata"),
    ({"documents": [{"key": "a", "text": CANARY, "vector": [0.5] * 256}]}, "refused: document 1 (`a`) brings a vector"),
    ({"documents": [{"key": str(n), "text": CANARY} for n in range(1001)]}, "invalid_arguments: `documents`"),
    ({"documents": [], "delete": []}, "refused: there is nothing to index"),
    ({"refresh": True}, "refused: this collection is of documents that are given to it"),
    ({"collection": "nothing", "delete": ["a"]}, "refused: unknown collection `nothing`"),
    ({"collection": 'a"; drop table notes; --', "delete": ["a"]}, "refused: unknown collection"),
    ({"collection": "../a", "delete": ["a"]}, "refused: unknown collection"),
    ({"collection": "brought", "documents": [{"key": "a", "text": CANARY}]}, "refused: document 1 (`a`) needs a vector of 3"),
    (
        {"collection": "brought", "documents": [{"key": "a", "text": CANARY, "vector": [1, 2]}]},
        "refused: document 1 (`a`) needs a vector of 3 dimensions and has 2",
    ),
    (
        {"collection": "brought", "documents": [{"key": "a", "text": CANARY, "vector": [1, float("inf"), 2]}]},
        "invalid_arguments: `documents.0.vector.1`",
    ),
    ({"collection": "brought", "documents": [{"key": "a", "text": CANARY, "vector": [0, 0, 0]}]}, "refused: a vector of zeros"),
    ({"collection": "old", "documents": [{"key": "a", "text": CANARY}]}, "refused: the collection was made with the embedder"),
    ({"collection": "vault", "delete": ["a"]}, "refused: unknown collection `vault`"),
)


@pytest.mark.asyncio
async def test_what_cannot_be_indexed_is_refused_by_its_number_and_key_and_never_quoted(desk: OpenDesk):
    policy = READS_ALL + '@id("hides") forbid (principal, action, resource is Collection) when { resource.name == "vault" };'
    async with desk(policy=policy) as it, it.client() as ada:
        made = await it.collection("docs", None)
        brought = await it.collection("brought", None, embedding=Embedding("", "", 3, normalised=False))
        await it.collection("old", None, embedding=replace(made.embedding, model="another"))
        await it.collection("vault", None)
        replies = [await asked(ada, **{"collection": "docs"} | wrong) for wrong, _ in BAD]
        good = {"key": "v", "text": "anything", "vector": [1, 2, 3]}
        assert "1 added" in await asked(ada, collection="brought", documents=[good])
        assert "1 unchanged" in await asked(ada, collection="brought", documents=[good])
        assert "1 changed" in await asked(ada, collection="brought", documents=[good | {"vector": [1, 2, 4]}])
        assert (await it.stored(made), await it.stored(brought)) == ({}, {"v": "anything"})
        assert CANARY not in str(await it.site.records())
    assert [reply for reply, (_, told) in zip(replies, BAD, strict=True) if not reply.startswith(told)] == []
    assert not any(CANARY in reply for reply in replies)
    assert replies[-1].replace("vault", "nothing") == replies[17]


SAME = "SELECT id % 3000 AS id, 'a' AS title, 'b' AS body, 1 AS year, 1 AS rate, true AS done FROM "
BIG = "(SELECT n AS id FROM pg_catalog.generate_series(1, 3500) n) AS big"
SOURCES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"statement": "SELECT id % 3 AS id, title, body, year, rate, done FROM public.notes"}, "some rows have the same key"),
    (
        {"statement": SAME + BIG},
        "same key",
    ),
    ({"statement": "SELECT nullif(id, 5) AS id, title, body, year, rate, done FROM public.notes"}, "row 5 has no key"),
    (
        {"statement": "SELECT id, title, body, year, rate, done FROM public.nothing"},
        "the texts of this collection are made of what",
    ),
)


@pytest.mark.asyncio
async def test_rows_that_cannot_be_told_apart_or_read_are_not_indexed(desk: OpenDesk):
    async with desk() as it, it.client() as ada, working(it):
        for number, (given, _) in enumerate(SOURCES):
            await it.collection(f"c{number}", replace(SOURCE, **given))
        replies = []
        for number, _ in enumerate(SOURCES):
            reply = await asked(ada, collection=f"c{number}", refresh=True)
            replies.append(reply if reply.startswith("refused") else await refreshed(ada, f"c{number}"))
    assert [reply for reply, (_, told) in zip(replies, SOURCES, strict=True) if told not in reply] == []


NARROWED = """
@id("calls") permit (principal in Role::"reader", action == Action::"call", resource);
@id("collects") permit (principal in Role::"reader", action, resource is Collection);
@id("sees") permit (principal in Role::"reader", action == Action::"see", resource);
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.tags.contains("hidden") };
@id("masks") @mask("redact") permit (principal in Role::"reader", action == Action::"read_masked", resource is Column)
when { resource.tags.contains("hidden") };
@id("rows") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::notes)
when { resource has year && resource.year == 2007 };
"""


@pytest.mark.asyncio
async def test_what_is_indexed_is_what_its_owner_may_read_and_no_mask(desk: OpenDesk):
    async with (
        desk(tags=("hidden",), tagged={"public.notes.secret": ["hidden"]}, policy=NARROWED) as it,
        it.client() as ada,
        working(it),
    ):
        made = await it.collection()
        told = await refreshed(ada)
        await it.collection(
            "secrets", replace(SOURCE, statement="SELECT id, secret AS title, body, year, rate, done FROM public.notes")
        )
        refused = await asked(ada, collection="secrets", refresh=True)
        stored = await it.stored(made)
        async with it.client(agent="bob") as bob:
            others = await asked(bob, collection="notes", refresh=True)
    assert "2 added" in told
    assert others.startswith("refused: you do not have all rows of this collection, and a refresh would take the others away"), (
        others
    )
    assert stored.keys() == {"7", "27"}
    assert refused.startswith("refused: the texts of this collection are made of what you may not read as it is")
