"""Finds things of a schema by words: names, columns, comments, neighbours by foreign key.

The index knows the whole snapshot; a match counts only when the caller may see what
it lies in, so neither results nor their order tell of anything hidden.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from ostiary_policies.model import Resource
from ostiary_tools.meaning.index import Meanings
from ostiary_tools.meaning.nearness import near
from ostiary_tools.snapshot import Relation, Snapshot, TypeInfo
from ostiary_tools.things import Thing, comments, first, things
from ostiary_tools.view import SchemaView
from ostiary_tools.words import FILLERS, words

_NAME, _COLUMN, _SCHEMA, _COMMENT, _NEIGHBOUR = 6.0, 3.0, 1.0, 1.5, 1.0
_PREFIX = 0.7
_LEAST_SIMILAR = 0.45
_NEAR = 0.4
"""What a thing needs that has no word spelled like one of the query: so near to one of its words, and so much of the best score."""
_SHORTEST_PREFIX = 3
_MOST_COLUMNS = 5
"""Columns named with a hit."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A thing found, with the names of the columns that matched."""

    thing: Thing
    score: float
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Posting:
    """A term in a thing; it counts for those who may see `where`."""

    thing: int
    weight: float
    where: Resource
    column: str = ""


@dataclass(frozen=True, slots=True)
class _Index:
    things: tuple[tuple[Thing, Resource], ...]
    """Each with the resource that must be visible for it to exist."""
    postings: Mapping[str, tuple[_Posting, ...]]
    trigrams: Mapping[str, frozenset[str]]
    """Trigram → the terms that hold it."""


@dataclass(frozen=True, slots=True)
class _Dated:
    """A snapshot that equals any other of the same content, so that an index serves until the schema changes."""

    snapshot: Snapshot

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Dated) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, str, int]:
        snapshot = self.snapshot
        return (snapshot.datasource, snapshot.version, 0 if snapshot.version else id(snapshot))


def search(view: SchemaView, query: str, meanings: Meanings | None = None) -> list[Hit]:
    """Everything visible that a word of the query lies near, best first; without words, everything by name.

    With the meanings of the schema, near is also what means the same.
    """
    index = _index(_Dated(view.snapshot))
    if not words(query):
        return [Hit(thing, 0.0) for thing, resource in index.things if resource in view.visible]
    hits = _spelled(index, view, query)
    if meanings is not None:
        nearness = near(meanings, view, query, partial(_near, index))
        enough = _NEAR * max((one.score for one in nearness.values()), default=0.0)
        found = {thing for thing, one in nearness.items() if one.score >= enough and one.nearest >= _NEAR}
        scores = {thing: nearness[thing].score if thing in nearness else 0.0 for thing in found.union(hits)}
        columns = {thing: hit.columns for thing, hit in hits.items()}
        hits = {thing: Hit(index.things[thing][0], score, columns.get(thing, ())) for thing, score in scores.items()}
    return [hits[thing] for thing in sorted(hits, key=lambda thing: (-hits[thing].score, thing))]


def _spelled(index: _Index, view: SchemaView, query: str) -> dict[int, Hit]:
    """Every thing that has a word spelled like one of the query."""
    asked = dict.fromkeys(word for word in words(query) if word not in FILLERS) or dict.fromkeys(words(query))
    scores: defaultdict[int, float] = defaultdict(float)
    columns: defaultdict[int, set[str]] = defaultdict(set)
    total = _total(index, view)
    for word in asked:
        best = _best(index, view, word, columns)
        # A word that lies near few things says more than one that lies near all.
        rarity = math.log(1 + total / (1 + len(best)))
        for thing, score in best.items():
            scores[thing] += score * rarity
    return {thing: Hit(index.things[thing][0], score, tuple(sorted(columns[thing]))) for thing, score in scores.items()}


def _total(index: _Index, view: SchemaView) -> int:
    """How many things the caller sees: how rare a word is must not tell of others."""
    if "things" not in view.kept:
        view.kept["things"] = sum(resource in view.visible for _, resource in index.things)
    total: int = view.kept["things"]
    return total


def prepare(snapshot: Snapshot) -> None:
    """Build the snapshot's index now: on a thread, so that the first search of a large schema does not do it on the event loop."""
    _index(_Dated(snapshot))


def _best(index: _Index, view: SchemaView, word: str, columns: defaultdict[int, set[str]]) -> dict[int, float]:
    """Each visible thing's best score for the word; matching columns are added to `columns`."""
    best: dict[int, float] = {}
    for term, likeness in _near(index, word):
        for posting in index.postings[term]:
            score, thing = likeness * posting.weight, posting.thing
            told = not posting.column or len(columns[thing]) >= _MOST_COLUMNS or posting.column in columns[thing]
            # Looking up a resource costs more than all the rest, so what can add nothing is not looked up.
            if told and score <= best.get(thing, 0.0):
                continue
            if posting.where in view.visible and index.things[thing][1] in view.visible:
                best[thing] = max(best.get(thing, 0.0), score)
                if posting.column and len(columns[thing]) < _MOST_COLUMNS:
                    columns[thing].add(posting.column)
    return best


def _near(index: _Index, word: str) -> Iterator[tuple[str, float]]:
    """Terms that equal the word, begin like it or share most trigrams with it, and how alike they are."""
    own = _trigrams(word)
    shared: defaultdict[str, int] = defaultdict(int)
    for trigram in own:
        for term in index.trigrams.get(trigram, ()):
            shared[term] += 1
    # In an order of their own: which columns are named where many match must not hang on terms that nobody sees.
    for term, count in sorted(shared.items()):
        if term == word:
            yield term, 1.0
        elif len(word) >= _SHORTEST_PREFIX and term.startswith(word):
            yield term, _PREFIX
        else:
            likeness = count / (len(own) + len(_trigrams(term)) - count)
            if likeness >= _LEAST_SIMILAR:
                yield term, likeness * _PREFIX


@lru_cache(maxsize=8)
def _index(dated: _Dated) -> _Index:
    snapshot = dated.snapshot
    known = tuple(things(snapshot))
    postings: defaultdict[str, list[_Posting]] = defaultdict(list)
    for number, (thing, resource) in enumerate(known):
        for term, posting in _postings(snapshot, number, thing, resource):
            postings[term].append(posting)
    trigrams: defaultdict[str, set[str]] = defaultdict(set)
    for term in postings:
        for trigram in _trigrams(term):
            trigrams[trigram].add(term)
    return _Index(
        known,
        {term: tuple(found) for term, found in postings.items()},
        {trigram: frozenset(terms) for trigram, terms in trigrams.items()},
    )


def _postings(snapshot: Snapshot, number: int, thing: Thing, resource: Resource) -> Iterator[tuple[str, _Posting]]:
    for weight, text in ((_NAME, first(thing).name), (_SCHEMA, first(thing).schema), (_COMMENT, comments(thing))):
        yield from _terms(text, _Posting(number, weight, resource))
    if isinstance(thing, TypeInfo):
        yield from _terms(" ".join(thing.labels), _Posting(number, _COMMENT, resource))
    if isinstance(thing, Relation):
        for column in thing.columns:
            where = thing.column_resource(snapshot.datasource, column)
            yield from _terms(column.name, _Posting(number, _COLUMN, where, column.name))
            yield from _terms(column.comment, _Posting(number, _COMMENT, where, column.name))
        for key in thing.foreign_keys:
            target = snapshot.relations.get((key.target_schema, key.target_table))
            if target is not None:
                yield from _terms(target.name, _Posting(number, _NEIGHBOUR, target.resource(snapshot.datasource)))


def _terms(text: str, posting: _Posting) -> Iterable[tuple[str, _Posting]]:
    return ((word, posting) for word in dict.fromkeys(words(text)))


def _trigrams(word: str) -> frozenset[str]:
    padded = f"  {word} "
    return frozenset(padded[place : place + 3] for place in range(len(padded) - 2))
