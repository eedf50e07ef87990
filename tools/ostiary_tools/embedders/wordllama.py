"""WordLlama: the mean of its tokens' vectors, from the weights and the tokenizer in the package `wordllama`.

They are read from the package's folder, and nothing of its code runs: that would fetch what it does not find, and set up logging
as it is imported. They are read once in a process, when they are first needed.
"""

import asyncio
import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary_tools.embedders.lengths import unit
from ostiary_tools.embedders.local_model import encodable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ostiary_tools.vectors.port import Matrix

DIMENSION = 256
_MAX_TOKENS = 512
"""It could read more; a mean over more tells little of any of them."""
_CHARS_A_TOKEN = 16
"""No token of its vocabulary is longer, so what is cut away before could not be read."""
_AT_ONCE = 2
"""Batches of all calls together that run in threads; the others wait, and hold nothing but their texts."""
_NOT_WORTH_A_THREAD = 400
"""Characters that take less time than a thread takes to begin."""
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Model:
    tokenizer: "Tokenizer"
    weights: "Matrix"
    """A row for each token."""


class WordLlama:
    """256 dimensions, some ten thousand short texts a second on one core."""

    dimension = DIMENSION
    normalised = True
    max_tokens = _MAX_TOKENS

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = f"wordllama-{'.'.join(version('wordllama').split('.')[:2])} l2_supercat {DIMENSION} normalised"
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def embed(self, texts: Sequence[str]) -> "Matrix":
        """A row of length 1 for each text, in their order."""
        if _model.cache_info().currsize and sum(map(len, texts)) < _NOT_WORTH_A_THREAD:
            return _embedded(texts)
        async with self._places:
            return await asyncio.to_thread(_embedded, texts)

    def tokens(self, text: str) -> int:
        """How many it is. Reads the model, if nobody has yet."""
        return len(_loaded().tokenizer.encode(encodable(text), add_special_tokens=False))

    async def close(self) -> None:
        """The model stays with the process."""


def sums(texts: Sequence[str]) -> "Matrix":
    """The sum of its tokens' vectors for each text, longer where they say more. On a thread: it may read the model."""
    import numpy as np  # heavy

    model = _loaded()
    read = [encodable(text[: _MAX_TOKENS * _CHARS_A_TOKEN]) for text in texts]
    rows = np.zeros((len(texts), DIMENSION), np.float32)
    # Text by text, so that the vectors of a text's tokens are still in the processor's cache when they are added.
    for row, found in zip(rows, model.tokenizer.encode_batch_fast(read, add_special_tokens=False), strict=True):
        np.add.reduce(model.weights.take(found.ids[:_MAX_TOKENS], axis=0), axis=0, out=row)
    return rows


def _embedded(texts: Sequence[str]) -> "Matrix":
    return unit(sums(texts))


def _loaded() -> _Model:
    with _loading:
        return _model()


@functools.cache
def _model() -> _Model:
    import numpy as np  # heavy, as are the next
    from safetensors import safe_open
    from tokenizers import Tokenizer

    found = find_spec("wordllama")
    folder = Path(found.origin or "").parent if found is not None else Path()
    with safe_open(folder / "weights" / f"l2_supercat_{DIMENSION}.safetensors", framework="np") as file:
        weights = np.ascontiguousarray(file.get_tensor("embedding.weight"), np.float32)
    return _Model(Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")), weights)
