"""The store of vectors in PostgreSQL on bad days: another database than it needs, builds that end early, sessions that break."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from itertools import count

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_vectors import document, documents, ids, new_collection, vectors
from fix_waiting import until

from ostiary_tools.errors import LockedOut, Refused, TimedOut, Unavailable
from ostiary_tools.vectors import opening
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Tuning
from ostiary_tools.vectors.opening import open_stores
from ostiary_tools.vectors.pgvector.store import PgvectorStore
from ostiary_tools.vectors.port import Reach
from ostiary_tools.vectors.settings import PgvectorSettings

pytestmark = pytest.mark.asyncio
_numbers = count(1)


@asynccontextmanager
async def holding(settings: PgvectorSettings, rows: int = 50) -> AsyncIterator[tuple[PgvectorStore, Collection]]:
    """A store with a collection of some documents."""
    store, made = PgvectorStore(settings), new_collection(layout=Layout())
    try:
        await store.create(made)
        await store.put(made, documents(rows))
        yield store, made
        await store.drop(made)
    finally:
        await store.close()


@asynccontextmanager
async def locked(settings: PgvectorSettings, collection: Collection, mode: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who keeps a lock of the table of chunks."""
    connection = await asyncpg.connect(settings.dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"lock table ostiary_vectors.c_{collection.id.hex} in {mode} mode")
            yield connection
    finally:
        await connection.close()


async def indexes(settings: PgvectorSettings, collection: Collection) -> list[tuple[str, bool]]:
    """Those of vectors, with whether they are valid."""
    connection = await asyncpg.connect(settings.dsn)
    try:
        rows = await connection.fetch(
            "select i.relname, x.indisvalid from pg_index x join pg_class i on i.oid = x.indexrelid "
            "join pg_am a on a.oid = i.relam where x.indrelid = $1::regclass and a.amname in ('hnsw', 'ivfflat') order by 1",
            f"ostiary_vectors.c_{collection.id.hex}",
        )
        return [(row["relname"].rpartition("_")[2], row["indisvalid"]) for row in rows]
    finally:
        await connection.close()


async def unheard(_done: float, _total: float | None, _words: str) -> None:
    """Nobody asked how far it is."""


@pytest.fixture
def other_database(postgres_server: PostgresServer) -> Iterator[str]:
    name = f"other_{os.getpid()}_{next(_numbers)}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    yield name
    postgres_server.drop([name])


async def test_a_database_without_the_extension_is_told_with_what_to_do(postgres_server: PostgresServer, other_database: str):
    store = PgvectorStore(PgvectorSettings("s", postgres_server.dsn(database=other_database)))
    with pytest.raises(Refused, match="lacks the extension vector") as caught:
        await store.create(new_collection())
    assert "CREATE EXTENSION vector" in caught.value.hint
    postgres_server.sql("CREATE EXTENSION vector", other_database)
    await store.create(new_collection())
    await store.close()


async def test_extensions_may_lie_in_a_schema_of_their_own_and_trigrams_be_absent(
    postgres_server: PostgresServer, other_database: str
):
    postgres_server.sql('CREATE SCHEMA "My Ext"; CREATE EXTENSION vector SCHEMA "My Ext"', other_database)
    async with holding(PgvectorSettings("s", postgres_server.dsn(database=other_database))) as (store, made):
        assert ids(await store.nearest(made, documents(50)[3].vector, Reach(1))) == ["d00003#0"]
        assert ids(await store.matching(made, "7", Reach(1))) == ["d00007#0"]
        assert list(await store.matching(made, "nummber", Reach(1))) == []


async def test_a_store_that_is_not_there_says_so_when_it_is_asked_and_quotes_no_address():
    settings = PgvectorSettings("far", "postgresql://canary:canary@localhost:1/none")
    async with open_stores([settings]) as stores:
        with pytest.raises(Unavailable, match="`far` cannot be reached") as caught:
            await stores["far"].count(new_collection())
    assert "canary" not in caught.value.message + caught.value.hint


async def test_a_missing_extra_is_told_with_its_name(pgvector_settings: PgvectorSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opening, "find_spec", lambda name: None if name == "pgvector" else find_spec(name))
    with pytest.raises(Refused, match="`tested` needs what is not installed") as caught:
        async with open_stores([pgvector_settings]):
            pass
    assert caught.value.hint == "run `pip install 'ostiary[vector]'`"


@pytest.mark.parametrize(
    ("dimension", "layout", "hint"),
    [
        (2_001, Layout(), "choose the element `halfvec`, or the index `exact`"),
        (4_001, Layout(element=Element.HALFVEC), "choose the element `bit`, or the index `exact`"),
        (16_001, Layout(IndexKind.EXACT), "choose another embedder"),
        (3, Layout(m=1), ""),
        (3, Layout(m=64, ef_construction=100), ""),
        (3, Layout(IndexKind.IVFFLAT, lists=40_000), ""),
    ],
)
async def test_what_pgvector_does_not_index_is_refused_before_it_is_made(
    pgvector_settings: PgvectorSettings, dimension: int, layout: Layout, hint: str
):
    async with open_stores([pgvector_settings]) as stores:
        with pytest.raises(Refused) as caught:
            await stores["tested"].create(new_collection(layout=layout, dimension=dimension))
    assert caught.value.hint == hint


@pytest.mark.parametrize(("dimension", "element"), [(2_000, Element.VECTOR), (4_000, Element.HALFVEC), (16_000, Element.BIT)])
async def test_the_longest_vectors_of_each_kind_are_indexed_and_found(
    pgvector_settings: PgvectorSettings, dimension: int, element: Element
):
    store, made = PgvectorStore(pgvector_settings), new_collection(layout=Layout(element=element), dimension=dimension)
    chunks = documents(5, dimension=dimension)
    await store.create(made)
    await store.put(made, chunks)
    found = await store.nearest(made, chunks[2].vector, Reach(1, vectors=True))
    assert ids(found) == ["d00002#0"]
    assert found[0].vector is not None
    assert found[0].vector.tolist() == chunks[2].vector.tolist(), "what is stored keeps every digit"
    await store.drop(made)
    await store.close()


async def test_a_build_that_is_cancelled_leaves_the_index_that_was_and_no_other(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        async with locked(pgvector_settings, made, "row exclusive"):
            building = asyncio.ensure_future(store.build(made, Layout(element=Element.HALFVEC), unheard))
            await until(lambda: _invalid(pgvector_settings, made))
            assert ids(await store.nearest(made, documents(50)[3].vector, Reach(1))) == ["d00003#0"]
            with pytest.raises(LockedOut, match="being built already"):
                await store.build(made, Layout(), unheard)
            building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        assert await indexes(pgvector_settings, made) == [("1", True)]


async def _invalid(settings: PgvectorSettings, collection: Collection) -> bool:
    return any(not valid for _, valid in await indexes(settings, collection))


async def test_what_a_killed_builder_left_is_swept_away_by_the_next_build(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        killed = await asyncpg.connect(pgvector_settings.dsn)
        async with locked(pgvector_settings, made, "row exclusive") as other:
            table = f"ostiary_vectors.c_{made.id.hex}"
            statement = f"create index concurrently x_{made.id.hex}_7 on {table} using hnsw (embedding vector_cosine_ops)"
            building = asyncio.ensure_future(killed.execute(statement))
            await until(lambda: _invalid(pgvector_settings, made))
            await other.execute("select pg_terminate_backend($1)", killed.get_server_pid())
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await building
        assert await indexes(pgvector_settings, made) == [("1", True), ("7", False)]
        await store.build(made, Layout(m=8), unheard)
        assert await indexes(pgvector_settings, made) == [("2", True)]


async def test_a_builder_whose_session_is_ended_leaves_nothing(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        async with locked(pgvector_settings, made, "row exclusive") as other:
            building = asyncio.ensure_future(store.build(made, Layout(), unheard))
            await until(lambda: _invalid(pgvector_settings, made))
            name = f"ostiary builds {made.id}"
            await other.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", name)
        with pytest.raises(Unavailable):
            await building
        assert await indexes(pgvector_settings, made) == [("1", True)]


async def test_a_session_that_the_server_ended_is_replaced(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        other = await asyncpg.connect(pgvector_settings.dsn)
        ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'ostiary vectors'"
        assert await other.fetchval(ended) >= 1
        await other.close()
        with suppress(Unavailable):  # where the end had not been noticed yet
            await store.count(made)
        assert await store.count(made) == 50


async def test_a_lock_and_a_full_pool_are_waited_for_so_long_and_no_longer(pgvector_settings: PgvectorSettings):
    async with holding(replace(pgvector_settings, timeout_s=1.0, acquire_timeout_s=0.2, pool_max=1)) as (store, made):
        question = vectors(1)[0]
        async with locked(pgvector_settings, made, "access exclusive"):
            searching = asyncio.ensure_future(store.nearest(made, question, Reach(1)))
            await until(lambda: _waits(pgvector_settings))
            with pytest.raises(Unavailable, match="did not answer in time"):
                await store.count(made)
            with pytest.raises(TimedOut):
                await searching
        assert len(await store.nearest(made, question, Reach(1))) == 1


async def _waits(settings: PgvectorSettings) -> bool:
    connection = await asyncpg.connect(settings.dsn)
    try:
        return bool(await connection.fetchval("select exists (select from pg_locks where not granted)"))
    finally:
        await connection.close()


async def test_a_word_that_is_spelled_otherwise_finds_its_like_below_itself(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        texts = {"a": "refunds are paid within a week", "b": "a refund takes a week", "c": "orders are shipped"}
        await store.put(made, [chunk for key, text in texts.items() for chunk in document(key, text)])
        assert ids(await store.matching(made, "refund", Reach(5))) == ["b#0", "a#0"]
        assert ids(await store.matching(made, "shiped", Reach(5))) == ["c#0"]
        assert list(await store.matching(made, "zebra", Reach(5))) == []


async def test_a_rare_word_counts_for_more_than_a_common_one(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        texts = [f"invoice of customer {n}" for n in range(30)] + ["a zebra"]
        await store.put(made, [chunk for n, text in enumerate(texts) for chunk in document(f"k{n}", text)])
        assert ids(await store.matching(made, "invoice invoice invoice zebra", Reach(1))) == ["k30#0"]


async def test_one_search_tells_the_next_nothing_of_its_tuning(pgvector_settings: PgvectorSettings):
    async with holding(replace(pgvector_settings, pool_max=1), rows=300) as (store, made):
        question = vectors(1, 5)[0]
        exact = ids(await store.nearest(made, question, Reach(10, exact=True)))
        tuned = Reach(10, tuning=Tuning(0.9, 0.9, ef_search=10))
        for reach in (tuned, Reach(10), replace(tuned, tuning=Tuning(1, 1, ef_search=1_000, overfetch=20)), Reach(10)):
            assert len(ids(await store.nearest(made, question, reach))) == 10
        assert ids(await store.nearest(made, question, Reach(10))) == exact
