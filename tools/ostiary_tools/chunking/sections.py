"""Texts with headings: a part with all that is below it stays together where it fits, and else tells what it stands under."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

_ALONE = 4
"""Neighbours that are together less than this part of a chunk become one."""
_CHARS_A_TOKEN = 32


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what follows it, up to the next heading."""

    level: int
    """Of the heading: a section is below the nearest one before it of a smaller level. What stands before all headings has 0."""
    title: str
    text: str
    """All of it, the heading too."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Neighbouring sections that are cut as one text."""

    above: tuple[str, ...]
    """The headings that they stand under."""
    title: str
    text: str


def grouped(sections: list[Section], size: int, count: Callable[[str], int]) -> Iterator[Unit]:
    """All sections in order, those together that fit."""
    far = size + 1
    counts = (far if len(one.text) > size * _CHARS_A_TOKEN else count(one.text) for one in sections)
    yield from _Groups(sections, [0, *accumulate(counts)], size).below(0, len(sections), ())


@dataclass(frozen=True, slots=True)
class _Groups:
    sections: list[Section]
    sums: list[int]
    """Tokens of all sections before each."""
    size: int

    def below(self, start: int, end: int, above: tuple[str, ...]) -> Iterator[Unit]:
        """Of neighbours on one level, each with what is below it."""
        held = start
        while start < end:
            after = self._end(start, end)
            if self._tokens(held, after) > self.size // _ALONE and held < start:
                yield self._unit(held, start, above)
                held = start
            if self._tokens(start, after) > self.size // _ALONE:
                yield from self._subtree(start, after, above)
                held = after
            start = after
        if held < end:
            yield self._unit(held, end, above)

    def _subtree(self, start: int, end: int, above: tuple[str, ...]) -> Iterator[Unit]:
        if end - start == 1 or self._tokens(start, end) <= self.size:
            yield self._unit(start, end, above)
        else:
            yield self._unit(start, start + 1, above)
            yield from self.below(start + 1, end, (*above, self.sections[start].title))

    def _end(self, start: int, end: int) -> int:
        level = self.sections[start].level
        return next((n for n in range(start + 1, end) if self.sections[n].level <= level), end)

    def _tokens(self, start: int, end: int) -> int:
        return self.sums[end] - self.sums[start]

    def _unit(self, start: int, end: int, above: tuple[str, ...]) -> Unit:
        return Unit(above, self.sections[start].title, "".join(one.text for one in self.sections[start:end]))
