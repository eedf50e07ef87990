"""Access tokens of an identity provider: a bearer token in, a caller out (OAuth 2.1 resource server, RFC 9068)."""

from collections.abc import Mapping
from typing import Any

import jwt
from starlette.requests import HTTPConnection

from ostiary.config.callers import Attribute, OAuth
from ostiary.identity.bearer import bearer_token
from ostiary.identity.caller import Caller, NotEntitled, NotRecognised, caller
from ostiary.identity.claims import agent_in, attributes_in, has_scopes, roles_in
from ostiary.identity.keyring import Keyring
from ostiary.identity.tokens import PREFIX
from ostiary_policies.model import Principal

TOKEN_CHARS = 8_192
_TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
"""Of the header `typ`, in lower case: others are made for another use (logout tokens, proofs of possession …)."""
_REQUIRED = ("iss", "aud", "exp", "iat")
_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a hostile token may raise: the library checks types, and not every one."""


class AccessTokens:
    """Recognises callers by JSON Web Tokens that one issuer signed for this server."""

    def __init__(self, settings: OAuth, attributes: Mapping[str, Attribute], keyring: Keyring) -> None:
        self._settings = settings
        self._attributes = attributes
        self._keyring = keyring

    async def recognise(self, connection: HTTPConnection) -> Caller | None:
        """The bearer of an access token."""
        token = bearer_token(connection.headers)
        if token is None or token.startswith(PREFIX):
            return None
        settings = self._settings
        claims = await self._verified(token)
        agent = agent_in(claims, settings.agent_claim)
        issuer = str(settings.issuer)
        if not has_scopes(claims, settings.scopes):
            raise NotEntitled("the token lacks a scope", agent=agent, issuer=issuer, scopes=settings.scopes)
        roles = roles_in(claims, settings.roles_claim, settings.roles)
        if not roles:
            raise NotEntitled("no role is given to this caller", agent=agent, issuer=issuer)
        try:
            attributes = attributes_in(claims, self._attributes)
        except ValueError as error:
            raise NotEntitled(f"the claim of an attribute cannot be used: {error}", agent=agent, issuer=issuer) from None
        subject = claims.get("sub") or agent
        return caller(Principal(agent, roles, attributes), issuer=issuer, subject=subject, expires_at=int(claims["exp"]))

    async def _verified(self, token: str) -> Mapping[str, Any]:
        name, algorithm = self._header(token)
        key = await self._keyring.key(name)
        if algorithm not in key.algorithms:
            raise NotRecognised("its algorithm does not fit the key it names")
        settings = self._settings
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                audience=settings.audience or settings.resource,
                issuer=settings.issuer,
                leeway=settings.leeway_s,
                options={"require": list(_REQUIRED)},
            )
        except _MALFORMED as error:
            raise NotRecognised(f"the access token is refused: {type(error).__name__}") from error
        return claims

    def _header(self, token: str) -> tuple[str, str]:
        """Name of the key and algorithm, both as yet unproven. Raises NotRecognised."""
        if len(token) > TOKEN_CHARS:
            raise NotRecognised(f"the token is longer than {TOKEN_CHARS} characters")
        try:
            header = jwt.get_unverified_header(token)
            name, algorithm, kind = header.get("kid"), header.get("alg"), str(header.get("typ") or "").lower()
        except _MALFORMED as error:
            raise NotRecognised("it is no token") from error
        if algorithm not in self._settings.algorithms:
            raise NotRecognised("its algorithm is not accepted")
        if kind not in _TYPES or "crit" in header or not isinstance(name, str):
            raise NotRecognised("its header is not one of an access token")
        return name, str(algorithm)
