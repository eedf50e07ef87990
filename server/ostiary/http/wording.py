"""Our own words where the SDK would send a client the text of its parser's exception.

On connections of the 2025 era it quotes what it could not read, with the names of its
classes. The status and the code are right, and stay.
"""

import json

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BAD_REQUEST = 400
_WORDS = {
    "Parse error": "Parse error: the body is not JSON",
    "Validation error": "Validation error: the body is no JSON-RPC message",
}
"""What the SDK's text begins with, up to a colon."""


class Reworded:
    """ASGI middleware: holds a reply of status 400 until its body is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        held: Message | None = None

        async def reworded(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and message["status"] == _BAD_REQUEST:
                held = message
                return
            if held is not None:
                begun, held = held, None
                message = {**message, "body": _reworded(message.get("body", b""))}
                MutableHeaders(scope=begun)["content-length"] = str(len(message["body"]))
                await send(begun)
            await send(message)

        await self._app(scope, receive, reworded)


def _reworded(body: bytes) -> bytes:
    try:
        reply = json.loads(body)
        words = _WORDS[reply["error"]["message"].split(":")[0]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return body  # none of those
    reply["error"]["message"] = words
    return json.dumps(reply).encode()
