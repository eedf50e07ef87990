"""How many calls are on their way at once, in all and of each agent.

One agent must not take every place; so its own bound is the lower one.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Crowd:
    """The calls of this process that have begun and not ended."""

    def __init__(self, *, in_all: int, per_agent: int) -> None:
        self._in_all = in_all
        self._per_agent = per_agent
        self._calls: Counter[str] = Counter()
        self._nobody = asyncio.Event()
        self._nobody.set()

    def full(self, agent: str) -> str:
        """Why this agent has no place for one more call now; empty when it has."""
        if self._calls[agent] >= self._per_agent:
            return f"{self._per_agent} calls of yours run already, as many as one agent may have at once"
        if self._calls.total() >= self._in_all:
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
            if not self._calls:
                self._nobody.set()

    async def gone(self) -> None:
        """Wait until no call is on its way."""
        await self._nobody.wait()
