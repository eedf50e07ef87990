"""What a question is like and unlike: hits given by their ids, as vectors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ostiary_tools.errors import Refused
from ostiary_tools.searching.question import Question
from ostiary_tools.searching.sight import Sight
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Candidate, Searched

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix


@dataclass(frozen=True, slots=True)
class Examples:
    """A row for each id; there may be none."""

    liked: "Matrix"
    unliked: "Matrix"
    keys: frozenset[str]
    """Of their documents."""


async def examples(asked: Question, collection: Collection, store: Searched, sight: Sight) -> Examples:
    """Raises Refused for what does not exist, in the same words where it only does not for the caller."""
    meant = await sight.ids((*asked.like, *asked.unlike))
    wanted = [id_ for ids in meant.values() for id_ in ids]
    kept = await store.chunks(collection, wanted) if wanted else ()
    stored = {f"{one.key}#{one.number}": one for one in kept if sight.has(one)}
    liked = [_found("like", meant[id_], stored) for id_ in asked.like]
    unliked = [_found("unlike", meant[id_], stored) for id_ in asked.unlike]
    dimension = collection.embedding.dimension
    return Examples(_matrix(liked, dimension), _matrix(unliked, dimension), frozenset(one.key for one in (*liked, *unliked)))


def _found(argument: str, ids: Sequence[str], stored: Mapping[str, Candidate]) -> Candidate:
    found = next((stored[id_] for id_ in ids if id_ in stored), None)
    if found is None:
        raise Refused("unknown_id", f"`{argument}` holds an id that is none of this collection", "give ids as hits have them")
    return found


def _matrix(found: Iterable[Candidate], dimension: int) -> "Matrix":
    import numpy as np  # part of an extra

    vectors = [one.vector for one in found if one.vector is not None]
    return np.stack(vectors) if vectors else np.empty((0, dimension), np.float32)
