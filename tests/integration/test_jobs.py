"""A call that goes on after its answer: its owner alone is told how it stands, at any process, until it ends or is lost."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from fix_pages import Library, OpenLibrary, asked
from fix_server import HIDES, LONG
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.call import Call
from ostiary.jobs import Jobs
from ostiary.mcp_app import McpApp
from ostiary.shape import Reply
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Principal
from ostiary_tools.control.jobs import JobTable
from ostiary_tools.control.link import Link
from ostiary_tools.result import Job

UNKNOWN = "refused: unknown job, or one that ended long ago\nrule: job\nhint: call the tool again"
NOBODYS = "00000000-0000-0000-0000-000000000000"


@asynccontextmanager
async def agents(library: OpenLibrary) -> AsyncIterator[tuple[Library, House, Any]]:
    """Two servers of one control database, and what connects an agent to one of them."""
    async with library() as opened, open_house(opened.site.config, lambda _: None) as other:

        def agent(name: str = "ada", house: House = opened.house, role: str = "reader", region: str = "") -> Client:
            attributes = (attribute("region", AttributeType.TEXT, region),) if region else ()
            return Client(McpApp(house.gate, lambda _: Principal(name, (role,), attributes), jobs=house.jobs).server)

        yield opened, other, agent


async def began(client: Client, sql: str) -> str:
    found = re.search(r'job\(id="([0-9a-f-]+)"\)', reply := await asked(client, "export", sql=sql, name="n", job=True))
    assert found, reply
    return found[1]


async def _says(client: Client, id_: str, beginning: str) -> bool:
    return (await asked(client, "job", id=id_)).startswith(beginning)


@pytest.mark.asyncio
async def test_a_job_ends_with_the_reply_of_its_call_for_its_owner_at_any_process(library: OpenLibrary):
    async with agents(library) as (opened, other, agent), agent() as ada, agent(house=other) as elsewhere, agent("eve") as eve:
        done, failed = await began(ada, "select id from people"), await began(ada, "select 1 / (id - 5) from people")
        await until(lambda: _says(elsewhere, done, "export completed\n"))
        await until(lambda: _says(elsewhere, failed, "export failed\n"))
        told = await asked(elsewhere, "job", id=done)
        answers = [await asked(client, "job", id=id_) for client, id_ in ((eve, done), (eve, NOBODYS), (ada, NOBODYS))]
        cancelled = await asked(eve, "job", id=done, action="cancel")
        records = await opened.site.records()
    assert "900 rows" in told
    assert [*answers, cancelled] == [UNKNOWN] * 4
    exports = [r for r in records if r.get("tool") == "export" and "decision" in r]
    assert [r["decision"] for r in exports] == ["permit", "permit"]
    assert sum(r.get("tool") == "job" and "decision" in r for r in records) >= 7


@pytest.mark.asyncio
async def test_a_job_is_found_with_the_roles_and_attributes_it_was_begun_with_and_for_a_day(library: OpenLibrary):
    async with (
        agents(library) as (opened, _, agent),
        agent(region="eu") as ada,
        agent(region="eu", role="other") as promoted,
        agent(region="us") as moved,
        agent() as bare,
    ):
        id_ = await began(ada, LONG)
        elsewhere = [
            await asked(who, "job", id=id_, action=action) for who in (promoted, moved, bare) for action in ("status", "cancel")
        ]
        assert await asked(ada, "job", id=id_) == "export is working"
        insert = f"""
        INSERT INTO jobs.job (id, agent, roles, tool, state, reply, created_at, updated_at)
        VALUES ('{NOBODYS}', 'ada', '{{reader}}', 'export', 'completed', 'long ago', $1, $1)
        """
        await opened.site.fetch(insert, datetime.now(UTC) - timedelta(hours=25), role="ostiary_writer")
        old = await asked(bare, "job", id=NOBODYS)
        await opened.house.jobs.close()
    assert [*elsewhere, old] == [UNKNOWN] * 7


class Slow:
    """Stands for a call: it goes on until it may end, and its end takes until it is let go, as a record of it does."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.go = asyncio.Event()
        self.recorded = False

    async def call(self, _: Principal, call: Call) -> Reply:
        """As the gate's."""
        assert call.begin
        await call.begin()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            await self.go.wait()
            self.recorded = True
            raise
        self.recorded = True
        return Reply("done")


async def _turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


ADA = Principal("ada", ("reader",))


def table_of(opened: Library) -> JobTable:
    dsn = opened.site.config.control.dsn
    assert dsn
    return JobTable(Link(dsn.get_secret_value(), "jobs"))


@pytest.mark.asyncio
async def test_an_end_waits_for_the_record_of_a_job_that_was_cancelled_before(library: OpenLibrary):
    async with library() as opened:
        table, slow = table_of(opened), Slow()
        jobs = Jobs(table, slow.call)
        job = await jobs.start(ADA, Call("export", {}))
        assert isinstance(job, Job)
        await table.cancel(job.id, ADA)
        await slow.cancelled.wait()
        closing = asyncio.create_task(jobs.close())
        await _turns()
        assert not closing.done()
        slow.go.set()
        await closing
        found = await table.find(job.id, ADA)
        await table.link.close()
    assert slow.recorded
    assert found
    assert found.state == "cancelled"


@pytest.mark.asyncio
async def test_a_job_that_is_done_when_the_server_ends_is_told_as_done(library: OpenLibrary):
    async with library() as opened:
        table, slow = table_of(opened), Slow()
        jobs = Jobs(table, slow.call)
        job = await jobs.start(ADA, Call("export", {}))
        assert isinstance(job, Job)
        holder = await asyncpg.connect(opened.site.server.dsn(database=opened.site.control))
        async with holder.transaction():
            await holder.execute("SELECT FROM jobs.job FOR UPDATE")
            slow.go.set()
            await until(lambda: slow.recorded)
            closing = asyncio.create_task(jobs.close())
            await asyncio.wait({closing}, timeout=0.5)  # an end that waits for nothing would be over
        await closing
        await holder.close()
        found = await table.find(job.id, ADA)
        await table.link.close()
    assert found
    assert (found.state, found.reply) == ("completed", "done")


@pytest.mark.asyncio
async def test_a_job_is_cancelled_from_any_process_and_by_the_end_of_its_own(library: OpenLibrary):
    async with agents(library) as (opened, other, agent), agent() as ada, agent(house=other) as elsewhere:
        first = await began(ada, LONG)
        assert await asked(ada, "job", id=first) == "export is working"
        await asked(elsewhere, "job", id=first, action="cancel")
        await until(lambda: _says(ada, first, "export was cancelled"))
        second = await began(ada, LONG)
        await until(lambda: _runs(opened))
        await opened.house.jobs.close()
        assert await asked(elsewhere, "job", id=second) == "export was cancelled"
        outcomes = [r["status"] for r in await opened.site.records() if r["kind"] == "o" and r["status"] == "cancelled"]
        assert not await _runs(opened)
    assert len(outcomes) == 2


async def _runs(opened: Library) -> bool:
    async with opened.admin() as connection:
        asks = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sqrt%' AND pid <> pg_backend_pid()"
        return bool(await connection.fetchval(asks))


@pytest.mark.asyncio
async def test_a_job_whose_process_died_is_lost_and_no_more_than_some_run_at_once(library: OpenLibrary):
    async with agents(library) as (opened, _, agent), agent() as ada:
        insert = "INSERT INTO jobs.job (id, agent, roles, tool, updated_at) VALUES ($1, 'ada', '{reader}', 'export', $2)"
        await opened.site.fetch(insert, NOBODYS, datetime.now(UTC) - timedelta(seconds=31), role="ostiary_writer")
        assert (await asked(ada, "job", id=NOBODYS)).startswith("export is lost")
        for _ in range(4):
            await began(ada, LONG)
        assert (await asked(ada, "export", sql=LONG, name="n", job=True)).startswith("refused: too many jobs")
        async with asyncio.timeout(20):
            await opened.house.jobs.close()


TERMS = """
@id("others") permit (principal in Role::"other", action, resource);
@id("thrifty") @max_cost("2000") permit (principal in Role::"thrifty", action == Action::"call", resource);
@id("thrifty-reads") permit (principal in Role::"thrifty", action in [Action::"see", Action::"read"], resource);
@id("no-events") forbid (principal in Role::"thrifty", action == Action::"read", resource)
when { resource in Table::"shop.public.events" };
"""


@pytest.mark.asyncio
async def test_what_policy_refuses_is_refused_at_once_and_is_no_job(library: OpenLibrary):
    async with library(policy=TERMS + HIDES) as opened:
        who = Principal("ada", ("thrifty",))
        async with Client(McpApp(opened.house.gate, lambda _: who, jobs=opened.house.jobs).server) as ada:
            attempts = ("select id from events", "select secret from people", "select nope(", LONG)
            said = [await asked(ada, "export", sql=sql, name="n", job=True) for sql in attempts]
            assert "it goes on as a job" in await asked(ada, "export", sql="select id from people", name="n", job=True)
        jobs = await opened.site.fetch("SELECT tool FROM jobs.job", role="ostiary_writer")
        ends = [r.get("error") for r in await opened.site.records() if r["kind"] == "o"]
    assert [reply.partition(":")[0] for reply in said] == ["denied", "refused", "refused", "max_cost"]
    assert len(jobs) == 1
    assert "max_cost" in ends


@pytest.mark.asyncio
async def test_a_job_takes_a_place_among_the_calls_at_once(library: OpenLibrary):
    async with library(limits={"calls_per_agent": 2}) as opened:
        server = McpApp(opened.house.gate, lambda _: Principal("ada", ("reader",)), jobs=opened.house.jobs).server
        async with Client(server) as ada:
            first, _ = [await began(ada, LONG) for _ in range(2)]
            assert (await asked(ada, "export", sql=LONG, name="n", job=True)).startswith("busy: 2 calls of yours run already")
            assert (await asked(ada, sql="select 1")).startswith("busy: 2 calls of yours run already")
            assert (await asked(ada, "job", id=first, action="cancel")).startswith("busy")
            await opened.house.jobs.close()
            assert "1 row" in await asked(ada, sql="select 1")
        jobs = await opened.site.fetch("SELECT state FROM jobs.job", role="ostiary_writer")
    assert [job["state"] for job in jobs] == ["cancelled"] * 2
