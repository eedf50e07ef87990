"""A collection made what its rows are: all rows read, those that changed stored anew, documents of vanished rows taken away.

Nothing is remembered of how far it came. Begun again after a kill it reads all rows again, and what it had stored is told by
its digests; so however often it is killed, the run that ends leaves exactly the rows.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ostiary_policies.model import Statement
from ostiary_tools.api import Session
from ostiary_tools.indexing.counts import Counts
from ostiary_tools.indexing.documents import Document
from ostiary_tools.indexing.flow import Flow, Portion
from ostiary_tools.indexing.rows import Rendering, Seen, ambiguous

PAGE = 1_000
"""Rows."""
_PORTION_CHARS = 2_000_000
"""A page of long texts is taken in by parts."""
_KEYS = 500
"""Of one lookup."""


@dataclass(slots=True)
class Refreshing:
    """One run."""

    session: Session
    everything: Statement
    lookup: Statement
    rendering: Rendering
    flow: Flow
    seen: Seen
    whole: bool = True
    """All rows were read."""

    @property
    def counts(self) -> Counts:
        """So far."""
        return self.flow.counts

    async def run(self) -> str:
        """Do it; what came of it, in words. Raises ToolError."""
        async with aclosing(self._portions()) as portions:
            await self.flow.run(portions)
        unique = await asyncio.to_thread(self.seen.sort)
        if not unique:
            raise ambiguous(self.rendering.source)
        told = self.counts.told
        name = self.rendering.collection.name
        if not self.whole:
            return f"{told(name)}. TRUNCATED: the rows are more than one export may hold, so nothing was deleted"
        await self._vanish()
        return told(name)

    async def _portions(self) -> AsyncGenerator[Portion, None]:
        rows = 0
        async with aclosing(self.session.pages(self.everything, rows=PAGE)) as pages:
            async for page in pages:
                documents, empty = await asyncio.to_thread(self.rendering.documents, page, rows)
                rows += len(page.rows)
                self.counts.empty += empty
                self.whole = self.whole and not page.truncated
                self.seen.add([one.key for one in documents])
                for portion in _portions(documents):
                    yield portion

    async def _vanish(self) -> None:
        """Take away documents whose rows are gone. A row that was not seen may be new, so each is looked up before."""
        store, collection = self.flow.store, self.flow.collection
        async for keys in store.keys(collection, batch=10 * _KEYS):
            unseen = await asyncio.to_thread(self.seen.missing, keys)
            for start in range(0, len(unseen), _KEYS):
                some = unseen[start : start + _KEYS]
                gone = await self._gone(some)
                if gone:
                    self.counts.deleted += await store.delete(collection, gone)
            await self.flow.tell(self.counts.seen, None, f"{self.counts.deleted:,} documents of vanished rows deleted")

    async def _gone(self, keys: list[str]) -> list[str]:
        found = await self.session.lookup(self.lookup, keys)
        if found.truncated:
            half = len(keys) // 2
            if not half:
                return []
            return [*await self._gone(keys[:half]), *await self._gone(keys[half:])]
        documents, _ = await asyncio.to_thread(self.rendering.documents, found, 0)
        there = {one.key for one in documents}
        return [key for key in keys if key not in there]


def _portions(documents: list[Document]) -> list[Portion]:
    """Of no more than so many characters, or of one document."""
    portions: list[list[Document]] = []
    chars = _PORTION_CHARS
    for one in documents:
        chars += len(one.text)
        if chars > _PORTION_CHARS or not portions:
            portions.append([])
            chars = len(one.text)
        portions[-1].append(one)
    return list(portions)
