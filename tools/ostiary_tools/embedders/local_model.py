"""A model in a folder of this machine. Nothing is ever fetched: what is not in the folder is not there."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary_tools.errors import Refused

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
_LOOKED_AT = 1 << 20
"""Bytes at each end of a file: what was trained otherwise differs there, and a model of gigabytes is not read to open it."""
_FILES = 1000


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
