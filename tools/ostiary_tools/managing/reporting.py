"""Reports on a collection in words, of chunks that the caller may see."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ostiary_tools.api import Refused, Session, World
from ostiary_tools.chunking.template import parsed
from ostiary_tools.identifiers import one_line
from ostiary_tools.managing.arguments import ManageCollectionArgs
from ostiary_tools.vectors.collection import Collection, Source
from ostiary_tools.vectors.port import Candidate, Managed, Tell
from ostiary_tools.vectors.recall import id_of
from ostiary_tools.vectors.sources import Lookup, lookup_of, view_of

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Matrix

Sight = Callable[[Sequence[Candidate]], Awaitable[Sequence[str | None]]]
"""The text of each chunk as the caller sees it; `None` of one that does not exist for it."""

_TEXT = 80
_KEYS = 500
"""Looked up at once."""
_TYPICAL = 3


async def plain_sight(chunks: Sequence[Candidate]) -> Sequence[str | None]:
    """Of documents that were given: the texts as they lie there."""
    return [one.text for one in chunks]


def lookup(source: Source, world: World) -> Lookup:
    """How its rows are looked up for the caller. Raises Refused, Unavailable."""
    return lookup_of(source, view_of(source, world))


def sight_of_rows(source: Source, session: Session) -> Sight:
    """Of rows: each text as it is made of the row that the caller reads, and none of a row that it does not."""
    found, known = lookup(source, session.world), dict[str, str]()
    template = parsed(source.template)

    async def seen(chunks: Sequence[Candidate]) -> Sequence[str | None]:
        keys = list({one.key: None for one in chunks if one.key not in known})
        for start in range(0, len(keys), _KEYS):
            rows = await session.lookup(found.statement, keys[start : start + _KEYS])
            for row in rows.rows:
                values = dict(zip(found.columns, row, strict=True))
                known[str(values[source.key])] = template.filled(values)
        return [known.get(one.key) for one in chunks]

    return seen


@dataclass(frozen=True, slots=True)
class Sampled:
    """Chunks of a collection that the caller may see, and how they are told of."""

    chunks: tuple[Candidate, ...]
    """With their vectors."""
    texts: tuple[str, ...]
    told: str
    """`of 3 chunks`, or `of a sample of 5,000 of 12,000 chunks`."""

    def line(self, row: int) -> str:
        """A chunk in one line."""
        return shown(self.chunks[row], self.texts[row])


def shown(chunk: Candidate, text: str) -> str:
    """A chunk in one line."""
    return f"{one_line(id_of(chunk), 120)}: {one_line(text, _TEXT)}"


@dataclass(frozen=True, slots=True)
class Place:
    """A collection, where it lies, and what its caller sees of it."""

    collection: Collection
    store: Managed
    sight: Sight


async def reported(args: ManageCollectionArgs, place: Place, tell: Tell) -> str:
    """The report that is asked for. Raises Refused where there is nothing to report on."""
    sample = await _sampled(place)
    match args.report:
        case "duplicates":
            return await _duplicates(args, place, sample, tell)
        case "clusters":
            return await asyncio.to_thread(_clusters, sample, args.count)
        case _:
            return await asyncio.to_thread(_outliers, sample, args.count)


async def _sampled(place: Place) -> Sampled:
    from ostiary_tools.vectors.reports import SAMPLE  # numpy is there only with the extra

    found = [one for one in await place.store.sample(place.collection, SAMPLE) if one.vector is not None]
    seen = [(one, text) for one, text in zip(found, await place.sight(found), strict=True) if text is not None]
    if not seen:
        raise Refused("report", "the collection has nothing to report on", "index documents first")
    of_rows = place.collection.source is not None
    total = 0 if of_rows else await place.store.count(place.collection)  # hidden rows are not counted to anybody
    some = len(found) == SAMPLE if of_rows else len(seen) < total
    of = f" of {total:,}" if some and total else ""
    told = f"of {'a sample of ' if some else ''}{len(seen):,}{of} chunks"
    return Sampled(tuple(one for one, _ in seen), tuple(text for _, text in seen), told)


async def _duplicates(args: ManageCollectionArgs, place: Place, sample: Sampled, tell: Tell) -> str:
    from ostiary_tools.vectors.reports import near_duplicates

    pairs, asked = await near_duplicates(place.store, place.collection, sample.chunks, args.score, tell)
    ends = list({id_of(end): end for pair in pairs for end in (pair.one, pair.other)}.values())
    texts = {id_of(end): text for end, text in zip(ends, await place.sight(ends), strict=True)}
    lines = []
    for pair in pairs:
        one, other = texts[id_of(pair.one)], texts[id_of(pair.other)]
        if one is not None and other is not None:
            lines.append(f"{pair.score:.3f} {one_line(id_of(pair.other), 120)} = {shown(pair.one, one)}")
    told = sample.told if asked == len(sample.chunks) else f"of the first {asked:,} {sample.told}, since time ran out"
    head = f"{told}: {len(lines):,} pairs with a score of at least {args.score:g}"
    return "\n".join([head, *lines[: args.count]])


def _clusters(sample: Sampled, count: int) -> str:
    from ostiary_tools.vectors.reports import clusters

    lines = [f"{sample.told}:"]
    for number, cluster in enumerate(clusters(_matrix(sample), sample.texts, count), 1):
        label = " ".join(cluster.label) or "no words of its own"
        lines.append(f"{number}. {label}: {len(cluster.rows):,} chunks, cohesion {cluster.cohesion:.2f}")
        lines += [f"   {sample.line(row)}" for row in cluster.rows[:_TYPICAL]]
    return "\n".join(lines)


def _outliers(sample: Sampled, count: int) -> str:
    from ostiary_tools.vectors.reports import outliers

    lines = [f"{sample.told}, farthest from their neighbours first:"]
    lines += [f"{one.similarity:.3f} {sample.line(one.row)}" for one in outliers(_matrix(sample), count)]
    return "\n".join(lines) if len(lines) > 1 else f"{sample.told}: too few for an outlier"


def _matrix(sample: Sampled) -> "Matrix":
    import numpy as np

    from ostiary_tools.vectors.reports import normalised

    return normalised(np.asarray([one.vector for one in sample.chunks], dtype=np.float32))
