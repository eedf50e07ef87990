"""A collection that has grown is measured again by the worker, and what came of it is told by who describes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fix_indexing import Desk, OpenDesk, asked
from fix_waiting import until
from mcp import Client

from ostiary.drifting import Drifting
from ostiary.worker import Worker
from ostiary_tools.vectors.collection import IndexKind, Layout, Tuning

WHEN_SMALL = Tuning(1.1, 1.0, ef_search=40, chunks=10, questions=5)
"""A target that nothing reaches."""


def drifting(it: Desk) -> Drifting:
    return Drifting(it.house.shelves, it.house.gate, it.house.owners)


async def fill(ada: Client, first: int, last: int) -> None:
    documents = [{"key": str(n), "text": f"text about number {n}"} for n in range(first, last)]
    assert f"{last - first} added" in await asked(ada, collection="notes", documents=documents)


async def jobs(it: Desk) -> list[str]:
    rows = await it.site.fetch("SELECT about FROM jobs.job WHERE tool = 'manage_collection'", role="ostiary_writer")
    return [row["about"] for row in rows]


@asynccontextmanager
async def working(it: Desk) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(Worker(it.house.queue, it.house.gate.call, 1).work(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@pytest.mark.asyncio
async def test_what_grew_past_twice_its_measured_size_is_measured_again_once_and_described_with_a_warning(desk: OpenDesk):
    async with desk() as it, it.client() as ada:
        made = await it.collection("notes", None, layout=Layout(IndexKind.HNSW), tuning=WHEN_SMALL)
        await fill(ada, 0, 20)
        await drifting(it).round()
        assert await jobs(it) == []
        await fill(ada, 20, 30)
        looks = drifting(it)
        for _ in range(2):
            await looks.round()
        assert await jobs(it) == [f"collection {made.id}"]

        async def told() -> str:
            return await asked(ada, "manage_collection", action="describe", name="notes")

        async def measured() -> bool:
            return "questions of 30 chunks" in await told()

        before = await told()
        async with working(it):
            await until(measured)
        after = await told()
        await drifting(it).round()
        records = [one for one in await it.site.records() if one.get("origin") == "drift" and "decision" in one]
        assert await jobs(it) == [f"collection {made.id}"]
    assert "warning: it was measured at 10 chunks and holds 30 now; tune it again" in before
    assert "warning: recall is below the target of 1.1; tune it again" in after
    assert "it was measured at" not in after
    assert [(one["decision"], one["agent"]) for one in records] == [("permit", "ada")]


@pytest.mark.asyncio
async def test_what_nobody_owns_any_more_is_not_measured_and_that_is_on_record(desk: OpenDesk):
    async with desk(agent='[agent]\nname = "bob"\nrole = "reader"\nroles = ["reader"]\n') as it, it.client() as ada:
        await it.collection("notes", None, tuning=WHEN_SMALL)
        await fill(ada, 0, 30)
        await drifting(it).round()
        records = [one for one in await it.site.records() if one.get("origin") == "drift"]
        assert await jobs(it) == []
    assert [(one["decision"], one["reason"]) for one in records] == [
        ("refused", "the collection's owner is not configured any more")
    ]
