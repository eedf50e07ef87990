"""Answers 429 to a call for which there is no place, where the headers tell that it is one.

The gate refuses such a call in any case, as an error of the tool. Clients of protocol
2026-07-28 name the method in a header, so theirs can be refused before it is read, with a
status that clients and proxies know.
"""

import json
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.errors import CallFailed

Crowded = Callable[[], Awaitable[None]]
"""Records the refusal of a call, and raises it as CallFailed, when its caller has no place for one."""

_CALLS = frozenset(("tools/call", "resources/read", "resources/list", "prompts/get", "completion/complete"))
_SERVER_ERROR = -32000


class Uncrowded:
    """ASGI middleware: refuses a call when too many run; stands behind whatever recognises the caller."""

    def __init__(self, app: ASGIApp, crowded: Crowded) -> None:
        self._app = app
        self._crowded = crowded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 429, or pass the request on."""
        if Headers(scope=scope).get("mcp-method") in _CALLS:
            try:
                await self._crowded()
            except CallFailed as error:
                await _refusal(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refusal(error: CallFailed) -> Response:
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": _SERVER_ERROR, "message": error.text()}}
    status = 429 if error.code == "busy" else 503
    when = {} if error.again_in_s is None else {"Retry-After": str(error.again_in_s)}
    return Response(json.dumps(body), status, when, media_type="application/json")
