"""The audit database down, dying and full while agents call."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fix_disk import small_file_system
from fix_faults import Installation, answered, crash, executed, external, kept_asking
from fix_postgres import PostgresServer
from fix_waiting import until
from mcp import MCPError

from ostiary.exits import Exit
from ostiary_tools.control.migrate import migrate

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


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with small_file_system("128m") as directory:
        yield directory


@pytest.mark.asyncio
async def test_with_a_full_disk_under_the_audit_table_calls_are_refused_until_there_is_room(
    small_disk: Path, own_server: Callable[..., PostgresServer], shop_server: PostgresServer, tmp_path: Path
) -> None:
    control = await asyncio.to_thread(own_server, small_disk)
    await migrate(control.dsn())
    installation = external(tmp_path, shop_server, control)
    got: set[str] = set()
    async with installation.serving() as serving:
        ballast = small_disk / "ballast"
        await asyncio.to_thread(fill, ballast)
        refused = 0
        for number in range(2000):
            mark = f"mark_{number}"
            answer = await serving.query(SQL.format(mark=mark))
            if answer.failed:
                assert answer.code == "not_recorded", answer.text
                refused += 1
            else:
                got.add(mark)
            if refused == 20:
                break
        assert refused == 20

        ballast.unlink()
        if control.run("pg_ctl", "-D", str(control.data), "status", check=False).returncode != 0:
            await asyncio.to_thread(control.start)  # it could not even write what it needs to recover
        await answered(lambda: serving.query(SQL.format(mark="mark_after")))
    intents = {record.mark for record in await installation.records() if record.kind == "i"}
    assert got | {"mark_after"} <= executed(shop_server) <= intents
    await installation.assert_verified()


def fill(ballast: Path) -> None:
    """Take all room there is."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass


@pytest.mark.asyncio
async def test_policies_that_cannot_be_recorded_do_not_come_into_force(
    installation: Installation, control_server: PostgresServer
) -> None:
    own = installation.folder / "watched" / "own.cedar"
    own.parent.mkdir()
    own.write_text('@id("hides") forbid (principal, action, resource == Table::"shop.public.nothing");')
    installation.file.write_text(installation.file.read_text() + '\n[policy]\ndirectory = "watched"\n')
    async with installation.serving() as serving:
        assert not (await serving.query(SQL.format(mark="mark_open"))).failed
        await crash(control_server)
        assert (await serving.query(SQL.format(mark="mark_dead"))).code == "not_recorded"
        own.write_text('@id("closed") forbid (principal, action == Action::"call", resource == Tool::"query");')
        await asyncio.to_thread(control_server.start)
        await answered(lambda: serving.call("whoami"))

        async def closed() -> bool:
            try:
                await serving.query(SQL.format(mark="mark_after"))
            except MCPError as error:
                return "Unknown tool" in str(error)
            return False

        await until(closed)
    records = [record.body for record in await installation.records()]
    changed = next(number for number, body in enumerate(records) if body.get("event") == "policy_changed")
    before, after = ([body["policy"] for body in part if body.get("decision")] for part in (records[:changed], records[changed:]))
    assert set(before) == {records[changed]["before"]}
    # One call at a time is made here: of one that was decided right before the change the record may come right after it.
    assert {*after[1:], after[-1]} == {records[changed]["policy"]}
    await installation.assert_verified()
