"""Refuses requests that two programs on the way could understand differently, and headers beyond their bounds.

A proxy that decides by path or header must see what this server sees. So a path has one
spelling, a header that decides something stands once, and a body has one length.
"""

from collections import Counter

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.config.settings import Http

_ONCE = frozenset(
    (
        *(b"authorization", b"content-encoding", b"content-length", b"content-type", b"transfer-encoding"),
        *(b"last-event-id", b"mcp-method", b"mcp-name", b"mcp-protocol-version", b"mcp-session-id"),
    )
)
_CLOSE = {"Connection": "close"}


class WellFormed:
    """ASGI middleware: answers 400, 404 or 431, or passes the request on."""

    def __init__(self, app: ASGIApp, http: Http) -> None:
        self._app = app
        self._http = http

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is ambiguous, or pass it on."""
        refused = self._refused(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if len(headers) > self._http.headers or _size(headers) > self._http.header_bytes:
            return PlainTextResponse("the headers are too many or too long\n", 431, _CLOSE)
        names = Counter(name for name, _ in headers)
        if any(names[name] > 1 for name in _ONCE) or (names[b"content-length"] and names[b"transfer-encoding"]):
            return PlainTextResponse("a header that may stand once stands twice, or contradicts another\n", 400, _CLOSE)
        return None if _one_spelling(scope["raw_path"]) else PlainTextResponse("Not Found", 404)


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _one_spelling(path: bytes) -> bool:
    """Whether a path begins at the root and has no escapes, no empty parts but the last, and no steps to itself or above."""
    root, *parts = path.split(b"/")
    return not root and bool(parts) and b"" not in parts[:-1] and b"%" not in path and not {b".", b".."} & set(parts)
