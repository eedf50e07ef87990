import asyncio
from uuid import UUID

import pytest

from ostiary.approvals import Asked, CannotAsk
from ostiary.errors import Busy, CallFailed, Internal, UnknownTool
from ostiary.meter import BOUNDS_S, OTHER, OUTCOMES, Histogram, Meter, Stage, outcome_of
from ostiary.trace import trace_id, traceparent
from ostiary_tools import errors
from ostiary_tools.asking import InputNeeded
from ostiary_tools.errors import ToolError

CALL = UUID(int=7)


def test_every_error_a_tool_may_raise_has_its_word():
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ToolError)} - {ToolError}
    assert kinds
    assert {kind.code for kind in kinds} - OUTCOMES == set()


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (UnknownTool("drop"), "unknown"),
        (CallFailed("timeout", "too long"), "timeout"),
        (CallFailed("a code of a third party's", "what it says"), OTHER),
        (Internal(CALL), "internal"),
        (Busy("no place"), "busy"),
        (Asked("May it?", "state"), "asked"),
        (InputNeeded({}, ""), "asked"),
        (CannotAsk(), "cannot_ask"),
        (RuntimeError("a defect"), "internal"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_a_call_is_counted_by_how_it_ended(error: BaseException, word: str):
    meter = Meter()
    with pytest.raises(type(error)), meter.call("query", CALL):
        raise error

    assert outcome_of(error) == word
    assert meter.calls == {("query", word): 1}
    assert meter.in_flight == 0


def test_a_call_under_way_is_in_flight_and_not_yet_counted():
    meter = Meter()
    with meter.call("query", CALL):
        assert (meter.in_flight, meter.calls) == (1, {})
    assert sum(meter.durations[Stage.WHOLE].counts) == 1


def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_pass():
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[-1], BOUNDS_S[-1] + 1):
        histogram.observe(seconds)

    assert (histogram.counts[0], histogram.counts[-2], histogram.counts[-1]) == (2, 1, 1)
    assert histogram.sum_s == pytest.approx(BOUNDS_S[0] + 2 * BOUNDS_S[-1] + 1)


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        (GOOD, GOOD),
        (f"cc-{TRACE}-{SPAN}-01-of a later version", f"cc-{TRACE}-{SPAN}-01"),
        (f"{GOOD}-more", ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{'0' * 32}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (GOOD.upper(), ""),
        (f" {GOOD}", ""),
        (f"{GOOD}\n", ""),
        (f"{GOOD}'; drop table log", ""),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 1000}", ""),
        ("", ""),
        (None, ""),
        (["00"], ""),
        (7, ""),
    ],
)
def test_only_what_is_a_traceparent_is_kept_of_it(claimed: object, kept: str):
    assert traceparent(claimed) == kept
    assert trace_id(traceparent(claimed)) == (TRACE if kept else "")
