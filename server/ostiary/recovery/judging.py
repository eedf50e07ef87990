"""A report out of facts. Pure: the same facts give the same report, to the letter."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from ostiary.recovery import coverage
from ostiary.recovery.alarms import MONTH, alarms_of, alarms_of_all, vanished
from ostiary.recovery.changes import changes, parted
from ostiary.recovery.facts import Facts, Held, Live, Wanted
from ostiary.recovery.report import Drilled, Objective, Report, Source, Span, Taken
from ostiary.recovery.words import duration, moment
from ostiary_tools.backup.evidence import Evidence
from ostiary_tools.backup.manifest import Manifest

_UNTIL_UP = ("restore", "start")
"""The checks of a drill that a restore has, too, after all was read."""
_MOVED = "moment"
"""The check that restores it once more, with the log that leads on."""
_FOLLOWED = ("full", "incremental")
"""Kinds of backups that a log goes on from."""


def report(facts: Facts) -> Report:
    """How everything stands."""
    since = facts.now - MONTH
    names = dict.fromkeys((*facts.names, *facts.plans, *(made.datasource for made in facts.manifests)))
    sources = tuple(_source(facts, name, since) for name in names)
    gone = tuple(vanished(facts))
    return Report(facts.now, since, facts.repository, facts.proven_at, sources, (*gone, *alarms_of_all(facts)), len(gone))


def _source(facts: Facts, name: str, since: datetime) -> Source:
    manifests = [made for made in facts.manifests if made.datasource == name]
    taken = tuple(_taken(made, facts) for made in manifests)
    systems = dict.fromkeys(made.cluster.system_identifier for made in manifests if made.cluster is not None)
    logs = {system: coverage.paths(facts.segments.get(system, ()), facts.histories.get(system, {})) for system in systems}
    held = [one for made in manifests for one in facts.held.get(made.id, Held()).all]
    drills = tuple(sorted(map(_drilled, held), key=attrgetter("ended_at")))
    live = facts.live.get(name)
    windows = coverage.merged(
        coverage.window(made, logs[made.cluster.system_identifier] if made.cluster else (), live)
        for made, one in zip(manifests, taken, strict=True)
        if one.usable
    )
    plan = facts.plans.get(name)
    source = Source(
        name,
        facts.names.get(name, "nothing of that name is configured"),
        plan.schedules if plan else {},
        _objectives(plan, taken, windows, (facts.now, live)) if plan else (),
        taken,
        drills,
        coverage.log_of([found[-1] for found in logs.values() if found]),
        facts.external[name].tool if name in facts.external else "",
        live.words if live is not None else "",
        windows,
        changes=(*changes(manifests, drills, since), *parted([one for one in facts.let_go if one.datasource == name], since)),
    )
    return replace(source, alarms=tuple(alarms_of(source, plan, facts)))


def _taken(made: Manifest, facts: Facts) -> Taken:
    held = facts.held.get(made.id, Held()).counts
    drill = _drilled(held) if held is not None else None
    return Taken(
        made.id,
        made.kind.value,
        made.started_at,
        made.ended_at,
        made.stored_bytes,
        made.plain_bytes,
        made.fingerprint.rows if made.fingerprint else None,
        made.server_version,
        made.parent,
        all(_sound(each, facts) for each in _chain(made, facts)),
        drill,
        facts.goes.get(made.id),
    )


def _chain(made: Manifest, facts: Facts) -> Iterator[Manifest | None]:
    """The backup and what it builds on; `None` for what is not there."""
    known = {one.id: one for one in facts.manifests}
    seen: set[str] = set()
    at: Manifest | None = made
    while at is not None:
        yield at
        if at.parent is None:
            return
        seen.add(at.id)
        at = None if at.parent in seen else known.get(at.parent)
    yield None


def _sound(made: Manifest | None, facts: Facts) -> bool:
    held = facts.held.get(made.id, Held()).counts if made is not None else None
    return made is not None and (held is None or held.passed)


def _drilled(held: Evidence) -> Drilled:
    took = {check.name: check.seconds for check in held.checks}
    whole = sum(took.get(name, 0.0) for name in _UNTIL_UP)
    seconds = took.get("bytes", 0.0) + max(whole, took.get(_MOVED, 0.0))
    bad = [check for check in held.checks if check.damage]
    told = bad or [check for check in held.checks if check.name == "restore"] or list(held.checks)
    damage = bad[0].damage if bad else ("" if held.checks else "it looked at nothing")
    return Drilled(held.backup, held.ended_at, round(seconds, 3), damage, told[0].words if told else "")


def _objectives(
    plan: Wanted, taken: Sequence[Taken], windows: Sequence[Span], seen: tuple[datetime, Live | None]
) -> tuple[Objective, ...]:
    wanted = (
        ("recovery point", plan.recovery_point_s, _lost(taken, windows, *seen)),
        ("recovery time", plan.recovery_time_s, _until_up(taken, windows)),
    )
    return tuple(Objective(name, most_s, *measured) for name, most_s, measured in wanted if most_s is not None)


def _lost(taken: Sequence[Taken], windows: Sequence[Span], now: datetime, live: Live | None) -> tuple[float | None, str]:
    """How much work would be lost, or is between two backups."""
    if not windows:
        return None, "there is nothing that can be restored"
    newest = max(window.end for window in windows)
    lost = max((now - newest).total_seconds(), 0.0)
    if any(window.end > window.start for window in windows if window.end == newest):
        if live is not None and live.lag_s is not None and live.kept_until == newest:
            lost = live.lag_s  # by the server's clock alone
        return lost, f"the log is kept up to {moment(newest)}"
    usable = sorted(one.started_at for one in taken if one.usable)
    between = max(((after - before).total_seconds() for before, after in zip(usable[-2:], usable[-1:], strict=False)), default=0.0)
    if between > lost:
        return between, f"without the log all that comes between two backups is lost: {duration(between)} between the last two"
    return lost, f"without the log all that comes after the newest backup is lost: it was begun {moment(newest)}"


def _until_up(taken: Sequence[Taken], windows: Sequence[Span]) -> tuple[float | None, str]:
    """Of the way on which least is lost: where the log is kept, not of a backup that it does not go on from."""
    logged = any(window.end > window.start for window in windows[-1:])
    drills = [one.drill for one in taken if one.drill is not None and (not logged or one.kind in _FOLLOWED)]
    if not drills:
        return None, f"no drill was held of {'a backup that the log goes on from' if logged else 'what there is'}"
    last = max(drills, key=attrgetter("ended_at"))
    if not last.passed:
        return None, f"the last drill failed {moment(last.ended_at)}"
    return last.restore_s, f"the drill of {moment(last.ended_at)} took so long until its copy let in"
