"""Documents as they are given, and as they are cut. Pure; what is refused is named by its key or number, and never quoted."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from ostiary_tools.chunking.cutting import LARGEST, SMALLEST, Chunking, Kind, chunks_of
from ostiary_tools.chunking.digest import digest_of
from ostiary_tools.errors import Refused, ToolError
from ostiary_tools.identifiers import one_line
from ostiary_tools.vectors.admission import KEY_BYTES, admit_metadata
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.filters import Value
from ostiary_tools.vectors.known import KnownCollection

if TYPE_CHECKING:
    from ostiary_tools.embedders.port import Embedder

MOST = 1_000
MOST_BYTES = 5_000_000
"""Of the texts of one call."""
_TOKENS = 256
"""Of a chunk, where the embedder reads so many."""

_Field = bool | int | Annotated[float, Field(allow_inf_nan=False)] | str | tuple[str, ...]


class Given(BaseModel):
    """A document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    text: str
    kind: Kind = Kind.TEXT
    metadata: Annotated[Mapping[str, _Field], Field(max_length=100)] = Field(default_factory=dict)
    vector: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(description="Where none is made.")] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One text under one key, as it is to be indexed."""

    key: str
    text: str
    metadata: Mapping[str, Value]
    chunking: Chunking
    digest: str
    name: str
    """What it is called in a refusal."""
    vector: tuple[float, ...] = ()


def chunking_of(collection: Collection, embedder: "Embedder | None", kind: Kind) -> Chunking:
    """How its texts of that kind are cut."""
    reads = embedder.max_tokens if embedder is not None else LARGEST
    return Chunking(kind, max(SMALLEST, min(_TOKENS if collection.embedding.embedder else LARGEST, reads)))


def embeds(found: KnownCollection) -> "Embedder | None":
    """What makes its vectors; `None` where its callers bring them. Raises Refused when it cannot be had."""
    embedding = found.collection.embedding
    if not embedding.embedder:
        return None
    embedder = found.embedder
    if embedder is None:
        message = (
            f"the collection was made with the embedder `{embedding.embedder}`, which is not configured or has another model now"
        )
        raise Refused("embedder", message, "have it configured as it was, or create another collection and index into that")
    if embedder.dimension != embedding.dimension:
        message = f"the embedder gives {embedder.dimension} dimensions, and the collection has {embedding.dimension}"
        raise Refused("embedder", message, "create another collection and index into that")
    return embedder


def fitting(documents: tuple[Given, ...], delete: tuple[str, ...], collection: Collection) -> None:
    """Raises Refused where they are none that could be indexed there."""
    if sum(len(one.text.encode(errors="replace")) for one in documents) > MOST_BYTES:
        raise Refused(
            "size", f"the texts of one call are longer than {MOST_BYTES // 10**6} MB", "give fewer, or cut them into several"
        )
    keys: set[str] = set()
    for number, one in enumerate(documents, 1):
        called = named(number, one.key)
        _fitting(one, called, collection)
        if one.key in keys:
            raise Refused("key", f"{called} has the key of another one", "give each key once")
        keys.add(one.key)
    if both := keys.intersection(delete):
        raise Refused("key", f"{len(both)} keys are to be stored and deleted", "give each key once")


def document(given: Given, number: int, collection: Collection, embedder: "Embedder | None") -> Document:
    """As it is to be indexed. Raises Refused."""
    chunking = chunking_of(collection, embedder, given.kind)
    model = collection.embedding.model
    if given.vector:
        model = "given " + hashlib.sha256(repr(given.vector).encode()).hexdigest()
    digest = digest_of(given.text, given.metadata, chunking, model)
    return Document(given.key, given.text, given.metadata, chunking, digest, named(number, given.key), given.vector)


def named(number: int, key: str) -> str:
    """A given document in a refusal: its caller wrote the key, which may be anything."""
    return f"document {number} (`{one_line(key, 60)}`)" if key else f"document {number}"


def about(name: str, error: ToolError) -> ToolError:
    """The same error, of a document or row of that name."""
    if isinstance(error, Refused):
        return Refused(error.rule, f"{name}: {error.message}", error.hint, quotes=error.quotes)
    return error


def cut(one: Document, tokens: Callable[[str], int]) -> list[str]:
    """Its chunks. Raises Refused with its name. Takes time with its length."""
    try:
        return [one.text] if one.vector else chunks_of(one.text, one.chunking, tokens)
    except Refused as error:
        raise about(one.name, error) from error


def _fitting(one: Given, called: str, collection: Collection) -> None:
    if not one.key or len(one.key.encode(errors="replace")) > KEY_BYTES:
        raise Refused("key", f"{called} needs a key of 1 to {KEY_BYTES} bytes", "name it by its path or number")
    if not one.text.strip():
        raise Refused("empty_text", f"{called} has no text", "leave it out, or delete its key")
    brings = not collection.embedding.embedder
    if brings and len(one.vector) != collection.embedding.dimension:
        message = f"{called} needs a vector of {collection.embedding.dimension} dimensions and has {len(one.vector)}"
        raise Refused("dimension", message, "the collection has no embedder: bring a vector for each document")
    if not brings and one.vector:
        raise Refused("vector", f"{called} brings a vector, and the collection's are made by its embedder", "leave `vector` out")
    try:
        admit_metadata(one.metadata)
    except Refused as error:
        raise about(called, error) from error
