"""What an agent's calls have left on it: asked for before a call is decided, and left before anything of it runs.

So whoever has got a row that taints is tainted at every process by then, and a call that is
decided afterwards is decided so. A taint is of the agent by its name, whatever its roles,
sessions and processes. It ends when a human takes it away, and never by itself: how long a
model's context lives is known to nobody here. Where nobody can say, nothing is decided.
"""

import asyncio
import logging
from dataclasses import replace
from uuid import UUID

from ostiary.errors import failed
from ostiary_policies.engine import Engine
from ostiary_policies.model import Permit, Principal
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.taints import TaintTable
from ostiary_tools.errors import Unavailable

_log = logging.getLogger(__name__)

_PATIENCE_S = 10.0
"""For an answer, behind the calls that asked before."""
_HINT = "try again later; the operator sees why in the log"


class Taints:
    """The taints of this installation."""

    def __init__(self, table: TaintTable) -> None:
        self._table = table

    async def known(self, who: Principal, engine: Engine) -> Principal:
        """The principal with its taints, where a policy asks for any. Raises Unavailable."""
        if not engine.policies.asks_for_taints:
            return who
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return replace(who, taints=await self._table.of(who.agent))
        except (JournalError, TimeoutError) as error:
            _log.warning("taints were not looked up: %s", str(error) or "no answer in time")
            raise Unavailable("taints cannot be looked up now, so nothing was decided", _HINT) from error

    async def leave(self, permit: Permit, call: UUID) -> None:
        """Leave what the permit taints with. Raises CallFailed when that is not certain."""
        if not permit.obligations.taints:
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._table.leave(permit.principal.agent, permit.obligations.taints, call)
        except (JournalError, TimeoutError) as error:
            _log.warning("a taint was not written: %s", str(error) or "no answer in time")
            raise failed(Unavailable("taints cannot be written down now, so nothing was run", _HINT)) from error

    async def close(self) -> None:
        """Give the connection back."""
        await self._table.close()
