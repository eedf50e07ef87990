"""The trace of a request's header becomes the parent of its spans, where the message itself names none."""

from opentelemetry.context import attach, detach
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.trace import traceparent

_PROPAGATOR = TraceContextTextMapPropagator()


class Joined:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within the trace it names, if it names one."""
        parent = traceparent(Headers(scope=scope).get("traceparent")) if scope["type"] == "http" else ""
        if not parent:
            await self._app(scope, receive, send)
            return
        token = attach(_PROPAGATOR.extract({"traceparent": parent}))
        try:
            await self._app(scope, receive, send)
        finally:
            detach(token)
