"""Words as searches by meaning compare them: what an abbreviation stands for, and which words stand for one another.

The lists beside this module are English, and about business, since that is what most names and comments are.
A word that is in none of them is left to the embedder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ostiary_tools.words import FILLERS, words

_LONGEST = 4
"""Words of a phrase."""
_SHORTEST_STEM = 3


@dataclass(frozen=True, slots=True)
class _Lists:
    abbreviations: Mapping[str, str]
    groups: Mapping[str, frozenset[int]]
    """Of each term by its stem: the lines it is in."""
    phrases: Mapping[tuple[str, ...], str]
    """Words in a row, by their stems, that are one term."""
    spelled: Mapping[str, str]
    """Each such term as words."""
    empty: frozenset[str]
    """Words that say nothing of what is looked for."""


def terms(text: str) -> tuple[str, ...]:
    """The words of a text that say something, phrases as one; all of its words where none does."""
    found = words(text.replace("-", " "))
    return tuple(term for term in _joined(found) if term not in _lists().empty) or found


def spelled(term: str) -> str:
    """As the embedder is to read it."""
    lists = _lists()
    return lists.spelled.get(term) or lists.abbreviations.get(term, term)


def groups(term: str) -> frozenset[int]:
    """Whatever else is in one of these stands for it."""
    lists = _lists()
    return lists.groups.get(term if term in lists.spelled else _stem(lists.abbreviations.get(term, term)), frozenset())


def _joined(found: tuple[str, ...]) -> Iterator[str]:
    lists = _lists()
    stems = tuple(_stem(lists.abbreviations.get(word, word)) for word in found)
    place = 0
    while place < len(found):
        longest = min(_LONGEST, len(found) - place)
        length = next((each for each in range(longest, 1, -1) if stems[place : place + each] in lists.phrases), 1)
        yield found[place] if length == 1 else lists.phrases[stems[place : place + length]]
        place += length


@cache
def _lists() -> _Lists:
    abbreviations = dict(line.split(": ") for line in _lines("abbreviations.txt"))
    members: dict[str, set[int]] = {}
    phrases: dict[tuple[str, ...], str] = {}
    spelling: dict[str, str] = {}
    for number, line in enumerate(_lines("synonyms.txt")):
        for member in line.split(", "):
            parts = words(member.replace("-", " "))
            term = "".join(map(_stem, parts)) if len(parts) > 1 else parts[0]
            members.setdefault(_stem(term) if len(parts) == 1 else term, set()).add(number)
            if len(parts) > 1:
                phrases[tuple(map(_stem, parts))] = term
                spelling[term] = member
    found = {term: frozenset(numbers) for term, numbers in members.items()}
    empty = FILLERS.union(*(words(line) for line in _lines("empty.txt")))
    return _Lists(abbreviations, found, phrases, spelling, empty)


def _lines(name: str) -> list[str]:
    text = files("ostiary_tools.meaning").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _stem(word: str) -> str:
    """Without the ending of a verb; both sides of a comparison are cut alike, so what is left need not be a word."""
    for ending in ("ing", "ed", "er", "e"):
        cut = word.removesuffix(ending)
        if cut != word and len(cut) >= _SHORTEST_STEM:
            return cut[:-1] if ending != "e" and cut[-1] == cut[-2] and cut[-1] not in "sl" else cut.removesuffix("e")
    return word
