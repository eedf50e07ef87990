"""A model of the package `sentence-transformers`, in a local folder."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ostiary_tools.embedders import local_model

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix


class SentenceTransformersEmbedder(local_model.LocalModel):
    """Has the package run it."""

    def _embedded(self, texts: Sequence[str]) -> "Matrix":
        vectors: Matrix = self._loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
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
