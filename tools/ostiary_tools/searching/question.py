"""What is asked of a collection, checked against what the collection, its store and its embedder can do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.searching import likeness
from ostiary_tools.searching.conditions import condition, storable
from ostiary_tools.vectors.filters import Filter
from ostiary_tools.vectors.known import KnownCollection

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

Mode = Literal["auto", "hybrid", "vector", "text"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What an agent asks for, as it was given."""

    text: str = ""
    vector: Sequence[float] = ()
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    mode: Mode = "auto"
    weights: Sequence[float] = ()
    """None weigh alike."""
    filter: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """Of one collection, and one that can be answered."""

    mode: Literal["hybrid", "vector", "text"]
    words: str
    vector: "Vector | None"
    """As the collection's are."""
    like: tuple[str, ...]
    unlike: tuple[str, ...]
    weights: tuple[float, float]
    """Of the ranking by vectors, and of that by words."""
    condition: Filter | None

    @property
    def embeds(self) -> bool:
        """The words stand for a vector too."""
        return bool(self.words) and self.mode != "text" and self.vector is None


def question(wish: Wish, known: KnownCollection) -> Question:
    """The question that is meant. Raises Refused, and Unavailable where the collection's store is not configured."""
    _installed()
    words = wish.text.strip()
    if wish.text and not words:
        raise Refused("empty_text", "an empty text has no meaning to search by", "say in words what is to be found")
    if not storable("".join((words, *wish.like, *wish.unlike))):
        raise Refused("text", "a text cannot hold the character U+0000 or half a character", "leave it out")
    if not words and not wish.vector and not wish.like:
        raise Refused("arguments", "nothing is searched for", "give `text`, `vector` or ids to `like`")
    asked = Question(
        mode=_mode(wish, words, known),
        words=words,
        vector=likeness.given(wish.vector, known.collection.embedding) if wish.vector else None,
        like=wish.like,
        unlike=wish.unlike,
        weights=_weights(wish.weights),
        condition=condition(wish.filter) if wish.filter else None,
    )
    if asked.embeds:
        _embeddable(known)
    return asked


def _installed() -> None:
    if find_spec("numpy") is None:
        raise Refused("extra", "searching by meaning needs what is not installed", "pip install 'ostiary[vector]'")


def _mode(wish: Wish, words: str, known: KnownCollection) -> Literal["hybrid", "vector", "text"]:
    if known.capabilities is None:
        raise Unavailable("the store of this collection is not configured any more", "tell the operator")
    ranks = known.capabilities.full_text
    if wish.mode == "auto":
        return "hybrid" if words and ranks else "vector"
    if wish.mode != "vector" and not words:
        raise Refused("mode", f"mode `{wish.mode}` searches by words, and there are none", "give `text`")
    if wish.mode == "text" and (wish.vector or wish.like or wish.unlike):
        raise Refused("mode", "mode `text` searches by words alone", "leave `mode` out, or give `text` alone")
    if wish.mode == "hybrid" and not ranks:
        raise Refused("mode", "the store of this collection does not rank by words", "use mode `vector` or `text`")
    return wish.mode


def _weights(given: Sequence[float]) -> tuple[float, float]:
    if not given:
        return 1.0, 1.0
    if len(given) != 2 or not all(map(math.isfinite, given)) or min(given) < 0 or max(given) == 0:  # noqa: PLR2004 by two rankings
        raise Refused("weights", "weights are two numbers from 0, and not both 0", "give that by vectors and that by words")
    # As shares: of two very large ones the sum would be infinite.
    return given[0] / max(given), given[1] / max(given)


def _embeddable(known: KnownCollection) -> None:
    embedding = known.collection.embedding
    if known.embedder is not None:
        return
    words = known.capabilities is not None and known.capabilities.full_text
    other = "give a `vector` of it" + (", or use mode `text`" if words else "")
    if not embedding.embedder:
        raise Refused("embedder", "the vectors of this collection are brought by its callers", other)
    said = f"the collection was made with model `{embedding.model}` of embedder `{embedding.embedder}`, which is not configured now"
    raise Refused("embedder", said, f"{other}; the operator can configure it again, or have the collection indexed anew")
