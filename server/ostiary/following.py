"""Collections that follow their rows: a worker asks for their refreshes, as the owner of each is today and down the one road.

Of several workers one does. What it asks for becomes a job like any; how long ago the last one was asked for, their table says.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from uuid import UUID

from ostiary.behalf import on_behalf
from ostiary.call import Call
from ostiary.gate import Gate
from ostiary.owners import Owners
from ostiary.queue import Queue
from ostiary.shelves import Shelves
from ostiary.worker import Worker
from ostiary_tools.control.connect import JournalError
from ostiary_tools.datasources.port import Datasource
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.vectors.collection import Collection, Source
from ostiary_tools.vectors.following import Every, Notify, followed

_log = logging.getLogger(__name__)

_ROUND_S = 1.0
_QUIET_S = 1.0
"""After a cue, in which more may come."""
_PATIENCE_S = 10.0
"""After the first of them, however many come."""
_AGAIN_S = 60.0
"""After a refresh that was refused."""

Channel = tuple[str, str]
"""Of a datasource."""


@dataclass(slots=True)
class Following:
    """What one worker follows."""

    shelves: Shelves
    queue: Queue
    datasources: Mapping[str, Datasource]
    gate: Gate
    owners: Owners
    _cues: dict[Channel, tuple[float, float]] = field(default_factory=dict)
    """When the first was heard that nothing was done about, and the last."""
    _not_before: dict[UUID, float] = field(default_factory=dict)
    _heard: frozenset[Channel] = frozenset()
    _listening: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def follow(self, worker: Worker) -> None:
        """Until cancelled: while the worker is the first of them, and whatever goes wrong in one round, there is a next."""
        try:
            while True:
                try:
                    worker.follows = bool(await self.round()) if worker.first else False
                except (JournalError, Unavailable) as error:
                    _log.warning("collections are not followed now: %s", error)
                except Exception:  # noqa: BLE001  whatever it is, others want to be followed
                    _log.exception("collections are not followed now")
                await asyncio.sleep(_ROUND_S)
        finally:
            await self._listening.aclose()

    async def round(self) -> int:
        """Ask for the refreshes that are due; how many collections follow their rows. Raises JournalError, Unavailable."""
        ones = await self.shelves.followed()
        await self._listen(frozenset(channel for _, source in ones if (channel := _channel(source))))
        now = asyncio.get_running_loop().time()
        for one, source in ones:
            if self._not_before.get(one.id, 0.0) <= now and await self._is_due(one, source, now):
                self._cues.pop(_channel(source) or ("", ""), None)
                await self._ask(one, now)
        return len(ones)

    async def _is_due(self, one: Collection, source: Source, now: float) -> bool:
        match _follows(source):
            case Every(seconds=seconds):
                ago = await self.queue.table.last(f"index {one.id}")
                return ago is None or ago >= seconds
            case Notify(channel=channel):
                first, last = self._cues.get((source.datasource, channel), (now, now))
                return now - last >= _QUIET_S or now - first >= _PATIENCE_S
            case _:
                return False

    async def _ask(self, one: Collection, now: float) -> None:
        call = Call("index_documents", {"collection": one.name, "refresh": True}, origin="follow", transport="worker")
        self._not_before[one.id] = now + _AGAIN_S  # also where it cannot even be asked for
        if no := await on_behalf(one, call, self.gate, self.owners):
            _log.warning("collection `%s` does not follow its rows now: %s", one.name, no)
        else:
            del self._not_before[one.id]

    async def _listen(self, channels: frozenset[Channel]) -> None:
        if channels == self._heard:
            return
        await self._listening.aclose()
        self._listening, self._heard = AsyncExitStack(), channels
        for name in {name for name, _ in channels} & self.datasources.keys():
            wanted = frozenset(channel for of, channel in channels if of == name)
            await self._listening.enter_async_context(self.datasources[name].listening(wanted, self._hearing(name)))

    def _hearing(self, datasource: str) -> Callable[[str], None]:
        def hear(channel: str) -> None:
            now = asyncio.get_running_loop().time()
            first, _ = self._cues.get((datasource, channel), (now, now))
            self._cues[datasource, channel] = first, now

        return hear


def _channel(source: Source) -> Channel | None:
    match _follows(source):
        case Notify(channel=channel):
            return source.datasource, channel
        case _:
            return None


def _follows(source: Source) -> Every | Notify | None:
    try:
        return followed(source.follows)
    except Refused:
        return None
