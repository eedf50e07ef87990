"""What an embedder does. Implementations stand beside this module; `opening` chooses among them by configuration."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix


class Embedder(Protocol):
    """Turns texts into vectors, away from the event loop."""

    @property
    def name(self) -> str:
        """As configured."""
        ...

    @property
    def model(self) -> str:
        """Which model, with whatever else changes its vectors: two embedders that state the same model give the same vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Of its vectors."""
        ...

    @property
    def normalised(self) -> bool:
        """Every vector has length 1."""
        ...

    @property
    def max_tokens(self) -> int:
        """What it reads of one text; chunks are no longer."""
        ...

    async def embed(self, texts: Sequence[str]) -> "Matrix":
        """A row for each text, in their order.

        Raises Unavailable when the model cannot be reached in time, and EmbeddingFailed when it gave another number of vectors,
        another dimension, or what is no finite number.
        """
        ...

    def tokens(self, text: str) -> int:
        """How many it is, as near as can be told without asking a server."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...
