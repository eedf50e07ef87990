"""A report for a terminal. What comes from elsewhere is put into one line, and repaints nothing."""

from collections.abc import Iterator

from ostiary.cli_options import one_line
from ostiary.recovery.outline import READ
from ostiary.recovery.report import Alarm, Objective, Report, Source, State
from ostiary.recovery.words import counted, duration, moment
from ostiary_tools.backup.pace import size

_SHOWN = 6
"""Windows that are told; a month of nightly backups has thirty moments."""


def lines(report: Report) -> Iterator[str]:
    """All of it."""
    yield f"disaster recovery as of {moment(report.made_at)}"
    seen = f"; the recovery key was last seen to decrypt {moment(report.proven_at)}" if report.proven_at else ""
    yield one_line(f"backups are kept in {report.repository}{seen}")
    yield from map(_alarm, report.alarms)
    for source in report.sources:
        yield ""
        yield from (one_line(line) for line in _source(source, report))
    yield ""
    missed = report.missed
    named = ", ".join(f"{one.name} of {source.name}" for source, one in missed)
    yield one_line(f"objectives missed: {named}") if missed else "no objective is missed"


def _source(source: Source, report: Report) -> Iterator[str]:
    yield f"{source.name}: {_covered(source)}"
    yield from (f"  {line}" for line in _restorable(source))
    if source.log.segments:
        about = "about " if source.log.segments > READ else ""  # of those that were not read, as much as of their neighbours
        kept = f"{counted(source.log.segments, 'segment')}, {about}{size(source.log.stored_bytes)} stored"
        yield f"  log: {kept}, {counted(len(source.log.gaps), 'gap')}"
    if source.keeping:
        yield f"  log: {source.keeping}"
    if goes := [one.goes for one in source.taken if one.goes is not None]:
        yield f"  {counted(len(goes), 'backup')} may go: no plan keeps them; the first can be deleted from {moment(min(goes))} on"
    yield from map(_objective, source.objectives)
    if not source.planned:
        yield "  plan: none, so nothing is backed up that nobody asked for"
    elif source.schedules:
        yield f"  plan: {', '.join(f'{what} {when}' for what, when in source.schedules.items())}"
    yield from map(_alarm, source.alarms)
    yield from (f"  since {report.since:%Y-%m-%d}: {change}" for change in source.changes)


def _covered(source: Source) -> str:
    newest = source.newest
    if newest is None:
        return "not covered" if source.uncovered else "no backup"
    count = counted(len(source.taken), "backup")
    drill = newest.drill
    state = "unproven" if drill is None else f"{'proven' if drill.passed else 'FAILED its drill'} {moment(drill.ended_at)}"
    return f"{count}, the newest {newest.kind} {moment(newest.ended_at)} ({newest.id}, {size(newest.stored_bytes)} stored), {state}"


def _restorable(source: Source) -> Iterator[str]:
    for window in source.windows[-_SHOWN:]:
        if window.start == window.end:
            yield f"restorable: the moment {moment(window.start)}"
        else:
            yield f"restorable: any moment from {moment(window.start)} to {moment(window.end)}"
    if len(source.windows) > _SHOWN:
        yield f"and {len(source.windows) - _SHOWN} moments before these"


def _objective(one: Objective) -> str:
    state = "met" if one.state is State.MET else one.state.value.upper()
    measured = "" if one.measured_s is None else f"{duration(one.measured_s)} "
    return f"  {one.name}: {state}, {measured}of {duration(one.wanted_s)} at most; {one.words}"


def _alarm(alarm: Alarm) -> str:
    return one_line(f"  ALARM: {alarm.words}; {alarm.hint}")
