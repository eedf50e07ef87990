"""Streams that stay open: how many there may be, for one agent and in all, and their end when the server stops.

A stream of HTTP+SSE is a session of its own, the GET of streamable HTTP belongs to one,
and a subscription of 2026-07-28 is its own request. None ends by itself, so a stop would wait for them in vain.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ostiary.config.settings import Http


class Streams:
    """The open streams of this process."""

    def __init__(self, http: Http, agent: Callable[[], str]) -> None:
        """`agent` names the caller of the request at hand."""
        self._agent = agent
        self._in_all = http.sessions
        self._per_agent = http.streams_per_agent
        self._open: Counter[str] = Counter()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """End those that are open, and let no other begin."""
        self._ending.set()

    def bounded(self, app: ASGIApp) -> ASGIApp:
        """The application with its streams counted; stands behind whatever recognises the caller."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] != "GET" and Headers(scope=scope).get("mcp-method") != "subscriptions/listen":
                await app(scope, receive, send)
                return
            agent = self._agent()
            if self._open.total() >= self._in_all or self._ending.is_set():
                await PlainTextResponse("too many open streams; try again\n", 503)(scope, receive, send)
            elif self._open[agent] >= self._per_agent:
                await PlainTextResponse("too many open streams of this agent; close one\n", 429)(scope, receive, send)
            else:
                await self._counted(agent, app, scope, receive, send)

        return counted

    async def _counted(self, agent: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def until_the_end() -> Message:
            getting, ending = asyncio.ensure_future(receive()), asyncio.ensure_future(self._ending.wait())
            try:
                await asyncio.wait((getting, ending), return_when=asyncio.FIRST_COMPLETED)
                return getting.result() if getting.done() else {"type": "http.disconnect"}
            finally:
                for task in (getting, ending):
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

        self._open[agent] += 1
        try:
            await app(scope, until_the_end, send)
        finally:
            self._open[agent] -= 1
            if not self._open[agent]:
                del self._open[agent]
