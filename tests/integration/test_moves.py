"""A collection that is written to while it moves: what a writer was told is stored is where it lies afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fix_indexing import Desk, OpenDesk, asked
from fix_postgres import PostgresServer
from fix_vectors import vectors
from fix_waiting import until

from ostiary.app import open_house
from ostiary_tools.errors import NoCollection, Refused, Unavailable
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Chunk

pytestmark = pytest.mark.asyncio

CLOSED = "unavailable: collection `notes` is being moved to another store and takes nothing in meanwhile\n"
OpenDesks = Callable[[], Any]


@pytest.fixture
def desks(desk: OpenDesk, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenDesks:
    """A desk with a second store."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Desk]:
        database = await make_database("CREATE EXTENSION vector;")
        more = f'[vectors.zweiter]\nkind = "pgvector"\ndsn = "{postgres_server.dsn(database=database)}"\n'
        async with desk(more=more) as it:
            yield it

    return opened


def chunk(key: str) -> list[Chunk]:
    """A document that nobody was told of."""
    return [Chunk(key, 0, "a text", {}, "1", vectors(1, dimension=256)[0])]


async def now(it: Desk) -> Collection:
    [one] = (await it.house.shelves._table.all()).collections
    return one


async def killed(it: Desk, one: Collection, before: Collection) -> None:
    """It is written down so, and whoever did it does nothing more."""
    assert await it.house.shelves._table.change(one, before)
    it.house.shelves._stirred()


async def index(it: Desk, *keys: str) -> str:
    async with it.client() as ada:
        return await asked(ada, collection="notes", documents=[{"key": key, "text": f"text {key}"} for key in keys])


async def move(it: Desk, store: str) -> str:
    async with it.client() as ada:
        return await asked(ada, "manage_collection", action="move", name="notes", store=store)


async def test_what_is_told_as_stored_while_a_collection_moves_is_there_afterwards(desks: OpenDesks):
    async with desks() as it:
        await it.collection("notes", None)
        assert "200 added" in await index(it, *(f"old{n}" for n in range(200)))
        stored, over = [], asyncio.Event()

        async def write() -> None:
            number = 0
            while not over.is_set():
                number += 1
                if "1 added" in await index(it, f"new{number}"):
                    stored.append(f"new{number}")

        writing = asyncio.create_task(write())
        await until(lambda: bool(stored))
        told = await move(it, "zweiter")
        over.set()
        await writing
        one = await now(it)
        there = await it.house.shelves.store("zweiter").digests(one, stored)
        with pytest.raises(NoCollection):
            await it.store.count(one)
    assert told.startswith("moved `notes` to the store `zweiter`: ")
    assert (one.store, one.left, one.moving) == ("zweiter", "", None)
    assert stored
    assert set(there) == set(stored)


async def test_a_collection_that_is_closed_takes_nothing_in_and_says_so(desks: OpenDesks):
    async with desks() as it:
        one = await it.collection("notes", None)
        closed = replace(one, moving=datetime.now(UTC))
        await it.house.shelves.change(closed, one)
        told = await index(it, "a")
        async with it.client() as ada:
            deleted = await asked(ada, collection="notes", delete=["a"])
            described = await asked(ada, "manage_collection", action="describe", name="notes")
        assert await it.store.count(one) == 0
        await it.house.shelves.change(one, closed)
        assert "1 added" in await index(it, "a")
    assert told.startswith(CLOSED)
    assert deleted.startswith(CLOSED)
    assert "warning: it is being moved to another store and takes nothing in meanwhile" in described


async def test_a_write_that_was_under_way_when_its_collection_was_closed_is_not_told_as_stored(desks: OpenDesks):
    async with desks() as it:
        one = await it.collection("notes", None)
        shelves = it.house.shelves
        await shelves.opened(one)
        await it.store.put(one, chunk("a"))
        await shelves.held(one)
        # By another process, whose cue may come late.
        async with open_house(it.site.config, lambda _: None) as other:
            await other.shelves.change(replace(one, moving=datetime.now(UTC)), one)
            with pytest.raises(Unavailable):
                await shelves.held(one)
            gone = replace(one, store="zweiter")
            await other.shelves.change(gone, replace(one, moving=(await now(it)).moving))
            with pytest.raises(Unavailable):
                await shelves.held(one)


async def test_a_collection_that_was_left_closed_is_opened_by_a_writer_and_its_mover_is_refused(desks: OpenDesks):
    async with desks() as it:
        one = await it.collection("notes", None)
        closed = replace(one, moving=datetime.now(UTC) - timedelta(hours=1))
        await it.house.shelves.change(closed, one)
        assert "1 added" in await index(it, "a")
        assert (await now(it)).moving is None
        with pytest.raises(Refused):
            await it.house.shelves.change(replace(one, store="zweiter"), closed)


async def test_what_a_killed_move_left_in_the_old_store_is_dropped_by_whoever_looks_next(desks: OpenDesks):
    async with desks() as it:
        one = await it.collection("notes", None)
        await index(it, "a")
        second = it.house.shelves.store("zweiter")
        await second.create(one)
        await killed(it, replace(one, store="zweiter", left="local"), one)
        assert await it.store.count(one) == 1
        async with open_house(it.site.config, lambda _: None) as other:
            await other.shelves.finish()
        with pytest.raises(NoCollection):
            await it.store.count(one)
        assert (await now(it)).left == ""
        assert await second.count(one) == 0


async def test_a_move_back_to_where_something_was_left_takes_it_for_its_own(desks: OpenDesks):
    async with desks() as it:
        one = await it.collection("notes", None)
        await index(it, "a", "b")
        assert "2 documents copied" in await move(it, "zweiter")
        await it.store.create(one)
        await it.store.put(one, chunk("stale"))
        there = await now(it)
        left = replace(there, left="local")
        taken_away = replace(left, moving=datetime.now(UTC))
        await killed(it, taken_away, there)
        assert (await move(it, "local")).startswith("refused: what the last move left behind is not taken away yet")
        await killed(it, left, taken_away)
        assert "moved `notes`" in await move(it, "local")
        assert set(await it.stored(one)) == {"a", "b"}
