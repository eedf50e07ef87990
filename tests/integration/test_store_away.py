"""An object store that does not answer: who only looks is told so within seconds, and nobody is told that there is nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fix_answers import text_of
from fix_custody import OpenStrongroom, Strongroom, begin
from fix_objects import KEYS, ObjectServer, in_bucket
from fix_person import Person
from fix_trouble import Trouble, Wrong
from fix_waiting import until

import ostiary.http.backup_looks as looks_module
import ostiary.vault as vault_module
from ostiary.http.backup_looks import BackupLooks
from ostiary.log_standing import log_standings
from ostiary.recovery.gathering import gathered
from ostiary.scheduling import Scheduling, keeper, schedules
from ostiary.vault import Vault
from ostiary_tools.backup.storage.bucket import Address, Allowance, Patience, looking
from ostiary_tools.control.schedules import ScheduleTable

AWAY = "does not answer as it should"
PLAN = '[jobs]\nworker = "own"\n[plans.shop]\nwal = "kept"\nlogical = "0 2 * * *"\ndrill = "0 3 * * *"\n'
Opened = Callable[[], AbstractAsyncContextManager[Strongroom]]


@pytest.fixture
def store(object_server: ObjectServer, trouble: Trouble) -> Address:
    return trouble.before(object_server.bucket())


@pytest.fixture
def opened(strongroom: OpenStrongroom, store: Address, tmp_path: Path) -> Opened:
    """A strongroom whose repository is in a store."""

    @asynccontextmanager
    async def made() -> AsyncIterator[Strongroom]:
        async with strongroom(ready=False, more=in_bucket(store, tmp_path) + PLAN) as it:
            await asyncio.to_thread(begin, it.house.vault)
            await it.kept()
            yield it

    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks waits as often, and less long."""
    usual = looking()
    brief = lambda: Patience(0.2, usual.tries, 0.2, 0.01, Allowance(0.3))  # noqa: E731
    monkeypatch.setattr(vault_module, "looking", brief)


def test_a_look_lasts_some_seconds_at_most_and_to_make_one_is_tried_for_longer():
    look, make = looking(), Patience()
    assert look.allowance is not None
    assert look.allowance.left_s + look.request_s <= 15, "the last request may have begun before"
    assert make.allowance is None
    assert make.whole_s >= 60
    assert looking().allowance is not look.allowance, "each look has its own"


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("wrong", [Wrong.STALLS, Wrong.FAILS, Wrong.CUT])
async def test_who_looks_asks_a_dead_store_twice_and_says_so(wrong: Wrong, opened: Opened, trouble: Trouble):
    async with opened() as it:
        vault: Vault = it.house.vault
        trouble.after(0, wrong)

        async def asked(look: Callable[[], Any]) -> tuple[Any, int]:
            before = trouble.count
            return await asyncio.to_thread(look), trouble.count - before

        standing, count = await asked(vault.standing)
        assert (AWAY in standing.wrong[0], standing.count, 1 <= count <= 2) == (True, 0, True)
        facts, count = await asked(lambda: gathered(it.site.config, vault, {}, None))
        assert (AWAY in facts.unusable, 1 <= count <= 4) == (True, True)
        _, count = await asked(lambda: log_standings(it.house.config.plans, vault))
        assert 1 <= count <= 2
        async with it.client() as client:
            listed = text_of(await client.call_tool("list_backups", {}))
            assert "which there are is not known now" in listed
            assert AWAY in listed
            for tool, arguments in (("create_backup", {"datasource": "shop"}), ("verify_backup", {"backup": "x"})):
                said = text_of(await client.call_tool(tool, arguments))
                assert AWAY in said
                assert "unknown" not in said
        trouble.fate = lambda *_: None
        assert (await asyncio.to_thread(vault.standing)).count == 1


@pytest.mark.asyncio
async def test_a_probe_is_answered_at_once_and_one_look_serves_all(
    opened: Opened, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looks_module, "_WAITED_S", 0.05)
    async with opened() as it:
        looks = BackupLooks(it.house.vault, {})
        trouble.after(0, Wrong.STALLS)
        before = trouble.count
        many = await asyncio.gather(*(looks.wrong() for _ in range(50)))
        assert all("has not answered for" in said[0] and "not known" in said[0] for said in many)
        await until(lambda: trouble.count > before)
        assert trouble.count == before + 1
        trouble.fate = lambda *_: None
        trouble.ended.set()
        await until(lambda: _is(looks, "is unproven"))
        told = trouble.count
        assert "is unproven" in (await looks.wrong())[0]
        assert trouble.count == told, "what it said a moment ago is told again"
        monkeypatch.setattr(looks_module, "_FRESH_S", -1)
        trouble.ended.clear()
        trouble.after(0, Wrong.STALLS)
        said = await looks.wrong()
        assert "s ago it was as follows" in said[0]
        assert "is unproven" in said[1]
        trouble.ended.set()


async def _is(looks: BackupLooks, words: str) -> bool:
    return words in (await looks.wrong())[0]


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.usefixtures("hasty")
async def test_what_a_plan_asks_for_while_the_store_is_away_is_asked_for_later(opened: Opened, trouble: Trouble):
    async with opened() as it:
        house, night = it.house, datetime(2026, 11, 22, 3, tzinfo=UTC)
        table = ScheduleTable(house.queue.table.link, house.queue.table.key)

        async def at(now: datetime) -> list[str]:
            known = (house.gate, house.policies, house.vault, house.recorder, keeper(house.config))
            await Scheduling(schedules(house.config), table, *known).round(now)
            rows = await it.site.fetch("SELECT about FROM jobs.job ORDER BY about", role="ostiary_writer")
            assert not [one for one in await table.all() if one.state == "failed"]
            return [row[0].split()[0] for row in rows]

        await at(night - timedelta(hours=2))
        trouble.after(0, Wrong.FAILS)
        assert await at(night) == []
        trouble.fate = lambda *_: None
        assert await at(night) == ["backup", "verify"]


@pytest.fixture
def told_of_it(person: Person, store: Address, monkeypatch: pytest.MonkeyPatch) -> Person:
    for name, value in {
        "REPOSITORY": store.url,
        "ENDPOINT": store.endpoint,
        "REGION": store.region,
        "ACCESS_KEY": KEYS[0],
        "SECRET_KEY": KEYS[1],
    }.items():
        monkeypatch.setenv(f"OSTIARY_BACKUP__{name}", value)
    return person


@pytest.mark.slow
@pytest.mark.parametrize("person", [PLAN], indirect=True)
def test_commands_that_look_say_that_the_store_is_away_and_end(told_of_it: Person, trouble: Trouble):
    told_of_it.begins()
    trouble.after(0, Wrong.FAILS)
    for words in (("status",), ("backup", "list"), ("backup", "expire", "--dry-run"), ("dr", "report"), ("dr", "runbook")):
        before = trouble.count
        said = told_of_it.runs(*words)
        assert AWAY in said.out + said.err or words == ("dr", "runbook")
        assert trouble.count - before <= 6, words
    report = told_of_it.runs("dr", "report", "--json")
    assert (report.code, AWAY in json.dumps(json.loads(report.out)["alarms"])) == (1, True)
