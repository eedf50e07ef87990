"""Every HTTP route, in one Starlette application over one MCP server.

`/mcp` speaks streamable HTTP in both eras, `/sse` and `/messages/` the older
HTTP+SSE; beside them are the pages of the operator. It knows transports and no calls.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from mcp.server import Server
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.config.settings import Http
from ostiary.http.arrival import Arrived
from ostiary.http.crowding import Crowded, Uncrowded
from ostiary.http.doorstep import MeantForUs, Recognised
from ostiary.http.refusals import Refusals
from ostiary.http.sessions import Sessions
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
    pages: Sequence[BaseRoute],
    *,
    streams: Streams,
    crowded: Crowded,
) -> Starlette:
    """The application, with the operator's pages. Where nobody is asked, every caller is whom the MCP server takes for granted."""
    sessions = Sessions(server, http, _ELSEWHERE)
    sse = SseServerTransport("/messages/", _ELSEWHERE, http.request_bytes)

    def behind(app: ASGIApp) -> ASGIApp:
        whole = RequestBodyLimitMiddleware(Arrived(app), http.request_bytes)
        held = Uncrowded(streams.bounded(whole, recognition), crowded)
        return Recognised(held, recognition) if recognition.authenticators else held

    return Starlette(
        routes=[
            Route("/mcp", behind(Reworded(sessions.handle_request))),
            Route("/sse", behind(_Sse(server, sse)), methods=["GET"]),
            Mount("/messages/", behind(sse.handle_post_message)),
            *pages,
            *_metadata(recognition),
        ],
        middleware=[
            Middleware(Refusals),
            Middleware(WellFormed, http),
            Middleware(MeantForUs, http.hosts, http.origins),
            Middleware(Joined),
        ],
        lifespan=lambda _: sessions.run(),
    )


def _metadata(recognition: Recognition) -> list[Route]:
    """Where a client learns whom to ask for a token: the one address that names us, and the short one that clients try."""
    if recognition.resource is None:
        return []

    async def answer(_: Request) -> Response:
        return JSONResponse(recognition.resource, headers={"Cache-Control": "max-age=3600"})

    path = urlsplit(recognition.metadata_url).path
    return [Route(each, answer, methods=["GET"]) for each in dict.fromkeys((path, "/.well-known/oauth-protected-resource"))]


class _Sse:
    def __init__(self, server: Server[Any], transport: SseServerTransport) -> None:
        self._server = server
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":  # the router takes it for a GET; nobody would hear the stream, and it is not counted as one
            await PlainTextResponse("Method Not Allowed", 405, {"Allow": "GET"})(scope, receive, send)
            return
        async with self._transport.connect_sse(scope, receive, send) as (read, write):
            await self._server.run(read, write, self._server.create_initialization_options())
