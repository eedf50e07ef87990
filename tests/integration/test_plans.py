"""Plans of backups as a worker keeps them: by the clock, once, and as an agent that policy decides about."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fix_custody import OpenStrongroom, Strongroom
from fix_http import samples
from fix_queue import working
from fix_waiting import until

from ostiary.http.metrics import Exposition, Plans
from ostiary.http.operation import Operation
from ostiary.scheduling import Scheduling, keeper, schedules
from ostiary_tools.control.schedules import Scheduled, ScheduleTable

pytestmark = pytest.mark.asyncio
NIGHTLY = '[jobs]\nworker = "own"\n[plans.shop]\nlogical = "0 2 * * *"\n'
NIGHT = datetime(2026, 11, 22, 2, tzinfo=UTC)
DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


@dataclass
class Nights:
    """Plans of a server, and the time that somebody says it is."""

    it: Strongroom
    now: datetime = NIGHT - HOUR

    def keeping(self) -> Scheduling:
        """One worker's, which knows nothing of any before."""
        house = self.it.house
        known = (house.gate, house.policies, house.vault, house.recorder, keeper(house.config))
        return Scheduling(schedules(house.config), self.table, *known)

    @property
    def table(self) -> ScheduleTable:
        """What they keep."""
        queue = self.it.house.queue.table
        return ScheduleTable(queue.link, queue.key)

    async def at(self, now: datetime) -> list[str]:
        """The jobs that there are after a round of a new worker at that time."""
        await self.keeping().round(now)
        return await self.jobs()

    async def jobs(self) -> list[str]:
        """What each is about, in order."""
        rows = await self.it.site.fetch("SELECT about FROM jobs.job ORDER BY created_at", role="ostiary_writer")
        return [row[0] for row in rows]

    async def row(self, what: str = "logical") -> Scheduled:
        """Of the plan of the shop."""
        return next(one for one in await self.table.all() if (one.plan, one.what) == ("shop", what))

    async def ends(self, state: str = "completed", said: str = "done") -> None:
        """All jobs that there are."""
        end = "UPDATE jobs.job SET state = $1, reply = $2, body = NULL, worker = NULL, leased_until = NULL WHERE body IS NOT NULL"
        await self.it.site.fetch(end, state, said, role="ostiary_writer")


@asynccontextmanager
async def plans(strongroom: OpenStrongroom, more: str = NIGHTLY, **wishes: Any) -> AsyncIterator[Nights]:
    async with strongroom(more=more, **wishes) as it:
        yield Nights(it)


BACKUP = "backup shop logical"


async def test_what_is_due_is_asked_for_once_and_what_was_missed_is_made_up_for_once(strongroom: OpenStrongroom):
    async with plans(strongroom) as it:
        assert await it.at(NIGHT - HOUR) == [], "a plan begins with the next of its times"
        assert await it.at(NIGHT - SECOND) == []
        for later in (timedelta(), SECOND, HOUR, DAY - SECOND):
            assert await it.at(NIGHT + later) == [BACKUP]
        assert await it.at(NIGHT + DAY) == [BACKUP], "the one before has not ended"
        await it.ends()
        assert await it.at(NIGHT + 9 * DAY + HOUR) == [BACKUP] * 2
        await it.ends()
        assert await it.at(NIGHT + 9 * DAY + 2 * HOUR) == [BACKUP] * 2
        row = await it.row()
    assert (row.due, row.state, row.said) == (NIGHT + 9 * DAY, "completed", "done")


async def test_workers_that_each_take_themselves_for_the_first_ask_for_one_job(strongroom: OpenStrongroom):
    async with plans(strongroom) as it:
        await it.at(NIGHT - HOUR)
        await asyncio.gather(*(it.keeping().round(NIGHT) for _ in range(5)))
        assert await it.jobs() == [BACKUP]
        assert (await it.row()).state == "waits"


async def test_a_worker_that_dies_between_the_job_and_its_note_is_followed_by_one_that_finds_the_job(
    strongroom: OpenStrongroom, monkeypatch: pytest.MonkeyPatch
):
    async with plans(strongroom) as it:
        await it.at(NIGHT - HOUR)
        for ended in (False, True):
            with monkeypatch.context() as patched:
                patched.setattr(ScheduleTable, "asked", dies)
                with pytest.raises(KilledError):
                    await it.keeping().round(NIGHT)
            assert (await it.row()).due == NIGHT - DAY
            if ended:
                await it.ends()
        assert await it.at(NIGHT) == [BACKUP]
        await it.at(NIGHT)
        row = await it.row()
    assert (row.due, row.state) == (NIGHT, "completed")


class KilledError(Exception):
    """In the place of the end of a process."""


async def dies(*_: object) -> None:
    """Where a process ends."""
    raise KilledError


async def test_a_clock_that_is_set_back_fires_nothing_twice_and_one_that_jumped_ahead_silences_nothing(strongroom: OpenStrongroom):
    async with plans(strongroom) as it:
        await it.at(NIGHT - HOUR)
        await it.at(NIGHT)
        await it.ends()
        for back in (SECOND, HOUR, 23 * HOUR):
            assert await it.at(NIGHT - back) == [BACKUP]
        assert await it.at(NIGHT + SECOND) == [BACKUP]
        assert await it.at(NIGHT + 400 * DAY) == [BACKUP] * 2, "it jumps ahead"
        await it.ends()
        assert await it.at(NIGHT + HOUR) == [BACKUP] * 2, "it is put right"
        assert (await it.row()).due == NIGHT
        assert await it.at(NIGHT + DAY) == [BACKUP] * 3
        await it.ends()
        assert await it.at(NIGHT + 2 * DAY + HOUR) == [BACKUP] * 4, "a day ahead"
        await it.ends()
        for later in (DAY + HOUR, 2 * DAY, 3 * DAY - SECOND):
            assert await it.at(NIGHT + later) == [BACKUP] * 4, "what came by a clock that was ahead does not come again"
        assert await it.at(NIGHT + 3 * DAY) == [BACKUP] * 5
        noted = [one for one in await it.it.site.records() if one.get("event") == "plan_clock_set_back"]
    assert [(one["plan"], one["was"][:10], one["is"][:10]) for one in noted] == [("shop", "2027-12-27", "2026-11-22")]


async def test_other_times_of_a_plan_begin_anew(strongroom: OpenStrongroom):
    async with plans(strongroom) as it:
        await it.at(NIGHT - HOUR)
        other = it.keeping()
        other.schedules = [replace(one, cron="30 1 * * *") for one in other.schedules]
        await other.round(NIGHT)
        assert (await it.jobs(), (await it.row()).due) == ([], NIGHT - HOUR / 2)
        await other.round(NIGHT + DAY)
        assert await it.jobs() == [BACKUP]


async def test_a_plan_is_kept_from_the_time_to_the_backup_and_its_drill_and_all_is_on_record(strongroom: OpenStrongroom):
    async with plans(strongroom, NIGHTLY + 'drill = "0 1 * * *"\n') as it:
        for now in (NIGHT - 2 * HOUR, NIGHT):
            await it.at(now)
        drill = await it.row("drill")
        assert (drill.state, drill.said) == ("failed", "there is no backup to drill")
        async with working(it.it.house):
            await until(lambda: ended(it, "logical"), 60)
            await it.at(NIGHT + 23 * HOUR)
            await until(lambda: ended(it, "drill"), 60)
        await it.at(NIGHT + 23 * HOUR)
        backup, drill = await it.row(), await it.row("drill")
        [kept] = it.it.house.vault.repository().listed()
        records = await it.it.site.records()
    assert kept.kept is not None
    assert kept.kept.manifest.job == str(backup.job)
    assert kept.id in backup.said
    assert (backup.newest, drill.state) == (kept.kept.manifest.started_at, "completed")
    assert drill.newest is not None
    asked = [(one["tool"], one["agent"], one["roles"], one["decision"]) for one in records if one.get("origin") == "plan shop"]
    assert ("create_backup", "local", ["custodian"], "permit") in asked
    assert ("verify_backup", "local", ["custodian"], "permit") in asked


@pytest.mark.slow
async def test_where_the_control_database_was_put_back_to_an_earlier_copy_nothing_is_made_twice(strongroom: OpenStrongroom):
    async with plans(strongroom) as it, working(it.it.house):
        await it.at(NIGHT - HOUR)
        for _ in range(2):
            await it.at(NIGHT)
            await until(lambda: ended(it, "logical"), 60)
            assert (await it.row()).state == "completed"
            await it.it.site.fetch("UPDATE jobs.schedule SET due = due - interval '1 day', state = ''", role="ostiary_writer")
            await it.it.site.fetch("DELETE FROM jobs.job", role="ostiary_writer")
        assert len(it.it.house.vault.repository().listed()) == 1


@pytest.mark.slow
async def test_a_plan_whose_kind_cannot_be_made_any_more_says_what_was_made_instead_and_why(strongroom: OpenStrongroom):
    """As after an upgrade of the server, when there is no backup of the new one that an incremental one could go on from."""
    more = NIGHTLY.replace("logical", "incremental") + 'full = "0 0 1 1 *"\n'
    async with plans(strongroom, more) as it, working(it.it.house):
        await it.at(NIGHT - HOUR)
        await it.at(NIGHT)
        await until(lambda: ended(it, "incremental"), 120)
        await it.at(NIGHT)
        row = await it.row("incremental")
    assert row.state == "completed", row.said
    assert "it is a full one, and not incremental: " in row.said
    assert row.newest is not None, "the full one stands for it"


async def ended(it: Nights, what: str) -> bool:
    await it.table.ended()
    return (await it.row(what)).state in ("completed", "failed")


async def test_what_policy_refuses_or_wants_a_human_for_is_told_and_waits_for_the_next_time(strongroom: OpenStrongroom):
    no = '@id("none-by-night") forbid (principal, action == Action::"back_up", resource);'
    async with plans(strongroom, policy=no) as it:
        await it.at(NIGHT - HOUR)
        assert await it.at(NIGHT) == []
        row = await it.row()
    assert (row.due, row.state) == (NIGHT, "failed")
    assert row.said.startswith("denied: you may not make logical backups of `shop`\nrule: none-by-night")
    human = '@id("asks") @approval("human") permit (principal in Role::"custodian", action == Action::"back_up", resource);'
    async with plans(strongroom, policy=human) as it:
        await it.at(NIGHT - HOUR)
        assert await it.at(NIGHT) == []
        row = await it.row()
    assert (row.state, row.said.partition(":")[0]) == ("failed", "not_approved")


async def test_what_is_due_at_once_waits_for_its_turn_where_an_agent_has_as_much_as_may_wait(
    strongroom: OpenStrongroom, tmp_path: Path
):
    files = [f'[sqlite.n{n}]\npath = "{tmp_path / f"{n}.db"}"\n[plans.n{n}]\nsqlite = "0 2 * * *"\n' for n in range(10)]
    async with plans(strongroom, "".join(('[jobs]\nworker = "own"\n', *files))) as it:
        await it.at(NIGHT - HOUR)
        keeping = it.keeping()
        await keeping.round(NIGHT)
        await keeping.round(NIGHT + SECOND)
        assert len(await it.jobs()) == 8
        await it.ends()
        await keeping.round(NIGHT + 2 * SECOND)
        assert len(await it.jobs()) == 8, "not before a minute is over"
        assert sorted(await it.at(NIGHT + 60 * SECOND)) == [f"backup n{n} sqlite" for n in range(10)]


async def test_a_plan_without_a_repository_is_told_so(strongroom: OpenStrongroom):
    async with plans(strongroom, ready=False) as it:
        keeping = it.keeping()
        await keeping.round(NIGHT - HOUR)
        await keeping.round(NIGHT)
        row = await it.row()
    assert row.state == "failed"
    assert "there is no repository of backups yet" in row.said


async def test_the_metrics_tell_how_old_how_late_and_whether_done_and_plans_that_are_gone_are_forgotten(strongroom: OpenStrongroom):
    async with plans(strongroom, NIGHTLY + 'drill = "0 2 * * *"\n') as it:
        await it.at(NIGHT - HOUR)
        await it.it.kept()
        await it.at(NIGHT)
        await it.ends()
        await it.at(NIGHT)
        await it.table.failed("shop", "drill", NIGHT, "it did not start")
        now = datetime.now(UTC)
        page = Exposition(it.it.house.meter, it.it.house.recorder, {}, it.it.house.policies)
        found = samples(page.text((), Plans(now, await it.table.all())).decode())
        for keeping in (it.keeping(), it.keeping()):
            keeping.schedules = keeping.schedules[1:]
            await keeping.round(NIGHT)
        left = [one.what for one in await it.table.all()]
    assert found["ostiary_plan_done", "shop", "logical"] == 1
    assert found["ostiary_plan_done", "shop", "drill"] == 0
    assert 0 < found["ostiary_backup_age_seconds", "shop", "logical"] < 300
    assert ("ostiary_drill_age_seconds", "shop") not in found
    assert found["ostiary_plan_late_seconds", "shop", "logical"] == max(0, (now - NIGHT - DAY).total_seconds())
    assert left == ["drill"]


async def test_operators_are_told_what_failed_and_what_nobody_asks_for(strongroom: OpenStrongroom):
    async with plans(strongroom, NIGHTLY + 'drill = "0 3 * * *"\n') as it:
        house, now = it.it.house, await it.table.now()
        page = Exposition(house.meter, house.recorder, {}, house.policies)
        inside = (house.recorder, house.datasources, house.policies, house.examples, page, house.worlds)
        operation = Operation(*inside, house.queue.table, house.vault, house.config.plans, frozenset())
        assert await operation.backups() == []
        await it.table.begin("shop", "logical", "0 2 * * *", now - 3 * DAY)
        await it.table.begin("shop", "drill", "0 3 * * *", now)
        await it.table.failed("shop", "drill", now, "it did not start")
        told = await operation.backups()
    assert told == [
        "plan `shop`: its last drill has failed; see `ostiary backup plans`",
        "plan `shop`: its logical is late; does `ostiary worker` run?",
    ]


async def test_a_job_that_fails_is_told_in_its_words_and_one_that_is_lost_is_too(strongroom: OpenStrongroom):
    async with plans(strongroom) as it:
        await it.at(NIGHT - HOUR)
        await it.at(NIGHT)
        await it.ends("failed", "unavailable: the server is away")
        await it.at(NIGHT + SECOND)
        assert ((await it.row()).state, (await it.row()).said) == ("failed", "unavailable: the server is away")
        await it.at(NIGHT + DAY)
        await it.it.site.fetch("DELETE FROM jobs.job", role="ostiary_writer")
        await it.at(NIGHT + DAY + SECOND)
        assert ((await it.row()).state, (await it.row()).said) == ("failed", "nobody knows any more what became of its job")
