"""How many calls are on their way at once, in all and of each agent.

One agent must not take every place; so its own bound is the lower one. A call that waits for
a human keeps its place among its agent's, which bounds how many wait, and lends the server's
to others meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Crowd:
    """The calls of this process that have begun and not ended."""

    def __init__(self, *, in_all: int, per_agent: int) -> None:
        self._in_all = in_all
        self._per_agent = per_agent
        self._calls: Counter[str] = Counter()
        self._lent = 0
        """Places of calls that wait for a human."""
        self._wanted = 0
        """Of these, places that are wanted back."""
        self._freed = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()

    def full(self, agent: str) -> str:
        """Why this agent has no place for one more call now; empty when it has."""
        if self._calls[agent] >= self._per_agent:
            return f"{self._per_agent} calls of yours run already, as many as one agent may have at once"
        if self._taken() + self._wanted >= self._in_all:
            return f"{self._in_all} calls run already, as many as the server takes at once"
        return ""

    @contextmanager
    def place(self, agent: str) -> Iterator[None]:
        """Count one call while it lasts; whoever asks for a place looks first whether there is one."""
        self._calls[agent] += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._calls[agent] -= 1
            if not self._calls[agent]:
                del self._calls[agent]
            self._freed.set()
            if not self._calls:
                self._nobody.set()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Lend the server's place of a call meanwhile, and wait at the end until there is one again, before any call that is new.

        No call with a place waits for one without, so that wait ends. A call that failed meanwhile does not wait: it is ending.
        """
        self._lent += 1
        self._freed.set()
        try:
            yield
            await self._free()
        finally:
            self._lent -= 1

    async def _free(self) -> None:
        self._wanted += 1
        try:
            while self._taken() >= self._in_all:
                self._freed.clear()
                await self._freed.wait()
        finally:
            self._wanted -= 1

    def _taken(self) -> int:
        return self._calls.total() - self._lent

    async def gone(self) -> None:
        """Wait until no call is on its way."""
        await self._nobody.wait()
