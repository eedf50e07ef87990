"""What a report says, made from facts alone."""

import json
from dataclasses import replace

import pytest
from fix_recovery import NOW, SIZE, SYSTEM, ago, backup, drill, facts, held, piece

from ostiary.recovery.as_json import document
from ostiary.recovery.as_text import lines
from ostiary.recovery.facts import Facts, Held, Live, Wanted
from ostiary.recovery.judging import report
from ostiary.recovery.report import Alarm, Source, Span, State
from ostiary.recovery.words import duration
from ostiary_tools.backup import wal
from ostiary_tools.backup.evidence import Check
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.wal_archive.timelines import END, Leg


def shop(found: Facts) -> Source:
    """What the report says of it."""
    return next(source for source in report(found).sources if source.name == "shop")


def measured(found: Facts) -> list[tuple[float | None, State]]:
    """Of the shop, the recovery point and time."""
    return [(one.measured_s, one.state) for one in shop(found).objectives]


def alarms(found: Facts) -> list[str]:
    """Of the shop."""
    return [alarm.words for alarm in shop(found).alarms]


def test_without_any_backup_nothing_is_measured_and_every_objective_is_missed():
    found = facts()
    assert measured(found) == [(None, State.UNMEASURED)] * 2
    assert len(report(found).missed) == 2
    assert alarms(found) == ["there is no backup of it"]


def test_what_has_no_plan_misses_no_objective():
    found = facts(plans={})
    assert report(found).missed == ()
    assert alarms(found) == ["there is no backup of it"]


def test_without_the_log_what_may_be_lost_is_what_lies_between_two_backups():
    first, second = backup(25), backup(1)
    found = facts(first, second, plans={"shop": Wanted(86_400, 3600)})
    assert measured(found)[0] == (86_400.0, State.MET)
    assert measured(facts(backup(25.5), second, plans=found.plans))[0] == (88_200.0, State.MISSED)
    assert measured(facts(second, plans=found.plans))[0] == (3600.0, State.MET)


def test_what_was_committed_while_a_backup_was_made_counts_as_lost():
    assert shop(facts(backup(2))).windows == (Span(ago(2), ago(2)),)


def test_with_the_log_what_may_be_lost_is_what_came_after_its_last_commit():
    base = backup(10, Kind.FULL, segment=3)
    found = facts(base, segments={SYSTEM: (piece(3, 9.5), piece(4, 5), piece(5, 0.05, size=500))})
    assert measured(found)[0] == (216.0, State.MET)
    assert shop(found).windows == (Span(base.ended_at, ago(0.06)),)


def test_who_keeps_the_log_knows_of_the_time_after_its_last_commit_where_all_of_it_is_seen():
    base = backup(10, Kind.FULL, segment=3)
    segments = {SYSTEM: (piece(3, 9), piece(4, 8, size=5000))}
    live = Live(SYSTEM, wal.shown(4 * SIZE + 5000), ago(0.01), 12.0, "kept", (Alarm("the slot is lost", "take a full backup"),))
    found = facts(base, segments=segments, live={"shop": live})
    assert measured(found)[0] == (12.0, State.MET)
    assert shop(found).windows == (Span(base.ended_at, ago(0.01)),)
    assert "the slot is lost" in alarms(found)
    ahead = replace(live, kept_to=wal.shown(4 * SIZE + 5001))
    assert shop(facts(base, segments=segments, live={"shop": ahead})).windows[-1].end == ago(8.01), "it is not all there"
    other = replace(live, system_identifier="1")
    assert shop(facts(base, segments=segments, live={"shop": other})).windows[-1].end == ago(8.01)


def test_a_log_that_was_looked_at_and_is_damaged_is_an_alarm_and_what_may_go_is_said():
    base = backup(10, Kind.FULL, segment=3)
    found = facts(base, looked={base.id: drill(base, 1, "000000010000000000000004")}, goes={base.id: ago(-48)})
    assert any("was found damaged" in words for words in alarms(found))
    text = "\n".join(lines(report(found)))
    assert "1 backup may go: no plan keeps them; the first can be deleted from 2026-04-02 12:00:00Z on" in text


def test_behind_a_gap_of_the_log_nothing_is_restorable_until_the_next_base():
    base, later = backup(10, Kind.FULL, segment=3), backup(2, Kind.FULL, segment=7)
    segments = {SYSTEM: (piece(3, 9.5), piece(5, 4), piece(6, 3))}
    found = facts(base, segments=segments)
    assert shop(found).windows == (Span(base.ended_at, ago(9.51)),)
    assert [gap.segment for gap in shop(found).log.gaps] == ["000000010000000000000004"]
    assert any("`000000010000000000000004`" in words for words in alarms(found))
    found = facts(base, later, segments={SYSTEM: (*segments[SYSTEM], piece(7, 1), piece(8, 0.1))})
    assert shop(found).windows == (Span(base.ended_at, ago(9.51)), Span(later.ended_at, ago(0.11)))
    assert not any("gap" in words for words in alarms(found))


def test_after_a_tail_that_was_never_filled_there_is_a_gap():
    found = facts(backup(10, Kind.FULL, segment=3), segments={SYSTEM: (piece(3, 9, size=600), piece(4, 1))})
    assert [gap.segment for gap in shop(found).log.gaps] == ["000000010000000000000003"]
    assert shop(found).windows[-1].end == ago(9.01)


def test_the_log_of_another_timeline_takes_no_base_further():
    found = facts(backup(10, Kind.FULL, segment=3), segments={SYSTEM: (piece(3, 1, timeline=2),)})
    assert shop(found).windows == (Span(ago(10), ago(10)),)


def test_a_base_is_played_on_through_a_promotion_where_its_history_is_kept():
    base = backup(10, Kind.FULL, segment=3)
    log = (piece(3, 9), piece(4, 8), piece(5, 7), piece(5, 4, timeline=2), piece(6, 3, timeline=2))
    legs = (Leg(1, 0, 5 * SIZE + 300), Leg(2, 5 * SIZE + 300, END))
    found = facts(base, segments={SYSTEM: log}, histories={SYSTEM: {2: legs}})
    assert shop(found).windows == (Span(base.ended_at, ago(3.01)),)
    assert shop(found).log.gaps == ()
    late = backup(6, Kind.FULL, segment=5)
    late = replace(late, cluster=replace(late.cluster, end_lsn=wal.shown(5 * SIZE + 900)) if late.cluster else None)
    lost = facts(late, segments={SYSTEM: log}, histories={SYSTEM: {2: legs}})
    assert shop(lost).windows == (Span(ago(6), ago(6)),), "it is on the timeline that was left"


def test_a_segment_that_nobody_could_look_into_counts_up_to_when_it_came():
    found = facts(backup(10, Kind.FULL, segment=3), segments={SYSTEM: (piece(3, 2, contents=False),)})
    assert shop(found).windows[-1].end == ago(2)


def test_a_backup_that_failed_its_drill_is_nothing_that_can_be_restored():
    good, bad = backup(30), backup(1)
    found = facts(good, bad, held={good.id: held(drill(good, 20)), bad.id: held(drill(bad, 0.5, 'table "orders"'))})
    assert shop(found).windows == (Span(ago(30), ago(30)),)
    assert measured(found) == [(30 * 3600.0, State.MISSED), (None, State.UNMEASURED)]
    assert any("failed its drill" in words for words in alarms(found))


def test_a_restore_takes_as_long_as_the_last_drill_until_its_copy_let_in():
    made = backup(1)
    found = facts(made, held={made.id: held(drill(made, 0.9, restore_s=9000), drill(made, 0.5))})
    assert measured(found)[1] == (43.0, State.MET)
    slow = facts(made, held={made.id: held(drill(made, 0.5, restore_s=4000))})
    assert measured(slow)[1] == (4003.0, State.MISSED)


def test_where_the_log_is_kept_only_drills_of_what_it_goes_on_from_measure_a_restore():
    base, nightly = backup(10, Kind.FULL, segment=3), backup(5)
    followed = {SYSTEM: (piece(3, 9), piece(4, 0.05))}
    known = {nightly.id: held(drill(nightly, 1))}
    assert measured(facts(base, nightly, held=known, segments=followed))[1] == (None, State.UNMEASURED)
    assert measured(facts(base, nightly, held=known))[1] == (43.0, State.MET)
    moved = drill(base, 2, restore_s=20)
    moved = replace(moved, checks=(*moved.checks, Check("moment", "it came to some moment", 900.0)))
    known |= {base.id: held(moved)}
    assert measured(facts(base, nightly, held=known, segments=followed))[1] == (901.0, State.MET), "the log is played, too"


def test_a_drill_that_may_hide_a_newer_failure_measures_nothing():
    made = backup(1)
    found = facts(made, held={made.id: Held((drill(made, 0.5),), None)})
    assert measured(found)[1] == (None, State.UNMEASURED)
    assert any("unproven" in words for words in alarms(found))


def test_a_backup_whose_parent_is_gone_or_failed_is_not_usable():
    base = backup(10, Kind.FULL)
    child = backup(5, Kind.FULL, parent=base.id)
    assert [one.usable for one in shop(facts(base, child)).taken] == [True, True]
    assert [one.usable for one in shop(facts(child)).taken] == [False]
    failed = facts(base, child, held={base.id: held(drill(base, 1, "pages"))})
    assert [one.usable for one in shop(failed).taken] == [False, False]
    assert shop(failed).windows == ()
    circle = replace(base, parent=child.id)
    assert [one.usable for one in shop(facts(circle, child)).taken] == [False, False]


def test_what_has_no_login_for_backups_is_said_to_be_uncovered():
    found = facts(names={"shop": "it has no login for backups (`backup_dsn`)"})
    assert alarms(found) == ["it is not covered: it has no login for backups (`backup_dsn`)"]


def test_a_plan_for_what_is_not_there_misses_its_objectives():
    found = facts(plans={"ghost": Wanted(1, 1)})
    assert {source.name for source, _ in report(found).missed} == {"ghost"}


def test_a_log_that_is_planned_and_not_kept_is_an_alarm():
    found = facts(backup(1, Kind.FULL), plans={"shop": Wanted(300, 3600, keeps_log=True)})
    assert any("has the log kept, and none is" in words for words in alarms(found))


def test_what_is_of_nobody_knows_what_is_an_alarm_of_the_whole():
    found = facts(damaged={"x": "its signature is wrong"}, unreadable_logs={SYSTEM: "a description"}, proven_at=ago(24 * 400))
    told = [alarm.words for alarm in report(found).alarms]
    assert [words.split(" ")[1] for words in told] == ["recovery", "backup", "kept"]


def test_changes_are_held_against_the_backup_of_a_month_ago():
    old = backup(24 * 32, server_version="18.4")
    older, new = backup(24 * 60, server_version="17.1"), backup(1)
    found = facts(older, old, new, held={old.id: held(drill(old, 24 * 31.5)), new.id: held(drill(new, 0.5, restore_s=400))})
    told = "\n".join(shop(found).changes)
    assert "1 backup made (1 logical), 1 drill held, 0 of them failed" in told
    assert "the server was 18.4 on 2026-02-27 12:06:00Z, and is 18.6" in told
    assert "a restore took 43 s on 2026-02-28 00:00:00Z, and takes 6.7 min" in told


def test_hostile_names_repaint_no_terminal():
    hostile = "shop\x1b[2J\n  recovery point: met\u202e"
    text = list(lines(report(facts(backup(1, of=hostile), names={hostile: ""}, plans={hostile: Wanted(1, 1)}))))
    assert all(line.isprintable() for line in text)
    assert not [line for line in text if line.startswith("  recovery point: met")]


def test_the_text_and_the_document_say_the_same():
    made = backup(1, Kind.FULL, segment=3)
    found = facts(made, held={made.id: held(drill(made, 0.5))}, segments={SYSTEM: (piece(3, 0.05, size=SIZE),)})
    text, told = "\n".join(lines(report(found))), document(report(found))
    assert f"disaster recovery as of {NOW:%Y-%m-%d %H:%M:%S}Z" in text
    assert "recovery point: met, 3.6 min of 5 min at most" in text
    assert "restorable: any moment from 2026-03-31 11:06:00Z to 2026-03-31 11:56:24Z" in text
    [source, _] = json.loads(json.dumps(told))["sources"]
    assert [(one["name"], one["state"]) for one in source["objectives"]] == [("recovery point", "met"), ("recovery time", "met")]
    assert source["windows"] == [{"start": "2026-03-31T11:06:00+00:00", "end": "2026-03-31T11:56:24+00:00"}]
    assert told["missed"] == []


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.25, "0.25 s"), (43, "43 s"), (300, "5 min"), (7200, "2 h"), (86_400 * 3, "3 days"), (0, "0 s")]
)
def test_durations_are_told_for_people(seconds: float, told: str):
    assert duration(seconds) == told
