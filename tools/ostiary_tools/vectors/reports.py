"""What a collection looks like from afar: near-duplicates, clusters with labels, outliers.

Everything is of a sample, so that time and memory have a bound whatever the collection's size; who tells it says so. Clusters and
outliers are numbers over rows of length 1: the same rows give the same report.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Candidate, Reach, Searched, Tell
from ostiary_tools.vectors.recall import id_of, others

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix

SAMPLE = 5000
"""Rows at most."""
_BLOCK = 512
"""Rows that are compared with all others at once: 10 MB of products."""
_ROUNDS = 30
_STARTS = 4
"""Of which the one whose rows are nearest to their centres is kept; the seeds are fixed, so that the same rows give the same."""
_LABEL = 4
_RARE = 0.01
"""Added to both shares, so that a word of one text is no label of many."""
_WORD = re.compile(r"[^\W\d_]{3,}")
_NEIGHBOUR = 5
_SEARCHES_S = 60.0
"""Time for searching; of more chunks than that allows, the first are told of."""
_TOLD = 50
"""Searches between two words of progress."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two chunks that are nearly the same."""

    one: Candidate
    other: Candidate
    score: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rows that belong together."""

    rows: tuple[int, ...]
    """The most typical first."""
    label: tuple[str, ...]
    """Words that its texts have and others have not."""
    cohesion: float
    """Mean similarity to its centre."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A row that stands alone."""

    row: int
    similarity: float
    """To its fifth neighbour in the sample."""


def normalised(matrix: "Matrix") -> "Matrix":
    """Rows of length 1; of length 0 where a row has no direction."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.where(lengths == 0, 1, lengths), dtype=np.float32)


async def near_duplicates(
    store: Searched, collection: Collection, sample: Sequence[Candidate], least: float, tell: Tell
) -> tuple[list[Pair], int]:
    """Pairs of chunks whose score is at least that, the nearest first, and how many chunks were asked for: each is searched for."""
    found: dict[tuple[str, str], Pair] = {}
    until = time.monotonic() + _SEARCHES_S
    asked = 0
    for asked, one in enumerate(sample, 1):
        if one.vector is not None:
            for other in others(await store.nearest(collection, one.vector, Reach(_NEIGHBOUR + 1)), id_of(one)):
                if other.score >= least:
                    first, second = sorted((one, other), key=id_of)
                    found[id_of(first), id_of(second)] = Pair(first, second, other.score)
        if asked % _TOLD == 0:
            await tell(asked, len(sample), f"{asked} of {len(sample)} chunks searched for")
        if time.monotonic() > until:
            break
    return sorted(found.values(), key=lambda pair: (-pair.score, id_of(pair.one), id_of(pair.other))), asked


def outliers(matrix: "Matrix", most: int) -> list[Outlier]:
    """Those farthest from their fifth neighbour, the farthest first."""
    if len(matrix) <= _NEIGHBOUR:
        return []
    similar = np.empty(len(matrix), dtype=np.float32)
    for start in range(0, len(matrix), _BLOCK):
        products = matrix[start : start + _BLOCK] @ matrix.T
        here = np.arange(len(products))
        products[here, start + here] = -np.inf  # a row is no neighbour of itself
        similar[start : start + _BLOCK] = np.partition(products, -_NEIGHBOUR, axis=1)[:, -_NEIGHBOUR]
    return [Outlier(int(row), float(similar[row])) for row in np.argsort(similar, kind="stable")[:most]]


def clusters(matrix: "Matrix", texts: Sequence[str], count: int) -> list[Cluster]:
    """So many groups of rows at most, the largest first: spherical k-means, begun with rows far from each other."""
    if not len(matrix):
        return []
    tries = [_grouped(matrix, min(count, len(matrix)), seed) for seed in range(_STARTS)]
    belongs, centres = max(tries, key=lambda one: float(np.einsum("ij,ij->", matrix, one[1][one[0]])))
    labels = labelled(texts, belongs, len(centres))
    found = []
    for number, centre in enumerate(centres):
        rows = np.nonzero(belongs == number)[0]
        if len(rows):
            similar = matrix[rows] @ centre
            order = rows[np.argsort(-similar, kind="stable")]
            found.append(Cluster(tuple(map(int, order)), labels[number], float(similar.mean())))
    return sorted(found, key=lambda cluster: -len(cluster.rows))


def _grouped(matrix: "Matrix", count: int, seed: int) -> "tuple[NDArray[np.intp], Matrix]":
    """To which centre each row belongs, and the centres."""
    centres = _begun(matrix, count, seed)
    belongs = np.argmax(matrix @ centres.T, axis=1)
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, belongs, matrix)
        empty = np.linalg.norm(sums, axis=1) == 0
        centres = np.where(empty[:, None], centres, normalised(sums)).astype(np.float32)
        again = np.argmax(matrix @ centres.T, axis=1)
        if np.array_equal(again, belongs):
            break
        belongs = again
    return belongs, centres


def _begun(matrix: "Matrix", count: int, seed: int) -> "Matrix":
    """First centres by k-means++: each is drawn by how far it is from those before."""
    drawn = np.random.default_rng(seed)
    chosen = [int(drawn.integers(len(matrix)))]
    far = np.maximum(0.0, 1.0 - matrix @ matrix[chosen[0]]).astype(np.float64)
    while len(chosen) < count and far.sum() > 0:
        chosen.append(int(drawn.choice(len(matrix), p=far / far.sum())))
        far = np.minimum(far, np.maximum(0.0, 1.0 - matrix @ matrix[chosen[-1]]))
        far[chosen] = 0.0
    return np.asarray(matrix[chosen], dtype=np.float32)


def labelled(texts: Sequence[str], belongs: "Sequence[int] | NDArray[np.intp]", count: int) -> list[tuple[str, ...]]:
    """For each group the words by which its texts differ from the others: in many of its own, in few of theirs."""
    inside = [Counter[str]() for _ in range(count)]
    sizes = Counter[int]()
    for text, group in zip(texts, map(int, belongs), strict=True):
        inside[group].update(set(_WORD.findall(text.lower())))
        sizes[group] += 1
    everywhere = sum(inside, Counter[str]())
    return [_label(words, everywhere, sizes[group], len(texts)) for group, words in enumerate(inside)]


def _label(words: Counter[str], everywhere: Counter[str], size: int, total: int) -> tuple[str, ...]:
    def weight(word: str) -> float:
        own = words[word] / size
        theirs = (everywhere[word] - words[word]) / max(1, total - size)
        return own * math.log((own + _RARE) / (theirs + _RARE))

    heavy = sorted(words, key=lambda word: (-weight(word), word))[:_LABEL]
    return tuple(word for word in heavy if weight(word) > 0)
