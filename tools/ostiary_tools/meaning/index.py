"""The words of a schema, and where they stand, as searches by meaning want them.

What is kept is a vector and the ties of each word that names and comments use, and the places that use it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from ostiary_policies.model import Resource
from ostiary_tools.meaning.thesaurus import Tie, has, spelled, terms, topics
from ostiary_tools.snapshot import Relation, Snapshot, TypeInfo
from ostiary_tools.things import Thing, comments, first, things

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix

    Numbers = NDArray[np.int32]
    Scores = NDArray[np.float32]

_NAME, _COMMENT, _SCHEMA, _SCHEMA_COMMENT, _COLUMN, _COLUMN_COMMENT = (
    (1.0, 1.0), (1.0, 1.0), (0.5, 0.5), (0.3, 0.5), (0.8, 0.3), (0.7, 0.5)
)  # fmt: skip
"""What a word counts there: as an answer to a word of a question, and as a sign of what the thing is about."""
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Meanings:
    """The words of one version of a schema, and where they stand. One posting is a word in a name or a comment."""

    version: str
    """Of the snapshot."""
    terms: Mapping[str, int]
    """Each word with its row of `vectors`."""
    vectors: "Matrix" = field(repr=False)
    """Of length 1."""
    tied: Mapping[Tie, "Numbers"] = field(repr=False)
    """The words that have a tie."""
    stems: "Numbers" = field(repr=False)
    """Of each word, a number that it shares with other forms of it."""
    topics: "Topics" = field(repr=False)
    things: "Numbers" = field(repr=False)
    """Those that have a word, by their place among `things`, in order."""
    starts: "Numbers" = field(repr=False)
    """Of each, its first posting."""
    term: "Numbers" = field(repr=False)
    weight: "Scores" = field(repr=False)
    """Of each posting, as an answer."""
    about: "Scores" = field(repr=False)
    """Of each posting, as a sign of what the thing is about."""
    where: "Numbers" = field(repr=False)
    """Of each posting, the resource that must be visible for it to count: its place among `wheres`."""
    wheres: tuple[Resource, ...] = field(repr=False)
    owner: "Numbers" = field(repr=False)
    """Of each thing, the resource that must be visible for it to exist."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The subjects of words: the first word's, the second's and so on."""

    starts: "Numbers"
    """Of each word, its first one; and the end of all."""
    topic: "Numbers"
    weight: "Scores"


def meanings(snapshot: Snapshot, before: Meanings | None = None) -> Meanings:
    """Of this schema; vectors of words that stood in the one before are taken from there. Takes a thread's time, not the loop's."""
    import numpy as np  # heavy

    gathered = _Gathered()
    kinds = np.dtype([("thing", np.int32), ("term", np.int32), ("weight", np.float32), ("about", np.float32), ("where", np.int32)])
    postings = np.fromiter(gathered.postings(snapshot), kinds)
    found, starts = np.unique(postings["thing"], return_index=True)
    tied = _tied(gathered.terms)
    stems = np.zeros(len(gathered.terms), np.int32)
    for number, members in enumerate(members for tie, members in tied.items() if tie[0] == "stem"):
        stems[members] = number
    return Meanings(
        version=snapshot.version,
        terms=gathered.terms,
        vectors=_vectors(gathered.terms, before),
        tied=tied,
        stems=stems,
        topics=_topics(gathered.terms),
        things=found,
        starts=starts.astype(np.int32),
        term=postings["term"].copy(),
        weight=postings["weight"].copy(),
        about=postings["about"].copy(),
        where=postings["where"].copy(),
        wheres=tuple(gathered.wheres),
        owner=np.array(gathered.owners, np.int32)[found],
    )


def _vectors(numbers: Mapping[str, int], before: Meanings | None) -> "Matrix":
    import numpy as np  # heavy

    from ostiary_tools.embedders.wordllama import DIMENSION, sums  # heavy

    rows = np.empty((len(numbers), DIMENSION), np.float32)
    old = [(number, before.terms[term]) for term, number in numbers.items() if before is not None and term in before.terms]
    if before is not None and old:
        rows[[new for new, _ in old]] = before.vectors[[number for _, number in old]]
    new = [term for term in numbers if before is None or term not in before.terms]
    if new:
        found = sums([spelled(term) for term in new])
        rows[[numbers[term] for term in new]] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _TINY)
    return rows


def _tied(numbers: Mapping[str, int]) -> dict[Tie, "Numbers"]:
    import numpy as np  # heavy

    found: dict[Tie, list[int]] = {}
    for term, number in numbers.items():
        for tie in has(term):
            found.setdefault(tie, []).append(number)
    return {tie: np.array(members, np.int32) for tie, members in found.items()}


def _topics(numbers: Mapping[str, int]) -> Topics:
    import numpy as np  # heavy

    every = [topics(term) for term in numbers]
    starts = np.cumsum([0, *map(len, every)], dtype=np.int32)
    topic = np.fromiter((number for some in every for number in some), np.int32, starts[-1])
    weight = np.fromiter((weight for some in every for weight in some.values()), np.float32, starts[-1])
    return Topics(starts, topic, weight)


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What postings point to, as it is found."""

    terms: dict[str, int] = field(default_factory=dict)
    wheres: list[Resource] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def postings(self, snapshot: Snapshot) -> Iterator[tuple[int, int, float, float, int]]:
        """Of each word its thing, its term, its two weights, and where it stands."""
        remembered = cache(terms)  # columns of many tables have the same names
        for number, (thing, resource) in enumerate(things(snapshot)):
            self.owners.append(len(self.wheres))
            self.wheres.append(resource)
            for (weight, about), text, where in _texts(snapshot, thing, resource):
                if where is not self.wheres[-1]:
                    self.wheres.append(where)
                for term in remembered(text):
                    yield number, self.terms.setdefault(term, len(self.terms)), weight, about, len(self.wheres) - 1


def _texts(snapshot: Snapshot, thing: Thing, resource: Resource) -> Iterator[tuple[tuple[float, float], str, Resource]]:
    """Each with its weights, and with what must be visible for it to count."""
    one = first(thing)
    schema = snapshot.schema_resource(one.schema)
    yield _NAME, one.name, resource
    yield _COMMENT, comments(thing), resource
    yield _SCHEMA, one.schema, resource
    if isinstance(thing, TypeInfo):
        yield _COLUMN, " ".join(thing.labels), resource
    yield _SCHEMA_COMMENT, snapshot.schemas.get(one.schema, ""), schema
    if isinstance(thing, Relation):
        for column in thing.columns:
            where = thing.column_resource(snapshot.datasource, column)
            yield _COLUMN, column.name, where
            yield _COLUMN_COMMENT, column.comment, where
