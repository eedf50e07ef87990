"""The door: a document as the texts that are embedded, found and shown.

The same document with the same `Chunking` and count of tokens has the same chunks, and together they hold all of its text but
whitespace, in its order; besides that a chunk may begin with the headings it stands under. No chunk is longer than `size`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from ostiary_tools.chunking import json_lines, markdown, source_code
from ostiary_tools.chunking.joints import PROSE, Joints
from ostiary_tools.chunking.packing import Count, Pack
from ostiary_tools.chunking.sections import Section, grouped
from ostiary_tools.errors import Refused

SMALLEST = 16
LARGEST = 8192


class Kind(StrEnum):
    """What a text is, which says where it has joints."""

    TEXT = "text"
    MARKDOWN = "markdown"
    PYTHON = "python"
    CODE = "code"
    """In any other language."""
    JSON = "json"


_SUFFIXES = {
    **dict.fromkeys((".md", ".markdown", ".mdx"), Kind.MARKDOWN),
    **dict.fromkeys((".py", ".pyi"), Kind.PYTHON),
    **dict.fromkeys((".json",), Kind.JSON),
    **dict.fromkeys((".c", ".cc", ".cpp", ".cs", ".css", ".go", ".h", ".hpp", ".html", ".java", ".js", ".jsx", ".kt"), Kind.CODE),
    **dict.fromkeys((".lua", ".php", ".pl", ".r", ".rb", ".rs", ".scala", ".sh", ".sql", ".swift"), Kind.CODE),
    **dict.fromkeys((".toml", ".ts", ".tsx", ".xml", ".yaml", ".yml"), Kind.CODE),
}


@dataclass(frozen=True, slots=True)
class Chunking:
    """How documents are cut; part of their digest. Raises Refused for sizes that cut nothing sensible."""

    kind: Kind = Kind.TEXT
    size: int = 256
    """Tokens of a chunk at most, by the embedder's own count."""
    overlap: int = 0
    """Tokens that a chunk may repeat of the one before it."""

    def __post_init__(self) -> None:
        if not SMALLEST <= self.size <= LARGEST:
            raise Refused("chunking", f"a chunk has from {SMALLEST} to {LARGEST} tokens", "choose another `size`")
        if not 0 <= self.overlap <= self.size // 2:
            raise Refused("chunking", "an overlap is no more than half of a chunk", "choose a smaller `overlap`")


def kind_of(file: str) -> Kind:
    """What a file of that name holds, as far as its name tells."""
    return _SUFFIXES.get(PurePosixPath(file).suffix.lower(), Kind.TEXT)


def chunks_of(text: str, chunking: Chunking, tokens: Count) -> list[str]:
    """The chunks of one document, never none. Takes time with its length: call it from a thread.

    Raises Refused for a text that is empty, or is no JSON where it should be.
    """
    text = storable(text)
    pack = Pack(tokens, chunking.size, chunking.overlap)
    whole = pack.whole(text) if chunking.kind is not Kind.JSON else None
    chunks = [whole] if whole is not None else list(_CUTS[chunking.kind](text, pack))
    if not chunks:
        raise Refused("empty_text", "an empty text has no meaning to search by", "leave empty texts out")
    return chunks


def storable(text: str) -> str:
    """Without what no store takes: the character zero, and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def _as_json(text: str, pack: Pack) -> Iterator[str]:
    # Cut, since a document is its lines here; cleaned, since its escapes are characters now.
    for section in json_lines.sections(text):
        yield from pack.chunks(storable(section.text), PROSE, "", pack.path((storable(section.title),)))


def _as_text(text: str, pack: Pack) -> Iterator[str]:
    return pack.chunks(text, PROSE)


def _as_markdown(text: str, pack: Pack) -> Iterator[str]:
    return _by_sections(markdown.sections(text), markdown.JOINTS, pack)


def _as_python(text: str, pack: Pack) -> Iterator[str]:
    return _by_sections(source_code.python_sections(text), source_code.JOINTS, pack)


def _as_code(text: str, pack: Pack) -> Iterator[str]:
    return pack.chunks(text, source_code.JOINTS)


def _by_sections(sections: list[Section], joints: Joints, pack: Pack) -> Iterator[str]:
    for unit in grouped(sections, pack.size, pack.count):
        yield from pack.chunks(unit.text, joints, pack.path(unit.above), pack.path((*unit.above, unit.title)))


_CUTS: dict[Kind, Callable[[str, Pack], Iterator[str]]] = {
    Kind.TEXT: _as_text,
    Kind.MARKDOWN: _as_markdown,
    Kind.PYTHON: _as_python,
    Kind.CODE: _as_code,
    Kind.JSON: _as_json,
}
