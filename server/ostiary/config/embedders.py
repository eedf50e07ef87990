"""The part of the table that says what turns texts into vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ostiary.config.callers import Url
from ostiary.config.secrets import BearerKey
from ostiary.config.section import Section, setting

_SERVER = frozenset({"url", "key", "model", "dimensions", "max_tokens", "batch", "batch_chars", "timeout_s"})
_FOLDER = frozenset({"folder", "model", "dimensions", "max_tokens", "batch"})
ANY_KIND = frozenset({"kind"})
TAKES: Mapping[str, frozenset[str]] = {
    "wordllama": frozenset({"batch"}),
    "openai": _SERVER,
    "sentence_transformers": _FOLDER,
    "onnx": _FOLDER,
}
"""What an embedder of each kind may be told besides its kind."""
NEEDS: Mapping[str, frozenset[str]] = {
    "wordllama": frozenset(),
    "openai": frozenset({"url", "model", "dimensions"}),
    "sentence_transformers": frozenset({"folder", "dimensions"}),
    "onnx": frozenset({"folder", "dimensions"}),
}
"""And what it must."""


class Embedder(Section):
    """What turns texts into vectors; `<name>` is what collections call it. With none, `wordllama` where it is installed."""

    kind: Literal["wordllama", "openai", "sentence_transformers", "onnx"] = setting(
        ...,
        "What it is: the model in the package `wordllama`, a server with OpenAI's `/v1/embeddings`, or a model in a local folder.",
        example="openai",
    )
    url: Url | None = setting(
        None, "Of a server, all before `/embeddings`; texts are sent there.", example="https://embeddings.example.com/v1"
    )
    key: BearerKey | None = setting(
        None, "Of a server that asks for one, sent as `Authorization: Bearer`.", example="env:EMBEDDER_KEY"
    )
    model: str | None = setting(
        None,
        "What the server calls the model; of a local model, what collections remember it by.",
        min_length=1,
        max_length=200,
        shown="the folder's name",
        example="text-embedding-3-small",
    )
    dimensions: int | None = setting(
        None, "Of its vectors; what has others is refused.", unit="dimensions", ge=1, le=16_000, example=1536
    )
    folder: Path | None = setting(
        None,
        "Of a local model, with `tokenizer.json` and, of kind `onnx`, `model.onnx`. Nothing is ever fetched.",
        example="models/all-MiniLM-L6-v2",
    )
    max_tokens: int = setting(512, "What the model reads of one text; chunks are no longer.", unit="tokens", ge=16, le=100_000)
    batch: int = setting(64, "Texts in one request, or given to a local model at once.", unit="texts", ge=1, le=10_000)
    batch_chars: int = setting(
        200_000, "Length of the texts in one request; a longer text goes alone.", unit="characters", ge=1_000, le=10_000_000
    )
    timeout_s: float = setting(
        60.0, "Time in which a server must have embedded a batch, tries included.", unit="seconds", gt=0, le=3600
    )
