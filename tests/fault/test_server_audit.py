"""The audit database down, dying and full while agents call."""

import asyncio

import pytest
from fix_faults import Installation, answered, crash, executed, kept_asking, until
from fix_postgres import PostgresServer

from ostiary.exits import Exit

pytestmark = pytest.mark.fault

SQL = "select count(*) as {mark} from fruit"


def test_a_control_database_that_is_down_stops_the_start_in_words(
    installation: Installation, control_server: PostgresServer
) -> None:
    control_server.stop()

    ended = installation.run("serve")

    assert ended.returncode == Exit.UNAVAILABLE, ended.stderr
    assert "error: " in ended.stderr
    assert "control database" in ended.stderr
    installation.private(ended.stderr)
    assert ended.stdout == ""


@pytest.mark.asyncio
async def test_while_the_audit_database_is_dead_nothing_runs_and_service_resumes_by_itself(
    installation: Installation, shop_server: PostgresServer, control_server: PostgresServer
) -> None:
    async with installation.serving() as serving:
        assert not (await serving.query(SQL.format(mark="mark_before"))).failed
        await crash(control_server)

        for number in range(5):
            refused = await serving.query(SQL.format(mark=f"mark_dead_{number}"))
            assert refused.code == "not_recorded", refused.text
        assert (await serving.call("whoami")).code == "not_recorded"
        assert (await serving.query("delete from fruit")).code == "not_recorded"

        await asyncio.to_thread(control_server.start)
        await answered(lambda: serving.query(SQL.format(mark="mark_after")))
    assert executed(shop_server) == {"mark_before", "mark_after"}
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_the_audit_database_dies_under_64_agents_and_nothing_ran_without_its_intent(
    installation: Installation, shop_server: PostgresServer, control_server: PostgresServer
) -> None:
    got: set[str] = set()
    async with installation.serving() as one, installation.serving() as other:
        asking = [asyncio.create_task(kept_asking(s, f"{n}", SQL, got)) for n, s in enumerate([one, other] * 32)]
        await until(lambda: len(got) >= 300)
        await crash(control_server)
        before = len(got)
        await asyncio.to_thread(control_server.start)
        await until(lambda: len(got) >= before + 300)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    intents = {record.mark for record in await installation.records() if record.kind == "i"}
    assert executed(shop_server) <= intents
    assert got <= intents
    await installation.assert_verified()
