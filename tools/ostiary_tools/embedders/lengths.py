"""Vectors of length 1."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix


def unit(vectors: "Matrix") -> "Matrix":
    """Each in its direction; one without any becomes no finite number, and is told so by who checks."""
    import numpy as np  # heavy

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
