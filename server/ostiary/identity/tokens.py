"""Tokens that Ostiary itself gives out: what they look like, and whom they stand for.

A token is 256 random bits with a prefix that scanners of secrets find and a checksum that
tells a mistyped one without asking the database. It is shown once; its digest is kept.
Without a secret to guess there is nothing for a slow hash to protect.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping

from starlette.requests import HTTPConnection

from ostiary.config.callers import Attribute
from ostiary.identity.bearer import bearer_token
from ostiary.identity.caller import Caller, NotEntitled, NotRecognised, caller
from ostiary.identity.lookups import Lookups
from ostiary.identity.principals import configured_principal
from ostiary_tools.control.tokens import StoredToken, TokenTable

PREFIX = "ostiary_"
ISSUER = "ostiary"
"""Of sessions begun with one."""
_SHAPE = re.compile(PREFIX + "([a-z2-7]{52})([a-z2-7]{7})")
_REMEMBERED = 10_000
"""Tokens believed without asking; strangers' are not among them."""


def new_token() -> str:
    """A token nobody had before."""
    secret = _letters(secrets.token_bytes(32))
    return f"{PREFIX}{secret}{_checksum(secret)}"


def new_id() -> str:
    """A name for a token, by which it is listed and revoked."""
    return _letters(secrets.token_bytes(5))


def digest(token: str) -> bytes:
    """What is kept of a token. Raises NotRecognised for what is none."""
    parts = _SHAPE.fullmatch(token)
    if parts is None or not hmac.compare_digest(_checksum(parts[1]), parts[2]):
        raise NotRecognised("it is no token of ours, or mistyped")
    return hashlib.sha256(token.encode()).digest()


def _checksum(secret: str) -> str:
    return _letters(zlib.crc32(secret.encode()).to_bytes(4, "big"))


def _letters(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


class IssuedTokens:
    """Recognises callers by tokens of the table. A valid one is believed for `cache_s`, so that a revocation acts soon."""

    def __init__(self, table: TokenTable, roles: frozenset[str], cache_s: float, attributes: Mapping[str, Attribute]) -> None:
        """`roles` are those that are configured; a token's others count no more."""
        self._lookups = Lookups(table)
        self._roles = roles
        self._cache_s = cache_s
        self._attributes = attributes
        self._believed: OrderedDict[bytes, tuple[float, StoredToken]] = OrderedDict()

    async def recognise(self, connection: HTTPConnection) -> Caller | None:
        """The bearer of one of our tokens."""
        token = bearer_token(connection.headers)
        if token is None or not token.startswith(PREFIX):
            return None
        stored = await self._valid(digest(token))
        roles = tuple(sorted(self._roles.intersection(stored.roles)))
        if not roles:
            raise NotEntitled("no role is given to this caller", agent=stored.agent, issuer=ISSUER)
        return caller(
            configured_principal(stored.agent, roles, self._attributes),
            issuer=ISSUER,
            subject=stored.id,
            expires_at=int(stored.expires_at.timestamp()),
        )

    async def close(self) -> None:
        """Look up no more."""
        await self._lookups.close()

    async def _valid(self, key: bytes) -> StoredToken:
        """Raises NotRecognised and Unreachable."""
        until, stored = self._believed.get(key, (0.0, None))
        if stored is None or time.monotonic() >= until:
            until = time.monotonic() + self._cache_s
            stored = await self._lookups.find(key)
        if stored is None or not stored.valid or stored.expires_at.timestamp() <= time.time():
            self._believed.pop(key, None)
            raise NotRecognised("the token does not exist, has expired or was revoked", token=stored.id if stored else "")
        self._believed[key] = (until, stored)
        self._believed.move_to_end(key)
        if len(self._believed) > _REMEMBERED:
            self._believed.popitem(last=False)
        return stored
