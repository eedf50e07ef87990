"""A collection moved to another store: copied, closed to writers, compared till both hold the same, and then told to lie there.

Killed in between, the old one is in force, and a move that begins anew goes on from what is there. A writer who is told that
his documents are stored has stored them before the collection was closed, or where it lies now.
"""

from dataclasses import dataclass

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Managed, Tell

_BATCH = 500
_ROUNDS = 5
"""Comparisons; a collection that is written to all the while is not moved."""


@dataclass(frozen=True, slots=True)
class Place:
    """A collection as it lies in one store."""

    collection: Collection
    store: Managed


async def caught_up(old: Place, new: Place, tell: Tell) -> int:
    """Have the new store hold what the old one holds, as far as writers let it; how many documents were copied."""
    await new.store.create(new.collection)
    total = 0
    for _ in range(_ROUNDS):
        copies = await _put(old, new, tell, total)
        total += copies
        if not copies + await _taken(old, new):
            break
    return total


async def same(old: Place, new: Place, tell: Tell) -> int:
    """Have both hold the same, where nobody writes any more; likewise. Raises Refused when somebody does."""
    total = 0
    for _ in range(_ROUNDS):
        copies = await _put(old, new, tell, total)
        total += copies
        if not copies + await _taken(old, new):
            return total
    raise Refused("move", "the collection is written to all the time", "move it when nothing is indexed into it")


async def _put(old: Place, new: Place, tell: Tell, before: int) -> int:
    """Copy what the new one does not have as it is."""
    total, seen, copies = await old.store.count(old.collection), 0, 0
    async for chunks in old.store.scan(old.collection, batch=_BATCH):
        there = await new.store.digests(new.collection, tuple({chunk.key for chunk in chunks}))
        missing = [chunk for chunk in chunks if there.get(chunk.key) != chunk.digest]
        if missing:
            await new.store.put(new.collection, missing)
        seen, copies = seen + len(chunks), copies + len({chunk.key for chunk in missing})
        await tell(before + seen, None, f"{seen:,} of {total:,} chunks compared, {before + copies:,} documents copied")
    return copies


async def _taken(old: Place, new: Place) -> int:
    """Take away what the old one does not have any more."""
    count = 0
    async for keys in new.store.keys(new.collection, batch=_BATCH):
        there = await old.store.digests(old.collection, keys)
        if gone := [key for key in keys if key not in there]:
            count += await new.store.delete(new.collection, gone)
    return count
