"""`manage_collection` through a real client: every action on real stores, what it refuses, and what it tells to whom."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fix_indexing import Desk, OpenDesk, asked
from fix_waiting import until
from mcp import Client

from ostiary.worker import Worker
from ostiary_tools.errors import ToolError
from ostiary_tools.managing import transfer
from ostiary_tools.vectors.collection import Tuning

pytestmark = pytest.mark.asyncio

TOOL = "manage_collection"
TEXTS = [
    f"{thing} number {n} is {how}" for n, (thing, how) in enumerate([("cat", "asleep"), ("ship", "at sea"), ("tax", "due")] * 10)
]


async def told(client: Client, action: str, name: str = "", **given: Any) -> str:
    named = {"name": name} if name else {}
    return await asked(client, TOOL, action=action, **named, **given)


def lines(text: str) -> list[str]:
    """Without the marks around data, which are drawn for each reply; in an order of their own."""
    return sorted(text.splitlines()[1:-1])


async def filled(client: Client, name: str = "notes", **given: Any) -> None:
    """A collection of thirty documents."""
    assert f"created `{name}`" in await told(client, "create", name, **given)
    documents = [{"key": f"d{n}", "text": text} for n, text in enumerate(TEXTS)]
    assert "30 added" in await asked(client, collection=name, documents=documents)


async def test_the_life_of_a_collection(desk: OpenDesk):
    async with desk() as it, it.client() as ada:
        assert (await told(ada, "list")).splitlines()[1] == "name,store,embedder,dimension,index,holds,tags,you_may"
        await filled(ada, tags=["handbook"])
        assert "notes,local,wordllama,256,hnsw,documents,handbook,search index manage drop" in await told(ada, "list")
        new = await told(ada, "describe", "notes")
        assert "30 chunks" in new
        assert "recall: not measured; tune it" in new
        assert "tags: handbook" in new

        tuned = await told(ada, "tune", "notes", recall=0.9)
        assert re.match(
            r"recall of `notes`: [01]\.\d{3} at 10, on 15 questions of 30 chunks, .*; tuned for 0.9 by ef_search 20", tuned
        )
        assert "tuned for 0.9 by ef_search 20" in await told(ada, "describe", "notes")
        assert "tuned for 0.9" in await told(ada, "check", "notes")

        assert "ivfflat over halfvec, lists 2; its recall is not measured" in (
            await told(ada, "build", "notes", index="ivfflat", element="halfvec", lists=2)
        )
        after = await told(ada, "describe", "notes")
        assert "layout: ivfflat over halfvec, lists 2" in after
        assert "not measured" in after, "what was measured of another index holds no more"

        clusters = await told(ada, "report", "notes", report="clusters", count=3)
        assert {"asleep", "due", "sea"} <= set(re.findall(r"[a-z]+", clusters))
        assert sum(map(int, re.findall(r": (\d+) chunks, cohesion", clusters))) == 30
        assert "of 30 chunks: " in await told(ada, "report", "notes", report="duplicates", score=0.9)

        assert await told(ada, "drop", "notes") == "dropped `notes`"
        assert "unknown collection `notes`" in await told(ada, "describe", "notes")


async def test_what_takes_long_is_done_by_a_worker(desk: OpenDesk):
    async with desk() as it, it.client() as ada:
        await filled(ada)
        queued = await told(ada, "tune", "notes", recall=0.9, job=True)
        [job] = re.findall(r'job\(id="([0-9a-f-]+)"\)', queued)
        assert "not measured" in await told(ada, "describe", "notes")
        stop = asyncio.Event()
        working = asyncio.create_task(Worker(it.house.queue, it.house.gate.call, 1).work(stop))
        ended = ""

        async def over() -> bool:
            nonlocal ended
            ended = await asked(ada, "job", id=job)
            return ended.startswith(("manage_collection completed", "manage_collection failed"))

        await until(over)
        stop.set()
        await working
        assert "tuned for 0.9" in ended
        assert "tuned for 0.9" in await told(ada, "describe", "notes")


WRONG: dict[str, dict[str, Any]] = {
    "`list` takes no `name`": {"action": "list", "name": "notes"},
    "`describe` needs `name`": {"action": "describe"},
    "`build` takes no `store`": {"action": "build", "name": "notes", "store": "local"},
    "`move` needs `store`": {"action": "move", "name": "notes"},
    "`report` needs `report`": {"action": "report", "name": "notes"},
    "unknown collection `nothing`": {"action": "tune", "name": "nothing"},
    "a collection cannot be called so": {"action": "create", "name": "Notes; drop table x"},
    "the name is taken": {"action": "create", "name": "notes"},
    "there is no store of vectors of that name": {"action": "create", "name": "new", "store": "../etc"},
    "there is no embedder of that name": {"action": "create", "name": "new", "embedder": "gpt"},
    "a dimension stands for vectors that you bring": {"action": "create", "name": "new", "embedder": "wordllama", "dimension": 3},
    "`dimension` is out of bounds": {"action": "create", "name": "new", "dimension": -1},
    "it goes from 1 to 16,000": {"action": "create", "name": "new", "dimension": 60_000},
    "pgvector indexes `vector` up to 2000 dimensions": {"action": "create", "name": "new", "dimension": 3000},
    "these are no tags": {"action": "create", "name": "new", "tags": ["Robert'); --"]},
    "`m` is out of bounds": {"action": "build", "name": "notes", "m": 101},
    "`ef_construction` is out of bounds": {"action": "build", "name": "notes", "ef_construction": 16},
    "`lists` is out of bounds": {"action": "build", "name": "notes", "index": "ivfflat", "lists": -4},
    "`recall`: ": {"action": "tune", "name": "notes", "recall": 1.5},
    "was not tuned": {"action": "check", "name": "notes"},
    "holds too little to measure": {"action": "tune", "name": "notes"},
    "nothing to report on": {"action": "report", "name": "notes", "report": "outliers"},
    "lies in that store": {"action": "move", "name": "notes", "store": "local"},
    "`action`: ": {"action": "drop_all"},
}


async def test_what_cannot_be_done_is_refused_in_words_and_changes_nothing(desk: OpenDesk):
    async with desk() as it, it.client() as ada:
        await told(ada, "create", "notes")
        before = await told(ada, "list")
        answers = {words: await asked(ada, TOOL, **given) for words, given in WRONG.items()}
        assert {words: text for words, text in answers.items() if words not in text} == {}
        assert before.splitlines()[1:-2] == (await told(ada, "list")).splitlines()[1:-2]


POLICY = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("calls") permit (principal in Role::"searcher", action == Action::"call", resource);
@id("searches") permit (principal in Role::"searcher", action == Action::"search", resource)
when { !resource.tags.contains("inner") };
"""


async def test_who_may_only_search_is_told_no_more_than_that_it_may(desk: OpenDesk):
    async with desk(policy=POLICY, tags=("inner",)) as it, it.client() as ada, it.client("searcher", "bob") as bob:
        await filled(ada)
        await told(ada, "create", "hidden", tags=["inner"])
        await it.collection("rows", tuning=Tuning(0.9, 0.95, chunks=4_711, questions=47))

        listed = await told(bob, "list")
        assert "hidden" not in listed
        assert "rows,local,wordllama,256,exact,rows,,search" in listed
        described = await told(bob, "describe", "rows")
        assert "you may: search" in described
        assert "recall: 0.950 at 10; tuned for 0.9" in described
        for secret in ("SELECT", "title", "shop", "chunks", "ada", "4,711", "47"):
            assert secret not in described
        assert "30 chunks" in await told(bob, "describe", "notes")
        assert "denied" in await told(bob, "build", "notes")
        assert "denied" in await told(bob, "drop", "notes")
        assert "denied" in await told(bob, "report", "notes", report="outliers")
        hidden, nothing = [await told(bob, "describe", name) for name in ("hidden", "nothing")]
        assert hidden.replace("hidden", "nothing") == nothing
        # That the name is taken is told, since there is one namespace; that it is somebody's is not.
        assert "denied" in await told(bob, "create", "other")


ROWS = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("half") permit (principal in Role::"half", action, resource);
@id("row-rules") permit (principal in Role::"half", action == Action::"read_row", resource is shop::public::notes)
when { resource.id <= 20 };
@id("row-all") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::notes);
"""


async def test_a_report_on_rows_is_of_those_that_its_caller_reads(desk: OpenDesk):
    async with desk(policy=ROWS) as it, it.client() as ada, it.client("half", "bob") as bob:
        made = await it.collection("rows")
        await stored_rows(it, made)
        whole = await told(ada, "report", "rows", report="outliers", count=100)
        half = await told(bob, "report", "rows", report="outliers", count=100)
        pairs = await told(bob, "report", "rows", report="duplicates", score=0.1, count=100)
        groups = await told(bob, "report", "rows", report="clusters", count=3)
    assert "of 40 chunks" in whole
    assert "of 20 chunks" in half
    seen = {int(number) for text in (half, pairs, groups) for number in re.findall(r"(\d+)#0", text)}
    assert seen == set(range(1, 21))
    assert "40" not in re.sub(r"\d\.\d+", "", groups)


async def stored_rows(it: Desk, made: Any) -> None:
    """Its rows with vectors of their own, and texts that nobody may see."""
    import numpy as np

    from ostiary_tools.vectors.port import Chunk

    drawn = np.random.default_rng(5).normal(size=(40, 256)).astype(np.float32)
    await it.store.put(made, [Chunk(str(n + 1), 0, "canary", {}, "d", row) for n, row in enumerate(drawn)])


async def test_a_collection_moves_between_stores_and_back(desk: OpenDesk, tmp_path: Path):
    pytest.importorskip("chromadb", reason="the extra `chroma` is not installed")
    folder = tmp_path / uuid4().hex
    async with desk(more=f'[vectors.other]\nkind = "chroma"\npath = "{folder}"\n') as it, it.client() as ada:
        await filled(ada, store="local")
        before = lines(await told(ada, "report", "notes", report="outliers", count=30))
        assert "moved `notes` to the store `other`: 30 documents copied" in await told(ada, "move", "notes", store="other")
        assert "in the store `other`, 30 chunks" in await told(ada, "describe", "notes")
        assert before == lines(await told(ada, "report", "notes", report="outliers", count=30))
        assert "the store `other` has no index `ivfflat`" in await told(ada, "create", "more", store="other", index="ivfflat")
        assert "30 documents copied" in await told(ada, "move", "notes", store="local")
        assert "30 unchanged" in await asked(
            ada, collection="notes", documents=[{"key": f"d{n}", "text": text} for n, text in enumerate(TEXTS)]
        )


class Killed(Exception):
    """The process is gone."""


@pytest.mark.fault
async def test_a_move_that_is_broken_off_leaves_the_old_store_in_force_and_goes_on_later(
    desk: OpenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("chromadb", reason="the extra `chroma` is not installed")
    monkeypatch.setattr(transfer, "_BATCH", 10)
    async with desk(more=f'[vectors.other]\nkind = "chroma"\npath = "{tmp_path / uuid4().hex}"\n') as it, it.client() as ada:
        await filled(ada, store="local")
        shelves = it.house.gate._shelves
        [one] = shelves._rows.collections
        moved = replace(one, store="other")

        async def killed(_done: float, _total: float | None, _words: str) -> None:
            raise Killed

        places = transfer.Place(one, shelves.store("local")), transfer.Place(moved, shelves.store("other"))
        with pytest.raises(Killed):
            await transfer.caught_up(*places, killed)
        assert await shelves.store("other").count(moved) == 10
        assert "in the store `local`, 30 chunks" in await told(ada, "describe", "notes")
        await asked(ada, collection="notes", delete=["d0"])

        assert "20 documents copied" in await told(ada, "move", "notes", store="other")
        assert "in the store `other`, 29 chunks" in await told(ada, "describe", "notes")
        with pytest.raises(ToolError):
            await shelves.store("local").count(one)
