"""Indexing that is killed, cut off or cancelled: what ends in the end has exactly the rows, and nothing twice."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest
from fix_embedding_server import Request, answer, embedding, vectors
from fix_indexing import Desk, OpenDesk, asked
from fix_queue import program
from fix_waiting import until
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from ostiary.worker import Worker
from ostiary_tools.vectors.collection import Collection, Embedding

pytestmark = pytest.mark.fault

ROWS = 4000
MOMENTS = 10


@asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(Worker(desk.house.queue, desk.house.gate.call, 1).work(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def begun(client: Client) -> str:
    found = re.search(r'job\(id="([0-9a-f-]+)"\)', reply := await asked(client, collection="notes", refresh=True))
    assert found, reply
    return found[1]


async def says(client: Client, id_: str, *beginnings: str) -> bool:
    return (await asked(client, "job", id=id_)).startswith(beginnings)


async def stored_so_far(desk: Desk, made: Collection) -> int:
    return await desk.store.count(made)


async def expired(desk: Desk, id_: str) -> None:
    """As if the lease had run out, which takes half a minute otherwise."""
    let_go = "UPDATE jobs.job SET leased_until = now() - interval '1 s', takeovers = least(takeovers, 2) WHERE id = $1"
    await desk.site.fetch(let_go, UUID(id_), role="ostiary_writer")


@pytest.mark.asyncio
async def test_a_worker_killed_at_ten_moments_leaves_exactly_the_rows(desk: OpenDesk):
    async with desk(rows=ROWS) as it, it.client() as ada:
        made = await it.collection()
        id_ = await begun(ada)
        for moment in range(MOMENTS):
            async with program(it.site) as worker:
                wanted = (moment + 1) * ROWS // (MOMENTS + 4)

                async def has_come_far(wanted: int = wanted) -> bool:
                    return await stored_so_far(it, made) >= wanted or not await says(ada, id_, "index_documents w")

                await until(has_come_far, 60)
                worker.send_signal(signal.SIGKILL)
                await worker.wait()
            if moment == MOMENTS // 2:
                await it.rows("DELETE FROM notes WHERE id % 3 = 0")
                await it.rows("UPDATE notes SET body = 'anew ' || id WHERE id % 3 = 1")
            await expired(it, id_)
        async with program(it.site):
            await until(lambda: says(ada, id_, "index_documents completed"), 60)
        rows, chunks = await it.stored(made), await stored_so_far(it, made)
        expected = await it.expected()
    assert rows == expected
    assert chunks == len(expected)


@pytest.mark.asyncio
async def test_a_worker_that_is_asked_to_stop_gives_its_job_back_at_once(desk: OpenDesk):
    async with desk(rows=ROWS) as it, it.client() as ada:
        made = await it.collection()
        id_ = await begun(ada)
        async with program(it.site) as worker:
            await until(lambda: says(ada, id_, "index_documents is working"), 60)
            worker.terminate()
            async with asyncio.timeout(30):
                assert await worker.wait() == 0
        assert await says(ada, id_, "index_documents waits for a worker", "index_documents completed")
        async with program(it.site):
            await until(lambda: says(ada, id_, "index_documents completed"), 60)
        assert await it.stored(made) == await it.expected()


@pytest.mark.asyncio
async def test_a_store_that_is_cut_off_midway_costs_a_try(desk: OpenDesk):
    async with desk(rows=ROWS) as it, it.client() as ada:
        made = await it.collection()
        id_ = await begun(ada)
        async with working(it):

            async def is_midway() -> bool:
                return await stored_so_far(it, made) > 0

            await until(is_midway)
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'ostiary vectors%'"
            connection = await asyncpg.connect(it.site.server.dsn())
            cut_off = await connection.fetch(cut)
            await connection.close()
            await until(lambda: says(ada, id_, "index_documents completed"), 60)
        assert cut_off
        assert await it.stored(made) == await it.expected()


@pytest.mark.asyncio
async def test_an_embedder_that_does_not_answer_midway_is_asked_again_later(desk: OpenDesk):
    slow = asyncio.Event()

    def reply(request: Request) -> bytes:
        if request.number == 3 and not slow.is_set():
            slow.set()
            return answer("503 Service Unavailable", Retry_After="600")
        return vectors(*([1.0, float(len(text))] for text in request.texts))

    async with embedding(reply) as server:
        more = f'[embedders.far]\nkind = "openai"\nurl = "{server.url}"\nmodel = "m"\ndimensions = 2\ntimeout_s = 2.0\n'
        async with desk(rows=1500, more=more) as it, it.client() as ada:
            embedder = it.house.gate._shelves._furniture.embedders["far"]
            made = await it.collection(embedding=Embedding("far", embedder.model, 2, embedder.normalised))
            id_ = await begun(ada)
            async with working(it):
                await until(lambda: says(ada, id_, "index_documents waits for a worker: it is tried again"), 60)
                await until(lambda: says(ada, id_, "index_documents completed"), 60)
            assert await it.stored(made) == await it.expected()
            job = await it.site.fetch("SELECT attempts, takeovers FROM jobs.job WHERE id = $1", UUID(id_), role="ostiary_writer")
    assert tuple(job[0]) == (1, 0)


@pytest.mark.asyncio
async def test_a_cancelled_refresh_leaves_whole_documents_and_the_next_ends_exactly(desk: OpenDesk):
    async with desk(rows=ROWS) as it, it.client() as ada, working(it):
        made = await it.collection()
        id_ = await begun(ada)

        async def is_midway() -> bool:
            return await stored_so_far(it, made) > 0

        await until(is_midway)
        await asked(ada, "job", id=id_, action="cancel")
        await until(lambda: says(ada, id_, "index_documents was cancelled", "index_documents completed"))
        expected = await it.expected()
        assert (await it.stored(made)).items() <= expected.items()
        again = await begun(ada)
        await until(lambda: says(ada, again, "index_documents completed"))
        assert await it.stored(made) == expected


@pytest.mark.asyncio
async def test_a_worker_that_a_server_has_started_outlives_it_and_ends_when_it_has_nothing_to_do(desk: OpenDesk):
    more = "[jobs]\nidle_s = 2.0\n"
    async with desk(rows=ROWS, more=more) as it, it.client() as ada:
        made = await it.collection()
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "ostiary", "serve", "--config", str(it.site.folder / "ostiary.toml")],
            env={"PATH": os.environ["PATH"], "HOME": str(it.site.folder)},
        )
        async with Client(stdio_client(server)) as client:
            id_ = await begun(client)
            workers = "SELECT count(*) FROM jobs.worker"

            async def counted(count: int) -> bool:
                return int((await it.site.fetch(workers, role="ostiary_writer"))[0][0]) == count

            await until(lambda: counted(1), 60)
        await until(lambda: says(ada, id_, "index_documents completed"), 60)
        assert await it.stored(made) == await it.expected()
        await until(lambda: counted(0), 60)
        log = it.site.folder / "state" / "worker.log"
        assert log.stat().st_mode & 0o077 == 0
