"""Policy files as text: newlines, where each policy begins, and the digest of them all.

Knows only as much of Cedar's grammar as it takes to find the semicolon that ends a
policy: strings and comments. Cedar names a policy by its position and gives no line.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)|"(?:[^"\\]|\\.)*"|(?P<end>;)|(?P<open>[(\[{])|(?P<close>[)\]}])"""
    r"""|(?P<operator>&&|\|\||[-+*!.]|\bif\b)|.""",
    re.DOTALL,
)
# Cedar's parser recurses without a bound of its own: 50 brackets overflow a thread's stack of 512 kB and end the process.
_MOST_NESTED = 20
_MOST_OPERATORS = 200


@dataclass(frozen=True, slots=True)
class Source:
    """One policy as it was written."""

    file: str
    line: int
    """Of its first character, from 1."""
    text: str


def normal(text: str) -> str:
    """Make line feeds the only line ends, so that a checkout on another system is the same policy."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def policies_in(file: str, text: str) -> Iterator[Source]:
    """Each policy of a normal text, in order; what follows the last semicolon is one too, unless it is empty."""
    begin = -1
    for token in _TOKEN.finditer(text):
        if begin < 0 and not token["space"]:
            begin = token.start()
        if token["end"]:
            yield Source(file, text.count("\n", 0, begin) + 1, text[begin : token.end()])
            begin = -1
    if begin >= 0:
        yield Source(file, text.count("\n", 0, begin) + 1, text[begin:])


def is_bounded(text: str) -> bool:
    """Whether a policy nests and chains little enough to be handed to Cedar's parser."""
    depth = deepest = operators = 0
    for token in _TOKEN.finditer(text):
        depth += bool(token["open"]) - bool(token["close"])
        deepest = max(deepest, depth)
        operators += bool(token["operator"])
    return deepest <= _MOST_NESTED and operators <= _MOST_OPERATORS


def digest(texts: Mapping[str, str]) -> str:
    """`sha256:` over every file in the order of names, each as `<bytes of name>:<name><bytes of text>:<text>` in UTF-8."""
    sha = hashlib.sha256()
    for name in sorted(texts):
        for part in (name.encode(), normal(texts[name]).encode()):
            sha.update(b"%d:" % len(part) + part)
    return f"sha256:{sha.hexdigest()}"
