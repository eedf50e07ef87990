"""What words have to do with one another: abbreviations, words that mean the same, that are of one kind, or that come up together.

The lists beside this module are English, and about business in many fields, since that is what most names and comments are.
A word that is in none of them is left to the embedder.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import log
from typing import NamedTuple

from ostiary_tools.meaning.endings import lines, root, stem
from ostiary_tools.words import FILLERS, words

_LONGEST = 4
"""Words of a phrase."""
_ROOT, _SYNONYM, _KIND, _TOPIC = 0.8, 0.9, 0.7, 0.6
"""How much words are alike that have the same root, mean the same, are a kind and one of it, belong to one subject."""
_KINDS_TOPIC = 0.2
"""How much the subjects of a kind are those of what is of that kind."""
_PART = 0.5
"""How much a word belongs to a subject that has it in a phrase."""
_KEPT = 10_000
"""Words that are remembered; anybody may ask with words of their own."""

Tie = tuple[str, str | int]
"""Words that have one are alike: a stem, or a line of a list."""


class Unit(NamedTuple):
    """A word of a question, or several that are one term."""

    term: str
    """Several have spaces between them."""
    parts: tuple[str, ...] = ()
    """Of several, those that say something."""
    faint: bool = False
    """Says little of what is looked for."""


@dataclass(frozen=True, slots=True)
class _List:
    """Lines of words, by the stems of each word or phrase."""

    members: dict[str, set[int]] = field(default_factory=dict)
    by_root: dict[str, set[str]] = field(default_factory=dict)

    def add(self, key: str, line: int) -> None:
        self.members.setdefault(key, set()).add(line)
        self.by_root.setdefault(root(key), set()).add(key)

    def of(self, key: str) -> frozenset[int]:
        """The lines that it is in, or else those of words with the same root."""
        if key in self.members:
            return frozenset(self.members[key])
        return frozenset(line for other in self.by_root.get(root(key), ()) for line in self.members[other])


@dataclass(frozen=True, slots=True)
class _Lists:
    abbreviations: Mapping[str, str]
    synonyms: _List
    kinds: _List
    """By the words for the kind."""
    instances: _List
    """By what is of it."""
    topics: _List
    in_phrases: _List
    """The subjects that have a word in a phrase."""
    topics_of_kinds: Mapping[int, frozenset[int]]
    topic_count: int
    phrases: Mapping[tuple[str, ...], str]
    """Words in a row, by their stems, that are one term."""
    empty: frozenset[str]
    """Words that say nothing of what is looked for."""
    faint: frozenset[str]


def units(question: str) -> tuple[Unit, ...]:
    """Its words that say something, phrases as one; all of its words where none does."""
    found = _words(question)
    lists = _lists()
    stems = tuple(_key(word) for word in found)
    return tuple(dict.fromkeys(_joined(lists, found, stems))) or tuple(dict.fromkeys(map(Unit, found)))


def terms(text: str) -> tuple[str, ...]:
    """Those of a name or a comment: phrases, their parts, and what abbreviations stand for."""
    return tuple(dict.fromkeys(_spread(units(text))))


def spelled(term: str) -> str:
    """As the embedder is to read it."""
    return _lists().abbreviations.get(term, term)


def has(term: str) -> frozenset[Tie]:
    """The ties of a term."""
    key, lists = _key(term), _lists()
    found: set[Tie] = {("stem", key), ("root", root(key))}
    found |= {("same", line) for line in lists.synonyms.of(key)}
    found |= {("kind", line) for line in lists.kinds.of(key)}
    found |= {("instance", line) for line in lists.instances.of(key)}
    return frozenset(found | {("topic", line) for line in lists.topics.of(key)})


@lru_cache(_KEPT)
def like(term: str) -> Mapping[Tie, float]:
    """Words with one of these ties are like it, by so much."""
    key, lists = _key(term), _lists()
    found: dict[Tie, float] = {("topic", line): _TOPIC for line in lists.topics.of(key)}
    found |= {("kind", line): _KIND for line in lists.instances.of(key) | lists.kinds.of(key)}
    found |= {("instance", line): _KIND for line in lists.kinds.of(key)}
    found |= {("same", line): _SYNONYM for line in lists.synonyms.of(key)}
    return found | {("root", root(key)): _ROOT, ("stem", key): 1.0}


@lru_cache(_KEPT)
def topics(term: str) -> Mapping[int, float]:
    """The subjects that it belongs to, or what it is a kind of, and how much: less, where there are many."""
    key, lists = _key(term), _lists()
    found = dict.fromkeys(
        (topic for kind in lists.kinds.of(key) | lists.instances.of(key) for topic in lists.topics_of_kinds[kind]), _KINDS_TOPIC
    )
    found |= dict.fromkeys(lists.in_phrases.of(key), _PART)
    found |= dict.fromkeys(lists.topics.of(key), 1.0)
    rarity = rare(lists.topic_count, sum(found.values()))
    return {topic: weight * rarity for topic, weight in sorted(found.items())}


def topic_count() -> int:
    """They are numbered from 0."""
    return _lists().topic_count


def rare(total: int, count: float) -> float:
    """What is among few of all says more than what is among many."""
    return log(1 + total / (1 + count))


def _spread(found: Iterable[Unit]) -> Iterator[str]:
    lists = _lists()
    for unit in found:
        yield unit.term
        yield from unit.parts
        longer = lists.abbreviations.get(unit.term, "")
        if " " in longer:
            yield from (word for word in words(longer) if word not in lists.empty)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in words(text.replace("-", " ")) if not word.isdigit())


def _joined(lists: _Lists, found: tuple[str, ...], stems: tuple[str, ...]) -> Iterator[Unit]:
    place = 0
    while place < len(found):
        longest = min(_LONGEST, len(found) - place)
        length = next((each for each in range(longest, 1, -1) if stems[place : place + each] in lists.phrases), 1)
        word, row = found[place], found[place : place + length]
        if length > 1:
            parts = tuple(each for each in row if each not in lists.empty)
            yield Unit(lists.phrases[stems[place : place + length]], parts)
        elif word not in lists.empty:
            yield Unit(word, faint=word in lists.faint)
        place += length


@lru_cache(_KEPT)
def _key(term: str) -> str:
    return " ".join(map(stem, words(_lists().abbreviations.get(term, term)) or (term,)))


@cache
def _lists() -> _Lists:
    abbreviations = dict(line.split(": ") for line in lines("abbreviations.txt"))
    phrases: dict[tuple[str, ...], str] = {}

    def key(member: str) -> str:
        parts = tuple(stem(word) for word in words(member.replace("-", " ")))
        if len(parts) > 1:
            phrases[parts] = " ".join(words(member.replace("-", " ")))
        return " ".join(parts)

    synonyms, kinds, instances, topics_, in_phrases = _List(), _List(), _List(), _List(), _List()
    _read("synonyms.txt", synonyms, key)
    _read("topics.txt", topics_, key)
    for number, line in enumerate(lines("kinds.txt")):
        head, _, members = line.partition(": ")
        for into, some in ((kinds, head), (instances, members)):
            for member in some.split(", "):
                into.add(key(member), number)
    of_kinds = _gathered(kinds, topics_)
    empty = FILLERS.union(*(words(line) for line in lines("empty.txt")))
    faint = frozenset(word for line in lines("faint.txt") for word in words(line))
    _read_words("topics.txt", in_phrases, empty | faint)
    count = len(lines("topics.txt"))
    return _Lists(abbreviations, synonyms, kinds, instances, topics_, in_phrases, of_kinds, count, phrases, empty, faint)


def _read(name: str, into: _List, key: Callable[[str], str]) -> None:
    for number, line in enumerate(lines(name)):
        for member in line.split(", "):
            into.add(key(member), number)


def _read_words(name: str, into: _List, without: frozenset[str]) -> None:
    for number, line in enumerate(lines(name)):
        for word in words(line.replace("-", " ")):
            if word not in without:
                into.add(stem(word), number)


def _gathered(kinds: _List, topics_: _List) -> dict[int, frozenset[int]]:
    """Of each kind, the subjects of the words for it."""
    found: dict[int, set[int]] = {}
    for key, numbers in kinds.members.items():
        for number in numbers:
            found.setdefault(number, set()).update(topics_.members.get(key, ()))
    return {number: frozenset(those) for number, those in found.items()}
