"""Rows of a source as documents: their text by its template, their metadata by the types of its columns. Pure."""

import hashlib
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ostiary_tools.chunking.cutting import Kind
from ostiary_tools.chunking.digest import digest_of
from ostiary_tools.chunking.template import Template, parsed
from ostiary_tools.errors import Refused
from ostiary_tools.indexing.documents import MOST_BYTES, Document, about, chunking_of
from ostiary_tools.result import Rows
from ostiary_tools.vectors.admission import KEY_BYTES, admit_metadata
from ostiary_tools.vectors.collection import Collection, Source
from ostiary_tools.vectors.filters import Value

if TYPE_CHECKING:
    from ostiary_tools.embedders.port import Embedder

_INTEGERS = frozenset(("smallint", "integer", "bigint"))
_NUMBERS = ("numeric", "real", "double precision")
_LARGEST_INTEGER = 2**63 - 1


@dataclass(slots=True)
class Seen:
    """Which keys there were, eight bytes each: a million of them fit where their texts would not."""

    marks: "array[int]" = field(default_factory=lambda: array("Q"))

    def add(self, keys: Sequence[str]) -> None:
        """These too."""
        self.marks.extend(map(mark, keys))

    def sort(self) -> bool:
        """Have them in order, to be looked up; whether each is there once."""
        import numpy as np  # an extra

        ordered = np.sort(np.frombuffer(self.marks, np.uint64))
        self.marks = array("Q", ordered.tobytes())
        return not bool((ordered[1:] == ordered[:-1]).any())

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that were not among them. Of a trillion one may be taken for another."""
        import numpy as np  # an extra

        if not self.marks:
            return list(keys)
        known = np.frombuffer(self.marks, np.uint64)
        asked = np.fromiter(map(mark, keys), np.uint64, len(keys))
        places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
        return [key for key, found in zip(keys, known[places] == asked, strict=True) if not found]


@dataclass(frozen=True, slots=True)
class Rendering:
    """How rows of one source become documents."""

    source: Source
    template: Template
    columns: tuple[str, ...]
    """Of what is read, the key first."""
    collection: Collection
    embedder: "Embedder"

    @classmethod
    def of(cls, source: Source, columns: tuple[str, ...], collection: Collection, embedder: "Embedder") -> "Rendering":
        """For what was read. Raises Refused."""
        return cls(source, parsed(source.template, columns), columns, collection, embedder)

    def documents(self, page: Rows, before: int) -> tuple[list[Document], int]:
        """Those of a page behind so many rows, and how many rows have no text. Raises Refused with the number of a row."""
        chunking = chunking_of(self.collection, self.embedder, Kind.TEXT)
        model, types = self.collection.embedding.model, [head.type for head in page.columns]
        found, empty = [], 0
        for number, row in enumerate(page.rows, before + 1):
            key, called = row[0], f"row {number}"
            if key is None or not key or len(key.encode()) > KEY_BYTES:
                raise Refused(
                    "key", f"{called} has no key, or one longer than {KEY_BYTES} bytes", "choose a column that names each row"
                )
            values = dict(zip(self.columns, row, strict=True))
            if not any((values[column] or "").strip() for column in self.template.columns):
                empty += 1  # what the template adds by itself is the same for each
                continue
            text = self.template.filled(values)
            if len(text) > MOST_BYTES:
                raise Refused("size", f"{called} has a text longer than {MOST_BYTES // 10**6} MB", "take part of it with substr()")
            metadata = self._metadata(values, types, called)
            found.append(Document(key, text, metadata, chunking, digest_of(text, metadata, chunking, model), called))
        if len({one.key for one in found}) < len(found):
            raise ambiguous(self.source)
        return found, empty

    def _metadata(self, values: Mapping[str, str | None], types: Sequence[str], called: str) -> dict[str, Value]:
        by_name = dict(zip(self.columns, types, strict=True))
        typed = {name: _typed(values[name], by_name[name]) for name in self.source.metadata}
        given = {name: value for name, value in typed.items() if value is not None}
        try:
            admit_metadata(given)
        except Refused as error:
            raise about(called, error) from error
        return given


def ambiguous(source: Source) -> Refused:
    """The refusal of rows that share a key."""
    hint = f"choose another key than `{source.key}`, or rows that it tells apart"
    return Refused("key", "some rows have the same key, so that it is not certain which of them is found", hint)


def mark(key: str) -> int:
    """Eight bytes that stand for a key."""
    return int.from_bytes(hashlib.blake2b(key.encode(errors="replace"), digest_size=8).digest())


def _typed(value: str | None, type_: str) -> Value | None:
    """As filters compare it: numbers and booleans as such, all else as text. `None` is no field."""
    if value is None:
        return None
    if type_ in _INTEGERS:
        return int(value)
    if type_ == "boolean":
        return value in {"t", "true"}
    if type_.startswith(_NUMBERS):
        number = float(value)
        if not math.isfinite(number):
            return None
        return int(number) if number.is_integer() and abs(number) <= _LARGEST_INTEGER else number
    return value
