"""The chunks that match words best, by Chroma's own search in documents.

A word matches what begins with it, in capitals or not. Chroma finds and does not rank: a chunk's score is the sum of what its words
weigh, a word the more the fewer chunks hold it, and among equals the one that holds them oftener for its length is the better one.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import log
from typing import TYPE_CHECKING

from ostiary_tools.vectors.chroma.reading import Found, batched, get
from ostiary_tools.vectors.chroma.records import kept
from ostiary_tools.vectors.chroma.wanted import Wanted
from ostiary_tools.words import FILLERS
from ostiary_tools.words import words as as_searched

if TYPE_CHECKING:
    from chromadb.api.models.Collection import Collection

_WORDS = 32
"""Of one search; what comes after them is not looked for."""
_COMMON = 5_000
"""A word that more chunks hold finds only these by itself, and others by being held together with the next such words."""
_SHORT = 3
"""Chroma's index is of three letters: shorter words alone have every text read, so that longer ones are preferred."""
_LOOKED_AT = 200
Pattern = Mapping[str, str | Sequence[Mapping[str, str]]]


def by_words(collection: "Collection", words: str, wanted: Wanted, count: int, *, alone: bool) -> Sequence[Found]:
    """The `count` best, best first; `alone`: a word weighs the same however many chunks hold it, and fillers find nothing."""
    asked = list(dict.fromkeys(word.lower() for word in re.findall(r"\w+", words)))[:_WORDS]
    if alone:
        asked = [word for word in asked if not FILLERS.issuperset(as_searched(word))] or asked
    if not asked or wanted.where is False or count < 1:
        return []
    holders = _holders(collection, [word for word in asked if len(word) >= _SHORT] or asked, wanted, None if alone else _COMMON)
    total = max(collection.count(), 1)
    weights = {word: 1.0 if alone else log(1 + total / max(len(holders.get(word, ())), 1)) for word in asked}
    scores: dict[str, float] = defaultdict(float)
    for word, ids in holders.items():
        for chunk in ids:
            scores[chunk] += weights[word]
    return _best(collection, scores, weights, wanted, count)


def _holders(collection: "Collection", words: Sequence[str], wanted: Wanted, most: int | None) -> dict[str, set[str]]:
    """The chunks that hold each word, as many of them as are looked at: all, where which ones would hang on what is hidden."""
    holders = {word: set(_holding(collection, [word], wanted, most)) for word in words}
    common = [word for word, ids in holders.items() if len(ids) == most]
    if len(common) > 1:
        together = _holding(collection, common, wanted, most)
        for word in common:
            holders[word].update(together)
    return holders


def _holding(collection: "Collection", words: Sequence[str], wanted: Wanted, most: int | None) -> Sequence[str]:
    patterns = [{"$regex": rf"(?i)\b{word}"} for word in words]
    held: Pattern = patterns[0] if len(patterns) == 1 else {"$and": patterns}
    return list(get(collection, wanted.where, limit=most, where_document=held)["ids"])


def _best(
    collection: "Collection", scores: Mapping[str, float], weights: Mapping[str, float], wanted: Wanted, count: int
) -> Sequence[Found]:
    """Looks at texts from the best one down, until there are enough that are wanted."""
    found: list[Found] = []
    for ids in batched(
        [chunk for chunk, _ in sorted(scores.items(), key=lambda one: (-one[1], one[0]))], max(_LOOKED_AT, 4 * count)
    ):
        parts = collection.get(ids=ids, include=["metadatas", "documents"])
        texts = zip(parts["ids"], parts["documents"] or [], parts["metadatas"] or [], strict=True)
        found += [(_score(text or "", weights), chunk) for chunk, text, record in texts if wanted.met_by(kept(record))]
        if len(found) >= count:
            break
    return sorted(found, key=lambda one: (-one[0], one[1]))[:count]


def _score(text: str, weights: Mapping[str, float]) -> float:
    """With less than a thousandth for how often: it tells between equals alone."""
    held = [word.lower() for word in re.findall(r"\w+", text)]
    score = often = 0.0
    for word, weight in weights.items():
        if times := sum(one.startswith(word) for one in held):
            score += weight
            often += times / len(held)
    return score + min(often, 1.0) / 1_000
