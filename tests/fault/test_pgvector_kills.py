"""Processes that store documents or build an index in PostgreSQL, killed in the middle."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
from fix_vectors import documents, new_collection
from fix_waiting import until

from ostiary_tools.vectors.collection import Collection, Layout
from ostiary_tools.vectors.pgvector.store import PgvectorStore
from ostiary_tools.vectors.settings import PgvectorSettings

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

ID = UUID("6f7b2c1e-9a4d-4c7e-8a55-0d3f1b2c4e6a")
_PROGRAM = """
import asyncio, sys
from dataclasses import replace
from uuid import UUID
sys.path.insert(0, sys.argv[3])
from fix_vectors import document, new_collection
from ostiary_tools.vectors.collection import Layout
from ostiary_tools.vectors.pgvector.store import PgvectorStore
from ostiary_tools.vectors.settings import PgvectorSettings

async def unheard(*_):
    pass

async def main():
    store = PgvectorStore(PgvectorSettings("killed", sys.argv[1]))
    made = replace(new_collection(layout=Layout()), id=UUID(sys.argv[2]))
    if sys.argv[4] == "build":
        await store.build(made, Layout(m=8), unheard)
    for turn in range(1_000_000):
        texts = [f"turn {turn}"] * (1 + turn % 7)
        await store.put(made, [chunk for n in range(50) for chunk in document(f"k{n}", *texts, digest=str(turn))])

asyncio.run(main())
"""


@asynccontextmanager
async def running(settings: PgvectorSettings, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    tests = str(Path(__file__).parent.parent)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _PROGRAM, settings.dsn, str(ID), tests, what)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


@asynccontextmanager
async def holding(settings: PgvectorSettings) -> AsyncIterator[tuple[PgvectorStore, Collection]]:
    store, made = PgvectorStore(settings), replace(new_collection(layout=Layout()), id=ID)
    await store.create(made)
    try:
        yield store, made
    finally:
        await store.drop(made)
        await store.close()


async def test_documents_are_whole_after_their_writer_was_killed(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        for _ in range(5):
            async with running(pgvector_settings, "put"):
                before = (await store.digests(made, ["k0"])).get("k0")
                await until(partial(_moved, store, made, before))
            # What the server had begun for the writer it may still end.
            await until(partial(_alone, pgvector_settings))
            told = await store.digests(made, [f"k{n}" for n in range(50)])
            assert len(set(told.values())) == 1, "all of a call or nothing"
            chunks = [chunk async for batch in store.scan(made, batch=100) for chunk in batch]
            turn = int(told["k0"])
            assert {chunk.text for chunk in chunks} == {f"turn {turn}"}
            assert len(chunks) == 50 * (1 + turn % 7)


async def _alone(settings: PgvectorSettings) -> bool:
    connection = await asyncpg.connect(settings.dsn)
    try:
        writers = "select count(*) from pg_stat_activity where application_name = 'ostiary vectors'"
        return bool(await connection.fetchval(writers) == 1)
    finally:
        await connection.close()


async def _moved(store: PgvectorStore, made: Collection, before: str | None) -> bool:
    return (await store.digests(made, ["k0"])).get("k0") not in (None, before)


async def test_the_next_build_sweeps_away_what_a_killed_builder_left(pgvector_settings: PgvectorSettings):
    async with holding(pgvector_settings) as (store, made):
        await store.put(made, documents(100))
        other = await asyncpg.connect(pgvector_settings.dsn)
        async with other.transaction():
            await other.execute(f"lock table ostiary_vectors.c_{ID.hex} in row exclusive mode")
            async with running(pgvector_settings, "build"):
                await until(lambda: _indexes(pgvector_settings, 2))
        await other.close()

        async def unheard(_done: float, _total: float | None, _words: str) -> None:
            """Nobody asked how far it is."""

        await store.build(made, Layout(m=24), unheard)
        assert await _indexes(pgvector_settings, 1)


async def _indexes(settings: PgvectorSettings, count: int) -> bool:
    connection = await asyncpg.connect(settings.dsn)
    try:
        found = "select count(*) from pg_index x join pg_class i on i.oid = x.indexrelid where i.relname ~ $1"
        return bool(await connection.fetchval(found, f"^x_{ID.hex}_") == count)
    finally:
        await connection.close()
