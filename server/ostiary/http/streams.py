"""Streams that stay open: how many there may be, for one agent and in all, and their end.

A stream of HTTP+SSE is a session of its own, the GET of streamable HTTP belongs to one,
and a subscription of 2026-07-28 is its own request. None ends by itself: a stop would wait for them in vain, and
whoever was let in once would listen for ever. So the credential is looked at again while its stream is open.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ostiary.config.settings import Http
from ostiary.identity.caller import Caller, recognised
from ostiary.identity.recognition import Recognition

_SHORTEST_PAUSE_S = 1.0
"""Between two looks at a credential."""


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

    def bounded(self, app: ASGIApp, recognition: Recognition) -> ASGIApp:
        """The application with its streams counted and ended; stands behind whatever recognises the caller."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] != "GET" and Headers(scope=scope).get("mcp-method") != "subscriptions/listen":
                await app(scope, receive, send)
                return
            agent = self._agent()
            if self._open.total() >= self._in_all or self._ending.is_set():
                await PlainTextResponse("too many open streams; try again in 1 s\n", 503)(scope, receive, send)
            elif self._open[agent] >= self._per_agent:
                await PlainTextResponse("too many open streams of this agent; close one\n", 429)(scope, receive, send)
            else:
                self._open[agent] += 1
                try:
                    await self._until_over(HTTPConnection(scope), recognition, app, receive, send)
                finally:
                    self._open[agent] -= 1
                    if not self._open[agent]:
                        del self._open[agent]

        return counted

    async def _until_over(
        self, connection: HTTPConnection, recognition: Recognition, app: ASGIApp, receive: Receive, send: Send
    ) -> None:
        over = asyncio.create_task(self._over(connection, recognition), name="end of a stream")

        async def received() -> Message:
            getting = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((getting, over), return_when=asyncio.FIRST_COMPLETED)
                return getting.result() if getting.done() else {"type": "http.disconnect"}
            finally:
                getting.cancel()
                with suppress(asyncio.CancelledError):
                    await getting

        try:
            await app(connection.scope, received, send)
        finally:
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)

    async def _over(self, connection: HTTPConnection, recognition: Recognition) -> None:
        """Wait until the server stops or the stream's credential stands for its caller no more."""
        caller = recognised()
        if caller is None:
            await self._ending.wait()
            return
        while not self._ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_pause(caller, recognition.cache_s)):
                    await self._ending.wait()
            if not await recognition.holds(connection, caller):
                return


def _pause(caller: Caller, at_most_s: float) -> float:
    left_s = caller.expires_at - time.time() if caller.expires_at is not None else at_most_s
    return max(_SHORTEST_PAUSE_S, min(left_s, at_most_s))
