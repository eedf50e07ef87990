"""Budgets: how much of a measure an agent may use in a window of time, as permits state it.

    @budget_calls("60/minute, 1000/day")     calls
    @budget_rows("100000/day")               rows that leave, in a reply or a file
    @budget_bytes("10MB/hour")               bytes that leave; `kB`, `MB` and `GB` are powers of ten
    @budget_seconds("600/hour")              seconds in the database, and in the store that is searched
    @budget_masked_columns("20/hour")        different columns that are read through a mask; the same one again is free

Only says what is stated. Who counts, and where, is not known here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Measure(StrEnum):
    """What is counted."""

    CALLS = "calls"
    ROWS = "rows"
    BYTES = "bytes"
    SECONDS = "seconds"
    MASKED_COLUMNS = "masked_columns"


class Window(StrEnum):
    """Over which time."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        """Its length."""
        return _SECONDS[self]


@dataclass(frozen=True, slots=True, order=True)
class Budget:
    """An amount of a measure in a window."""

    measure: Measure
    window: Window
    amount: int

    def __str__(self) -> str:
        what = self.measure.removesuffix("s") if self.amount == 1 else self.measure
        return f"{self.amount:,} {what.replace('_', ' ')} {'an' if self.window is Window.HOUR else 'a'} {self.window}"


LEAST_BYTES = 1_000
"""A reply has its frame: with fewer bytes none can be given."""
NAMES = frozenset(f"budget_{measure}" for measure in Measure)
"""Of the annotations."""

_SECONDS = {Window.MINUTE: 60, Window.HOUR: 3_600, Window.DAY: 86_400}
_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_ONE = re.compile(r"([1-9][0-9]{0,11})(kB|MB|GB)?/(minute|hour|day)", re.ASCII)
_EXAMPLES = {
    Measure.CALLS: "`60/minute`",
    Measure.ROWS: "`100000/day`",
    Measure.BYTES: "`10MB/hour`",
    Measure.SECONDS: "`600/hour`",
    Measure.MASKED_COLUMNS: "`20/hour`",
}


def stated(annotations: Mapping[str, str]) -> tuple[Budget, ...]:
    """The budgets among these annotations, sorted. Raises ValueError for one out of its format."""
    found = (budget for measure in Measure for budget in _stated(measure, annotations.get(f"budget_{measure}")))
    return tuple(sorted(found))


def strictest(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """The least of each measure and window, sorted."""
    least: dict[tuple[Measure, Window], Budget] = {}
    for budget in sorted(budgets, key=lambda one: one.amount):
        least.setdefault((budget.measure, budget.window), budget)
    return tuple(sorted(least.values()))


def written(budgets: Iterable[Budget]) -> dict[str, str]:
    """As annotations, by name."""
    by_name: dict[str, list[str]] = {}
    for budget in sorted(budgets, key=lambda one: (one.measure, one.window.seconds)):
        by_name.setdefault(f"budget_{budget.measure}", []).append(f"{budget.amount}/{budget.window}")
    return {name: ", ".join(amounts) for name, amounts in by_name.items()}


def _stated(measure: Measure, text: str | None) -> Iterator[Budget]:
    if text is None:
        return
    windows: set[Window] = set()
    for part in text.split(","):
        found = _ONE.fullmatch(part.strip(" "))
        unit = (found[2] or "") if found else ""
        if not found or (unit and measure is not Measure.BYTES):
            raise ValueError(f"`@budget_{measure}` is amounts by minute, hour or day, such as {_EXAMPLES[measure]}, not `{text}`")
        window, amount = Window(found[3]), int(found[1]) * _UNITS[unit]
        if window in windows:
            raise ValueError(f"`@budget_{measure}` states the {window} twice")
        if measure is Measure.BYTES and amount < LEAST_BYTES:
            raise ValueError(f"`@budget_bytes` is at least {LEAST_BYTES} bytes, not `{part.strip(' ')}`")
        windows.add(window)
        yield Budget(measure, window, amount)
