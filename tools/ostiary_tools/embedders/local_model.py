"""A model in a folder of this machine. Nothing is ever fetched: what is not in the folder is not there."""

import asyncio
import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary_tools.errors import Refused

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ostiary_tools.vectors.port import Matrix

TOKENIZER = "tokenizer.json"
_LOOKED_AT = 1 << 20
"""Bytes at each end of a file: what was trained otherwise differs there, and a model of gigabytes is not read to open it."""
_FILES = 1000


class LocalModel(ABC):
    """An embedder whose model is read when it is first needed, and run one batch at a time: it takes all cores for itself."""

    normalised = True
    files: tuple[str, ...] = (TOKENIZER,)
    """What must be in the folder."""

    def __init__(self, name: str, folder: Path | None, model: str, *, dimension: int, max_tokens: int) -> None:
        """Raises Refused where the folder does not hold it."""
        self.name = name
        self._folder = checked(name, folder, *self.files)
        self.model = stated(model, self._folder, dimension)
        self.dimension = dimension
        self.max_tokens = max_tokens
        self._place = threading.Lock()

    async def embed(self, texts: Sequence[str]) -> "Matrix":
        """A row of length 1 for each text, in their order."""
        return await asyncio.to_thread(self._one_at_a_time, texts)

    def tokens(self, text: str) -> int:
        """How many it is, with those that the model puts around it."""
        return len(tokenizer(self._folder).encode(encodable(text)))

    async def close(self) -> None:  # noqa: B027  there is nothing to give back
        """The model goes with this value."""

    def _one_at_a_time(self, texts: Sequence[str]) -> "Matrix":
        with self._place:
            return self._embedded([encodable(text) for text in texts])

    @abstractmethod
    def _embedded(self, texts: Sequence[str]) -> "Matrix":
        """For one batch, on a thread."""


def checked(name: str, folder: Path | None, *files: str) -> Path:
    """The folder. Raises Refused where it, or one of these files in it, is not there."""
    for path in (folder, *((folder or Path()) / file for file in files)):
        if path is None or not path.exists():
            raise Refused("no_model", f"embedder `{name}` has no `{path}`", "put the model there; none is ever fetched")
    return folder or Path()


def stated(name: str, folder: Path, dimension: int) -> str:
    """How collections remember it: two folders with other files are other models, whatever they are called."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file())[:_FILES]:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_LOOKED_AT))
            file.seek(max(0, size - _LOOKED_AT))
            digest.update(file.read(_LOOKED_AT))
    return f"{name or folder.name} {digest.hexdigest()[:12]} {dimension} normalised"


@cache
def tokenizer(folder: Path) -> "Tokenizer":
    """That of the folder, to count with: it neither cuts nor pads."""
    from tokenizers import Tokenizer  # heavy

    found = Tokenizer.from_file(str(folder / TOKENIZER))
    found.no_truncation()
    found.no_padding()
    return found


def encodable(text: str) -> str:
    """Half of a surrogate pair, as JSON may hold, is no text to a tokenizer."""
    return text.encode("utf-8", "replace").decode()
