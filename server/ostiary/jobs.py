"""Calls that go on after their answer: each is a task of this process and a row that every process can read.

A job walks the one road as the call that it is, and is recorded so. Its row is durable
before its number is told. It ends with its process: then it is told as lost, and the
audit log's takeover says how far it came.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID, uuid4

from ostiary.errors import CallFailed, UnknownTool
from ostiary.gate import Call
from ostiary.shape import Reply
from ostiary_policies.model import Principal
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.jobs import JobTable

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
        self._running: dict[asyncio.Task[None], str] = {}

    async def start(self, who: Principal, call: Call) -> UUID:
        """Begin it. Raises CallFailed when it cannot be written down or too many run; then it has not begun."""
        of_agents = Counter(self._running.values())
        if of_agents.total() >= _MOST or of_agents[who.agent] >= _MOST_OF_AN_AGENT:
            raise CallFailed("refused", "too many jobs are running", "wait for one to end, or cancel one", ("jobs",))
        id_ = uuid4()
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(id_, who, call, begun), name=f"job {id_}")
        self._running[running] = who.agent
        running.add_done_callback(self._running.pop)
        try:
            await begun
        except JournalError as error:
            _log.warning("a job was not begun: %s", error)
            raise CallFailed(
                "unavailable", "jobs cannot be written down now", "try again later, or call it without `job`"
            ) from error
        return id_

    async def close(self) -> None:
        """End every job as cancelled."""
        tasks = tuple(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, id_: UUID, who: Principal, call: Call, begun: "asyncio.Future[None]") -> None:
        try:
            await self._table.create(id_, who.agent, call.tool)
        except JournalError as error:
            begun.set_exception(error)
            return
        begun.set_result(None)
        said = [""]

        async def tell(_done: float, _total: float | None, message: str) -> None:
            said[0] = message

        work = asyncio.ensure_future(self._call(who, replace(call, tell=tell, ask=None)))
        try:
            await self._watch(id_, work, said)
        except asyncio.CancelledError:
            work.cancel()
        await asyncio.wait({work})
        await self._end(id_, *_ended(work))

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


def _ended(work: "asyncio.Future[Reply]") -> tuple[str, str]:
    """The state and what the owner is told."""
    if work.cancelled():
        return "cancelled", ""
    match work.exception():
        case None:
            return "completed", work.result().text
        case CallFailed() as error:
            return "failed", error.text()
        case UnknownTool() as error:
            return "failed", str(error)
        case _:
            return "failed", "internal: the call failed inside the server"
