"""The table of taints as a port: what calls have left on an agent. Every process of an installation sees the same rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ostiary_tools.control.link import Link

_OF = "SELECT taint FROM taints.held WHERE agent = $1"
_LEAVE = "SELECT taints.leave($1, $2, $3)"
_ALL = "SELECT agent, taint, since, by_call, again_at FROM taints.held ORDER BY agent, taint"
_TAKE = "DELETE FROM taints.held WHERE agent = $1 AND taint = ANY($2::text[])"


@dataclass(frozen=True, slots=True)
class HeldTaint:
    """One taint of one agent."""

    agent: str
    taint: str
    since: datetime
    by_call: UUID
    """The first call that left it."""
    again_at: datetime
    """When the last one did."""


class TaintTable:
    """Every method raises JournalError."""

    def __init__(self, dsn: str) -> None:
        # Not flushed by itself: the intent of the call that taints is, afterwards and in the same database, and takes this along.
        self._link = Link(dsn, "taints", flushed=False)

    async def of(self, agent: str) -> frozenset[str]:
        """The agent's taints."""
        return frozenset(row["taint"] for row in await self._link.ask(_OF, agent))

    async def leave(self, agent: str, taints: Iterable[str], call: UUID) -> None:
        """Leave them on the agent; whoever asks from now on sees them."""
        await self._link.ask(_LEAVE, agent, sorted(taints), call)

    async def all(self) -> Sequence[HeldTaint]:
        """Of every agent."""
        return [HeldTaint(**row) for row in await self._link.ask(_ALL)]

    async def take(self, agent: str, taints: Iterable[str]) -> None:
        """Take them away. The administrator alone may."""
        await self._link.ask(_TAKE, agent, sorted(taints))

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()
