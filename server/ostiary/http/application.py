"""Every HTTP route, in one Starlette application over one MCP server.

`/mcp` speaks streamable HTTP in both eras, `/sse` and `/messages/` the older
HTTP+SSE; beside them are the pages of the operator. It knows transports and no calls.
"""

from typing import Any
from urllib.parse import urlsplit

from mcp.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.config.settings import Http
from ostiary.http.arrival import Arrived
from ostiary.http.crowding import Crowded, Uncrowded
from ostiary.http.doorstep import MeantForUs, Recognised
from ostiary.http.operation import Operation, routes
from ostiary.http.refusals import Refusals
from ostiary.http.streams import Streams
from ostiary.http.tracing import Joined
from ostiary.http.wellformed import WellFormed
from ostiary.http.wording import Reworded
from ostiary.identity.recognition import Recognition

_ELSEWHERE = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""`MeantForUs` has checked Host and Origin of every request before, for all routes alike."""


def application(
    server: Server[Any],
    http: Http,
    recognition: Recognition,
    operation: Operation | None = None,
    *,
    streams: Streams,
    crowded: Crowded,
) -> Starlette:
    """The application. Where nobody is asked, every caller is whom the MCP server takes for granted."""
    manager = StreamableHTTPSessionManager(
        app=server,
        security_settings=_ELSEWHERE,
        max_request_body_size=http.request_bytes,
        session_idle_timeout=http.idle_session_s,
        max_sessions=http.sessions,
    )
    sse = SseServerTransport("/messages/", _ELSEWHERE, http.request_bytes)

    def behind(app: ASGIApp) -> ASGIApp:
        whole = RequestBodyLimitMiddleware(Arrived(app), http.request_bytes)
        held = Uncrowded(streams.bounded(whole), crowded)
        return Recognised(held, recognition) if recognition.authenticators else held

    def known(app: ASGIApp) -> ASGIApp:
        return Recognised(app, recognition, strangers=True)

    return Starlette(
        routes=[
            Route("/mcp", behind(Reworded(_Streamable(manager)))),
            Route("/sse", behind(_Sse(server, sse)), methods=["GET"]),
            Mount("/messages/", behind(sse.handle_post_message)),
            *(routes(operation, known if recognition.authenticators else None) if operation else ()),
            *_metadata(recognition),
        ],
        middleware=[
            Middleware(Refusals),
            Middleware(WellFormed, http),
            Middleware(MeantForUs, http.hosts, http.origins),
            Middleware(Joined),
        ],
        lifespan=lambda _: manager.run(),
    )


def _metadata(recognition: Recognition) -> list[Route]:
    """Where a client learns whom to ask for a token: the one address that names us, and the short one that clients try."""
    if recognition.resource is None:
        return []

    async def answer(_: Request) -> Response:
        return JSONResponse(recognition.resource, headers={"Cache-Control": "max-age=3600"})

    path = urlsplit(recognition.metadata_url).path
    return [Route(each, answer, methods=["GET"]) for each in dict.fromkeys((path, "/.well-known/oauth-protected-resource"))]


class _Streamable:
    def __init__(self, manager: StreamableHTTPSessionManager) -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.handle_request(scope, receive, send)


class _Sse:
    def __init__(self, server: Server[Any], transport: SseServerTransport) -> None:
        self._server = server
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._transport.connect_sse(scope, receive, send) as (read, write):
            await self._server.run(read, write, self._server.create_initialization_options())
