"""What the gate measures of its calls: how many, how they ended, how long each stage took.

Plain numbers in the memory of one process, and a span per stage where tracing is set
up. It holds nothing of a call: names of tools come from the registry, outcomes from
a closed list, and no argument, text or caller is ever seen here.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from time import perf_counter
from uuid import UUID

from opentelemetry.trace import Span, StatusCode, Tracer, get_current_span

from ostiary.approvals import Asked, CannotAsk
from ostiary.errors import CallFailed, UnknownTool
from ostiary_policies.budgets import Measure, Window
from ostiary_tools.asking import InputNeeded

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of a histogram's buckets; a last one without a bound follows."""
UNKNOWN = "unknown"
"""Stands for every tool that the registry does not hold."""
OUTCOMES = frozenset(
    (
        *("ok", "cancelled", "unknown", "denied", "invalid_arguments", "refused", "not_recorded", "internal"),
        *("busy", "over_budget", "not_approved", "approval_waiting", "asked", "cannot_ask"),
        *("unavailable", "schema_changed", "timeout", "not_written", "max_cost", "max_rows_scanned", "replica"),
        *("locked", "outcome_unknown", "no_collection", "embedding", "damaged", "program"),
        "database_error",
    )
)
"""How a call can end: without a place, with a question, with nobody to ask; the last row is what the shipped tools can meet."""
OTHER = "other"
"""Stands for the code of a third party's tool."""


class Stage(StrEnum):
    """A part of a call's way."""

    ADMIT = "admit"
    RECORD = "record"
    RUN = "run"
    WHOLE = "whole"


STAGES_MEAN = {
    Stage.ADMIT: "the tool found, the call planned, decided and judged again, and recorded when it was refused",
    Stage.RECORD: "until the intent is durable, while the transaction opens",
    Stage.RUN: "from the permit to the recorded end, the wait for the intent included",
    Stage.WHOLE: "from the decoded call to its reply",
}


class Histogram:
    """Durations by bucket."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Meter:
    """The measures of one process. Used from its event loop alone, so nothing is locked."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self.in_flight = 0
        self.calls: Counter[tuple[str, str]] = Counter()
        """By tool and outcome."""
        self.budget_refusals: Counter[tuple[Measure, Window]] = Counter()
        """Calls refused, by the budget that had too little left."""
        self.budget_used: defaultdict[Measure, float] = defaultdict(float)
        """By calls that a budget of this measure counts."""
        self.durations = {stage: Histogram() for stage in Stage}

    @contextmanager
    def call(self, tool: str, call_id: UUID) -> Iterator[None]:
        """The whole of one call; what leaves the block says how it ended. `tool` is a name of the registry, or `UNKNOWN`."""
        started = perf_counter()
        self.in_flight += 1
        outcome = "ok"
        try:
            yield
        except BaseException as error:
            outcome = outcome_of(error)
            raise
        finally:
            self.in_flight -= 1
            self.calls[tool, outcome] += 1
            self.durations[Stage.WHOLE].observe(perf_counter() - started)
            if self._tracer is not None:
                # The SDK's span of the request; it wrote the name that the client gave.
                told = {"gen_ai.tool.name": tool, "ostiary.call_id": str(call_id), "ostiary.outcome": outcome}
                get_current_span().set_attributes(told)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """One stage of a call."""
        started = perf_counter()
        try:
            with self._span(stage) as span:
                try:
                    yield
                except BaseException:
                    # Without the exception: its text may hold what the caller wrote.
                    if span is not None:
                        span.set_status(StatusCode.ERROR)
                    raise
        finally:
            self.durations[stage].observe(perf_counter() - started)

    def _span(self, stage: Stage) -> AbstractContextManager[Span | None]:
        if self._tracer is None:
            return nullcontext()
        return self._tracer.start_as_current_span(f"ostiary.{stage}", record_exception=False, set_status_on_exception=False)


def outcome_of(error: BaseException) -> str:
    """One word of `OUTCOMES`, or `OTHER`."""
    match error:
        case UnknownTool():
            return UNKNOWN
        case CallFailed():
            return error.code if error.code in OUTCOMES else OTHER
        case Asked() | InputNeeded():
            return "asked"
        case CannotAsk():
            return "cannot_ask"
        case Exception():
            return "internal"
        case _:
            return "cancelled"
