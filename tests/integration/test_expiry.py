"""Backups that may go: marked, seen, pardoned, and deleted leaf to root once a person says so."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fix_backup import Vault, copied, flip, new_vault
from fix_custody import OpenStrongroom
from fix_full import quiet
from fix_moments import History, events_in
from fix_retention import DAY, SEGMENT_BYTES, SYSTEM, dated, kept_log, logged, marked_at

from ostiary.config.backup import Plan
from ostiary.expiring import Due, Expiry, Marking, due, expire
from ostiary_tools.backup import expiry, wal
from ostiary_tools.backup.expiry import EXPIRY, reviewed
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.moment import Latest, Time
from ostiary_tools.backup.repository import Repository, initialise, open_repository
from ostiary_tools.backup.restoring.bases import Asked
from ostiary_tools.backup.restoring.moments import into_folder
from ostiary_tools.backup.scratch import Ground
from ostiary_tools.backup.vanished import vanished
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.errors import Damaged, Refused

PLANS = {"shop": Plan(keep_last=1, keep_days=7, grace_days=3)}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


@pytest.fixture(params=["folder", "bucket"])
def repository(request: Any, tmp_path: Path) -> Repository:
    """In each kind of storage."""
    made = new_vault(tmp_path).repository
    if request.param == "folder":
        return made
    storage, signer = request.getfixturevalue("new_objects")(), made.writer()
    keys = made.description
    initialise(storage, signer, keys.operational, keys.recovery)
    return open_repository(storage, signer.seal, signer)


class Notes(list[tuple[str, str]]):
    """What was put on record."""

    async def __call__(self, event: str, facts: Mapping[str, object]) -> None:
        """Once more."""
        self.append((event, str(facts.get("backup") or facts.get("before"))))


def marked(repository: Repository, *made: Manifest, days_ago: float = 4) -> None:
    for one in made:
        expiry.mark(repository, one, datetime.now(UTC) - days_ago * DAY, 3 * DAY)


def ids(repository: Repository) -> list[str]:
    return [one.id for one in repository.listed()]


async def expired(repository: Repository, shown: Due | None = None) -> Notes:
    notes = Notes()
    await expire(repository, PLANS, shown or due(repository, PLANS, datetime.now(UTC)), Expiry("ada", notes))
    return notes


@pytest.mark.asyncio
async def test_what_no_plan_keeps_is_marked_and_listed_so_and_what_is_kept_after_all_is_pardoned(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as client:
        house = it.house
        repository = house.vault.repository()
        old, new = dated(repository, 30), dated(repository, 1)
        now = datetime.now(UTC)
        for _ in range(2):
            await Marking(house.vault, PLANS, house.recorder).round(now)
        listed = (await client.call_tool("list_backups", {})).content[0]
        found = reviewed(repository, {}, now)
        expiry.mark(repository, new, now + 365 * DAY, 3 * DAY)  # by a clock that was ahead
        longer = {"shop": PLANS["shop"].model_copy(update={"keep_days": 60})}
        await Marking(house.vault, longer, house.recorder).round(now)
        after = reviewed(repository, {}, now + 366 * DAY)
        records = [(one["event"], one["backup"]) for one in await it.site.records() if one.get("event", "").startswith("backup_")]
    rows = [line for line in listed.text.splitlines() if line.startswith("2") and "Z-" in line]
    assert [row.partition(",")[0] for row in rows] == [new.id, old.id]
    assert rows[0].endswith(",unproven")
    assert rows[1].endswith(f'unproven, goes after {now + 3 * DAY:%Y-%m-%d}"')
    assert (list(found.marks), list(after.marks)) == ([old.id], [])
    assert records == [("backup_marked", old.id), ("backup_unmarked", old.id)]


def test_a_mark_that_was_forged_moved_or_made_by_a_clock_that_was_ahead_counts_for_nothing(vault: Vault):
    repository, now = vault.repository, datetime.now(UTC)
    one, other = dated(repository, 30), dated(repository, 31)
    dated(repository, 1)
    marked(repository, one)
    file = vault.root / EXPIRY / f"{one.id}.json"
    assert expiry.marked(repository, one, now) is not None
    for ending in (".json", ".sig"):
        (vault.root / EXPIRY / f"{other.id}{ending}").write_bytes(file.with_suffix(ending).read_bytes())
    assert expiry.marked(repository, other, now) is None
    flip(file, 0.5)
    assert expiry.marked(repository, one, now) is None
    expiry.mark(repository, one, now + timedelta(hours=1), 3 * DAY)
    assert expiry.marked(repository, one, now) is None
    assert due(repository, PLANS, now).backups == []
    (vault.root / EXPIRY / f"{one.id}.json").unlink()
    assert expiry.mark(repository, one, now, DAY) == expiry.marked(repository, one, now), "what was begun does not hinder"


@pytest.mark.asyncio
async def test_a_chain_goes_leaf_to_root_and_its_root_stays_as_long_as_a_leaf(repository: Repository):
    root = dated(repository, 30, kind=Kind.FULL)
    middle = dated(repository, 29, kind=Kind.INCREMENTAL, parent=root.id, start=1000)
    leaf = dated(repository, 28, kind=Kind.INCREMENTAL, parent=middle.id, start=2000)
    full = dated(repository, 1, kind=Kind.FULL, start=3000)
    others = [full, dated(repository, 0.5, kind=Kind.INCREMENTAL, parent=full.id, start=4000)]
    marked(repository, root, middle)
    assert due(repository, PLANS, datetime.now(UTC)).backups == [], "the leaf was not marked yet"
    marked(repository, leaf)
    notes = await expired(repository)
    assert notes == [(what, one.id) for one in (leaf, middle, root) for what in ("backup_expiring", "backup_expired")]
    assert ids(repository) == [one.id for one in others]
    assert repository.storage.names(EXPIRY) == []


@pytest.mark.asyncio
async def test_only_what_was_shown_and_may_still_go_is_deleted(vault: Vault):
    repository, now = vault.repository, datetime.now(UTC)
    first, second, third = dated(repository, 40), dated(repository, 30), dated(repository, 20)
    newest = dated(repository, 8)
    marked(repository, first, second)
    shown = due(repository, PLANS, now)
    assert [one.id for one in shown.backups] == [first.id, second.id]
    marked(repository, third)
    expiry.unmark(repository, first.id)
    await expired(repository, shown)
    assert ids(repository) == [first.id, third.id, newest.id]
    marked(repository, newest)
    assert newest.id not in [one.id for one in due(repository, PLANS, now).backups], "the last good one, however old and marked"


def test_before_its_grace_is_over_and_while_anything_is_doubtful_nothing_goes(vault: Vault):
    repository, now = vault.repository, datetime.now(UTC)
    old, new = dated(repository, 30), dated(repository, 1)
    marked(repository, old, days_ago=2)
    assert due(repository, PLANS, now).backups == []
    assert [one.id for one in due(repository, PLANS, now + 2 * DAY).backups] == [old.id]
    with pytest.raises(Refused, match="dated in the future"):
        due(repository, PLANS, now - 2 * DAY)
    flip(vault.root / "backups" / new.id / "manifest.json", 0.5)
    with pytest.raises(Damaged, match="nobody knows what it needs"):
        due(repository, PLANS, now + 2 * DAY)


@pytest.mark.asyncio
async def test_the_log_goes_up_to_the_oldest_base_that_is_there_and_no_further(repository: Repository):
    old = dated(repository, 30, kind=Kind.FULL, start=5 * SEGMENT_BYTES + 100)
    dated(repository, 1, kind=Kind.FULL, start=4098 * SEGMENT_BYTES + 100)
    logged(repository, [3, 4, 5, 6, 4095, 4096, 4097, 4098, 4099])
    logged(repository, [4, 4100], tail=5000)
    logged(repository, [4097, 4098], timeline=2)
    first = due(repository, PLANS, datetime.now(UTC))
    assert (first.backups, first.segments) == ([], 3), "3, 4 and the tail of 4"
    await expired(repository)
    assert [name[-3:] for name in kept_log(repository)][:2] == ["005", "006"]
    marked(repository, old)
    notes = await expired(repository)
    deleted = [(f"backup_{what}", old.id) for what in ("expiring", "expired")]
    assert notes == [*deleted, ("log_expiring", "1/200064"), ("log_expired", "1/200064")]
    assert sorted(kept_log(repository)) == [
        "000000010000000100000002",
        "000000010000000100000003",
        "000000010000000100000004.0000000100401388",
        "000000020000000100000002",
    ]
    assert due(repository, PLANS, datetime.now(UTC)).segments == 0
    assert list(Archive(repository, SYSTEM).timelines()) == [1, 2]
    assert repository.storage.names(f"wal/{SYSTEM}") == ["0000000100000001", "0000000200000001"], "no empty folder is left"


@pytest.mark.asyncio
async def test_the_log_that_a_backup_needs_stays_where_it_may_go_and_was_not_shown(vault: Vault):
    repository = vault.repository
    bases = [(40, 2), (30, 4), (1, 6)]
    made = [dated(repository, days, kind=Kind.FULL, start=number * SEGMENT_BYTES + 100) for days, number in bases]
    logged(repository, range(1, 7))
    marked(repository, made[0])
    shown = due(repository, PLANS, datetime.now(UTC))
    marked(repository, made[1])  # while the person thinks
    await expired(repository, shown)
    assert ids(repository) == [one.id for one in made[1:]]
    assert [name[-3:] for name in kept_log(repository)] == ["004", "005", "006"]


@pytest.mark.asyncio
async def test_of_a_cluster_without_a_base_the_whole_log_stays(vault: Vault):
    repository = vault.repository
    old = dated(repository, 30)
    dated(repository, 1)
    marked(repository, old)
    logged(repository, [1, 2, 3])
    await expired(repository)
    assert len(kept_log(repository)) == 3


@pytest.mark.asyncio
async def test_who_was_killed_after_a_deletion_is_followed_by_one_who_records_it(vault: Vault):
    repository = vault.repository
    old = dated(repository, 30)
    dated(repository, 1)
    marked(repository, old)
    repository.delete(old.id)
    assert await expired(repository) == [("backup_expired", old.id)]
    assert repository.storage.names(EXPIRY) == []


@pytest.mark.slow
@pytest.mark.asyncio
async def test_after_the_log_was_trimmed_each_moment_after_the_oldest_base_is_there_to_the_row(
    history: History, site: Path, tmp_path: Path, ground: Ground
):
    repository = copied(history.vault, tmp_path).repository
    before = sum(1 for _ in replace(history.archive, repository=repository).segments(1))
    repository.delete(history.bases[0].manifest.id)
    notes = await expired(repository)
    segments = list(replace(history.archive, repository=repository).segments(1))
    start = wal.position(history.cluster(1).start_lsn)
    assert [event for event, _ in notes] == ["log_expiring", "log_expired"]
    assert segments[0].start_position <= start < segments[0].end_position
    assert len(segments) < before
    for moment, last in ((Time(history.marks[14].at), 14), (Latest(), 19)):
        copy = site / str(last)
        await into_folder(Asked(repository, "shop", moment), copy, history.sought, quiet)
        assert await events_in(copy, ground) == history.until(last)
    with pytest.raises((Refused, Damaged)):
        await into_folder(Asked(repository, "shop", Time(history.marks[7].at)), site / "early", history.sought, quiet)


@pytest.mark.asyncio
async def test_who_was_killed_between_letting_go_and_deleting_is_followed_by_one_who_deletes_and_records_it(
    strongroom: OpenStrongroom,
):
    async with strongroom() as it:
        vault, repository, now = it.house.vault, it.house.vault.repository(), datetime.now(UTC)
        root = dated(repository, 30, kind=Kind.FULL)
        leaf = dated(repository, 29, kind=Kind.INCREMENTAL, parent=root.id, start=3 * SEGMENT_BYTES)
        full = dated(repository, 1, kind=Kind.FULL, start=5 * SEGMENT_BYTES)
        stays = [full.id, dated(repository, 0.5, kind=Kind.INCREMENTAL, parent=full.id, start=6 * SEGMENT_BYTES).id]
        for one in (root, leaf):
            await marked_at(it.site, repository, one, now - 4 * DAY, 3 * DAY)
        of, notes = repository.description.id, Notes()
        await vault.note(lambda register: register.let_go(of, leaf.id, (leaf.datasource, leaf.kind.value), "expired", "ada"))
        shown = due(await vault.recalled(), PLANS, now)
        await expire(await vault.recalled(), PLANS, shown, Expiry("ada", notes, vault))
        missing = vanished(await vault.recalled())
    assert ids(repository) == stays
    assert notes == [("backup_expired", leaf.id), ("backup_expiring", root.id), ("backup_expired", root.id)]
    assert (repository.storage.names(EXPIRY), missing) == ([], [])


@pytest.mark.asyncio
@pytest.mark.parametrize("signed", [True, False])
async def test_what_was_taken_away_before_it_might_go_is_on_record_as_missing(vault: Vault, *, signed: bool):
    """Who writes to the repository lays a mark beside, so that it looks as if a person had deleted it."""
    repository = vault.repository
    gone = dated(repository, 2)
    dated(repository, 1)
    if signed:
        marked(repository, gone, days_ago=1)
    else:
        (vault.root / EXPIRY).mkdir()
        (vault.root / EXPIRY / f"{gone.id}.json").write_text("{}")
    repository.delete(gone.id)
    assert await expired(repository) == [("backup_missing", gone.id)]
    assert repository.storage.names(EXPIRY) == []
