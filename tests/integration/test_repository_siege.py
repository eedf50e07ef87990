"""Who can write to the repository and has no key of signatures: what he takes is missed, what he puts back does not count."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from fix_answers import text_of
from fix_backup import Vault, new_vault
from fix_custody import OpenStrongroom, Strongroom, rows
from fix_http import samples
from fix_person import Person
from fix_retention import DAY, SEGMENT_BYTES, SYSTEM, dated, logged

from ostiary.app import open_house
from ostiary.call import Call
from ostiary.config.backup import Plan
from ostiary.expiring import Expiry, Marking, due, expire
from ostiary.http.metrics import Exposition, Plans
from ostiary.recovery import coverage
from ostiary.recovery.gathering import gathered
from ostiary.recovery.judging import report as report_of
from ostiary.recovery.outline import outlined
from ostiary.remembering import Remembering
from ostiary.vault import open_vault
from ostiary_policies.model import Principal
from ostiary_tools.backup import evidence, expiry, wal
from ostiary_tools.backup.evidence import DRILLS, Check, Evidence
from ostiary_tools.backup.expiry import EXPIRY
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.moment import Latest
from ostiary_tools.backup.remembered import KeptLog, Remembered
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.restoring.bases import Asked, ways
from ostiary_tools.backup.restoring.extent import extent
from ostiary_tools.backup.restoring.moments import Reached
from ostiary_tools.backup.vanished import vanished
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.verification import verify_log
from ostiary_tools.errors import Damaged, Unavailable

PLANS = {"shop": Plan(keep_last=1, keep_days=7, grace_days=3)}


@asynccontextmanager
async def noted(strongroom: OpenStrongroom) -> AsyncIterator[tuple[Strongroom, Repository, list[Manifest]]]:
    """Two backups and a log, that a worker has noted."""
    async with strongroom() as it:
        repository = it.house.vault.repository()
        made = [dated(repository, 3), dated(repository, 2, kind=Kind.FULL, start=SEGMENT_BYTES + 10)]
        logged(repository, [1, 2, 3, 4])
        await Remembering(it.house.vault, it.house.recorder).round()
        yield it, repository, made


async def missed(it: Strongroom) -> list[tuple[str, str]]:
    return [(one.of, one.words) for one in vanished(await it.house.vault.recalled())]


def held(repository: Repository, made: Manifest, at: datetime, damage: str = "", of: str = DRILLS) -> Evidence:
    """A drill, or a look, that was, or was not, passed."""
    found = Evidence(made.id, sha256(encode(made)).hexdigest(), at, at, "test", (Check("restore", "it is", 1, damage),))
    evidence.record(repository, found, of)
    return found


@pytest.mark.asyncio
async def test_what_is_taken_away_is_missed_by_every_look_and_told_once(strongroom: OpenStrongroom):
    async with noted(strongroom) as (it, repository, made), it.client() as client:
        house = it.house
        assert await missed(it) == []
        segments = list(Archive(repository, SYSTEM).segments(1))
        for folder in (f"backups/{made[0].id}", segments[2].folder, segments[3].folder):
            shutil.rmtree(house.vault.folder / folder)
        remembering = Remembering(house.vault, house.recorder)
        for _ in range(2):
            await remembering.round()
        [(of, gone), (_, cut)] = await missed(it)
        register = house.vault.register
        assert register is not None
        told = await register.missing()
        page = Exposition(house.meter, house.recorder, {}, house.policies)
        text = page.text((), Plans(datetime.now(UTC), (), told)).decode()
        standing = house.vault.standing(await house.vault.remembered())
        shown = text_of(await client.call_tool("list_backups", {}))
        named = text_of(await client.call_tool("verify_backup", {"backup": made[0].id}))
        told_to = [
            (await house.vault.known(house.policies.engine, Principal("eve", (role,)))).gone for role in ("custodian", "analyst")
        ]
        found = verify_log(await house.vault.recalled(), made[1], lambda _: None)
        records = [one["what"] for one in await it.site.records() if one.get("event") == "kept_vanished"]
    assert of == "backup"
    assert gone == f"the logical backup `{made[0].id}` of `shop` is gone, and nobody here let go of it"
    assert cut.startswith(f"the log of `shop` (cluster {SYSTEM}, timeline 1) was kept to 0/500000 on 20")
    assert cut.endswith("and is there only to 0/300000")
    assert sorted(one.words for one in told) == sorted((gone, cut))
    assert [samples(text)["ostiary_kept_vanished", of] for of in ("backup", "drill", "log")] == [1, 0, 1]
    assert [one.partition(";")[0] for one in standing.wrong[:2]] == [gone, cut]
    assert [row.partition(",")[0] for row in rows(shown)] == [made[1].id]
    assert f"gone: `{made[0].id}` (logical of `shop`), and nobody let go of it" in shown
    assert f"backup `{made[0].id}` is gone, and nobody let go of it" in named
    assert told_to == [{made[0].id: ("shop", "logical")}, {}]
    assert cut in [damage.message for damage in found.damages]
    assert records == [made[0].id, SYSTEM], "once each"


@pytest.mark.asyncio
async def test_what_a_person_has_deleted_is_not_missed_and_told_when_it_is_back(strongroom: OpenStrongroom, tmp_path: Path):
    async with noted(strongroom) as (it, repository, _):
        vault = it.house.vault
        old, _ = dated(repository, 30), dated(repository, 10)
        saved = shutil.copytree(vault.folder / "backups" / old.id, tmp_path / "saved")
        then = datetime.now(UTC) - 4 * DAY
        marking = Marking(vault, PLANS, it.house.recorder)
        await marking.round(then)
        logged(repository, [0])
        await Remembering(vault, it.house.recorder).round()
        recalled = await vault.recalled()
        shown = due(recalled, PLANS, datetime.now(UTC))
        assert ([one.id for one in shown.backups], shown.segments) == ([old.id], 1)
        await expire(recalled, PLANS, shown, Expiry("ada", it.house.recorder.note, vault))
        assert await missed(it) == []
        shutil.copytree(saved, vault.folder / "backups" / old.id)
        [(of, words)] = await missed(it)
        await marking.round(datetime.now(UTC))
        events = [one["event"] for one in await it.site.records() if one.get("backup") == old.id and "event" in one]
        assert events == ["backup_marked", "backup_expiring", "backup_expired"], "it is not marked again"
        assert due(await vault.recalled(), PLANS, datetime.now(UTC)).backups == []
    assert (of, words.startswith(f"the backup `{old.id}` of `shop` was expired on 20")) == ("backup", True)
    assert words.endswith("and lies there all the same")


@pytest.mark.asyncio
async def test_a_mark_that_was_taken_back_and_is_put_there_again_lets_nothing_go(strongroom: OpenStrongroom, tmp_path: Path):
    """It is signed, of the very backup, and its grace is over."""
    async with noted(strongroom) as (it, repository, _):
        vault, old, _ = it.house.vault, dated(repository, 30), dated(repository, 10)
        then = datetime.now(UTC) - 9 * DAY
        await Marking(vault, PLANS, it.house.recorder).round(then)
        assert expiry.marked(await vault.recalled(), old, datetime.now(UTC)) is not None
        saved = shutil.copytree(vault.folder / EXPIRY, tmp_path / "saved")
        longer = {"shop": PLANS["shop"].model_copy(update={"keep_days": 60})}
        await Marking(vault, longer, it.house.recorder).round(then + 5 * DAY)
        shutil.copytree(saved, vault.folder / EXPIRY, dirs_exist_ok=True)
        assert expiry.marked(repository, old, datetime.now(UTC)) is not None, "as far as signatures tell"
        recalled = await vault.recalled()
        assert expiry.marked(recalled, old, datetime.now(UTC)) is None
        assert due(recalled, PLANS, datetime.now(UTC)).backups == []
        shutil.rmtree(vault.folder / "backups" / old.id)
        shown = due(await vault.recalled(), PLANS, datetime.now(UTC))
        await expire(await vault.recalled(), PLANS, shown, Expiry("ada", it.house.recorder.note, vault))
        events = [one["event"] for one in await it.site.records() if one.get("backup") == old.id and "event" in one]
        assert (await missed(it))[0][1].startswith(f"the logical backup `{old.id}` of `shop` is gone")
    assert events == ["backup_marked", "backup_unmarked", "backup_missing"], "and not as if somebody had deleted it"


@pytest.mark.asyncio
async def test_who_takes_away_the_evidence_of_a_failed_drill_proves_nothing(strongroom: OpenStrongroom):
    async with noted(strongroom) as (it, repository, made), it.client() as client:
        vault, (one, _) = it.house.vault, made
        assert vault.register is not None
        now = datetime.now(UTC)
        held(repository, one, now - 2 * DAY)
        failed = held(repository, one, now - DAY, "table")
        await vault.register.drilled(repository.description.id, one.id, failed.ended_at)
        for file in (vault.folder / DRILLS / one.id).glob(f"{failed.ended_at:%Y%m%dT%H%M%S.%fZ}*"):
            file.unlink()
        listed = rows(text_of(await client.call_tool("list_backups", {})))
        found = await missed(it)
        assert evidence.newest(repository, one) is not None, "as far as signatures tell"
        held(repository, one, now - DAY, of=evidence.LOGS)
        await vault.register.looked(repository.description.id, one.id, now)  # which found damage
        [*_, looked] = await missed(it)
        unknown = evidence.newest(await vault.recalled(), one, evidence.LOGS)
        held(repository, one, now, of=evidence.LOGS)
        again = held(repository, one, now)
        await vault.register.drilled(repository.description.id, one.id, again.ended_at)
        assert await missed(it) == []
        assert evidence.proven_at(await vault.recalled(), one) == now
    assert listed[1].endswith(",unproven")
    assert looked == ("drill", f"what the look of {now:%Y-%m-%d %H:%M:%S}Z found of the log after the backup `{one.id}` is gone")
    assert unknown is None
    assert found == [("drill", f"what the drill of {failed.ended_at:%Y-%m-%d %H:%M:%S}Z found of the backup `{one.id}` is gone")]


def test_a_planted_timeline_is_not_taken_for_the_newest(tmp_path: Path):
    vault = new_vault(tmp_path)
    made = dated(vault.repository, 2, kind=Kind.FULL, start=SEGMENT_BYTES + 10)
    logged(vault.repository, [1, 2, 3])
    folder = vault.root / "wal" / SYSTEM / "000000FF00000000"
    folder.mkdir()
    [way] = ways(Asked(vault.repository, "shop", Latest()))
    assert (way.timeline, way.base.manifest.id) == (1, made.id)
    planted = folder / wal.name(0xFF, 9, SEGMENT_BYTES)
    real = vault.root / next(Archive(vault.repository, SYSTEM).segments(1)).folder
    shutil.copytree(real, planted)
    with pytest.raises(Damaged, match="is not what was signed") as damaged:
        ways(Asked(vault.repository, "shop", Latest()))
    assert (damaged.value.what, "another timeline" in damaged.value.hint) == (planted.name, True)
    [way] = ways(Asked(vault.repository, "shop", Latest(), timeline=1))
    assert way.timeline == 1


def reached(vault: Vault, made: Manifest) -> Reached:
    return Reached(vault.repository.load(made.id), Latest(), 4 * SEGMENT_BYTES, None, None, None, 1)


def test_a_copy_of_all_that_is_kept_says_whether_that_is_all_that_was(tmp_path: Path):
    vault = new_vault(tmp_path)
    made = dated(vault.repository, 2, kind=Kind.FULL, start=SEGMENT_BYTES + 10)
    logged(vault.repository, [1, 2, 3])
    id_, at = vault.repository.description.id, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    known = KeptLog(id_, SYSTEM, 1, "shop", SEGMENT_BYTES, 4 * SEGMENT_BYTES, at)

    def told(*logs: KeptLog) -> str:
        return extent(replace(vault.repository, remembered=Remembered(logs=logs)), reached(vault, made))

    nobody = "nobody here remembers how far the log was kept: the repository says that it ends at 0/400000"
    assert extent(vault.repository, reached(vault, made)) == told() == nobody
    kept = "the log is known to have been kept to 0/{} on 2026-01-02 03:04:05Z"
    assert told(known) == f"{kept.format(400000)}, and the copy has all of that"
    shorter = f"not all is there: {kept.format(600000)}, and it ends at 0/400000; what came after is gone"
    assert told(replace(known, end=6 * SEGMENT_BYTES)) == shorter
    told_of = replace(vault.repository, remembered=Remembered(logs=(replace(known, history=True),)))
    assert [one.words for one in vanished(told_of)] == [
        f"the log of `shop` (cluster {SYSTEM}, timeline 1) was kept with how that came about, which is gone"
    ]
    assert told(known, replace(known, timeline=2)).endswith("; it went on as timeline 2, which this copy is not of")


@pytest.mark.slow
def test_where_a_backup_went_is_told_by_report_and_command_until_a_person_lets_go_of_it(person: Person):
    person.begins()
    kept, gone = person.backs_up(), person.backs_up()
    whole = person.runs("backup", "missing")
    assert (whole.code, "nothing that was kept is missing" in whole.err) == (0, True)
    shutil.rmtree(person.backups / gone)
    asyncio.run(looked(person))
    assert f"backups: the logical backup `{gone}` of `shop` is gone" in person.runs("doctor").out
    older = person.runs("backup", "verify", "shop")
    assert f"warning: a newer one is gone, and nobody let go of it: `{gone}` (logical of `shop`)" in older.err
    assert f"backup `{kept}`: all " in older.out
    report = json.loads(person.runs("dr", "report", "--json").out)
    assert report["vanished"] == 1
    assert report["alarms"][0]["words"] == f"the logical backup `{gone}` of `shop` is gone, and nobody here let go of it"
    told = person.runs("backup", "missing", "--json")
    assert (told.code, [one["what"] for one in json.loads(told.out)]) == (1, [gone])
    assert person.runs("backup", "missing", "--let-go", kept, types=f"{kept}\n").code == 2
    assert person.runs("backup", "missing", "--let-go", gone, types="yes\n").code == 2
    assert person.runs("backup", "missing", "--let-go", gone, types=f"{gone}\n").code == 0
    assert person.runs("backup", "missing").code == 0
    report = json.loads(person.runs("dr", "report", "--json").out)
    assert report["vanished"] == 0
    changes = next(one["changes"] for one in report["sources"] if one["name"] == "shop")
    assert any(change.startswith("1 backup let go of (1 given up) by ") for change in changes), changes
    repository, moved = person.backups.parent, person.backups.parent.with_name("moved")
    repository.rename(moved)
    emptied = person.runs("dr", "report", "--json")
    assert (emptied.code, json.loads(emptied.out)["vanished"]) == (1, 1)
    assert json.loads(emptied.out)["alarms"][0]["words"] == "what was kept is not there: 1 backup"
    assert "the repository of backups is not where it was" in person.runs("backup", "create").err
    asyncio.run(looked(person))
    assert "backups: the repository of backups is not where it was" in person.runs("doctor").out
    shutil.rmtree(repository, ignore_errors=True)
    moved.rename(repository)
    records = asyncio.run(person.site.records())
    assert [one["what"] for one in records if one.get("event") == "kept_let_go"] == [gone]
    vault = open_vault(person.site.config, None)
    for remembered, why in (
        (None, "the control database cannot be asked"),
        (Remembered(), "the control database knows of no backup"),
    ):
        known = gathered(person.site.config, vault, {}, remembered)
        assert any(alarm.words.startswith(why) for alarm in report_of(known).alarms)
        assert (known.forgotten.endswith("nobody can say what has vanished"), known.vanished) == (True, ())


async def looked(person: Person) -> None:
    """By a worker."""
    async with open_house(person.site.config, lambda _: None) as house:
        with suppress(Unavailable):
            await Remembering(house.vault, house.recorder).round()


@pytest.mark.asyncio
async def test_an_agent_ends_no_job_that_a_plan_has_asked_for_whatever_its_name(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client(agent="keeper") as client:
        planned, own = str(uuid4()), Principal("keeper", ("custodian",))
        call = Call("create_backup", {"datasource": "shop", "kind": "logical"}, origin="plan shop", transport="worker", job=planned)
        await it.house.gate.call(own, call)
        refused = await client.call_tool("job", {"id": planned, "action": "cancel"})
        still = text_of(await client.call_tool("job", {"id": planned}))
        mine = text_of(await client.call_tool("create_backup", {"datasource": "shop", "kind": "full"}))
        id_ = mine.partition('job(id="')[2].partition('"')[0]
        ended = text_of(await client.call_tool("job", {"id": id_, "action": "cancel"}))
    assert refused.is_error
    assert "a plan has asked for that job, and no agent ends it" in text_of(refused)
    assert "waits for a worker" in still
    assert "cancelled" in ended


def test_a_report_reads_of_a_long_log_its_newest_part_and_the_edges_of_the_others(tmp_path: Path):
    vault = new_vault(tmp_path)
    folders = logged(vault.repository, [*range(20), *range(22, 50)])
    archive = Archive(vault.repository, SYSTEM)
    every, outline = list(archive.segments(1)), list(outlined(archive, 1, read=4))
    assert [(one.name, one.end, one.folder) for one in outline] == [(one.name, one.end, one.folder) for one in every]
    assert [one.next for [path] in [coverage.paths(outline, {})] for one in path.runs] == [
        one.next for [path] in [coverage.paths(every, {})] for one in path.runs
    ]

    def read(at: int) -> bool:
        file = vault.root / folders[at] / "segment.sig"
        kept = file.read_bytes()
        file.write_bytes(bytes(len(kept)))
        try:
            list(outlined(archive, 1, read=4))
        except Damaged:
            return True
        finally:
            file.write_bytes(kept)
        return False

    assert [at for at in range(48) if read(at)] == [0, *range(12, 21), *range(44, 48)]
