"""Calls that go on after their answer: each is a task of this process and a row that every process can read.

A job walks the one road as the call that it is, and is recorded so: what refuses it there
refuses it before it is a job. Its row is durable before its number is told. It ends with
its process: then it is told as lost, and the audit log's takeover says how far it came.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from ostiary.approvals import Answer, CannotAsk, Waiting
from ostiary.call import Call
from ostiary.errors import CallFailed
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
_LAST_WORDS_S = 10.0
"""Time for them when the process ends; a job of which they are not written is told as lost."""


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """A call that is a job, or may become one."""

    id: UUID
    agent: str
    task: asyncio.Task[Reply]
    begun: asyncio.Future[Job | Reply]
    """The job, or what the call came to before it was one."""
    said: list[str]
    """How far it is, in its own last words."""

    def cancel(self) -> None:
        """Have it end. Asked a second time it would break off the record of its end."""
        if not self.task.cancelling():
            self.task.cancel()


class Jobs:
    """The jobs that this process runs."""

    def __init__(self, table: JobTable, call: Callable[[Principal, Call], Coroutine[Any, Any, Reply]]) -> None:
        self._table = table
        self._call = call
        self._works: set[_Work] = set()
        self._followed: set[asyncio.Task[None]] = set()
        self._begun: Counter[str] = Counter()

    async def start(self, who: Principal, call: Call) -> Job | Reply:
        """The call as a job, once nothing stands in its way; or its reply, where that came sooner.

        Raises what the call itself would, when it is refused, fails or asks before it begins; then there is no job.
        """
        work = self._worked(who, call)
        following = asyncio.create_task(self._follow(work))
        self._followed.add(following)
        following.add_done_callback(self._followed.discard)
        try:
            await asyncio.wait({work.begun})
        except asyncio.CancelledError:
            work.cancel()  # nobody was told its number
            await asyncio.wait({following})
            raise
        return work.begun.result()

    async def close(self) -> None:
        """End every job as cancelled, once the record of its end is made; a bounded time is spent on writing how it stands."""
        works, followed = tuple(self._works), tuple(self._followed)
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait([work.task for work in works])
        if followed:
            await asyncio.wait(followed, timeout=_LAST_WORDS_S)
        for task in followed:
            task.cancel()
        await asyncio.gather(*followed, return_exceptions=True)

    def _worked(self, who: Principal, call: Call) -> "_Work":
        id_, said = uuid4(), [""]
        begun: asyncio.Future[Job | Reply] = asyncio.get_running_loop().create_future()
        begun.add_done_callback(lambda it: it.cancelled() or it.exception())  # who asked may have left and hear of none

        async def tell(_done: float, _total: float | None, message: str) -> None:
            said[0] = message

        async def begin() -> None:
            if not begun.done():  # a tool may write several files
                begun.set_result(await self._created(id_, who, call))

        async def ask(question: str, about: str, waiting: Waiting) -> Answer:
            if begun.done():  # its request was answered
                hint = "call it so that it need not go on as a job"
                raise Refused("job", "this call asks for an approval, and a job cannot ask", hint)
            if call.ask is None:
                raise CannotAsk
            return await call.ask(question, about, waiting)

        calling = self._call(who, replace(call, tell=tell, ask=ask, begin=begin))
        work = _Work(id_, who.agent, asyncio.create_task(calling, name="job"), begun, said)
        self._works.add(work)
        work.task.add_done_callback(lambda _: self._works.discard(work))
        return work

    async def _follow(self, work: "_Work") -> None:
        either: tuple[asyncio.Future[Any], ...] = (work.task, work.begun)
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        await self._watch(work)
        if not work.begun.done():
            _hand_over(work)
            return
        self._begun -= Counter((work.agent,))
        await self._end(work.id, *_ended(work.task))

    async def _created(self, id_: UUID, who: Principal, call: Call) -> Job:
        if self._begun.total() >= _MOST or self._begun[who.agent] >= _MOST_OF_AN_AGENT:
            raise Refused("jobs", "too many jobs are running", "wait for one to end, or cancel one")
        self._begun[who.agent] += 1
        try:
            return await self._table.create(id_, who, call.tool)
        except BaseException as error:
            self._begun -= Counter((who.agent,))
            if not isinstance(error, JournalError):
                raise
            _log.warning("a job was not begun: %s", error)
            raise Unavailable("jobs cannot be written down now", "try again later, or call it without `job`") from error

    async def _watch(self, work: "_Work") -> None:
        while not (await asyncio.wait({work.task}, timeout=_BEAT_S))[0]:
            try:
                if await self._table.beat(work.id, work.said[0]):
                    work.cancel()
            except JournalError as error:
                _log.warning("job %s is not told how far it is: %s", work.id, error)

    async def _end(self, id_: UUID, state: str, reply: str) -> None:
        for _ in range(_LAST_WORDS):
            try:
                await self._table.end(id_, state, reply)
            except JournalError as error:
                _log.warning("job %s has ended (%s) and that is not written: %s", id_, state, error)
                await asyncio.sleep(_BEAT_S)
            else:
                return


def _hand_over(work: _Work) -> None:
    """What the call came to before it was a job."""
    if work.task.cancelled():
        work.begun.cancel()
    elif (error := work.task.exception()) is not None:
        work.begun.set_exception(error)
    else:
        work.begun.set_result(work.task.result())


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
