"""What a document was when it was embedded: whoever finds the same digest need not embed it again."""

import hashlib
import json
from collections.abc import Mapping

from ostiary_tools.chunking.cutting import Chunking
from ostiary_tools.vectors.filters import Value

_VERSION = 1
"""Another one where the same text would be cut otherwise."""


def digest_of(text: str, metadata: Mapping[str, Value], chunking: Chunking, model: str) -> str:
    """SHA-256 in hexadecimal over a document, its metadata in whatever order, how it is cut, and what embeds it."""
    whole = [_VERSION, model, chunking.kind, chunking.size, chunking.overlap, text, dict(metadata)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
