"""The vector that is searched for: of words, of what is liked and of what is not."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.collection import Embedding, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix, Vector

_LIKED = 0.75
_UNLIKED = 0.25
_LARGEST = 3.4028234663852886e38
"""Of 32 bits."""


def given(values: Sequence[float], embedding: Embedding) -> "Vector":
    """A caller's vector as the collection's are. Raises Refused: wrong dimension, no finite number, without a direction."""
    import numpy as np  # part of an extra

    if len(values) != embedding.dimension:
        said = f"the vector has {len(values)} dimensions and the collection {embedding.dimension}"
        raise Refused("vector", said, f"give a vector of `{embedding.model}`, or `text`" if embedding.model else "give one as long")
    whole = np.asarray(values, np.float64)
    if not np.abs(whole).max() <= _LARGEST:  # nor is what is no number
        raise Refused("vector", "the vector holds what is no finite number of 32 bits", "give finite numbers alone")
    return _as_stored(whole, embedding)


def towards(asked: "Vector | None", liked: "Matrix", unliked: "Matrix", embedding: Embedding) -> "Vector":
    """What lies towards `asked` and `liked` and away from `unliked`; one of the first two is there.

    Rocchio's formula, `a * asked + b * mean(liked) - c * mean(unliked)` with a = 1, b = 0.75, c = 0.25: Rocchio, "Relevance
    feedback in information retrieval", 1971; the first two numbers as in Manning, Raghavan and Schütze, "Introduction to
    Information Retrieval", 2008, chapter 9. It is divided by a + b - c of what is there, so that for every metric the vector
    stays where the others are.
    """
    import numpy as np  # part of an extra

    parts = [] if asked is None else [(1.0, asked)]
    parts += [(_LIKED, liked.mean(axis=0))] if len(liked) else []
    parts += [(-_UNLIKED, unliked.mean(axis=0))] if len(unliked) else []
    vector = sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts)
    return _as_stored(np.asarray(vector, np.float64), embedding)


def _as_stored(vector: "NDArray[np.float64]", embedding: Embedding) -> "Vector":
    import numpy as np  # part of an extra

    length = math.sqrt(vector @ vector)
    if length == 0 and (embedding.normalised or embedding.metric is Metric.COSINE):
        raise Refused("vector", "the vector has no direction", "give one that is not zero, or other documents to `like`")
    return (vector / length if embedding.normalised else vector).astype(np.float32)
