"""Calls that go on after their answer: each is a task of this process and a row that every process can read.

A job walks the one road as the call that it is, and is recorded so: what refuses it there
refuses it before it is a job. Its row is durable before its number is told. It ends with
its process: then it is told as lost, and the audit log's takeover says how far it came.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from ostiary.approvals import Answer
from ostiary.errors import CallFailed
from ostiary.gate import Call
from ostiary.shape import Reply
from ostiary_policies.model import Principal
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.jobs import JobTable
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.result import Job

_log = logging.getLogger(__name__)

_BEAT_S = 1.0
"""How soon a cancellation is seen, and how old what is told of a job may be."""
_MOST = 16
_MOST_OF_AN_AGENT = 4
_LAST_WORDS = 5
"""Tries to write how a job ended."""


class Jobs:
    """The jobs that this process runs."""

    def __init__(self, table: JobTable, call: Callable[[Principal, Call], Awaitable[Reply]]) -> None:
        self._table = table
        self._call = call
        self._running: set[asyncio.Task[None]] = set()
        self._begun: Counter[str] = Counter()

    async def start(self, who: Principal, call: Call) -> Job | Reply:
        """The call as a job, once nothing stands in its way; or its reply, where that came sooner.

        Raises what the call itself would, when it is refused, fails or asks before it begins; then there is no job.
        """
        begun: asyncio.Future[Job | Reply] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(who, call, begun), name="job")
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            await asyncio.wait({begun})
        except asyncio.CancelledError:
            running.cancel()  # nobody was told its number
            await asyncio.wait({running})
            if begun.done() and not begun.cancelled():
                begun.exception()  # nor is anybody told why there was none
            raise
        return begun.result()

    async def close(self) -> None:
        """End every job as cancelled."""
        tasks = tuple(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, who: Principal, call: Call, begun: "asyncio.Future[Job | Reply]") -> None:
        id_ = uuid4()
        said = [""]

        async def tell(_done: float, _total: float | None, message: str) -> None:
            said[0] = message

        async def begin() -> None:
            if not begun.done():  # a tool may write several files
                begun.set_result(await self._created(id_, who, call))

        work = asyncio.ensure_future(self._call(who, replace(call, tell=tell, ask=_unheard, begin=begin)))
        either: tuple[asyncio.Future[Any], ...] = (work, begun)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            await self._watch(id_, work, said)
        except asyncio.CancelledError:
            work.cancel()
        await asyncio.wait({work})
        if not begun.done():
            _hand_over(work, begun)
            return
        self._begun -= Counter((who.agent,))
        await self._end(id_, *_ended(work))

    async def _created(self, id_: UUID, who: Principal, call: Call) -> Job:
        if self._begun.total() >= _MOST or self._begun[who.agent] >= _MOST_OF_AN_AGENT:
            raise Refused("jobs", "too many jobs are running", "wait for one to end, or cancel one")
        self._begun[who.agent] += 1
        try:
            return await self._table.create(id_, who.agent, call.tool)
        except BaseException as error:
            self._begun -= Counter((who.agent,))
            if not isinstance(error, JournalError):
                raise
            _log.warning("a job was not begun: %s", error)
            raise Unavailable("jobs cannot be written down now", "try again later, or call it without `job`") from error

    async def _watch(self, id_: UUID, work: "asyncio.Future[Reply]", said: list[str]) -> None:
        while not (await asyncio.wait({work}, timeout=_BEAT_S))[0]:
            try:
                if await self._table.beat(id_, said[0]):
                    work.cancel()
            except JournalError as error:
                _log.warning("job %s is not told how far it is: %s", id_, error)

    async def _end(self, id_: UUID, state: str, reply: str) -> None:
        for _ in range(_LAST_WORDS):
            try:
                await self._table.end(id_, state, reply)
            except JournalError as error:
                _log.warning("job %s has ended (%s) and that is not written: %s", id_, state, error)
                await asyncio.sleep(_BEAT_S)
            else:
                return


async def _unheard(_question: str, _about: str) -> Answer:
    raise Refused("job", "this call asks for an approval, and a job cannot ask", "call it so that it need not go on as a job")


def _hand_over(work: "asyncio.Future[Reply]", begun: "asyncio.Future[Job | Reply]") -> None:
    """What the call came to before it was a job."""
    if work.cancelled():
        begun.cancel()
    elif (error := work.exception()) is not None:
        begun.set_exception(error)
    else:
        begun.set_result(work.result())


def _ended(work: "asyncio.Future[Reply]") -> tuple[str, str]:
    """The state and what the owner is told."""
    if work.cancelled():
        return "cancelled", ""
    match work.exception():
        case None:
            return "completed", work.result().text
        case CallFailed() as error:
            return "failed", error.text()
        case _:
            return "failed", "internal: the call failed inside the server"
