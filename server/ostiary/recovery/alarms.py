"""What is wrong, as far as what is kept tells."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from ostiary.recovery.facts import Facts, Wanted
from ostiary.recovery.report import Alarm, Source, Taken
from ostiary.recovery.words import moment

MONTH = timedelta(days=31)
_YEAR = timedelta(days=366)
_NAMED = 3
"""Gaps that are told; the newest matter."""


def vanished(facts: Facts) -> Iterator[Alarm]:
    """What was kept and is not there."""
    yield from (Alarm(one.words, one.hint) for one in facts.vanished)


def alarms_of_all(facts: Facts) -> Iterator[Alarm]:
    """What is wrong with the repository itself, and with what is of nobody knows what."""
    if facts.unusable:
        yield Alarm(facts.unusable, facts.hint)
    elif facts.proven_at is not None and facts.now - facts.proven_at > _YEAR:
        hint = "run `ostiary backup prove --recovery-key FILE` where you have it"
        yield Alarm(f"the recovery key was last seen to decrypt {moment(facts.proven_at)}", hint)
    if facts.forgotten:
        yield Alarm(facts.forgotten, "let `ostiary worker` run; until then compare with what you know, such as an older report")
    for id_, words in facts.damaged.items():
        yield Alarm(f"the backup `{id_}` is damaged: {words}", "look who changed it; delete it once others are proven")
    for system, words in facts.unreadable_logs.items():
        yield Alarm(f"the kept log of the cluster {system} cannot be relied on: {words}", "take a full backup now")


def alarms_of(source: Source, plan: Wanted | None, facts: Facts) -> Iterator[Alarm]:
    """What is wrong with one source."""
    taken = source.taken
    if source.name in facts.external:
        yield from facts.external[source.name].alarms
    if source.uncovered:
        yield Alarm(f"it is not covered: {source.uncovered}", "give it a login for backups, or take it out of the plan")
        return
    if not taken:
        hint = f"look why {source.tool} makes none" if source.tool else "make one with `ostiary backup create`"
        yield Alarm("there is no backup of it", hint)
        return
    yield from _of_newest(taken[-1], facts.now, f"dr drill {source.name}" if source.tool else "drill")
    for one in taken:
        if not one.usable and one.drill is None:
            yield Alarm(f"the backup `{one.id}` builds on one that is gone, damaged or failed its drill", "take a full backup now")
    yield from _of_log(source, plan, facts)


def _of_log(source: Source, plan: Wanted | None, facts: Facts) -> Iterator[Alarm]:
    # Behind a gap that a later backup stands after, moments are lost for good, and there is nothing to do.
    last = source.windows[-1].start if source.windows else None
    for gap in [gap for gap in source.log.gaps if last is None or last < gap.span.start][-_NAMED:]:
        words = f"the kept log has a gap: `{gap.segment}` of {moment(gap.span.start)} is missing or not whole"
        yield Alarm(words, "take a full backup now: no copy of an earlier one comes past the gap")
    for one in source.taken:
        looked = facts.looked.get(one.id)
        if looked is not None and not looked.passed:
            words = f"the log that leads on from `{one.id}` was found damaged {moment(looked.ended_at)}: {looked.damage}"
            yield Alarm(words, "take a full backup now")
    live = facts.live.get(source.name)
    if live is not None:
        yield from live.alarms
    elif plan is not None and plan.keeps_log and not source.log.segments:
        yield Alarm("its plan has the log kept, and none is", "see that `ostiary worker` runs, and take a full backup")


def _of_newest(newest: Taken, now: datetime, drilling: str) -> Iterator[Alarm]:
    drill = newest.drill
    if drill is None:
        yield Alarm(f"its newest backup `{newest.id}` is unproven", f"hold a drill with `ostiary {drilling}`")
    elif not drill.passed:
        words = f"its newest backup `{newest.id}` failed its drill {moment(drill.ended_at)}: {drill.words}"
        yield Alarm(words, "make another backup now, and hold its drill")
    elif now - drill.ended_at > MONTH:
        yield Alarm(f"its last drill was {moment(drill.ended_at)}", f"hold one with `ostiary {drilling}`, or plan one")
