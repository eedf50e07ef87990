"""The wall around the whole application: no exception leaves it, neither to a client nor, with its text, to the log."""

import asyncio
import logging
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ostiary.http.refusals import tell

_log = logging.getLogger(__name__)
_RETRY_AFTER = (b"retry-after", b"1")
_TRY_AGAIN = (429, 503)


class Contained:
    """ASGI middleware: answers 500 for what fails and 503 for what a stop cuts off, and says when to try again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer. Nothing is raised, not even a cancellation: a request ends here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send)
        try:
            await self._app(scope, receive, reply)
        except asyncio.CancelledError:
            if not reply.begun:
                tell(scope, 503)
                await PlainTextResponse("the server is stopping; try again in 1 s\n", 503)(scope, receive, reply)
        except Exception as failure:  # noqa: BLE001 - the boundary: the library would log and send what is left to it
            _log.error("a request failed: %s", _kinds(failure))
            if not reply.begun:
                await PlainTextResponse("Internal Server Error", 500)(scope, receive, reply)
        await reply.end()


class _Reply:
    """What is sent, with `Retry-After` added, and how far it has come."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            if message["status"] in _TRY_AGAIN and not _says_when(message.get("headers", [])):
                message = {**message, "headers": [*message.get("headers", []), _RETRY_AFTER]}
        elif message["type"] == "http.response.body":
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """End a stream that was cut off."""
        if self.begun and not self._ended:
            await self({"type": "http.response.body", "body": b"", "more_body": False})


def _says_when(headers: Any) -> bool:
    return any(bytes(name).lower() == b"retry-after" for name, _ in headers)


def _kinds(failure: BaseException) -> str:
    """The types of a failure and of what a task group gathered in it, never their texts."""
    if isinstance(failure, BaseExceptionGroup):
        return ", ".join(sorted({_kinds(each) for each in failure.exceptions}))
    return type(failure).__name__
