"""Which things of a schema lie near a question, by the meaning of single words and by what they are about together.

A question's word is held against every word of the schema, and the subjects of all its words against those of a thing; what a thing
then scores is made of the places that the caller may see, and of no other. So a hidden column's comment lifts nothing, nor is a
word rare because of what is hidden.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ostiary_tools.meaning.index import Meanings
from ostiary_tools.meaning.thesaurus import Unit, like, rare, spelled, topic_count, topics, units
from ostiary_tools.view import SchemaView

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ostiary_tools.meaning.index import Scores
    from ostiary_tools.vectors.port import Matrix

    Exact = NDArray[np.float64]

Likeness = Callable[[str], Iterable[tuple[str, float]]]
"""Words that are spelled like a word, and how much."""
_CHANCE = 0.2
"""The likeness that vectors of words have which have nothing to do with one another."""
_LIKE = 0.45
"""From here on a word counts as being near, when it is asked how many things it is near to."""
_FAINT = 0.25
_PARTS = 0.6
"""What the words of a phrase count one by one, where nothing is like the phrase."""
_ABOUT = 0.8
"""How much being about the same counts beside the single words."""
_DIGITS = 4
_TINY = 1e-6
_MOST_WORDS = 60
"""Of a question that are compared."""
_AT_ONCE = 1_000
"""Things whose subjects are laid out as a table at a time."""


class Nearness(NamedTuple):
    """Of one thing, from 0 to 1."""

    score: float
    """Of all words of the question."""
    nearest: float
    """Of the word that it is nearest to."""


def near(known: Meanings, view: SchemaView, question: str, letters: Likeness) -> dict[int, Nearness]:
    """How near each visible thing is, by its place among `things`; of the question its first words."""
    import numpy as np  # heavy

    asked = units(question)[:_MOST_WORDS]
    shown = _shown(known, view)
    if not asked or not shown.exists.any():
        return {}
    found = _answers(shown, asked, letters)
    total = int(shown.exists.sum())
    scores, nearest, weights = np.zeros(len(known.things), np.float64), np.zeros(len(known.things), np.float32), 0.0
    for unit, best, length in found:
        # A word that is near to few things says more than one that is near to all.
        weight = length**0.5 * rare(total, int((best > _LIKE).sum())) * (_FAINT if unit.faint else 1.0)
        scores += best * weight
        weights += weight
        nearest = np.maximum(nearest, best)
    scores = (scores / weights + _ABOUT * _about(shown, asked)) / (1 + _ABOUT)
    # Rounded, since how the last digits of a product fall out depends on how many words there are, hidden ones too.
    return {
        int(known.things[place]): Nearness(round(float(scores[place]), _DIGITS), round(float(nearest[place]), _DIGITS))
        for place in np.flatnonzero(shown.exists)
    }


@dataclass(frozen=True, slots=True)
class _Shown:
    """What of the index is there for a caller."""

    of: Meanings
    weight: "Scores"
    """Of each posting, 0 where the caller does not see it."""
    about: "Exact"
    """Of each posting, more where few things have its word."""
    length: "Exact"
    """Of each thing, that of the vector of its subjects."""
    exists: "NDArray[np.bool_]"
    """Of each thing."""


def _answers(shown: _Shown, asked: tuple[Unit, ...], letters: Likeness) -> list[tuple[Unit, "Scores", float]]:
    """Of each word of the question what each thing has that is like it, and how much the embedder knows of it."""
    import numpy as np  # heavy

    from ostiary_tools.embedders.wordllama import sums  # heavy

    known = shown.of
    single = tuple(dict.fromkeys(term for unit in asked for term in (unit.term, *unit.parts)))
    summed = sums([spelled(term) for term in single])
    lengths = np.maximum(np.linalg.norm(summed, axis=1), _TINY)
    alike: Matrix = np.ascontiguousarray((known.vectors @ (summed / lengths[:, None]).T).T)
    alike = ((alike - _CHANCE) / (1 - _CHANCE)).clip(min=0)
    best: dict[str, Scores] = {}
    for term, by_meaning in zip(single, alike, strict=True):
        likeness = _likeness(known, term, by_meaning, letters)
        best[term] = np.maximum.reduceat(likeness[known.term] * shown.weight, known.starts)
    found = []
    for unit in asked:
        whole = best[unit.term]
        if unit.parts:
            whole = np.maximum(whole, _PARTS * np.mean([best[part] for part in unit.parts], axis=0))
        found.append((unit, whole, float(lengths[single.index(unit.term)])))
    return found


def _likeness(known: Meanings, term: str, by_meaning: "Scores", letters: Likeness) -> "Scores":
    """Of each word of the schema: by meaning, by a tie, or by its letters, whichever is most."""
    found = by_meaning
    for tie, likeness in like(term).items():
        if tie in known.tied:
            tied = known.tied[tie]
            found[tied] = found[tied].clip(min=likeness)
    for other, likeness in letters(term):
        if (number := known.terms.get(other)) is not None:
            found[number] = max(float(found[number]), likeness)
    return found


def _about(shown: _Shown, asked: tuple[Unit, ...]) -> "Exact":
    """How far each thing is about what the question is about: the cosine of both over subjects."""
    import numpy as np  # heavy

    known = shown.of
    wanted = np.zeros(topic_count(), np.float64)
    for unit in asked:
        found = topics(unit.term)
        for some, weight in ((found, 1.0),) if found else ((topics(part), _PARTS) for part in unit.parts):
            for topic, much in some.items():
                wanted[topic] += much * weight * (_FAINT if unit.faint else 1.0)
    length = float(np.linalg.norm(wanted))
    if not length:
        return np.zeros(len(known.things), np.float64)
    of_terms = np.zeros(len(known.terms), np.float64)
    owners = np.repeat(np.arange(len(known.terms)), np.diff(known.topics.starts))
    np.add.at(of_terms, owners, known.topics.weight * wanted[known.topics.topic])
    about: Exact = np.add.reduceat(of_terms[known.term] * shown.about, known.starts)
    return about / (np.maximum(shown.length, _TINY) * length)


def _shown(known: Meanings, view: SchemaView) -> _Shown:
    """Kept with the view, since looking up resources takes longer than all the rest."""
    import numpy as np  # heavy

    kept = view.kept.get("meanings")
    if not isinstance(kept, _Shown) or kept.of is not known:
        visible = np.fromiter((where in view.visible for where in known.wheres), np.bool_, len(known.wheres))
        exists = visible[known.owner]
        spans = np.diff(known.starts, append=len(known.term))
        seen = visible[known.where] & np.repeat(exists, spans)
        counts = np.bincount(known.stems[known.term[seen]], minlength=len(known.stems))
        rarity = np.log(1 + exists.sum() / np.maximum(counts, 1))
        about = known.about * seen * rarity[known.stems[known.term]]
        kept = _Shown(known, known.weight * seen, about, _lengths(known, about, spans), exists)
        view.kept["meanings"] = kept
    return kept


def _lengths(known: Meanings, about: "Exact", spans: "NDArray[np.int64]") -> "Exact":
    """Of the vectors of the things' subjects, some things at a time, since all at once would be large."""
    import numpy as np  # heavy

    found = np.zeros(len(known.things), np.float64)
    of_terms, width = known.topics, topic_count()
    counts = np.diff(of_terms.starts)
    for begin in range(0, len(known.things), _AT_ONCE):
        end = min(begin + _AT_ONCE, len(known.things))
        some = slice(int(known.starts[begin]), int(known.starts[end - 1] + spans[end - 1]))
        terms = known.term[some]
        each = counts[terms]
        # The places of the subjects of each posting's word, one after the other.
        places = np.repeat(of_terms.starts[terms] - np.cumsum(each) + each, each) + np.arange(each.sum())
        rows = np.repeat(np.repeat(np.arange(end - begin), spans[begin:end]), each)
        weights = np.repeat(about[some], each) * of_terms.weight[places]
        table = np.bincount(rows * width + of_terms.topic[places], weights, (end - begin) * width)
        found[begin:end] = np.linalg.norm(table.reshape(end - begin, width), axis=1)
    return found
