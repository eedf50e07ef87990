"""What every embedder is held to: as many vectors as texts, of its dimension, finite, and of the length that it states."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import EmbeddingFailed, Refused

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

_OFF = 1e-3
"""How far from 1 the length of a normalised vector may be: half precision is."""
_NOT_WORTH_A_THREAD = 64


class Checked:
    """An embedder whose vectors can be stored and compared as they are."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name = embedder.name

    @property
    def model(self) -> str:
        """As the embedder states it."""
        return self._embedder.model

    @property
    def dimension(self) -> int:
        """As the embedder states it."""
        return self._embedder.dimension

    @property
    def normalised(self) -> bool:
        """As the embedder states it."""
        return self._embedder.normalised

    @property
    def max_tokens(self) -> int:
        """As the embedder states it."""
        return self._embedder.max_tokens

    async def embed(self, texts: Sequence[str]) -> "Matrix":
        """A row for each text, in their order. Raises Refused where one is empty, Unavailable and EmbeddingFailed."""
        if not all(text.strip() for text in texts):
            raise Refused("empty_text", "an empty text has no meaning to search by", "leave empty texts out")
        if not texts:
            return self._checked([], 0)
        given = await self._embedder.embed(texts)
        if len(texts) < _NOT_WORTH_A_THREAD:
            return self._checked(given, len(texts))
        return await asyncio.to_thread(self._checked, given, len(texts))

    def _checked(self, given: object, count: int) -> "Matrix":
        import numpy as np  # heavy

        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told so below
            vectors = np.asarray(given, np.float32) if count else np.empty((0, self.dimension), np.float32)
        if vectors.ndim != 2 or len(vectors) != count:  # noqa: PLR2004 rows and columns
            raise self._failed(f"{len(vectors) if vectors.ndim else 0} vectors for {count} texts")
        if vectors.shape[1] != self.dimension:
            raise self._failed(f"vectors of {vectors.shape[1]} dimensions instead of {self.dimension}")
        if not np.isfinite(vectors).all():
            raise self._failed("a vector that is no finite number")
        if self.normalised and count and np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > _OFF:
            raise self._failed("a vector whose length is not 1")
        return vectors

    def _failed(self, what: str) -> EmbeddingFailed:
        return EmbeddingFailed(
            f"embedder `{self.name}` gave {what}", "ask the operator to compare its configuration with its model"
        )

    def tokens(self, text: str) -> int:
        """As the embedder counts them."""
        return self._embedder.tokens(text)

    async def close(self) -> None:
        """Give back what the embedder holds."""
        await self._embedder.close()
