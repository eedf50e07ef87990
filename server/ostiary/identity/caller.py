"""A caller who was recognised, in the form in which the SDK carries one along a request.

The SDK binds sessions and sealed state to client, issuer and subject of an access
token, so the principal travels inside one.
"""

from typing import Protocol

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from starlette.requests import HTTPConnection

from ostiary_policies.model import Principal


class Caller(AccessToken):
    """An access token that knows whom it stands for; its text is not kept."""

    principal: Principal


class Authenticator(Protocol):
    """One way to be recognised."""

    async def recognise(self, connection: HTTPConnection) -> Caller | None:
        """The caller, or `None` when the request holds no credential of this kind.

        Raises NotRecognised for one that is wrong, NotEntitled for one that is right and
        opens nothing here, and Unreachable when nobody can say.
        """


class NotRecognised(Exception):
    """A credential that is wrong; the text is for the log, never for the client."""

    def __init__(self, message: str, token: str = "") -> None:
        super().__init__(message)
        self.token = token
        """The id of a token of ours that was right once."""


class NotEntitled(Exception):
    """A credential that is right and opens nothing here; the text may be told to its bearer."""

    def __init__(self, message: str, *, agent: str, issuer: str, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.agent = agent
        self.issuer = issuer
        self.scopes = scopes
        """Those a token must have, where it lacks one."""


class Unreachable(Exception):
    """Whoever could say whether a credential is right does not answer."""


def caller(principal: Principal, *, issuer: str, subject: str, expires_at: int | None = None) -> Caller:
    """A recognised caller."""
    return Caller(
        token="",
        client_id=principal.agent,
        subject=subject,
        scopes=[],
        expires_at=expires_at,
        claims={"iss": issuer},
        principal=principal,
    )


def recognised() -> Caller | None:
    """Who sent the request at hand; `None` where nobody is asked for a credential."""
    token = get_access_token()
    return token if isinstance(token, Caller) else None


def current(default: Principal | None) -> Principal:
    """Whose request this is; the default where nobody is asked for a credential. Raises NotRecognised when it is nobody's."""
    caller = recognised()
    if caller is not None:
        return caller.principal
    if default is None:
        raise NotRecognised("the request has lost its caller")
    return default
