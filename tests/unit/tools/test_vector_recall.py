"""Recall as a number with known answers, and the efforts that are tried for it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary_tools.vectors.collection import Element, IndexKind, Layout, Tuning
from ostiary_tools.vectors.port import Candidate
from ostiary_tools.vectors.recall import AT, ladder, measured, others, recall, told, truth_of, warnings


def hits(*keys: int, score: float | None = None) -> list[Candidate]:
    """Chunks by number, the smaller the nearer unless a score is said."""
    return [Candidate(str(key), 0, 1 - key / 100 if score is None else score, "", {}) for key in keys]


TRUTH = truth_of(hits(*range(10)))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (hits(*range(10)), 1.0),
        (hits(*reversed(range(10))), 1.0),
        (hits(*range(5), *range(50, 55)), 0.5),
        (hits(*range(90, 100)), 0.0),
        (hits(), 0.0),
        (hits(1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 0.1),
    ],
)
def test_recall_is_the_share_of_the_truly_nearest(found: list[Candidate], expected: float):
    assert recall(found, TRUTH) == pytest.approx(expected)


def test_what_is_as_near_as_the_last_counts_as_found():
    """Many chunks may be the same text; which ten of them are told is chance."""
    truth = truth_of(hits(*range(10), score=1.0))

    assert recall(hits(*range(20, 30), score=1.0), truth) == 1.0
    assert recall(hits(*range(20, 30), score=0.999), truth) == 0.0


def test_a_question_is_no_answer_to_itself():
    found = hits(3, *range(10, 25))

    assert [one.key for one in others(found, "3#0")] == [str(number) for number in range(10, 20)]
    assert len(others(hits(*range(11)), "99#0")) == AT


def test_of_fewer_chunks_than_ten_all_are_to_be_found():
    assert recall(hits(0, 1), truth_of(hits(0, 1, 2, 3))) == 0.5
    assert recall([], truth_of([])) == 1.0


def test_the_error_is_that_of_the_mean():
    assert measured([1.0]).error == 0.0
    assert measured([1.0, 1.0, 1.0]) == measured([1.0])
    both = measured([0.5, 1.0])
    assert both.mean == 0.75
    assert both.error == pytest.approx(0.25)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_mean_of_recalls_is_a_recall(recalls: list[float]):
    found = measured(recalls)

    assert min(recalls) - 1e-12 <= found.mean <= max(recalls) + 1e-12
    assert 0 <= found.error <= 0.5 + 1e-12


@given(st.sampled_from(IndexKind), st.sampled_from(Element), st.integers(0, 32768).filter(lambda n: n != 1), st.integers(2, 10**8))
def test_efforts_rise_and_stay_within_what_stores_take(index: IndexKind, element: Element, lists: int, chunks: int):
    steps = ladder(Layout(index, element, lists=lists), chunks)

    assert steps
    assert len(set(steps)) == len(steps)
    assert [(one.ef_search, one.probes) for one in steps] == sorted((one.ef_search, one.probes) for one in steps)
    for one in steps:
        assert (one.ef_search > 0) == (index is IndexKind.HNSW)
        assert (one.probes > 0) == (index is IndexKind.IVFFLAT)
        assert 0 <= one.ef_search <= 1000
        assert 0 <= one.probes <= (lists or 32768)
        assert one.overfetch == 1 or element is Element.BIT
    if index is IndexKind.IVFFLAT and lists:
        assert steps[-1].probes == lists, "the last compares with every vector"


def test_growth_and_a_fallen_recall_are_warned_of():
    tuning = Tuning(0.95, 0.97, ef_search=80, chunks=1000)

    assert warnings(tuning, 1000) == warnings(tuning, 2000) == warnings(tuning, 500) == ()
    assert warnings(tuning, 2001) == ("it was measured at 1,000 chunks and holds 2,001 now",)
    assert warnings(tuning, 499) == ("it was measured at 1,000 chunks and holds 499 now",)
    assert warnings(replace(tuning, recall=0.9), None) == ("recall is below the target of 0.95",)


def test_an_effort_is_told_in_words():
    assert told(Tuning(0.9, 0.9, ef_search=80, overfetch=4)) == "ef_search 80, overfetch 4"
    assert told(Tuning(0.9, 0.9, probes=3)) == "probes 3"
    assert told(Tuning(0.9, 0.9)) == ""
