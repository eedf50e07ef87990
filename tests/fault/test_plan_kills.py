"""Plans of backups whose worker is killed, or whose database is gone."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from fix_custody import OpenStrongroom, Strongroom
from fix_queue import program
from fix_waiting import until

from ostiary_tools import cron
from ostiary_tools.backup.verification import verify
from ostiary_tools.control.schedules import Scheduled, ScheduleTable

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

EACH_MINUTE = '[jobs]\nworker = "own"\n[plans.shop]\nlogical = "* * * * *"\nkeep_days = 3\n'
_OVERDUE = "UPDATE jobs.schedule SET due = due - interval '1 day'"
_LET_GO = "UPDATE jobs.job SET leased_until = now() - interval '1 s' WHERE state = 'working'"
_UNSEEN = "UPDATE jobs.worker SET seen_at = now() - interval '1 hour'"


async def row(it: Strongroom) -> Scheduled | None:
    queue = it.house.queue.table
    return next(iter(await ScheduleTable(queue.link, queue.key).all()), None)


async def jobs(it: Strongroom) -> dict[str, str]:
    """The state of each."""
    rows = await it.site.fetch("SELECT id::text, state FROM jobs.job", role="ostiary_writer")
    return {one[0]: one[1] for one in rows}


def moments(it: Strongroom) -> list[Callable[[], Awaitable[bool]]]:
    """When a worker is killed: at once, when the job is there, when it is noted, when it works, when it writes."""
    staging = it.house.vault.folder / "staging"

    async def begun() -> bool:
        return await row(it) is not None

    async def asked() -> bool:
        return any(state in ("queued", "working") for state in (await jobs(it)).values())

    async def noted() -> bool:
        found = await row(it)
        return found is not None and found.state == "waits"

    async def works() -> bool:
        return "working" in (await jobs(it)).values()

    async def writes() -> bool:
        return any(one.is_dir() for one in staging.glob("*"))

    return [begun, asked, noted, works, writes]


async def test_a_worker_killed_at_any_moment_of_a_schedule_leaves_one_whole_backup_for_each_time(strongroom: OpenStrongroom):
    async with strongroom(more=EACH_MINUTE) as it, AsyncExitStack() as stack:
        first = await stack.enter_async_context(program(it.site))
        await until(moments(it)[0], 60)
        for moment in moments(it):
            second = await stack.enter_async_context(program(it.site))
            await it.site.fetch(_OVERDUE, role="ostiary_writer")
            await until(moment, 120)
            first.kill()
            await first.wait()
            for sql in (_LET_GO, _UNSEEN):
                await it.site.fetch(sql, role="ostiary_writer")
            first = second
        before = cron.latest("* * * * *", await ScheduleTable(it.house.queue.table.link, it.house.queue.table.key).now())

        async def went_on() -> bool:
            found = await row(it)
            return found is not None and found.due > before and found.state == "completed"

        await until(went_on, 180)
        first.kill()
        await first.wait()
        states, repository = await jobs(it), it.house.vault.repository()
        made = [one.kept.manifest for one in repository.listed() if one.kept is not None]
        whole = [verify(repository, one.id, lambda _: None).intact for one in repository.listed()]
    assert whole == [True] * len(made)
    assert len({one.job for one in made}) == len(made) >= 2
    assert {one.job for one in made} >= {id_ for id_, state in states.items() if state == "completed"}
    assert "failed" not in states.values()


async def test_a_plan_whose_database_is_gone_says_so_and_its_backups_stay(strongroom: OpenStrongroom):
    async with strongroom(more=EACH_MINUTE, ready=True) as it:
        kept = await it.kept()
        async with it.admin("postgres") as admin:
            await admin.execute(f"ALTER DATABASE {it.database} ALLOW_CONNECTIONS false")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", it.database)
        try:
            async with program(it.site):
                await until(lambda: has_row(it), 60)
                await it.site.fetch(_OVERDUE, role="ostiary_writer")

                async def has_failed() -> bool:
                    found = await row(it)
                    return found is not None and found.state == "failed"

                await until(has_failed, 180)
        finally:
            async with it.admin("postgres") as admin:
                await admin.execute(f"ALTER DATABASE {it.database} ALLOW_CONNECTIONS true")
        found = await row(it)
        listed = [one.id for one in it.house.vault.repository().listed()]
    assert found is not None
    assert found.said.partition(":")[0] in ("unavailable", "database_error", "program"), found.said
    assert listed == [kept]


async def has_row(it: Strongroom) -> bool:
    return await row(it) is not None
