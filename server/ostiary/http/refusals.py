"""A line in the log for each request that is refused, and never two: status, method, which page, and why where that is known.

It holds nothing a stranger can choose beyond that: no path that is none of ours, no
query string, no header, no body.
"""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)
_PAGES = frozenset(("/mcp", "/sse", "/messages/", "/healthz", "/readyz", "/metrics"))
_METHODS = frozenset(("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"))
_REFUSED = 400
_REASON = "ostiary.refused"


def because(scope: Scope, reason: str) -> None:
    """Say why this request is refused; the text is for the log."""
    scope[_REASON] = reason


class Refusals:
    """ASGI middleware; stands before all that refuses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log its status when it is a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _REFUSED:
                tell(scope, message["status"])
            await send(message)

        await self._app(scope, receive, watched)


def tell(scope: Scope, status: int) -> None:
    """Log that a request is refused."""
    method = scope["method"] if scope["method"] in _METHODS else "another method"
    page = scope["path"] if scope["path"] in _PAGES else "another page"
    reason = scope.get(_REASON, "")
    _log.info("refused with %d: %s %s%s", status, method, page, f", {reason}" if reason else "")


def tell_unread(status: int) -> None:
    """Log that a request is refused of which nothing is known, because it did not come whole, was not HTTP, or had no place."""
    _log.info("refused with %d: a connection", status)
