"""Where a text may be cut: ladders of joints, coarse ones first. What is cut at a joint is put together again as it was.

Every expression here runs in time with the text's length, whatever the text is.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice

Joint = Callable[[str], Iterator[str]]
"""A text as its parts: none is lost, and each keeps what stands between it and the next."""
Joints = tuple[Joint, ...]
_HANDFUL = 16


def at(pattern: str) -> Joint:
    """After every place that matches."""
    boundary = re.compile(pattern, re.MULTILINE)

    def parts(text: str) -> Iterator[str]:
        start = 0
        for found in boundary.finditer(text):
            if found.end() > start:
                yield text[start : found.end()]
                start = found.end()
        if start < len(text):
            yield text[start:]

    return parts


def handfuls(text: str) -> Iterator[str]:
    """Some words at a time: counting each alone would take its time."""
    parts = words(text)
    while handful := "".join(islice(parts, _HANDFUL)):
        yield handful


paragraphs = at(r"\n[ \t]*\n\s*")
sentences = at(r"(?<=[.!?…])[\"'”’)\]]*\s+|[。！？]")  # noqa: RUF001 they end sentences in their scripts
lines = at(r"\n")
words = at(r"\s+")
PROSE: Joints = (paragraphs, sentences, lines, handfuls, words)
