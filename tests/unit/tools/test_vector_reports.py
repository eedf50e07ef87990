"""Clusters, their labels and outliers, of vectors made so that the answer is known."""

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="the extra `vector` is not installed")

from ostiary_tools.vectors.reports import clusters, labelled, normalised, outliers  # noqa: E402  needs what may be missing

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

RANDOM = np.random.default_rng(7)


def around(axis: int, count: int, dimension: int = 16) -> "Matrix":
    """Rows near one axis."""
    rows = RANDOM.normal(0, 0.05, (count, dimension))
    rows[:, axis] += 1
    return normalised(rows.astype(np.float32))


def test_rows_of_three_directions_are_three_clusters_with_their_words():
    matrix = np.concatenate([around(0, 30), around(5, 20), around(9, 10)])
    texts = ["the cat purrs"] * 30 + ["the stock falls"] * 20 + ["the boat sails"] * 10

    found = clusters(matrix, texts, 3)

    assert [set(cluster.rows) for cluster in found] == [set(range(30)), set(range(30, 50)), set(range(50, 60))]
    assert [cluster.label for cluster in found] == [("cat", "purrs"), ("falls", "stock"), ("boat", "sails")]
    assert all(cluster.cohesion > 0.95 for cluster in found)


def test_the_same_rows_give_the_same_clusters():
    matrix = normalised(RANDOM.normal(size=(200, 8)).astype(np.float32))
    texts = [f"word{number % 7}x" for number in range(200)]

    assert clusters(matrix, texts, 6) == clusters(matrix, texts, 6)


def test_rows_that_are_all_the_same_are_one_cluster():
    matrix = normalised(np.ones((12, 4), dtype=np.float32))

    [found] = clusters(matrix, ["same text"] * 12, 5)

    assert len(found.rows) == 12
    assert found.label == ("same", "text")


@given(st.integers(0, 40), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_every_row_is_in_one_cluster(count: int, groups: int, seed: int):
    matrix = normalised(np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32))

    found = clusters(matrix, [""] * count, groups)

    assert sorted(row for cluster in found for row in cluster.rows) == list(range(count))
    assert len(found) <= groups


def test_a_row_without_direction_breaks_nothing():
    matrix = np.concatenate([np.zeros((1, 16), dtype=np.float32), around(3, 12)])

    assert sorted(row for cluster in clusters(normalised(matrix), [""] * 13, 2) for row in cluster.rows) == list(range(13))
    assert outliers(normalised(matrix), 1)[0].row == 0


def test_words_that_all_have_are_no_label():
    [first, second] = labelled(["the red apple", "the red pear", "the blue sea", "the blue sky"], [0, 0, 1, 1], 2)

    assert first[0] == "red"
    assert second[0] == "blue"
    assert "the" not in first + second


def test_the_row_that_stands_alone_is_the_first_outlier():
    matrix = np.concatenate([around(0, 700), around(4, 600), around(8, 1)])

    found = outliers(matrix, 3)

    assert found[0].row == 1300
    assert found[0].similarity < 0.3
    assert found[1].similarity > 0.8


def test_too_few_rows_have_no_outlier():
    assert outliers(around(0, 5), 3) == []
    assert len(outliers(around(0, 6), 3)) == 3
