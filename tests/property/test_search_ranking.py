"""Rankings made of rankings: fusion, diversity and recommendation."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary_tools.errors import Refused
from ostiary_tools.searching.diversity import diverse
from ostiary_tools.searching.fusion import fused
from ostiary_tools.searching.likeness import given as given_vector
from ostiary_tools.searching.likeness import towards
from ostiary_tools.vectors.collection import Embedding, Metric

RANKINGS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), min_size=1, max_size=3)
NUMBERS = st.integers(-50, 50).map(lambda number: number / 8)
PLAIN = Embedding("e", "m", 3, normalised=False, metric=Metric.L2)
UNIT = Embedding("e", "m", 3, normalised=True, metric=Metric.COSINE)


def test_fusion_is_the_formula():
    assert fused([["a", "b"], ["b"]], (1, 1)) == pytest.approx({"a": 0.5, "b": (61 / 62 + 1) / 2})
    assert fused([["a", "b"], ["b"]], (3, 1)) == pytest.approx({"a": 0.75, "b": (3 * 61 / 62 + 1) / 4})


@given(RANKINGS)
def test_fused_scores_lie_between_0_and_1_and_all_things_have_one(rankings: list[list[int]]):
    scores = fused(rankings, [1.0] * len(rankings))
    assert scores.keys() == {thing for ranking in rankings for thing in ranking}
    assert all(0 < score <= 1 + 1e-9 for score in scores.values())


@given(RANKINGS, st.randoms(use_true_random=False))
def test_being_placed_higher_never_lowers_a_score(rankings: list[list[int]], random: Random):
    ranking = random.choice(rankings)
    if len(ranking) < 2:
        return
    place = random.randrange(1, len(ranking))
    thing = ranking[place]
    before = fused(rankings, [1.0] * len(rankings))[thing]
    ranking[place - 1], ranking[place] = ranking[place], ranking[place - 1]
    assert fused(rankings, [1.0] * len(rankings))[thing] > before


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.floats(0.1, 5))
def test_one_ranking_alone_keeps_its_order(ranking: list[int], weight: float):
    scores = fused([ranking], [weight])
    assert sorted(ranking, key=lambda thing: -scores[thing]) == ranking


def test_a_ranking_without_weight_only_adds_what_it_holds():
    scores = fused([["a"], ["b"]], (1, 0))
    assert scores == {"a": 1.0, "b": 0.0}


CASES = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12)


@given(CASES, st.floats(0, 1))
def test_a_diverse_order_holds_everything_once_and_begins_with_the_best(cases: list[tuple[float, ...]], diversity: float):
    relevance = [case[0] for case in cases]
    order = diverse(relevance, np.array([case[1:] for case in cases], np.float32), diversity)
    assert sorted(order) == list(range(len(cases)))
    assert relevance[order[0]] == max(relevance)


@given(CASES)
def test_without_diversity_the_order_is_by_relevance(cases: list[tuple[float, ...]]):
    relevance = [case[0] for case in cases]
    order = diverse(relevance, np.array([case[1:] for case in cases], np.float32), 0)
    assert [relevance[place] for place in order] == sorted(relevance, reverse=True)


@given(CASES, st.floats(0, 1))
def test_a_diverse_order_is_that_of_the_formula_by_hand(cases: list[tuple[float, ...]], diversity: float):
    relevance = np.array([case[0] for case in cases])
    vectors = np.array([case[1:] for case in cases], np.float32)
    order = diverse(list(relevance), vectors, diversity)
    spread = relevance.max() - relevance.min()
    relevant = (relevance - relevance.min()) / spread if spread else relevance * 0 + 1

    def cosine(a: int, b: int) -> float:
        lengths = float(np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b]))
        return float(vectors[a] @ vectors[b]) / lengths if lengths > 1e-30 else 0.0

    def gain(one: int, taken: list[int]) -> float:
        return (1 - diversity) * float(relevant[one]) - diversity * max(cosine(one, other) for other in taken)

    for place in range(1, len(order)):
        taken, left = order[:place], order[place:]
        assert gain(order[place], taken) >= max(gain(one, taken) for one in left) - 1e-4


def test_of_two_that_are_the_same_the_second_comes_last():
    assert diverse([1.0, 0.99, 0.5], np.array([[1, 0], [1, 0], [0, 1]], np.float32), 0.5) == [0, 2, 1]
    assert diverse([], np.zeros((0, 2), np.float32), 0.5) == []


def matrix(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 3)


def test_a_recommendation_is_the_formula():
    found = towards(np.array([1, 0, 0], np.float32), matrix((0, 2, 0), (0, 4, 0)), matrix((0, 0, 2)), PLAIN)
    assert found == pytest.approx(np.array([1, 0.75 * 3, -0.25 * 2]) / 1.5)
    assert towards(None, matrix((0, 2, 0)), matrix(), PLAIN) == pytest.approx([0, 2, 0])
    assert towards(None, matrix((0, 2, 0)), matrix(), UNIT) == pytest.approx([0, 1, 0])


def test_what_is_unliked_alike_leaves_no_direction():
    with pytest.raises(Refused, match="no direction"):
        towards(None, matrix((0, 0, 0)), matrix(), UNIT)


@given(st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3))
def test_a_vector_of_a_normalised_collection_is_normalised(values: list[float]):
    if math.hypot(*values) < 1e-9:
        return
    assert np.linalg.norm(given_vector(values, UNIT)) == pytest.approx(1)
    assert given_vector(values, PLAIN) == pytest.approx(values)


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4], [], [1, math.nan, 0], [math.inf, 0, 0], [1e39, 0, 0], [0, 0, 0]], ids=str)
def test_a_vector_that_is_none_of_the_collection_is_refused(values: list[float]):
    with pytest.raises(Refused) as refused:
        given_vector(values, UNIT)
    assert refused.value.rule == "vector"
    assert refused.value.hint
