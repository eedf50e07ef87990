"""Collections that have grown since their recall was measured: a worker has it measured again, as the owner of each is today.

A recall that was found among a thousand says little of a hundred thousand. What is measured now is kept with the collection and
told by who describes it; where it has fallen below what the collection was tuned for, that is a warning.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from uuid import UUID

from ostiary.behalf import on_behalf
from ostiary.call import Call
from ostiary.gate import Gate
from ostiary.owners import Owners
from ostiary.shelves import Shelves
from ostiary.worker import Worker
from ostiary_tools.errors import ToolError
from ostiary_tools.vectors.collection import Collection, Tuning
from ostiary_tools.vectors.recall import grown

_log = logging.getLogger(__name__)

_ROUND_S = 20.0
_AGAIN_S = 3600.0
"""After one was asked for, whatever came of it."""


@dataclass(slots=True)
class Drifting:
    """What one worker looks after."""

    shelves: Shelves
    gate: Gate
    owners: Owners
    _not_before: dict[UUID, float] = field(default_factory=dict)

    async def watch(self, worker: Worker) -> None:
        """Until cancelled: while the worker is the first of them, and whatever goes wrong in one round, there is a next."""
        while True:
            try:
                if worker.first:
                    await self.round()
            except Exception:  # noqa: BLE001  whatever it is, others want to be measured
                _log.exception("collections that have grown are not measured now")
            await asyncio.sleep(_ROUND_S)

    async def round(self) -> None:
        """Ask for what is to be measured again. Raises Unavailable, JournalError, RecordingFailed."""
        now = asyncio.get_running_loop().time()
        for one, tuning in await self.shelves.tuned():
            if self._not_before.get(one.id, 0.0) <= now and await self._grown(one, tuning):
                self._not_before[one.id] = now + _AGAIN_S
                call = Call(
                    "manage_collection", {"action": "check", "name": one.name, "job": True}, origin="drift", transport="worker"
                )
                if no := await on_behalf(one, call, self.gate, self.owners):
                    _log.warning("the recall of collection `%s` is not measured again: %s", one.name, no)

    async def _grown(self, one: Collection, tuning: Tuning) -> bool:
        try:
            return grown(tuning, await self.shelves.store(one.store).count(one))
        except ToolError as error:
            _log.warning("how large collection `%s` is cannot be known now: %s", one.name, error)
            return False
