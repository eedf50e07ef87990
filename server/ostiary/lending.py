"""What a permitted run may do with collections: what its permit covers, on the very collections it names.

A store holds all collections, so a run is never given the store: it is given one collection of it, and of that what the
permit's accesses say.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from ostiary.budgets import Tally
from ostiary.shelves import Shelves
from ostiary_policies import model
from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Permit
from ostiary_tools.api import World
from ostiary_tools.errors import Refused, TimedOut
from ostiary_tools.vectors.collection import Collection, Layout
from ostiary_tools.vectors.known import KnownCollection
from ostiary_tools.vectors.port import Candidate, Chunk, Indexed, Managed, Reach, Searched, Tell, VectorStore

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hourglass:
    """The seconds that a search has, those of its statements among them."""

    tally: Tally
    timeout_s: float

    async def within(self, answer: Awaitable[T]) -> T:
        """The answer, if it comes in time; else it is cancelled. Raises TimedOut."""
        timeout = asyncio.timeout(max(0.0, self.timeout_s - self.tally.seconds))
        try:
            with self.tally.clock():
                async with timeout:
                    return await answer
        except TimeoutError:
            if not timeout.expired():
                raise
            hint = "ask for less, or have its operator see why it is slow"
            raise TimedOut(f"the search took longer than {self.timeout_s:g} s", hint) from None


@dataclass(frozen=True, slots=True)
class Lending:
    """What collections are lent to one run."""

    permit: Permit
    world: World
    shelves: Shelves
    hourglass: Hourglass
    kept: dict[str, Collection] = field(default_factory=dict)
    """As this run itself has written them down."""

    def search_in(self, name: str) -> Searched:
        """To look into it. Raises Refused, and Unavailable."""
        one = self._lent(name, Action.SEARCH)
        return _Timed(_Searched(self.shelves.store(one.store), name, one.id, self.shelves), self.hourglass)

    async def embed(self, name: str, text: str) -> "Vector":
        """What is searched for, likewise."""
        found = self._known(name, Action.SEARCH)
        if found.embedder is None:
            raise _not_covered()
        vector: Vector = (await self.hourglass.within(found.embedder.embed([text])))[0]
        return vector

    def index_in(self, name: str) -> Indexed:
        """To write to it, likewise."""
        one = self._lent(name, Action.INDEX)
        return _Written(self.shelves.store(one.store), name, one.id, self.shelves)

    def manage(self, name: str, store: str = "") -> Managed:
        """To make or rebuild it, in that store where it is not the one it is in. A new one is as the intent says."""
        stated = self._managed(name)
        found = self.world.holdings.collections.get(name) if self.world.holdings else None
        if found is not None and found.collection.resource not in stated:
            raise _not_covered()
        wanted = store or (found.collection.store if found else "")
        stores = {resource.store for resource in stated if not wanted or resource.store == wanted}
        if len(stores) != 1:
            raise _not_covered()
        place = self.shelves.store(stores.pop())
        return _Managed(place, name, found.collection.id if found else None, self.shelves)

    async def keep(self, one: Collection) -> None:
        """Write down what it is, a new one or a known one that has changed."""
        stated = self._managed(one.name)
        found = self.world.holdings.collections.get(one.name) if self.world.holdings else None
        if one.resource not in stated:
            raise _not_covered()
        if found is None:
            await self.shelves.create(one)
        elif one.id != found.collection.id or found.collection.resource not in stated:
            raise _not_covered()
        else:
            await self.shelves.change(one, self.kept.get(one.name, found.collection))
        self.kept[one.name] = one

    async def drop(self, name: str) -> None:
        """First its name, then what is in it."""
        await self.shelves.drop(self._lent(name, Action.DROP))

    def _lent(self, name: str, action: Action) -> Collection:
        return self._known(name, action).collection

    def _known(self, name: str, action: Action) -> KnownCollection:
        found = self.world.holdings.collections.get(name) if self.world.holdings else None
        if found is None or Access(action, found.collection.resource) not in self.permit.intent.accesses:
            raise _not_covered()
        return found

    def _managed(self, name: str) -> frozenset[model.Collection]:
        """What of that name the permit lets be managed."""
        managed = (access.resource for access in self.permit.intent.accesses if access.action is Action.MANAGE)
        return frozenset(one for one in managed if isinstance(one, model.Collection) and one.name == name)


@dataclass(frozen=True, slots=True)
class _Searched:
    """One collection of a store, to look into."""

    store: VectorStore
    name: str
    id: UUID | None
    """`None` of one that is being made."""
    shelves: Shelves

    async def nearest(self, collection: Collection, vector: "Vector", reach: Reach) -> Sequence[Candidate]:
        """As the store."""
        return await self.store.nearest(self._held(collection), vector, reach)

    async def matching(self, collection: Collection, words: str, reach: Reach) -> Sequence[Candidate]:
        """As the store."""
        return await self.store.matching(self._held(collection), words, reach)

    async def chunks(self, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
        """As the store."""
        return await self.store.chunks(self._held(collection), ids)

    async def count(self, collection: Collection) -> int:
        """As the store."""
        return await self.store.count(self._held(collection))

    def _held(self, collection: Collection) -> Collection:
        """The collection, when it is the one that was lent; a new one has an id that no other has."""
        same = collection.id == self.id if self.id else not self.shelves.owned(collection.id, besides=self.name)
        if collection.name != self.name or not same:
            raise _not_covered()
        return collection


@dataclass(frozen=True, slots=True)
class _Timed:
    """One collection of a store, to look into for as long as the permit says."""

    inner: _Searched
    hourglass: Hourglass

    async def nearest(self, collection: Collection, vector: "Vector", reach: Reach) -> Sequence[Candidate]:
        """As the store."""
        return await self.hourglass.within(self.inner.nearest(collection, vector, reach))

    async def matching(self, collection: Collection, words: str, reach: Reach) -> Sequence[Candidate]:
        """As the store."""
        return await self.hourglass.within(self.inner.matching(collection, words, reach))

    async def chunks(self, collection: Collection, ids: Sequence[str]) -> Sequence[Candidate]:
        """As the store."""
        return await self.hourglass.within(self.inner.chunks(collection, ids))

    async def count(self, collection: Collection) -> int:
        """As the store."""
        return await self.hourglass.within(self.inner.count(collection))


@dataclass(frozen=True, slots=True)
class _Indexed(_Searched):
    """One collection of a store, to write to."""

    async def digests(self, collection: Collection, keys: Sequence[str]) -> Mapping[str, str]:
        """As the store."""
        return await self.store.digests(self._held(collection), keys)

    async def put(self, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """As the store."""
        await self.store.put(self._held(collection), chunks)

    async def delete(self, collection: Collection, keys: Sequence[str]) -> int:
        """As the store."""
        return await self.store.delete(self._held(collection), keys)

    def keys(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[str]]:
        """As the store."""
        return self.store.keys(self._held(collection), batch=batch)


@dataclass(frozen=True, slots=True)
class _Written(_Indexed):
    """Likewise, unless it is being moved: what is not told as written may be lost."""

    async def put(self, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """As the store."""
        await self.shelves.opened(self._held(collection))
        await self.store.put(collection, chunks)
        await self.shelves.held(collection)

    async def delete(self, collection: Collection, keys: Sequence[str]) -> int:
        """As the store."""
        await self.shelves.opened(self._held(collection))
        count = await self.store.delete(collection, keys)
        await self.shelves.held(collection)
        return count


@dataclass(frozen=True, slots=True)
class _Managed(_Indexed):
    """One collection of a store, to make and rebuild. What lies where the collection is written down to lie stays."""

    async def create(self, collection: Collection) -> None:
        """As the store."""
        await self.store.create(self._held(collection))

    async def build(self, collection: Collection, layout: Layout, tell: Tell) -> None:
        """As the store."""
        await self.store.build(self._held(collection), layout, tell)

    async def drop(self, collection: Collection) -> None:
        """As the store, of what was made and not kept, or was moved elsewhere; `Session.drop` drops a collection."""
        if self.shelves.owned(self._held(collection).id, store=self.store.name):
            raise _not_covered()
        await self.store.drop(collection)

    def scan(self, collection: Collection, *, batch: int) -> AsyncIterator[Sequence[Chunk]]:
        """As the store."""
        return self.store.scan(self._held(collection), batch=batch)

    async def sample(self, collection: Collection, count: int) -> Sequence[Candidate]:
        """As the store."""
        return await self.store.sample(self._held(collection), count)


def _not_covered() -> Refused:
    return Refused("permit", "the permit of this call does not cover that collection", "state it in the intent")
