"""A server killed, or its sessions, in each phase of a change: it was made once or not at all, that is found out and recorded."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from fix_company import CHANGE
from fix_faults import Answer, Installation, Record, Serving, crash, external
from fix_postgres import PostgresServer
from fix_waiting import until
from mcp import MCPError

pytestmark = pytest.mark.fault

SCHEMA = """
CREATE TABLE accounts (id integer PRIMARY KEY, balance integer NOT NULL);
INSERT INTO accounts VALUES (1, 100), (2, 100);
"""
POLICY = '@id("all") permit (principal in Role::"analyst", action, resource);'
RAISE = {"statements": [{"sql": "update accounts set balance = balance + 1"}]}
BEFORE, AFTER = "100 100", "101 101"
SETTLED_S = 60
"""A change in doubt is looked at again after so long at the latest."""


@pytest.fixture
def changed_server(own_server: Callable[..., PostgresServer]) -> PostgresServer:
    """A shop of its own."""
    server = own_server()
    server.sql(SCHEMA)
    return server


@pytest.fixture
def changeable(tmp_path: Path, changed_server: PostgresServer, control_server: PostgresServer) -> Installation:
    """An installation that may change its shop, and waits long for locks."""
    made = external(tmp_path, changed_server, control_server)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "own.cedar").write_text(POLICY)
    more = '\nwriter_dsn = "env:SHOP_DSN"\nwriter_powers = ["superuser"]\nlock_timeout_s = 50\n[policy]\ndirectory = "policies"\n'
    made.file.write_text(made.file.read_text() + more)
    return made


class Outsider:
    """A superuser at a server, who holds what others wait for."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def balances(self) -> str:
        """All of them."""
        return str(await self.connection.fetchval("SELECT string_agg(balance::text, ' ' ORDER BY id) FROM accounts"))

    async def waited_for(self) -> None:
        """Return when somebody waits for a lock."""
        await until(lambda: self.sees("wait_event_type = 'Lock'"))

    async def commits(self) -> None:
        """Return when a commit waits for a standby that does not exist."""
        await until(lambda: self.sees("wait_event = 'SyncRep'"))

    async def stalls(self) -> None:
        """From now on what is committed waits, durable and unanswered."""
        await self._replicated_to("nobody")

    async def flows(self) -> None:
        """No more."""
        await self._replicated_to("")

    async def ended(self, which: str) -> None:
        """End sessions."""
        await self.connection.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {which}"
        )

    async def sees(self, condition: str) -> bool:
        """Whether there is such a session."""
        await self.connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees the same again and again
        return bool(await self.connection.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"))

    async def _replicated_to(self, standby: str) -> None:
        await self.connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        await self.connection.execute("SELECT pg_reload_conf()")
        await until(lambda: self._is("SHOW synchronous_standby_names", standby))

    async def _is(self, question: str, answer: str) -> bool:
        return bool(await self.connection.fetchval(question) == answer)


@asynccontextmanager
async def outsider(dsn: str) -> AsyncIterator[Outsider]:
    """One, whose own commits do not wait."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET synchronous_commit = local")
    try:
        yield Outsider(connection)
    finally:
        await connection.close()


@asynccontextmanager
async def at(installation: Installation) -> AsyncIterator[tuple[Outsider, Outsider]]:
    """Outsiders at the shop and at the control database."""
    shop = installation.environ["SHOP_DSN"]
    assert installation.control is not None
    async with outsider(shop) as one, outsider(installation.control.dsn()) as other:
        yield one, other


async def proposed(serving: Serving) -> str:
    """The id of a proposal that raises all balances."""
    answer = await serving.call("propose_change", **RAISE)
    found = CHANGE.search(answer.text)
    assert found is not None, answer.text
    return found[1]


async def stalled(serving: Serving, tool: str, change: str, shop: Outsider, control: Outsider) -> "asyncio.Task[Answer]":
    """A call whose commit is on the disk and not answered; what it commits before, it commits undisturbed."""
    async with control.connection.transaction():
        await control.connection.execute("SELECT FROM changes.change FOR UPDATE")
        asking = asyncio.create_task(serving.call(tool, change=change))
        await control.waited_for()
        await shop.stalls()
    await shop.commits()
    return asking


async def killed(serving: Serving, asking: "asyncio.Task[Answer]") -> None:
    """Kill the server in the middle of a call."""
    os.kill(serving.pid, signal.SIGKILL)
    assert await serving.exit_code() == 128 + signal.SIGKILL
    with pytest.raises(MCPError):
        await asking


async def state(control: Outsider) -> str:
    """Of the one change there is."""
    return str(await control.connection.fetchval("SELECT state FROM changes.change"))


async def all_ended(installation: Installation) -> list[Record]:
    """The records, once every intent has an outcome."""
    records: list[Record] = []

    async def right() -> bool:
        nonlocal records
        records = await installation.records()
        ended = {record.call for record in records if record.kind == "o"}
        return all(record.call in ended for record in records if record.kind == "i")

    await until(right, seconds=SETTLED_S)
    return records


def settled(records: list[Record]) -> list[str]:
    """What was found out of changes that were in doubt."""
    return [record.body["state"] for record in records if record.body.get("event") == "change_settled"]


async def is_over(installation: Installation, shop: Outsider, expected: str) -> list[Record]:
    """The balances are these, nothing runs, every intent has its outcome, and the chain verifies."""
    assert await shop.balances() == expected
    records = await all_ended(installation)
    await until(lambda: any(installation.folder.rglob("anchors")))  # the first anchor comes a second after the first record
    await installation.assert_verified()
    return records


@pytest.mark.asyncio
async def test_killed_while_a_proposal_runs_leaves_nothing(changeable: Installation):
    async with at(changeable) as (shop, _):
        async with changeable.serving() as serving, shop.connection.transaction():
            await shop.connection.execute("SELECT FROM accounts FOR UPDATE")
            asking = asyncio.create_task(serving.call("propose_change", **RAISE))
            await shop.waited_for()
            await killed(serving, asking)
        async with changeable.serving() as again:
            change = await proposed(again)
            assert await shop.balances() == BEFORE
            assert not (await again.call("apply_change", change=change)).failed
            await is_over(changeable, shop, AFTER)


@pytest.mark.asyncio
async def test_killed_before_the_intent_is_recorded_runs_nothing(changeable: Installation):
    async with at(changeable) as (shop, control):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            async with control.connection.transaction():
                await control.connection.execute("LOCK TABLE audit.log IN SHARE MODE")
                asking = asyncio.create_task(serving.call("apply_change", change=change))
                await control.waited_for()
                await killed(serving, asking)
                assert await shop.balances() == BEFORE
        async with changeable.serving() as again:
            assert await shop.balances() == BEFORE
            assert not (await again.call("apply_change", change=change)).failed
            assert (await again.call("apply_change", change=change)).failed
            await is_over(changeable, shop, AFTER)


@pytest.mark.asyncio
async def test_killed_while_the_statements_run_changes_nothing_and_can_be_applied_again(changeable: Installation):
    async with at(changeable) as (shop, _):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            async with shop.connection.transaction():
                await shop.connection.execute("SELECT FROM accounts WHERE id = 2 FOR UPDATE")
                asking = asyncio.create_task(serving.call("apply_change", change=change))
                await shop.waited_for()
                await killed(serving, asking)
        async with changeable.serving() as again:
            assert await shop.balances() == BEFORE
            assert not (await again.call("apply_change", change=change)).failed
            assert (await again.call("apply_change", change=change)).failed
            await is_over(changeable, shop, AFTER)


@pytest.mark.asyncio
async def test_killed_between_the_name_and_the_commit_is_found_not_to_have_happened(changeable: Installation):
    async with at(changeable) as (shop, control):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            async with control.connection.transaction():
                await control.connection.execute("SELECT FROM changes.change FOR UPDATE")
                asking = asyncio.create_task(serving.call("apply_change", change=change))
                await control.waited_for()
                await killed(serving, asking)
        # The database writes down what it was sent, though nobody is there any more who would commit.
        await until(lambda: _in(control, "applying"))
        async with changeable.serving() as again:
            await until(lambda: _in(control, "failed"), SETTLED_S)
            assert (await again.call("apply_change", change=change)).failed
            assert (await again.call("revert_change", change=change)).failed
            records = await is_over(changeable, shop, BEFORE)
            assert settled(records) == ["failed"]


@pytest.mark.asyncio
async def test_killed_while_it_commits_is_found_to_have_happened_and_can_be_undone(changeable: Installation):
    async with at(changeable) as (shop, control):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            asking = await stalled(serving, "apply_change", change, shop, control)
            await killed(serving, asking)
        async with changeable.serving() as again:
            # It is not seen yet, and not for that reason gone.
            assert await shop.balances() == BEFORE
            assert (await again.call("apply_change", change=change)).failed
            assert await state(control) == "applying"
            await shop.flows()
            await until(lambda: _in(control, "applied"), SETTLED_S)
            assert await shop.balances() == AFTER
            assert (await again.call("apply_change", change=change)).failed
            undone = await again.call("revert_change", change=change)
            assert not undone.failed, undone.text
            records = await is_over(changeable, shop, BEFORE)
            assert settled(records) == ["applied"]


@pytest.mark.asyncio
async def test_killed_right_after_the_commit_is_found_to_have_happened(changeable: Installation):
    async with at(changeable) as (shop, control):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            asking = await stalled(serving, "apply_change", change, shop, control)
            async with control.connection.transaction():
                await control.connection.execute("SELECT FROM changes.change FOR UPDATE")
                await shop.flows()
                await control.waited_for()
                assert await shop.balances() == AFTER
                await killed(serving, asking)
                # What it had sent to be written down goes with its session.
                await control.ended("wait_event_type = 'Lock'")
        assert await state(control) == "applying"
        async with changeable.serving() as again:
            await until(lambda: _in(control, "applied"), SETTLED_S)
            assert (await again.call("apply_change", change=change)).failed
            assert settled(await is_over(changeable, shop, AFTER)) == ["applied"]
            assert not (await again.call("revert_change", change=change)).failed
            await is_over(changeable, shop, BEFORE)


@pytest.mark.asyncio
async def test_killed_while_it_settles_is_settled_by_the_next(changeable: Installation):
    async with at(changeable) as (shop, control):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            asking = await stalled(serving, "apply_change", change, shop, control)
            await killed(serving, asking)
        await shop.flows()
        async with changeable.serving() as second, control.connection.transaction():
            await control.connection.execute("SELECT FROM changes.change FOR UPDATE")
            await until(lambda: _waits(control), SETTLED_S)
            os.kill(second.pid, signal.SIGKILL)
            assert await second.exit_code() == 128 + signal.SIGKILL
            await control.ended("wait_event_type = 'Lock'")
        assert await state(control) == "applying"
        async with changeable.serving() as third:
            await until(lambda: _in(control, "applied"), SETTLED_S)
            assert not (await third.call("revert_change", change=change)).failed
            records = await is_over(changeable, shop, BEFORE)
            assert set(settled(records)) == {"applied"}


@pytest.mark.asyncio
async def test_killed_while_an_undo_runs_leaves_the_change_applied_and_it_can_be_undone(changeable: Installation):
    async with at(changeable) as (shop, _):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            assert not (await serving.call("apply_change", change=change)).failed
            async with shop.connection.transaction():
                await shop.connection.execute("SELECT FROM accounts WHERE id = 2 FOR UPDATE")
                asking = asyncio.create_task(serving.call("revert_change", change=change))
                await shop.waited_for()
                await killed(serving, asking)
        async with changeable.serving() as again:
            assert await shop.balances() == AFTER
            assert not (await again.call("revert_change", change=change)).failed
            assert (await again.call("revert_change", change=change)).failed
            await is_over(changeable, shop, BEFORE)


@pytest.mark.asyncio
async def test_killed_while_an_undo_commits_is_found_to_be_undone(changeable: Installation):
    async with at(changeable) as (shop, control):
        async with changeable.serving() as serving:
            change = await proposed(serving)
            assert not (await serving.call("apply_change", change=change)).failed
            asking = await stalled(serving, "revert_change", change, shop, control)
            await killed(serving, asking)
        await shop.flows()
        async with changeable.serving() as again:
            await until(lambda: _in(control, "reverted"), SETTLED_S)
            assert (await again.call("revert_change", change=change)).failed
            assert (await again.call("apply_change", change=change)).failed
            records = await is_over(changeable, shop, BEFORE)
            assert settled(records) == ["reverted"]


@pytest.mark.asyncio
async def test_a_session_that_ends_while_it_commits_is_asked_for_and_told_as_it_is(changeable: Installation):
    async with at(changeable) as (shop, control), changeable.serving() as serving:
        change = await proposed(serving)
        asking = await stalled(serving, "apply_change", change, shop, control)
        await shop.ended("wait_event = 'SyncRep'")
        answer = await asking
        await shop.flows()
        assert not answer.failed, answer.text
        assert await state(control) == "applied"
        assert not (await serving.call("revert_change", change=change)).failed
        await is_over(changeable, shop, BEFORE)


@pytest.mark.asyncio
async def test_a_session_that_ends_while_it_changes_something_is_told_and_leaves_nothing(changeable: Installation):
    async with at(changeable) as (shop, _), changeable.serving() as serving:
        change = await proposed(serving)
        async with shop.connection.transaction():
            await shop.connection.execute("SELECT FROM accounts WHERE id = 2 FOR UPDATE")
            asking = asyncio.create_task(serving.call("apply_change", change=change))
            await shop.waited_for()
            await shop.ended("wait_event_type = 'Lock'")
            answer = await asking
        assert answer.failed, answer.text
        assert await shop.balances() == BEFORE
        again = await serving.call("apply_change", change=change)
        assert not again.failed, again.text
        await is_over(changeable, shop, AFTER)


@pytest.mark.asyncio
async def test_the_control_database_that_ends_sessions_before_the_commit_does_not_make_it_two(changeable: Installation):
    async with at(changeable) as (shop, control), changeable.serving() as serving:
        change = await proposed(serving)
        async with control.connection.transaction():
            await control.connection.execute("SELECT FROM changes.change FOR UPDATE")
            asking = asyncio.create_task(serving.call("apply_change", change=change))
            await control.waited_for()
            await control.ended("wait_event_type = 'Lock'")
        answer = await asking
        assert await shop.balances() == (BEFORE if answer.failed else AFTER)
        with suppress(TimeoutError):
            await until(lambda: _in(control, "applied"), 5)
        assert (await serving.call("apply_change", change=change)).failed != answer.failed
        await is_over(changeable, shop, AFTER)


@pytest.mark.asyncio
async def test_a_database_that_crashes_while_it_commits_is_asked_when_it_is_back(
    changeable: Installation, changed_server: PostgresServer
):
    async with changeable.serving() as serving:
        async with at(changeable) as (shop, control):
            change = await proposed(serving)
            asking = await stalled(serving, "apply_change", change, shop, control)
            await crash(changed_server)
        await asyncio.to_thread(changed_server.start)
        async with at(changeable) as (shop, control):
            await shop.flows()
            answer = await asking
            await until(lambda: _in(control, "applied"), SETTLED_S)
            assert not answer.failed or answer.code == "outcome_unknown"
            assert not (await serving.call("revert_change", change=change)).failed
            await is_over(changeable, shop, BEFORE)


async def _in(control: Outsider, expected: str) -> bool:
    return await state(control) == expected


async def _waits(control: Outsider) -> bool:
    return await control.sees("wait_event_type = 'Lock'")
