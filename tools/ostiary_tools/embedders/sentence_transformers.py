"""A model of the package `sentence-transformers`, in a local folder."""

import asyncio
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostiary_tools.embedders import local_model

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix


class SentenceTransformersEmbedder:
    """Read when it is first needed, and run one batch at a time."""

    normalised = True

    def __init__(self, name: str, folder: Path | None, model: str, *, dimension: int, max_tokens: int) -> None:
        """Raises Refused where the folder does not hold it."""
        self.name = name
        self._folder = local_model.checked(name, folder, local_model.TOKENIZER)
        self.model = local_model.stated(model, self._folder, dimension)
        self.dimension = dimension
        self.max_tokens = max_tokens
        self._place = threading.Lock()

    async def embed(self, texts: Sequence[str]) -> "Matrix":
        """A row of length 1 for each text, in their order."""
        return await asyncio.to_thread(self._embedded, texts)

    def tokens(self, text: str) -> int:
        """How many it is, with those that the model puts around it."""
        return len(local_model.tokenizer(self._folder).encode(local_model.encodable(text)))

    async def close(self) -> None:
        """The model goes with this value."""

    def _embedded(self, texts: Sequence[str]) -> "Matrix":
        with self._place:
            readable = [local_model.encodable(text) for text in texts]
            vectors: Matrix = self._loaded.encode(readable, normalize_embeddings=True, show_progress_bar=False)
            return vectors

    @cached_property
    def _loaded(self) -> Any:
        from sentence_transformers import SentenceTransformer  # heavy
        from transformers.utils import logging

        logging.disable_progress_bar()  # it draws on stderr whatever logging says
        # No code of the folder's own is run, and no weights that would be unpickled are read.
        found = SentenceTransformer(
            str(self._folder.absolute()),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
            device="cpu",
        )
        found.max_seq_length = self.max_tokens
        return found
