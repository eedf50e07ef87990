"""What every HTTP request passes first: is it meant for this server, does it come from a page that may ask, who sends it.

A web page that a user happens to open can reach a server on the user's own machine; its
name in `Host` and `Origin` gives it away (DNS rebinding). That check has no switch.
"""

from collections.abc import Iterable, Sequence

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.http.refusals import because
from ostiary.identity.caller import Caller, NotEntitled, NotRecognised, Unreachable
from ostiary.identity.guesses import TooMany
from ostiary.identity.recognition import Recognition


class MeantForUs:
    """ASGI middleware: refuses a request whose `Host` or `Origin` is none of ours."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 or 403, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(headers.getlist("host"), headers.getlist("origin"))
        await (refused or self._app)(scope, receive, send)

    def _refused(self, hosts: Sequence[str], origins: Sequence[str]) -> Response | None:
        if len(hosts) != 1 or not _listed(hosts[0].lower(), self._hosts):
            return PlainTextResponse("this server is not reached by that Host; see `http.hosts`\n", 421)
        if len(origins) > 1 or not all(_listed(origin.lower(), self._origins) for origin in origins):
            return PlainTextResponse("pages of that Origin may not ask; see `http.origins`\n", 403)
        return None


def _listed(given: str, listed: frozenset[str]) -> bool:
    """Whether a host or an origin is in the list, where `:*` stands for any port or none."""
    if given in listed:
        return True
    name, colon, port = given.rpartition(":")
    return f"{name}:*" in listed if colon and port.isdigit() else f"{given}:*" in listed


class Recognised:
    """ASGI middleware: lets a request pass whose sender is recognised, and carries the caller along.

    `strangers`: who shows no credential passes too, as nobody; a wrong one is refused all the same.
    """

    def __init__(self, app: ASGIApp, recognition: Recognition, *, strangers: bool = False) -> None:
        self._app = app
        self._recognition = recognition
        self._strangers = strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403, 429 or 503, or pass the request on with its caller."""
        found = await self._recognise(HTTPConnection(scope))
        if not isinstance(found, Caller):
            stranger = self._app if self._strangers else self._challenge(401, "authentication is required")
            await (found or stranger)(scope, receive, send)
            return
        scope["user"] = user = AuthenticatedUser(found)
        token = auth_context_var.set(user)
        try:
            await self._app(scope, receive, send)
        finally:
            auth_context_var.reset(token)

    async def _recognise(self, connection: HTTPConnection) -> Caller | Response | None:
        """The one caller, the answer to who is none, or `None` when no credential is shown."""
        try:
            return await self._recognition.caller(connection)
        except TooMany as error:
            because(connection.scope, str(error))
            text = f"too many wrong credentials; try again in {error.wait_s} s\n"
            return PlainTextResponse(text, 429, {"Retry-After": str(error.wait_s)})
        except NotRecognised as error:
            because(connection.scope, f"a credential was refused: {error}")
            return self._challenge(401, "authentication is required", error="invalid_token")
        except NotEntitled as error:
            because(connection.scope, f"a caller was refused: {error}")
            if error.scopes:
                return self._challenge(403, str(error), error="insufficient_scope", scope=" ".join(error.scopes))
            return PlainTextResponse(f"{error}\n", 403)
        except Unreachable as error:
            because(connection.scope, f"no caller can be recognised: {error}")
            return PlainTextResponse("who you are cannot be checked now; try again in 5 s\n", 503, {"Retry-After": "5"})

    def _challenge(self, status: int, text: str, **parts: str) -> Response:
        if self._recognition.metadata_url:
            parts["resource_metadata"] = self._recognition.metadata_url
        quoted = ", ".join(f'{name}="{value}"' for name, value in parts.items())
        return PlainTextResponse(f"{text}\n", status, {"WWW-Authenticate": f"Bearer {quoted}".strip()})
