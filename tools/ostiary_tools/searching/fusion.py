"""Several rankings of the same things as one."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

CONSTANT = 60
"""Takes weight from the first places: with it, one first place is worth about two thirtieth ones."""

_Thing = TypeVar("_Thing", bound=Hashable)


def fused(rankings: Sequence[Sequence[_Thing]], weights: Sequence[float]) -> dict[_Thing, float]:
    """Each thing's score by reciprocal rank fusion, from 0 to 1; a weight for each ranking, and not all of them 0.

    The score is the sum over rankings of `weight / (60 + rank)`, ranks from 1, divided by what being first in all of them
    gives: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009, with its constant. The weights and the division are ours. It depends on places alone, so
    scores of different rankings need not compare.
    """
    best = sum(weights) / (CONSTANT + 1)
    scores: dict[_Thing, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, thing in enumerate(ranking, 1):
            scores[thing] = scores.get(thing, 0.0) + weight / (CONSTANT + rank) / best
    return scores


def ranks(ranking: Sequence[_Thing]) -> Mapping[_Thing, int]:
    """The place of each, from 1."""
    return {thing: rank for rank, thing in enumerate(ranking, 1)}
