"""From what is configured to the embedders that there are. Nothing is loaded or asked before a text is embedded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from ostiary_tools.embedders.checked import Checked
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import Refused

BUNDLED = "wordllama"
"""Name of the embedder that there is without configuration."""


class Kind(StrEnum):
    """What may be configured."""

    WORDLLAMA = "wordllama"
    OPENAI = "openai"
    SENTENCE_TRANSFORMERS = "sentence_transformers"
    ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class EmbedderSettings:
    """One embedder as configured; what its kind has no use for is unset."""

    kind: Kind
    url: str = ""
    """Of an OpenAI-compatible server, up to and with `/v1`."""
    key: str = field(default="", repr=False)
    model: str = ""
    """What the server calls it, or what a local model is to be stated as; empty is the name of its folder."""
    dimensions: int = 0
    folder: Path | None = None
    """Of a local model."""
    max_tokens: int = 512
    batch: int = 64
    """Texts at once."""
    batch_chars: int = 200_000
    """Length of the texts in one request."""
    timeout_s: float = 60.0
    """For one batch, tries included."""


_MODULES: Mapping[Kind, tuple[tuple[str, ...], str]] = {
    Kind.WORDLLAMA: (("numpy", "safetensors", "tokenizers", "wordllama"), "vector"),
    Kind.OPENAI: (("numpy",), "vector"),
    Kind.SENTENCE_TRANSFORMERS: (("sentence_transformers",), "sentence-transformers"),
    Kind.ONNX: (("numpy", "onnxruntime", "tokenizers"), "onnx"),
}
"""What each kind imports, and the extra that brings it."""


def opened(configured: Mapping[str, EmbedderSettings]) -> dict[str, Embedder]:
    """By name, in their order; with none configured WordLlama, where it is installed.

    Raises Refused where a kind needs what is not installed, or a folder that is not there. Close each.
    """
    if not configured and not missing(Kind.WORDLLAMA):
        configured = {BUNDLED: EmbedderSettings(Kind.WORDLLAMA, batch=256)}
    return {name: _checked(name, settings) for name, settings in configured.items()}


def missing(kind: Kind) -> str:
    """The extra that has to be installed first; empty when there is all that this kind imports."""
    modules, extra = _MODULES[kind]
    return "" if all(find_spec(module) is not None for module in modules) else extra


def _checked(name: str, settings: EmbedderSettings) -> Checked:
    extra = missing(settings.kind)
    if extra:
        hint = f"run `pip install 'ostiary[{extra}]'`"
        raise Refused("not_installed", f"embedder `{name}` needs what is not installed here", hint)
    return Checked(_opened(name, settings), settings.batch, settings.batch_chars)


def _opened(name: str, settings: EmbedderSettings) -> Embedder:
    """Each kind imports its own."""
    sizes = {"dimension": settings.dimensions, "max_tokens": settings.max_tokens}
    match settings.kind:
        case Kind.WORDLLAMA:
            from ostiary_tools.embedders.wordllama import WordLlama

            return WordLlama(name)
        case Kind.OPENAI:
            from ostiary_tools.embedders.http import HttpEmbedder

            return HttpEmbedder(name, settings.url, settings.key, settings.model, timeout_s=settings.timeout_s, **sizes)
        case Kind.ONNX:
            from ostiary_tools.embedders.onnx import OnnxEmbedder

            return OnnxEmbedder(name, settings.folder, settings.model, **sizes)
        case Kind.SENTENCE_TRANSFORMERS:
            from ostiary_tools.embedders.sentence_transformers import SentenceTransformersEmbedder

            return SentenceTransformersEmbedder(name, settings.folder, settings.model, **sizes)
