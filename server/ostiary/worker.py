"""What `ostiary worker` does: takes jobs of the queue and makes each one's call again, as its owner, down the one road.

A worker holds a job by a lease that its beats renew. One that dies, is cut off or ends leaves the job to the next; so what runs
here bears being begun again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Literal
from uuid import uuid4

from ostiary.approvals import Asked, CannotAsk
from ostiary.call import Call
from ostiary.errors import CallFailed, UnknownTool
from ostiary.queue import NotOurs, Queue
from ostiary.shape import Reply
from ostiary_policies.model import Principal
from ostiary_tools.asking import InputNeeded
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.queue import LEASE_S, MOST_TAKEOVERS, Claimed

_log = logging.getLogger(__name__)

_BEAT_S = 1.0
"""How soon a job is taken, and its cancellation seen."""
_SEEN_S = 5.0
_LET_GO_S = LEASE_S / 2
"""Without a beat for so long a job is let go of, well before it is another's to take."""
_LAST_WORDS = 5
_LAST_WORDS_S = 10.0
_MAY_PASS = frozenset(("busy", "not_recorded", "unavailable"))
"""Codes of failures after which a job is tried again."""
_MOST_ATTEMPTS = 5
_MOST_LONG_ATTEMPTS = 50
"""Of a job that has worked for so long each time, and so has come further:"""
_LONG_S = 60.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 2.0, 60.0


class Worker:
    """One worker, with the jobs that it runs at once."""

    def __init__(
        self, queue: Queue, call: Callable[[Principal, Call], Coroutine[Any, Any, Reply]], at_once: int, idle_s: float | None = None
    ) -> None:
        """`idle_s`: how long it stays without work; for ever where it is `None`."""
        self.id = uuid4()
        self.first = False
        """Of several workers, the one that does what needs only one."""
        self.follows = False
        """Collections are followed, so it has work even when no job waits."""
        self._queue = queue
        self._call = call
        self._at_once = at_once
        self._idle_s = idle_s
        self._works: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work(self, stop: asyncio.Event) -> None:
        """Work until asked to stop, or idle for long enough; then jobs that are not done are given back."""
        clock = asyncio.get_running_loop().time
        busy_at, seen_at = clock(), -_SEEN_S
        try:
            while not stop.is_set() and (self._idle_s is None or clock() - busy_at < self._idle_s):
                try:
                    if clock() - seen_at >= _SEEN_S:
                        self.first = await self._queue.table.seen(self.id)
                        seen_at = clock()
                    await self._take()
                except JournalError as error:
                    _log.warning("jobs cannot be looked for now: %s", error)
                if self._works or self.follows:
                    busy_at = clock()
                await self._turn(stop)
        finally:
            await self._leave()

    async def _take(self) -> None:
        while len(self._works) < self._at_once and (claimed := await self._queue.table.claim(self.id)) is not None:
            work = asyncio.create_task(self._done(claimed), name="job")
            self._works.add(work)
            work.add_done_callback(self._works.discard)

    async def _turn(self, stop: asyncio.Event) -> None:
        """Until a job has ended, or it is time to look."""
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({stopping, *self._works}, timeout=_BEAT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _leave(self) -> None:
        works = tuple(self._works)
        self._leaving.set_result(None)
        if works:
            await asyncio.wait(works)
        try:
            await self._queue.table.gone(self.id)
        except JournalError as error:
            _log.warning("this worker is still counted for some seconds: %s", error)

    async def _done(self, claimed: Claimed) -> None:
        """Run one to its end, or until this worker leaves."""
        if claimed.cancel_asked:
            await self._end(claimed, "cancelled", "")
        elif claimed.takeovers > MOST_TAKEOVERS:
            await self._end(claimed, "failed", f"lost: {claimed.takeovers} workers that ran it ended before it did")
        else:
            try:
                who, call = self._queue.opened(claimed)
            except NotOurs as error:
                _log.warning("job %s is not run: %s", claimed.id, error)
                await self._end(claimed, "failed", "internal: what was asked for cannot be read any more")
            else:
                await self._run(claimed, who, call)

    async def _run(self, claimed: Claimed, who: Principal, call: Call) -> None:
        said = [""]

        async def tell(_done: float, _total: float | None, message: str) -> None:
            said[0] = message

        began = asyncio.get_running_loop().time()
        task = asyncio.create_task(self._call(who, replace(call, tell=tell)), name="call")
        match await self._watch(claimed, task, said):
            case "ended":
                most = _MOST_LONG_ATTEMPTS if asyncio.get_running_loop().time() - began > _LONG_S else _MOST_ATTEMPTS
                await self._concluded(claimed, task, most)
            case "leaving":
                await self._give_back(claimed, "its worker has ended")
            case "lost":
                _log.warning("job %s is not this worker's any more", claimed.id)

    async def _watch(self, claimed: Claimed, task: "asyncio.Task[Reply]", said: list[str]) -> Literal["ended", "leaving", "lost"]:
        """Until it has ended, with the record of its end; a call that is cancelled because this worker leaves has not."""
        clock = asyncio.get_running_loop().time
        held_at = clock()
        while True:
            either: tuple[asyncio.Future[Any], ...] = (task, self._leaving)
            await asyncio.wait(either, timeout=_BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return "ended"
            if self._leaving.done():
                await _cancelled(task)
                return "leaving" if task.cancelled() else "ended"
            try:
                asked = await self._queue.table.beat(claimed.id, self.id, said[0])
            except JournalError as error:
                _log.warning("the lease of job %s is not renewed: %s", claimed.id, error)
                if clock() - held_at < _LET_GO_S:
                    continue
                asked = None
            held_at = clock()
            if asked is None:
                await _cancelled(task)
                return "lost"
            if asked and not task.cancelling():
                task.cancel()

    async def _concluded(self, claimed: Claimed, task: "asyncio.Task[Reply]", most: int) -> None:
        """Say how it ended, or have it tried again, where it was tried fewer than `most` times."""
        if task.cancelled():
            await self._end(claimed, "cancelled", "")
            return
        match task.exception():
            case None:
                await self._end(claimed, "completed", task.result().text)
            case CallFailed() as error if error.code in _MAY_PASS and claimed.attempts + 1 < most:
                pause_s = min(_FIRST_PAUSE_S * 2**claimed.attempts, _LAST_PAUSE_S)
                await self._give_back(claimed, f"it is tried again: {error.message}", pause_s=pause_s, failed=True)
            case CallFailed() as error:
                await self._end(claimed, "failed", error.text())
            case UnknownTool() as error:
                await self._end(claimed, "failed", str(error))
            case Asked() | CannotAsk() | InputNeeded():
                await self._end(claimed, "failed", "not_approved: this call asks for an answer by now, and a job cannot ask")
            case _:
                await self._end(claimed, "failed", "internal: the call failed inside the worker")

    async def _end(self, claimed: Claimed, state: str, reply: str) -> None:
        await self._written(
            f"job {claimed.id} has ended ({state})", lambda: self._queue.table.end(claimed.id, self.id, state, reply)
        )

    async def _give_back(self, claimed: Claimed, message: str, *, pause_s: float = 0.0, failed: bool = False) -> None:
        back = self._queue.table.give_back
        await self._written(
            f"job {claimed.id} is given back", lambda: back(claimed.id, self.id, message, pause_s=pause_s, failed=failed)
        )

    async def _written(self, what: str, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Some tries within a bounded time; what is not written then is seen by the lease that runs out."""
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                for _ in range(_LAST_WORDS):
                    try:
                        return await write()
                    except JournalError as error:
                        _log.warning("%s, and that is not written: %s", what, error)
                        await asyncio.sleep(_BEAT_S)
        except TimeoutError:
            _log.warning("%s, and that was not written in time", what)


async def _cancelled(task: "asyncio.Task[Reply]") -> None:
    """Cancel it, once, and wait for the record of its end."""
    if not task.cancelling():
        task.cancel()
    await asyncio.wait({task})
