"""Verified examples: questions that were asked before, with the SQL that answers them, as people wrote and reviewed them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ostiary_tools.words import FILLERS, words

_LEAST_ALIKE = 0.15


@dataclass(frozen=True, slots=True)
class Example:
    """One example as it stands in its file."""

    datasource: str
    question: str
    sql: str
    note: str
    file: str
    line: int
    """Of the file, from one, where it begins."""


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example that its caller may run, as it is shown to him."""

    question: str
    sql: str
    """On one line, without comments."""
    note: str
    relations: tuple[tuple[str, str], ...]
    """Schema and name of those it reads."""
    likeness: float
    """To the caller's question, above 0 and at most 1."""


def alike(question: str, examples: Iterable[Example]) -> list[tuple[float, Example]]:
    """Those that are about the same as the question, most alike first.

    How alike two texts are depends on nothing but their words: an example that the caller may not see changes nothing
    about the others.
    """
    asked = _telling(question)
    found = [(_likeness(asked, example), example) for example in examples]
    return sorted(((like, one) for like, one in found if like >= _LEAST_ALIKE), key=lambda f: (-f[0], f[1].file, f[1].line))


def _likeness(asked: frozenset[str], example: Example) -> float:
    """The share of words in common (Dice's); words of the note count where the question lacks them, and little."""
    own = _telling(example.question)
    if not asked or not own:
        return 0.0
    noted = _telling(example.note) - own
    return min(1.0, (2 * len(asked & own) + len(asked & noted) / 2) / (len(asked) + len(own)))


@lru_cache(maxsize=8_192)
def _telling(text: str) -> frozenset[str]:
    return frozenset(words(text)) - FILLERS
