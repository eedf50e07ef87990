"""Sessions of the 2025 era.

The SDK keeps them and bounds them in all. This bounds one agent's, which must not take every place, and
keeps what comes too late for a session that has ended from being a second reply.
"""

from typing import TYPE_CHECKING, Any

from anyio import ClosedResourceError
from mcp.server import Server
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from ostiary.config.settings import Http

if TYPE_CHECKING:
    from mcp.server.streamable_http import StreamableHTTPServerTransport


class Sessions(StreamableHTTPSessionManager):
    """Those of this process."""

    def __init__(self, server: Server[Any], http: Http, security: TransportSecuritySettings) -> None:
        super().__init__(
            app=server,
            security_settings=security,
            max_request_body_size=http.request_bytes,
            session_idle_timeout=http.idle_session_s,
            max_sessions=http.sessions,
        )
        self._per_agent = http.sessions_per_agent

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with 429 where the agent has as many sessions as it may have."""
        reply = _OneReply(send)
        try:
            await super().handle_request(scope, receive, reply)
        except _TooMany:
            await PlainTextResponse("too many open sessions of this agent; end one\n", 429)(scope, receive, send)
        except ClosedResourceError:
            if not reply.ended:
                raise
            # The SDK answers a notification before it hands it on; the session has ended in between, and nobody misses it.

    def _admit_session(self, requestor: AuthorizationContext | None) -> "StreamableHTTPServerTransport | None":
        # The one place where looking and taking are one step: many first requests at once are bounded too.
        # Where nobody is asked for a credential there is one agent, and the bound on all is its own.
        if requestor is not None:
            agent = requestor["client_id"]
            if sum(owner["client_id"] == agent for owner in self._session_owners.values()) >= self._per_agent:
                raise _TooMany
        return super()._admit_session(requestor)


class _OneReply:
    """Sends one reply, and nothing that is said after it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.ended = False

    async def __call__(self, message: Message) -> None:
        if not self.ended:
            await self._send(message)
            self.ended = message["type"] == "http.response.body" and not message.get("more_body", False)


class _TooMany(Exception):
    """The agent has no place for one more session."""
