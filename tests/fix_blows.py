"""Calls that become jobs of an installation, and who is killed while they are at work."""

import asyncio
import os
import random
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar
from uuid import UUID

from fix_killing import Yard, over, said_of
from fix_waiting import until
from mcp import MCPError

ENDED_S = 180
CALL_S = 0.4
"""About as long as a server is needed for a call that becomes a job."""
_OVER = {"completed", "failed", "cancelled"}
Y = TypeVar("Y", bound=Yard)


class Blows(Generic[Y]):
    """At moments that dice choose."""

    def __init__(self, yard: Y, dice: random.Random) -> None:
        self.yard = yard
        self.dice = dice

    async def called(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """The answer; nothing where the server was killed meanwhile."""
        with suppress(MCPError):
            async with asyncio.timeout(ENDED_S):
                return (await self.yard.server.client.call_tool(tool, dict(arguments))).content[0].text  # type: ignore[union-attr] # tools of ours answer texts
        return ""

    async def begun(self, before: set[UUID]) -> None:
        """Return when a worker has taken the new job."""

        async def is_taken() -> bool:
            return any(job not in before and state != "queued" for job, state in (await self.yard.jobs()).items())

        await until(is_taken, ENDED_S)

    async def ended(self, job: UUID) -> tuple[str, str]:
        """How, and in which words."""
        await over(self.yard.jobs, job, ENDED_S)
        async with self.yard.it.client(agent="local") as ada:
            return (await self.yard.jobs())[job], await said_of(ada, job)

    async def struck(self, victim: str, tool: str, arguments: Mapping[str, Any], lasts_s: float) -> tuple[str, str, str]:
        """Call, and kill somebody before the work that takes so long is done: who died, and how the job ended; empty for none."""
        before = set(await self.yard.jobs())
        call = asyncio.create_task(self.called(tool, arguments))
        if victim != "server":
            await self.begun(before)
        await asyncio.sleep(self.dice.random() * (CALL_S if victim == "server" else lasts_s))  # the moment that the dice choose
        died = await self.kill(victim, before)
        await call
        state, said = "", ""
        for job in set(await self.yard.jobs()) - before:  # a server that was killed early has made none
            state, said = await self.ended(job)
        return died, state, said

    async def kill(self, victim: str, before: set[UUID]) -> str:
        """Who died; nobody where the new job ended before there was such a program."""
        match victim:
            case "server":
                await self.yard.kill_server()
            case "worker":
                await self.yard.kill_worker()
            case "database":
                await self.yard.kill_database()
            case _:
                return await self._kill_program("" if victim == "program" else victim, before)
        return victim

    def judge(self, victim: str, state: str, said: str) -> None:
        """A job whose processes were killed ends so, and in words that help."""
        if victim == "server":
            assert state in {"", "completed"}, said
        elif victim == "worker" and "already" not in said:  # it had its name when its maker died
            assert state == "completed", said
        assert state in {"", "completed", "failed"}, said
        assert "internal" not in said, (self.yard.it.site.folder / "worker.log").read_text()[-6000:]
        assert "damaged" not in said

    async def _kill_program(self, name: str, before: set[UUID]) -> str:
        """One of those that run, or the next to run."""
        while True:
            found = [one for one in self.yard.at_work() if name in ("", one.name)]
            for one in self.dice.sample(found, len(found)):
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
                    return one.name
            jobs = await self.yard.jobs()
            if any(job not in before and state in _OVER for job, state in jobs.items()):
                return ""
            await asyncio.sleep(0.01)  # a program sets no event when it starts
