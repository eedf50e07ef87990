"""What any store takes: vectors that can be compared, documents that are whole, texts and metadata that keep what they are.

Nothing of what is refused is quoted: a text or a value may be a secret.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.collection import Collection, Metric
from ostiary_tools.vectors.filters import And, Filter, Not, Or, Value
from ostiary_tools.vectors.port import Chunk

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix, Vector

KEY_BYTES = 1_000
TEXT_CHARS = 100_000
"""Of one chunk, far more than an embedder reads."""
FIELDS = 100
FIELD_CHARS = 200
VALUE_CHARS = 10_000
LIST_ITEMS = 1_000
CONDITIONS = 500
DEPTH = 32
LARGEST = 1e15
"""Of one element: the square of a longer one times 16,000 would no longer be told from infinity."""
SHORTEST = 1e-15
"""A vector that is shorter has no direction that float32 could tell."""
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LARGEST_INTEGER = 2**63 - 1


def matrix_of(collection: Collection, vectors: "Sequence[Vector] | Vector") -> "Matrix":
    """The vectors as rows of float32. Raises Refused where one has another dimension, is not finite, or cannot be compared."""
    import numpy as np  # an extra

    try:
        rows = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    except (ValueError, TypeError):
        raise _another_dimension(collection) from None
    if rows.ndim != 2 or rows.shape[1] != collection.embedding.dimension:  # noqa: PLR2004 a table of numbers
        raise _another_dimension(collection)
    largest = np.abs(rows).max(initial=0)  # of what holds no number it is none either
    if not math.isfinite(largest):
        raise Refused("vector", "a vector holds what is no finite number", "embed the text again, or leave it out")
    if largest > LARGEST:
        raise Refused("vector", "a vector holds a number too large to be compared", "scale the vectors, or normalise them")
    if collection.embedding.metric is Metric.COSINE and (np.linalg.norm(rows, axis=1) < SHORTEST).any():
        raise Refused("vector", "a vector of zeros has no direction that could be compared", "leave out texts that say nothing")
    return rows


def admit(chunks: Sequence[Chunk]) -> Mapping[str, Sequence[Chunk]]:
    """The chunks by document, in the order of their keys and numbers. Raises Refused unless each document is whole and storable."""
    documents = {key: tuple(of) for key, of in groupby(sorted(chunks, key=lambda one: (one.key, one.number)), lambda one: one.key)}
    for key, own in documents.items():
        _admit_key(key)
        if [chunk.number for chunk in own] != list(range(len(own))) or len({chunk.digest for chunk in own}) != 1:
            raise Refused("document", "a document must be given with all of its chunks, numbered from 0, under one digest")
        for chunk in own:
            if len(chunk.text) > TEXT_CHARS:
                raise Refused("text", f"a chunk is longer than {TEXT_CHARS} characters", "cut it into smaller ones")
            _admit_text(chunk.text, chunk.digest)
            admit_metadata(chunk.metadata)
    return documents


def storable(keys: Sequence[str]) -> list[str]:
    """Those of the keys that a document could have."""
    return [key for key in keys if not _UNSTORABLE.search(key)]


def admit_metadata(metadata: Mapping[str, Value]) -> None:
    """Raises Refused for names and values that a store could not keep as they are."""
    if len(metadata) > FIELDS:
        raise Refused("metadata", f"a document has more than {FIELDS} fields of metadata")
    for field, value in metadata.items():
        admit_field(field)
        _admit_value(value)


def admit_field(field: str) -> None:
    """Raises Refused for a name of a field that no store could have."""
    if not field or len(field) > FIELD_CHARS:
        raise Refused("metadata", f"the name of a field of metadata has 1 to {FIELD_CHARS} characters")
    _admit_text(field)


def admit_filter(condition: Filter, depth: int = 0) -> int:
    """How many conditions it is made of. Raises Refused for more than can be asked at once, and values that none could be."""
    match condition:
        case And(of) | Or(of):
            count = 1 + sum(admit_filter(one, depth + 1) for one in of) if depth < DEPTH else CONDITIONS + 1
        case Not(one):
            count = 1 + admit_filter(one, depth + 1) if depth < DEPTH else CONDITIONS + 1
        case _:
            admit_field(condition.field)
            given = getattr(condition, "values", getattr(condition, "value", getattr(condition, "part", ())))
            for value in given if isinstance(given, tuple) else (given,):
                _admit_value(value)
            count = 1
    if count > CONDITIONS:
        raise Refused("filter", f"a filter is nested deeper than {DEPTH}, or has more than {CONDITIONS} conditions", "ask for less")
    return count


def _admit_key(key: str) -> None:
    if not key or len(key.encode("utf-8", "replace")) > KEY_BYTES:
        raise Refused("key", f"the key of a document has 1 to {KEY_BYTES} bytes")
    _admit_text(key)


def _admit_value(value: object) -> None:
    match value:
        case bool():
            pass
        case str():
            if len(value) > VALUE_CHARS:
                raise Refused("metadata", f"a value of metadata is longer than {VALUE_CHARS} characters", "keep it in the text")
            _admit_text(value)
        case int() | float():
            if not math.isfinite(value) or (isinstance(value, int) and abs(value) > _LARGEST_INTEGER):
                raise Refused("metadata", "a number of metadata is not finite, or larger than 64 bits", "write it as a text")
        case tuple() if len(value) <= LIST_ITEMS and all(isinstance(item, str) for item in value):
            for item in value:
                _admit_value(item)
        case _:
            kinds = f"a text, a number, a boolean or a list of up to {LIST_ITEMS} texts"
            raise Refused("metadata", f"a value of metadata is {kinds}", "leave out nulls")


def _admit_text(*texts: str) -> None:
    if any(_UNSTORABLE.search(text) for text in texts):
        raise Refused("text", "a text holds a character that cannot be stored, U+0000 or half of a pair", "take it out")


def _another_dimension(collection: Collection) -> Refused:
    dimension = collection.embedding.dimension
    return Refused("dimension", f"the collection's vectors have {dimension} dimensions, and another was given", "use its embedder")
