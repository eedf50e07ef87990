"""A durable call: written down when all but its run is done, and run by a worker, as its owner, under the policy of then."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import mcp.types as t
import pytest
from fix_gate import gate_with
from fix_pages import Library, OpenLibrary, asked
from fix_waiting import until
from mcp import Client
from pydantic import Field

from ostiary.app import House, open_house
from ostiary.gate import Gate
from ostiary.mcp_app import McpApp
from ostiary.worker import Worker
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Intent, Permit, Principal
from ostiary_tools.api import Args, Hints, Session, Surface, Text, Unavailable, World
from ostiary_tools.control.queue import MOST_TAKEOVERS

POLICY = """
@id("digs") permit (principal in Role::"reader", action == Action::"call", resource)
when { resource in [Tool::"dig", Tool::"job"] };
"""
NO_DIGGING = """
@id("looks") permit (principal in Role::"reader", action == Action::"call", resource)
when { resource in [Tool::"whoami", Tool::"job"] };
"""
ASKS = (
    POLICY
    + """
@id("asks") @approval("human") permit (principal in Role::"reader", action == Action::"call", resource == Tool::"dig");
"""
)
ALSO = '@id("also") permit (principal in Role::"other", action == Action::"call", resource == Tool::"whoami");'
ADA = Principal("ada", ("reader",))
UNKNOWN = "refused: unknown job, or one that ended long ago\nrule: job\nhint: call the tool again"


class DigArgs(Args):
    where: Annotated[str, Field(description="A place.")] = "garden"
    deep: bool = False


@dataclass
class Dig:
    """A tool that takes its time: each run says that it has begun, and waits to be let go."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    runs: int = 0
    at_once: int = 0
    most: int = 0
    failures: Iterator[Exception] = field(default_factory=lambda: iter(()))

    name, title, description, surface, hints, args = "dig", "Dig", "Digs.", Surface.TOOL, Hints(read_only=False), DigArgs

    def plan(self, args: DigArgs, _world: World) -> Intent:
        """Long work."""
        return Intent(self.name, args.model_dump(), durable=f"dig {args.where}")

    async def run(self, permit: Permit, session: Session) -> Text:
        """Until it may end, or fails as it is told to."""
        self.runs += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await session.progress(1, None, "one spade")
            if (failure := next(self.failures, None)) is not None:
                raise failure
            self.begun.set()
            await self.go.wait()
        finally:
            self.at_once -= 1
        who = permit.principal
        return Text(
            f"dug for {who.agent} {who.roles} {[one.value for one in who.attributes]} in {permit.intent.arguments['where']}"
        )


@dataclass
class Yard:
    """A server with that tool, and workers on its queue."""

    opened: Library
    house: House
    gate: Gate
    dig: Dig

    def agent(self, name: str = "ada", region: str = "eu") -> Client:
        """One that may dig."""
        who = Principal(name, ("reader",), (attribute("region", AttributeType.TEXT, region),))
        return Client(McpApp(self.gate, lambda _: who).server)

    async def row(self, id_: str) -> dict[str, Any]:
        """As it stands."""
        rows = await self.opened.site.fetch("SELECT * FROM jobs.job WHERE id = $1", UUID(id_), role="ostiary_writer")
        return dict(rows[0])

    async def change(self, assignment: str, id_: str) -> None:
        """As somebody may who writes to the control database."""
        await self.opened.site.fetch(f"UPDATE jobs.job SET {assignment} WHERE id = $1", UUID(id_), role="ostiary_writer")

    @asynccontextmanager
    async def worker(self, gate: Gate | None = None, at_once: int = 4) -> AsyncIterator[Worker]:
        """One that works while the block lasts."""
        stop, worker = asyncio.Event(), Worker(self.house.queue, (gate or self.gate).call, at_once)
        working = asyncio.create_task(worker.work(stop))
        try:
            yield worker
        finally:
            stop.set()
            await working


@pytest.fixture
def yard(library: OpenLibrary) -> Any:
    @asynccontextmanager
    async def open_yard(**wishes: Any) -> AsyncIterator[Yard]:
        async with library(**{"policy": POLICY} | wishes) as opened:
            dig = Dig()
            yield Yard(opened, opened.house, gate_with(opened.house, dig), dig)

    return open_yard


async def dug(client: Client, where: str = "garden") -> str:
    reply = await asked(client, "dig", where=where)
    assert reply.startswith("dig waits for a worker; job(id="), reply
    return reply.split('"')[1]


async def says(client: Client, id_: str, beginning: str) -> bool:
    return (await asked(client, "job", id=id_)).startswith(beginning)


@pytest.mark.asyncio
async def test_a_durable_call_is_run_by_a_worker_as_its_owner_and_recorded_twice(yard: Any):
    async with yard() as it, it.agent() as ada, it.agent("eve") as eve, it.agent(region="us") as moved:
        id_ = await dug(ada, "secret place")
        waiting = await asked(ada, "job", id=id_)
        row = await it.row(id_)
        assert it.dig.runs == 0
        it.dig.go.set()
        async with it.worker():
            await until(lambda: says(ada, id_, "dig completed"))
        answers = [await asked(who, "job", id=id_, action=do) for who in (eve, moved) for do in ("status", "cancel")]
        told = await asked(ada, "job", id=id_)
        after = await it.row(id_)
        records = [one for one in await it.opened.site.records() if one.get("tool") == "dig" and "decision" in one]
    assert waiting == f'dig waits for a worker; job(id="{id_}") says how it stands'
    assert told == "dig completed\ndug for ada ('reader',) ['eu'] in secret place"
    assert answers == [UNKNOWN] * 4
    assert b"secret place" not in row["body"]
    assert b"eu" not in row["body"][12:] or b'"eu"' not in row["body"]
    assert after["body"] is None
    assert [(one["decision"], one["origin"], one["transport"]) for one in records] == [
        ("permit", "tool", "stdio"),
        ("permit", f"job {id_}", "worker"),
    ]
    assert records[0]["call"] == id_


@pytest.mark.asyncio
async def test_a_job_that_waits_is_cancelled_at_once_and_one_that_runs_ends_as_cancelled(yard: Any):
    async with yard() as it, it.agent() as ada:
        waits = await dug(ada)
        await asked(ada, "job", id=waits, action="cancel")
        assert await asked(ada, "job", id=waits) == "dig was cancelled"
        runs = await dug(ada)
        async with it.worker():
            await it.dig.begun.wait()
            await until(lambda: says(ada, runs, "dig is working: one spade"))
            await asked(ada, "job", id=runs, action="cancel")
            await until(lambda: says(ada, runs, "dig was cancelled"))
        assert it.dig.runs == 1


@pytest.mark.asyncio
async def test_a_worker_that_leaves_gives_its_jobs_back_and_another_ends_them(yard: Any):
    async with yard() as it, it.agent() as ada:
        id_ = await dug(ada)
        async with it.worker():
            await it.dig.begun.wait()
        assert (await asked(ada, "job", id=id_)).startswith("dig waits for a worker: its worker has ended")
        it.dig.go.set()
        async with it.worker():
            await until(lambda: says(ada, id_, "dig completed"))
        row = await it.row(id_)
    assert (row["takeovers"], it.dig.runs) == (0, 2)


@pytest.mark.asyncio
async def test_a_job_whose_worker_is_heard_of_no_more_is_taken_over_and_given_up_at_last(yard: Any):
    async with yard() as it, it.agent() as ada:
        taken, given_up = await dug(ada, "here"), await dug(ada, "there")
        lost = "state = 'working', worker = gen_random_uuid(), leased_until = now() - interval '1 s'"
        await it.change(lost, taken)
        await it.change(f"{lost}, takeovers = {MOST_TAKEOVERS}", given_up)
        assert (await asked(ada, "job", id=taken)).startswith("dig waits for a worker")
        it.dig.go.set()
        async with it.worker():
            await until(lambda: says(ada, taken, "dig completed"))
            await until(lambda: says(ada, given_up, "dig failed\nlost: 6 workers"))
        row = await it.row(taken)
    assert (row["takeovers"], it.dig.runs) == (1, 1)


@pytest.mark.asyncio
async def test_a_worker_whose_lease_was_taken_stops_and_writes_nothing(yard: Any):
    async with yard() as it, it.agent() as ada:
        id_ = await dug(ada)
        async with it.worker():
            await it.dig.begun.wait()
            await it.change("worker = gen_random_uuid(), leased_until = now() + interval '1 hour'", id_)
            await until(lambda: it.dig.at_once == 0)
        row = await it.row(id_)
    assert (row["state"], row["reply"]) == ("working", "")
    assert row["body"] is not None


FORGERIES = (
    "agent = 'root'",
    "roles = '{admin}'",
    "tool = 'export'",
    "attributes = ''",
    "body = (SELECT body FROM jobs.job WHERE tool = 'dig' AND id <> $1 LIMIT 1)",
    "body = set_byte(body, 20, (get_byte(body, 20) + 1) % 256)",
    "body = '\\x00'",
)


@pytest.mark.asyncio
async def test_what_was_written_by_anybody_else_is_not_run(yard: Any):
    async with yard() as it, it.agent() as ada:
        ids = [await dug(ada, f"place {number}") for number in range(len(FORGERIES))]
        for id_, forgery in zip(ids, FORGERIES, strict=True):
            await it.change(forgery, id_)
        async with it.worker():
            for id_ in ids:
                await until(partial(_state, it, id_, "failed"))
        replies = {(await it.row(id_))["reply"] for id_ in ids}
    assert it.dig.runs == 0
    assert replies == {"internal: what was asked for cannot be read any more"}


async def _state(it: Yard, id_: str, state: str) -> bool:
    return bool((await it.row(id_))["state"] == state)


@pytest.mark.asyncio
async def test_todays_policy_decides_when_it_runs(yard: Any):
    async with yard() as it, it.agent() as ada:
        id_ = await dug(ada)
        (it.opened.site.folder / "policies" / "own.cedar").write_text(NO_DIGGING)
        async with open_house(it.opened.site.config, lambda _: None) as later, it.worker(gate_with(later, it.dig)):
            await until(lambda: says(ada, id_, "dig failed\nUnknown tool: dig"))
    assert it.dig.runs == 0


@pytest.mark.asyncio
async def test_one_job_at_a_time_works_on_one_thing_and_one_waits_behind_it(yard: Any):
    async with yard() as it, it.agent() as ada, it.agent("eve") as eve, it.worker(), it.worker():
        first = await dug(ada)
        await it.dig.begun.wait()
        second = await dug(ada)
        again = await dug(ada)
        others = await asked(eve, "dig")
        differs = await asked(ada, "dig", deep=True)
        other = await dug(eve, "elsewhere")
        await until(lambda: it.dig.runs == 2)  # the one elsewhere, and not the second here
        it.dig.go.set()
        for id_ in (first, second):
            await until(partial(says, ada, id_, "dig completed"))
        await until(lambda: says(eve, other, "dig completed"))
    assert first != second == again
    assert others.startswith("refused: other work on the same waits for a worker")
    assert differs.startswith("refused: other work on the same waits for a worker")
    assert (it.dig.runs, it.dig.most) == (3, 2)


@pytest.mark.asyncio
async def test_what_may_pass_is_tried_again_and_what_may_not_is_told(yard: Any):
    async with yard() as it, it.agent() as ada:
        it.dig.go.set()
        it.dig.failures = iter([Unavailable("the ground is frozen", "wait")])
        async with it.worker():
            id_ = await dug(ada)
            await until(lambda: says(ada, id_, "dig waits for a worker: it is tried again: the ground is frozen"))
            await it.change("leased_until = now()", id_)
            await until(lambda: says(ada, id_, "dig completed"))
            row = await it.row(id_)
            it.dig.failures = iter([ValueError("secret")])
            broken = await dug(ada)
            await until(lambda: says(ada, broken, "dig failed\ninternal: the call failed inside the server"))
    assert (row["attempts"], it.dig.runs) == (1, 3)


@pytest.mark.asyncio
async def test_an_agent_has_a_bounded_number_of_jobs_that_wait(yard: Any):
    async with yard() as it, it.agent() as ada, it.agent("eve") as eve:
        for number in range(8):
            await dug(ada, f"place {number}")
        assert (await asked(ada, "dig", where="one more")).startswith("refused: too many jobs of yours wait or run")
        await dug(eve, "one more")


@pytest.mark.asyncio
async def test_a_worker_without_work_ends_when_it_has_been_idle(yard: Any):
    async with yard() as it:
        async with asyncio.timeout(20):
            await Worker(it.house.queue, it.gate.call, 1, idle_s=0.5).work(asyncio.Event())
        assert await it.house.queue.table.standing() == (False, False)


@pytest.mark.asyncio
async def test_a_humans_yes_to_the_call_is_good_for_its_job_and_for_nothing_else(yard: Any):
    asked_for: list[str] = []

    async def yes(context: Any, params: Any) -> t.ElicitResult:
        asked_for.append(params.message)
        return t.ElicitResult(action="accept", content={"approve": True})

    async with yard(policy=ASKS) as it:
        app = McpApp(it.gate, lambda _: ADA)
        async with Client(app.server, elicitation_callback=yes) as ada:
            it.dig.go.set()
            first = await dug(ada)
            async with it.worker():
                await until(lambda: says(ada, first, "dig completed"))
            second = await dug(ada)
            (it.opened.site.folder / "policies" / "own.cedar").write_text(ASKS + "// another text\n" + ALSO)
            async with open_house(it.opened.site.config, lambda _: None) as later, it.worker(gate_with(later, it.dig)):
                await until(lambda: says(ada, second, "dig failed\nnot_approved"))
        records = [one for one in await it.opened.site.records() if one.get("tool") == "dig" and one.get("decision") == "permit"]
    assert len(asked_for) == 2
    assert [bool(one.get("approval")) for one in records] == [True, True, True]
    assert it.dig.runs == 1
