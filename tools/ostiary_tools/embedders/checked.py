"""What every embedder is held to: as many vectors as texts, of its dimension, finite, and of the length that it states.

It is asked in batches, one after the other, so that however much there is to embed, what waits for it are texts.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import EmbeddingFailed, Refused

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

_OFF = 1e-3
"""How far from 1 the length of a normalised vector may be: half precision is."""
_NOT_WORTH_A_THREAD = 200_000
"""Numbers that are looked through in less than a millisecond."""


class Checked:
    """An embedder whose vectors can be stored and compared as they are."""

    def __init__(self, embedder: Embedder, batch: int, batch_chars: int) -> None:
        """Give it no more than `batch` texts at once, and of these no more than `batch_chars` characters, or one text."""
        self._embedder = embedder
        self._batch = batch
        self._batch_chars = batch_chars
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
        import numpy as np  # heavy

        if not all(text.strip() for text in texts):
            raise Refused("empty_text", "an empty text has no meaning to search by", "leave empty texts out")
        rows = np.empty((len(texts), self.dimension), np.float32)
        done = 0
        for batch in self._batches(texts):
            given = await self._embedder.embed(batch)
            large = len(batch) * self.dimension > _NOT_WORTH_A_THREAD
            checked = await asyncio.to_thread(self._checked, given, len(batch)) if large else self._checked(given, len(batch))
            rows[done : done + len(batch)] = checked
            done += len(batch)
        return rows

    def _batches(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        start = chars = 0
        for end, text in enumerate(texts):
            if end - start == self._batch or (end > start and chars + len(text) > self._batch_chars):
                yield texts[start:end]
                start, chars = end, 0
            chars += len(text)
        if start < len(texts):
            yield texts[start:]

    def _checked(self, given: object, count: int) -> "Matrix":
        import numpy as np  # heavy

        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told so below
            vectors = np.asarray(given, np.float32)
        if vectors.ndim != 2 or len(vectors) != count:  # noqa: PLR2004 rows and columns
            raise self._failed(f"{len(vectors) if vectors.ndim else 0} vectors for {count} texts")
        if vectors.shape[1] != self.dimension:
            raise self._failed(f"vectors of {vectors.shape[1]} dimensions instead of {self.dimension}")
        if not np.isfinite(vectors).all():
            raise self._failed("a vector that is no finite number")
        if self.normalised and np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > _OFF:
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
