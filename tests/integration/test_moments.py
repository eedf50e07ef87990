"""Restores to a moment: exact to the row, from the newest base before it, and never short of it."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from fix_backup import new_vault
from fix_damage import nothing
from fix_full import quiet
from fix_moments import SEGMENT, History, events_in, logged
from fix_retention import dated

from ostiary_tools.backup import wal
from ostiary_tools.backup.drill import Drill, hold
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.moment import Latest, Lsn, Moment, Name, Time, Transaction
from ostiary_tools.backup.restoring.bases import Asked, ways
from ostiary_tools.backup.restoring.cluster import RECOVERY
from ostiary_tools.backup.restoring.combining import laid_out
from ostiary_tools.backup.restoring.copies import Copying
from ostiary_tools.backup.restoring.folders import settle
from ostiary_tools.backup.restoring.moments import _held
from ostiary_tools.backup.restoring.survey import located
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.errors import Damaged, Refused

_TICK = timedelta(microseconds=1)


@pytest.mark.asyncio
async def test_a_time_is_that_of_the_commit_to_the_microsecond(history: History, site: Path, ground: Ground):
    """Event 70 was written before and committed after."""
    made = await history.restored(Time(history.marks[7].at), site / "copy")
    assert await events_in(site / "copy", ground) == [1, 2, 3, 4, 5, 6, 7]
    assert made.reached.base.manifest.id == history.bases[0].manifest.id
    assert made.reached.last == history.marks[7].at
    assert made.reached.following is not None
    assert made.reached.following > history.marks[7].at
    assert made.reached.clock is not None
    assert history.marks[6].at < made.reached.clock.at < history.marks[7].at


ASKED: dict[str, tuple[Callable[[History], Moment], int]] = {
    "before a commit": (lambda it: Time(it.marks[14].at - _TICK), 13),
    "at a commit": (lambda it: Time(it.marks[14].at), 14),
    "lsn": (lambda it: Lsn(it.marks[7].after), 7),
    "lsn after": (lambda it: Lsn(it.marks[12].after), 12),
    "transaction": (lambda it: Transaction(it.marks[12].xid), 12),
    "late transaction": (lambda it: Transaction(it.marks[70].xid), 70),
    "name": (lambda _: Name("before_four"), 3),
    "the end of a base": (lambda it: Lsn(wal.position(it.cluster(1).end_lsn)), 9),
    "right before the end of a base": (lambda it: Lsn(wal.position(it.cluster(1).end_lsn) - 1), 9),
    "latest": (lambda _: Latest(), 19),
}


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("asked", ASKED)
async def test_a_moment_is_exact_to_the_row(history: History, site: Path, ground: Ground, asked: str):
    moment, last = ASKED[asked][0](history), ASKED[asked][1]
    made = await history.restored(moment, site / "copy")
    assert await events_in(site / "copy", ground) == history.until(last)
    newer = wal.position(history.cluster(1).end_lsn) <= made.reached.position and not asked.startswith("right before")
    assert made.reached.base.manifest.id == history.bases[newer].manifest.id


@pytest.mark.slow
def test_a_moment_is_found_in_the_log(history: History, tmp_path: Path):
    it = logged(history, tmp_path)
    for moment, last in ((moment(history), last) for moment, last in ASKED.values()):
        stop = located(moment, it.feed, lambda _: None)
        assert stop.last is not None
        assert stop.last.at >= history.marks[last].at
        later = [mark for mark in history.marks.values() if mark.after > history.marks[last].after]
        assert all(stop.end < mark.after for mark in later)
        assert all(stop.last.at < mark.at for mark in later)


@pytest.mark.parametrize("moment", [Time, Latest])
def test_no_moment_is_taken_for_reached_past_a_segment_that_is_missing(history: History, tmp_path: Path, moment: type):
    asked = Latest() if moment is Latest else Time(history.marks[19].at - _TICK)
    it = logged(history, tmp_path)
    gone = it.lost(-2)
    with pytest.raises(Damaged, match="has a gap") as told:
        located(asked, it.feed, lambda _: None)
    assert told.value.what == gone


def test_what_comes_before_a_gap_is_reached(history: History, tmp_path: Path):
    it = logged(history, tmp_path)
    it.lost(-2)
    stop = located(Time(history.marks[8].at), it.feed, lambda _: None)
    assert stop.last is not None
    assert stop.last.at == history.marks[8].at


def test_a_log_that_ends_before_the_moment_is_told_with_how_far_it_goes(history: History, tmp_path: Path):
    it = logged(history, tmp_path)
    for moment in (Time(history.marks[19].at + timedelta(days=1)), Lsn(history.marks[19].after + 100 * SEGMENT)):
        with pytest.raises(Refused, match="the log is kept up to") as told:
            located(moment, it.feed, lambda _: None)
        assert "latest" in told.value.hint
    it.lost(-1)
    with pytest.raises(Refused, match="not beyond"):
        located(Time(history.marks[19].at), it.feed, lambda _: None)


def test_a_transaction_that_was_rolled_back_is_no_moment(history: History, tmp_path: Path):
    it = logged(history, tmp_path)
    with pytest.raises(Refused, match="rolled back"):
        located(Transaction(history.rolled_back), it.feed, lambda _: None)
    with pytest.raises(Refused, match="the kept log has no"):
        located(Transaction(history.rolled_back + 1000), it.feed, lambda _: None)


def test_no_transaction_is_taken_for_the_one_whose_number_has_the_same_half(history: History):
    """The log has the lower half of a number alone."""
    with pytest.raises(Refused, match="the kept log has no `xid:"):
        ways(history.asking(Transaction(history.marks[12].xid + wal.EPOCH)))


def test_a_backup_on_the_newest_timeline_needs_no_history_of_it(tmp_path: Path):
    repository = new_vault(tmp_path).repository
    dated(repository, 2, kind=Kind.FULL)
    newer = dated(repository, 1, kind=Kind.FULL, start=100, timeline=2)
    assert [way.base.manifest for way in ways(Asked(repository, "shop", Latest()))] == [newer]


def test_a_name_that_says_no_one_moment_is_refused_with_those_it_says(history: History):
    with pytest.raises(Refused, match="2 times") as told:
        ways(history.asking(Name("twice")))
    places = [wal.position(word.removeprefix("lsn:")) for word in told.value.hint.split() if word.startswith("lsn:")]
    assert history.marks[4].after < places[0] < history.marks[5].after < places[1] < history.marks[6].after
    with pytest.raises(Refused, match="has no `name:nowhere`"):
        ways(history.asking(Name("nowhere")))


def test_a_moment_before_the_first_backup_is_refused_with_the_first_that_can_be_restored(history: History):
    cluster = history.cluster(0)
    for moment in (Time(history.bases[0].manifest.started_at - _TICK), Lsn(wal.position(cluster.end_lsn) - 1), Transaction(3)):
        with pytest.raises(Refused, match="no backup was whole before") as told:
            ways(history.asking(moment))
        assert f"lsn:{cluster.end_lsn}" in told.value.hint


def test_what_a_flipped_bit_made_of_a_segment_is_not_repeated(history: History, tmp_path: Path):
    it = logged(history, tmp_path)
    it.flipped(-2)
    with pytest.raises(Damaged):
        located(Latest(), it.feed, lambda _: None)


def test_the_log_of_another_cluster_is_not_repeated(history: History, tmp_path: Path):
    """It lies in the place of ours, signed by us."""
    it = logged(history, tmp_path)
    it.feed.brought = it.of_another_cluster()
    with pytest.raises(Damaged, match="another cluster"):
        located(Latest(), it.feed, lambda _: None)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_drill_comes_to_some_second_that_the_log_leads_to(history: History, site: Path, ground: Ground):
    """And says to which."""
    copying = Copying(history.sought, ground.account)
    drill = Drill(copying, nothing, site / "spools", ground.account, "test", copying.moved)
    held = await hold(drill, history.vault.repository, history.bases[0].manifest.id, quiet)
    assert held.passed
    assert held.checks[-1].name == "moment"
    assert re.search(r"it is at `20\d\d-\d\d-\d\dT[\d:.]+Z`, stopped at", held.checks[-1].words)
    assert "its last transaction ended" in held.checks[-1].words


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_recovery_that_ends_early_is_never_called_done(history: History, site: Path, ground: Ground):
    """What was found in the log is gone when the server reads it: it ends, and where it is told of no target it lets in."""
    it = logged(history, site)
    stop = located(Latest(), it.feed, lambda _: None)
    data, base = site / "copy", history.bases[0]
    copy = await laid_out(base, data, ground, lambda _: None, lambda: None)
    settle(data, ground.account)
    assert copy.stretch.end < stop.end
    for settings in ({"recovery_target_lsn": wal.shown(stop.target)}, {}):
        async with serving(data, ground, "ostiary_admin", {**RECOVERY, **settings}) as server:
            with pytest.raises(Damaged, match=r"came to an end before the moment|recovery stopped at .* and not at"):
                await _held(server, stop, quiet)
