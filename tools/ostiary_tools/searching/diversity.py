"""An order in which what is near is not said twice."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix


def diverse(relevance: "Sequence[float]", vectors: "Matrix", diversity: float) -> list[int]:
    """The places of all things, in a new order; with `diversity` 0 the most relevant first, with 1 the least alike.

    Maximal marginal relevance: next is always the thing with the highest
    `(1 - diversity) * relevance - diversity * (highest likeness to one that was taken)`, where likeness is the cosine:
    Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries",
    SIGIR 1998, whose lambda is `1 - diversity`. Relevance is brought to the range from 0 to 1 first, so that both weigh alike.
    The start of the order does not depend on how much of it is used.
    """
    # Part of an extra, and needed by who asks for it alone.
    import numpy as np

    if not len(relevance):
        return []
    relevant = _from_0_to_1(np.asarray(relevance, np.float64))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    likeness = np.full(len(relevant), -np.inf)
    order = [int(np.argmax(relevant))]
    left = np.ones(len(relevant), bool)
    for _ in range(len(relevant) - 1):
        left[order[-1]] = False
        likeness = np.maximum(likeness, unit @ unit[order[-1]])
        gain = np.where(left, (1 - diversity) * relevant - diversity * likeness, -np.inf)
        order.append(int(np.argmax(gain)))
    return order


def _from_0_to_1(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else values * 0 + 1
