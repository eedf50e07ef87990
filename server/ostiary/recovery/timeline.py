"""The picture of one source: its backups by kind, drills, the kept log with its gaps, and the moments that can be restored.

It is an SVG without a view box: places are in percent of its width and sizes in pixels, so it fits a telephone and a wall, and
nothing of it is stretched. Whatever is told by a colour is told by a shape, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostiary.recovery.markup import Markup, element, joined
from ostiary.recovery.report import Report, Source, Span
from ostiary.recovery.words import counted, moment

LANES = ("backups", "drills", "log", "restorable")
LANE = 30
"""Pixels."""
_AXIS = 20
_SHORTEST = timedelta(hours=1)
_TICKS = 4
_SHAPES = {
    "full": "M-6-6H6V6H-6Z",
    "incremental": "M0-6L6 5H-6Z",
    "logical": "M0-7L7 0L0 7L-7 0Z",
    "sqlite": "M0-7L7 0L0 7L-7 0Z",
}
_PASSED, _FAILED = "M-6 0L-2 5L6-5", "M-5-5L5 5M5-5L-5 5"


@dataclass(frozen=True, slots=True)
class Scale:
    """Of the axis."""

    start: datetime
    end: datetime

    def place(self, at: datetime) -> float:
        """In percent of the width; what is before it stands at its beginning. Marks at both ends are whole."""
        share = (at - self.start) / (self.end - self.start)
        return round(3 + 94 * min(max(share, 0.0), 1.0), 2)


def scale(report: Report, source: Source) -> Scale:
    """The report's month, or as much of it as there is something of."""
    known = [one.started_at for one in source.taken] + [span.start for span in source.log.spans]
    first = min([*known, report.made_at - _SHORTEST])
    return Scale(max(first, report.since), report.made_at)


def picture(report: Report, source: Source) -> Markup:
    """With words for who does not see it, and for each mark when it is pointed at."""
    axis, height = scale(report, source), LANE * len(LANES)
    labelled = element("title", f"Timeline of {source.name}")
    drawn = joined(*_lanes(axis, height), *_log(axis, source), *_restorable(axis, source), *_drills(axis, source))
    marks = joined(drawn, *_backups(axis, source))
    named = f"{summary(source)} From {moment(axis.start)} to {moment(axis.end)}."
    return element(
        "svg", labelled, element("desc", named), marks, class_="timeline", role="img", width="100%", height=height + _AXIS,
        aria_label=f"Timeline of {source.name}. {named}",
    )  # fmt: skip


def summary(source: Source) -> str:
    """What is in the picture, in a sentence."""
    failed = sum(not one.passed for one in source.drills)
    gaps, pieces = counted(len(source.log.gaps), "gap"), counted(len(source.log.spans), "piece")
    log = f"the log in {pieces} with {gaps}" if source.log.segments else "no log"
    return f"{counted(len(source.taken), 'backup')}, {counted(len(source.drills), 'drill')} of which {failed} failed, {log}."


def key(source: Source) -> Iterator[Markup]:
    """What the shapes mean, those that are in the picture."""
    for kind in dict.fromkeys(one.kind for one in source.taken):
        yield _key(_SHAPES.get(kind, _SHAPES["full"]), f"backup {_class(kind)}", kind)
    if any(not one.usable for one in source.taken):
        yield _key(_SHAPES["full"], "backup unusable", "not usable")
    for passed, shape, words in ((True, _PASSED, "drill passed"), (False, _FAILED, "drill failed")):
        if any(one.passed is passed for one in source.drills):
            yield _key(shape, words, words)
    if source.log.gaps:
        sample = element("rect", class_="gap", x=1, y=2, width=16, height=10)
        yield element("span", element("svg", sample, aria_hidden="true"), " gap in the log", class_="key")


def _key(shape: str, state: str, words: str) -> Markup:
    drawn = element("svg", element("path", class_=state, d=shape), x=9, y=7, overflow="visible")
    return element("span", element("svg", drawn, aria_hidden="true"), f" {words}", class_="key")


def _lanes(axis: Scale, height: int) -> Iterator[Markup]:
    for number in range(len(LANES)):
        middle = number * LANE + LANE / 2
        yield element("line", class_="lane", x1="0", x2="100%", y1=middle, y2=middle)
    for turn in range(_TICKS):
        at = axis.start + (axis.end - axis.start) * turn / (_TICKS - 1)
        x = f"{axis.place(at)}%"
        anchor = ("start", *("middle",) * (_TICKS - 2), "end")[turn]
        yield element("line", class_="tick", x1=x, x2=x, y1=0, y2=height)
        yield element("text", _label(axis, at), class_="tick", x=x, y=height + _AXIS - 5, text_anchor=anchor)


def _label(axis: Scale, at: datetime) -> str:
    return f"{at:%d %b}" if axis.end - axis.start > timedelta(days=4) else f"{at:%d %b %H:%M}"


def _backups(axis: Scale, source: Source) -> Iterator[Markup]:
    # The rarer kinds lie on top.
    for one in sorted(source.taken, key=lambda one: list(_SHAPES)[::-1].index(_class(one.kind))):
        state = "" if one.usable else " unusable"
        told = f"{one.kind} backup {one.id}, {moment(one.ended_at)}{', not usable' * (not one.usable)}"
        yield _mark(axis.place(one.ended_at), 0, _SHAPES.get(one.kind, _SHAPES["full"]), f"backup {_class(one.kind)}{state}", told)


def _drills(axis: Scale, source: Source) -> Iterator[Markup]:
    for one in source.drills:
        told = f"drill of {one.backup} {'passed' if one.passed else 'failed'} {moment(one.ended_at)}: {one.words}"
        shape, state = (_PASSED, "drill passed") if one.passed else (_FAILED, "drill failed")
        yield _mark(axis.place(one.ended_at), 1, shape, state, told)


def _log(axis: Scale, source: Source) -> Iterator[Markup]:
    for span in source.log.spans:
        yield _band(axis, span, 2, "log", f"the log is kept from {moment(span.start)} to {moment(span.end)}")
    for gap in source.log.gaps:
        told = f"a gap in the log from {moment(gap.span.start)} to {moment(gap.span.end)}: {gap.segment} is missing or not whole"
        yield _band(axis, gap.span, 2, "gap", told)


def _restorable(axis: Scale, source: Source) -> Iterator[Markup]:
    for window in source.windows:
        long = window.end > window.start
        told = f"any moment from {moment(window.start)} to {moment(window.end)}" if long else f"the moment {moment(window.start)}"
        yield _band(axis, window, 3, "window", f"can be restored: {told}")


def _mark(x: float, lane: int, shape: str, state: str, told: str) -> Markup:
    drawn = element("path", class_=state, d=shape)
    return element("svg", element("title", told), drawn, x=f"{x}%", y=lane * LANE + LANE / 2, overflow="visible")


def _band(axis: Scale, span: Span, lane: int, state: str, told: str) -> Markup:
    """Never so short that it is not seen."""
    start, end = axis.place(span.start), axis.place(span.end)
    width = max(end - start, 0.6)
    return element(
        "rect", element("title", told), class_=state, x=f"{min(start, 100 - width)}%", y=lane * LANE + 8,
        width=f"{round(width, 2)}%", height=LANE - 16, rx=2,
    )  # fmt: skip


def _class(kind: str) -> str:
    return kind if kind in _SHAPES else "full"
