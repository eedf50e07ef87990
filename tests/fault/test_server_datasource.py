"""The datasource down, coming up, and dying in the middle of a call."""

import asyncio

import asyncpg
import pytest
from fix_faults import Installation, answered, crash, executed
from fix_postgres import PostgresServer
from fix_waiting import until

pytestmark = pytest.mark.fault

SQL = "select sum(price) as {mark} from fruit"
SLOW_SQL = "select count(*) as mark_slow from generate_series(1, 100000) as a, generate_series(1, 100000) as b"


@pytest.mark.asyncio
async def test_a_datasource_down_at_start_is_said_in_words_and_answers_by_itself_once_it_is_up(
    installation: Installation, shop_server: PostgresServer
) -> None:
    shop_server.stop()
    async with installation.serving() as serving:
        tools = await serving.client.list_tools()
        assert "query" in {tool.name for tool in tools.tools}
        refused = await serving.query(SQL.format(mark="mark_down"))
        assert refused.code == "unavailable"
        assert "`shop`" in refused.text
        assert "try again later" in refused.text
        assert not (await serving.call("whoami")).failed

        await asyncio.to_thread(shop_server.start)
        answer = await answered(lambda: serving.query(SQL.format(mark="mark_up")))
        assert "\n5\n" in answer.text
        installation.private(serving.log)
    denials = [record.body["reason"] for record in await installation.records() if record.kind == "d"]
    assert denials
    assert all("cannot be reached" in installation.private(reason) for reason in denials)
    assert "mark_down" not in executed(shop_server)


@pytest.mark.asyncio
async def test_a_datasource_that_dies_in_the_middle_of_a_call_fails_it_clearly_and_answers_again_after_its_restart(
    installation: Installation, shop_server: PostgresServer
) -> None:
    async with installation.serving() as serving:
        asking = asyncio.create_task(serving.query(SLOW_SQL))
        await until(lambda: "mark_slow" in executed(shop_server))
        await crash(shop_server)
        failed = await asking
        assert failed.code == "unavailable", failed.text
        assert "hint: " in failed.text
        assert (await serving.query(SQL.format(mark="mark_dead"))).code == "unavailable"

        await asyncio.to_thread(shop_server.start)
        answer = await answered(lambda: serving.query(SQL.format(mark="mark_again")))
        assert "\n5\n" in answer.text
        installation.private(serving.log)
    records = await installation.records()
    call = next(record.call for record in records if record.mark == "mark_slow")
    ended = [(record.body["status"], record.body["error"]) for record in records if record.kind == "o" and record.call == call]
    assert ended == [("error", "unavailable")]
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_calls_go_on_after_every_session_of_the_datasource_was_ended(
    installation: Installation, shop_server: PostgresServer
) -> None:
    """What an operator or a failover does: connections die while they are idle."""
    async with installation.serving() as serving:
        assert not (await serving.query(SQL.format(mark="mark_before"))).failed
        await asyncio.to_thread(
            shop_server.sql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ostiary'"
        )
        answer = await serving.query(SQL.format(mark="mark_after"))
        assert not answer.failed, answer.text


@pytest.mark.asyncio
async def test_a_datasource_restarted_between_judgement_and_run_fails_the_call_and_runs_nothing(
    installation: Installation, shop_server: PostgresServer, control_server: PostgresServer
) -> None:
    """The call stands judged and analysed while its intent waits for the audit log."""
    holder, watch = await asyncpg.connect(control_server.dsn()), await asyncpg.connect(shop_server.dsn())

    async def analysed() -> bool:
        return bool(await watch.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%mark_' || 'between%'"))

    async with installation.serving() as serving:
        assert not (await serving.query(SQL.format(mark="mark_before"))).failed
        held = holder.transaction()
        await held.start()
        await holder.execute("LOCK TABLE audit.log IN ACCESS EXCLUSIVE MODE")
        asking = asyncio.create_task(serving.query(SQL.format(mark="mark_between")))
        await until(analysed)
        watch.terminate()
        await asyncio.to_thread(shop_server.stop, "immediate")
        await asyncio.to_thread(shop_server.start)
        await held.rollback()
        failed = await asking
        assert failed.code in ("unavailable", "not_recorded"), failed.text
        answer = await answered(lambda: serving.query(SQL.format(mark="mark_again")))
        assert "\n5\n" in answer.text
    await holder.close()
    assert "mark_between" not in executed(shop_server)
