"""Which things of a schema lie near a question, by the meaning of single words.

What is kept of a schema is a vector for each word that its names and comments use, and where they use it. A
question's word is held against every such word; what a thing then scores is made of the places that the caller may
see, and of no other. So a hidden column's comment lifts nothing, nor is a word rare because of what is hidden.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ostiary_policies.model import Resource
from ostiary_tools.meaning.thesaurus import groups, spelled, terms
from ostiary_tools.snapshot import Relation, Snapshot, TypeInfo
from ostiary_tools.things import Thing, comments, first, things
from ostiary_tools.view import SchemaView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ostiary_tools.vectors.port import Matrix

    Numbers = NDArray[np.int32]
    Scores = NDArray[np.float32]

Likeness = Callable[[str], Iterable[tuple[str, float]]]
"""Words that are spelled like a word, and how much."""
_NAME, _COMMENT, _COLUMN, _COLUMN_COMMENT, _SCHEMA = 1.0, 1.0, 0.6, 0.7, 0.5
_SYNONYM = 0.9
_LIKE = 0.5
"""From here on a word counts as being near, when it is asked how many things it is near to."""
_DIGITS = 4
_TINY = 1e-6
_MOST_WORDS = 60
"""Of a question that are compared."""


@dataclass(frozen=True, slots=True)
class Meanings:
    """The words of one version of a schema, and where they stand. One posting is a word in a name or a comment."""

    version: str
    """Of the snapshot."""
    terms: Mapping[str, int]
    """Each word with its row of `vectors`."""
    vectors: "Matrix" = field(repr=False)
    """Of length 1."""
    grouped: Mapping[int, "Numbers"] = field(repr=False)
    """Words that stand for one another, by the number of their group."""
    things: "Numbers" = field(repr=False)
    """Those that have a word, by their place among `things`, in order."""
    starts: "Numbers" = field(repr=False)
    """Of each, its first posting."""
    term: "Numbers" = field(repr=False)
    weight: "Scores" = field(repr=False)
    where: "Numbers" = field(repr=False)
    """Of each posting, the resource that must be visible for it to count: its place among `wheres`."""
    wheres: tuple[Resource, ...] = field(repr=False)
    owner: "Numbers" = field(repr=False)
    """Of each thing, the resource that must be visible for it to exist."""


class Nearness(NamedTuple):
    """Of one thing, from 0 to 1."""

    score: float
    """Of all words of the question."""
    nearest: float
    """Of the word that it is nearest to."""


def meanings(snapshot: Snapshot, before: Meanings | None = None) -> Meanings:
    """Of this schema; vectors of words that stood in the one before are taken from there. Takes a thread's time, not the loop's."""
    import numpy as np  # heavy

    gathered = _Gathered()
    kinds = np.dtype([("thing", np.int32), ("term", np.int32), ("weight", np.float32), ("where", np.int32)])
    postings = np.fromiter(gathered.postings(snapshot), kinds)
    found, starts = np.unique(postings["thing"], return_index=True)
    return Meanings(
        version=snapshot.version,
        terms=gathered.terms,
        vectors=_vectors(gathered.terms, before),
        grouped=_grouped(gathered.terms),
        things=found,
        starts=starts.astype(np.int32),
        term=postings["term"].copy(),
        weight=postings["weight"].copy(),
        where=postings["where"].copy(),
        wheres=tuple(gathered.wheres),
        owner=np.array(gathered.owners, np.int32)[found],
    )


def near(known: Meanings, view: SchemaView, question: str, letters: Likeness) -> dict[int, Nearness]:
    """How near each visible thing is, by its place among `things`; of the question its first words."""
    import numpy as np  # heavy

    from ostiary_tools.embedders.wordllama import sums  # heavy

    asked = tuple(dict.fromkeys(terms(question)))[:_MOST_WORDS]
    shown = _shown(known, view)
    if not asked or not shown.exists.any():
        return {}
    summed = sums([spelled(word) for word in asked])
    norms = np.maximum(np.linalg.norm(summed, axis=1), _TINY)
    alike: Matrix = np.ascontiguousarray((known.vectors @ (summed / norms[:, None]).T).T).clip(min=0)
    weights = np.sqrt(norms)
    scores, nearest = np.zeros((2, len(known.things)), np.float32)
    for place, (word, by_meaning) in enumerate(zip(asked, alike, strict=True)):
        likeness = _likeness(known, word, by_meaning, letters)
        best = np.maximum.reduceat(likeness[known.term] * shown.weight, known.starts)
        # A word that is near to few things says more than one that is near to all.
        weights[place] *= np.log(1 + shown.exists.sum() / (1 + (best > _LIKE).sum()))
        scores += best * weights[place]
        nearest = np.maximum(nearest, best)
    scores /= weights.sum()
    # Rounded, since how the last digits of a product fall out depends on how many words there are, hidden ones too.
    return {
        int(known.things[place]): Nearness(round(float(scores[place]), _DIGITS), round(float(nearest[place]), _DIGITS))
        for place in np.flatnonzero(shown.exists)
    }


def _likeness(known: Meanings, word: str, by_meaning: "Scores", letters: Likeness) -> "Scores":
    """Of each word of the schema: by meaning, as what stands for it, or by its letters, whichever is most."""
    found = by_meaning
    for group in groups(word):
        if group in known.grouped:
            synonyms = known.grouped[group]
            found[synonyms] = found[synonyms].clip(min=_SYNONYM)
    for term, likeness in letters(word):
        if (number := known.terms.get(term)) is not None:
            found[number] = max(float(found[number]), likeness)
    return found


@dataclass(frozen=True, slots=True)
class _Shown:
    """What of the index is there for a caller."""

    of: Meanings
    weight: "Scores"
    """Of each posting, 0 where the caller does not see it."""
    exists: "NDArray[np.bool_]"
    """Of each thing."""


def _shown(known: Meanings, view: SchemaView) -> _Shown:
    """Kept with the view, since looking up resources takes longer than all the rest."""
    import numpy as np  # heavy

    kept = view.kept.get("meanings")
    if not isinstance(kept, _Shown) or kept.of is not known:
        visible = np.fromiter((where in view.visible for where in known.wheres), np.bool_, len(known.wheres))
        exists = visible[known.owner]
        spans = np.diff(known.starts, append=len(known.term))
        kept = _Shown(known, known.weight * (visible[known.where] & np.repeat(exists, spans)), exists)
        view.kept["meanings"] = kept
    return kept


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


def _grouped(numbers: Mapping[str, int]) -> dict[int, "Numbers"]:
    import numpy as np  # heavy

    found: dict[int, list[int]] = {}
    for term, number in numbers.items():
        for group in groups(term):
            found.setdefault(group, []).append(number)
    return {group: np.array(members, np.int32) for group, members in found.items()}


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What postings point to, as it is found."""

    terms: dict[str, int] = field(default_factory=dict)
    wheres: list[Resource] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)

    def postings(self, snapshot: Snapshot) -> Iterator[tuple[int, int, float, int]]:
        """Of each word its thing, its term, its weight, and where it stands."""
        remembered = cache(terms)  # columns of many tables have the same names
        for number, (thing, resource) in enumerate(things(snapshot)):
            self.owners.append(len(self.wheres))
            self.wheres.append(resource)
            for weight, text, where in _texts(snapshot, thing, resource):
                if where is not self.wheres[-1]:
                    self.wheres.append(where)
                for term in dict.fromkeys(remembered(text)):
                    yield number, self.terms.setdefault(term, len(self.terms)), weight, len(self.wheres) - 1


def _texts(snapshot: Snapshot, thing: Thing, resource: Resource) -> Iterator[tuple[float, str, Resource]]:
    """Each with its weight, and with what must be visible for it to count."""
    one = first(thing)
    schema = snapshot.schema_resource(one.schema)
    yield _NAME, one.name, resource
    yield _COMMENT, comments(thing), resource
    yield _SCHEMA, one.schema, resource
    if isinstance(thing, TypeInfo):
        yield _COLUMN, " ".join(thing.labels), resource
    yield _SCHEMA, snapshot.schemas.get(one.schema, ""), schema
    if isinstance(thing, Relation):
        for column in thing.columns:
            where = thing.column_resource(snapshot.datasource, column)
            yield _COLUMN, column.name, where
            yield _COLUMN_COMMENT, column.comment, where
