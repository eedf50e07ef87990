"""A report as one file for a browser: nothing is fetched, nothing runs, and it opens without a network.

The policy in it lets a browser use the style that is in it, which it knows by its sum, and nothing else.
"""

import base64
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from ostiary.recovery.markup import Markup, element, joined
from ostiary.recovery.report import Alarm, Objective, Report, Source, State
from ostiary.recovery.timeline import LANES, key, picture
from ostiary.recovery.words import counted, duration, moment
from ostiary_tools.backup.pace import size

_STYLE = Path(__file__).with_name("page.css")
_SHOWN = 10
"""Windows and backups that are listed; the picture has all."""


def page(report: Report) -> str:
    """All of it."""
    style = _STYLE.read_text(encoding="utf-8")
    sum_ = base64.b64encode(sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{sum_}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"Disaster recovery, {moment(report.made_at)}"),
        element("style", Markup(style)),  # ours, from a file of this program
    )
    return f"<!doctype html>\n{element('html', head, element('body', *_body(report)), lang='en')}\n"


def _body(report: Report) -> Iterator[Markup]:
    yield element("h1", "Disaster recovery")
    seen = f" The recovery key was last seen to decrypt {moment(report.proven_at)}." if report.proven_at else ""
    yield element("p", f"As of {moment(report.made_at)}. Backups are kept in {report.repository}.{seen}", class_="soft")
    yield _verdict(report)
    yield from _alarms(report.alarms)
    for source in report.sources:
        yield element("section", *_source(report, source))


def _verdict(report: Report) -> Markup:
    missed = report.missed
    if not missed:
        planned = any(source.planned for source in report.sources)
        words = "No objective is missed." if planned else "Nothing is planned, so there is no objective to miss."
        return element("p", words, class_="verdict good" if planned else "verdict")
    named = ", ".join(f"{one.name} of {source.name}" for source, one in missed)
    return element("p", f"Objectives missed: {named}.", class_="verdict bad")


def _source(report: Report, source: Source) -> Iterator[Markup]:
    yield element("h2", source.name)
    yield element("p", _covered(source), class_="soft")
    yield from (element("p", words, class_="soft") for words in _besides(source))
    yield from _alarms(source.alarms)
    if source.objectives:
        yield element("div", *map(_objective, source.objectives), class_="objectives")
    if source.taken or source.log.segments:
        lanes = element("div", *(element("div", name) for name in LANES), class_="lanes", aria_hidden="true")
        drawn = element("div", lanes, picture(report, source), class_="drawn")
        yield element("figure", drawn, element("figcaption", *key(source)))
    yield from _list("What can be restored", list(_windows(source)))
    yield from _list(f"Since {report.since:%Y-%m-%d}", list(source.changes))


def _covered(source: Source) -> str:
    newest = source.newest
    if newest is None:
        return "Not covered." if source.uncovered else "No backup."
    drill = newest.drill
    state = (
        "no drill has proven it"
        if drill is None
        else f"{'proven' if drill.passed else 'failed its drill'} {moment(drill.ended_at)}"
    )
    count = counted(len(source.taken), "backup")
    return f"{count}; the newest is {newest.kind}, {moment(newest.ended_at)}, {size(newest.stored_bytes)} stored, {state}."


def _besides(source: Source) -> Iterator[str]:
    if source.keeping:
        yield f"The log: {source.keeping}."
    if goes := [one.goes for one in source.taken if one.goes is not None]:
        yield f"{counted(len(goes), 'backup')} may go: no plan keeps them; the first can be deleted from {moment(min(goes))} on."


def _objective(one: Objective) -> Markup:
    met = one.state is State.MET
    measured = one.state.value if one.measured_s is None else duration(one.measured_s)
    return element(
        "div",
        element("div", one.name, class_="soft"),
        element("div", f"{'✓' if met else '✗'} {measured}", class_=f"measured {'good' if met else 'bad'}"),
        element("div", f"{duration(one.wanted_s)} at most: {one.state.value}", class_=None if met else "bad"),
        element("div", one.words, class_="soft"),
    )


def _windows(source: Source) -> Iterator[str]:
    for window in source.windows[: -_SHOWN - 1 : -1]:
        long = window.end > window.start
        yield f"any moment from {moment(window.start)} to {moment(window.end)}" if long else f"the moment {moment(window.start)}"
    if len(source.windows) > _SHOWN:
        yield f"and {len(source.windows) - _SHOWN} before these"


def _alarms(alarms: tuple[Alarm, ...]) -> Iterator[Markup]:
    if alarms:
        yield element("ul", *(element("li", f"⚠ {one.words}; {one.hint}") for one in alarms), class_="alarms")


def _list(heading: str, items: list[str]) -> Iterator[Markup]:
    if items:
        yield joined(element("h3", heading), element("ul", *(element("li", item) for item in items)))
