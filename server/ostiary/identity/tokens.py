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
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.requests import HTTPConnection

from ostiary.identity.bearer import bearer_token
from ostiary.identity.caller import Caller, NotEntitled, NotRecognised, Unreachable, caller
from ostiary_policies.model import Principal
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.tokens import StoredToken, TokenTable

PREFIX = "ostiary_"
_SHAPE = re.compile(PREFIX + "([a-z2-7]{52})([a-z2-7]{7})")
_REMEMBERED = 10_000
"""Lookups kept, of tokens that exist and of others."""


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


@dataclass(slots=True)
class IssuedTokens:
    """Recognises callers by tokens of the table. What it found is believed for `cache_s`, so that a revocation acts soon."""

    table: TokenTable
    roles: frozenset[str]
    """Those that are configured; a token's others count no more."""
    cache_s: float
    _found: OrderedDict[bytes, tuple[float, StoredToken | None]] = field(default_factory=OrderedDict)

    async def recognise(self, connection: HTTPConnection) -> Caller | None:
        """The bearer of one of our tokens."""
        token = bearer_token(connection.headers)
        if token is None or not token.startswith(PREFIX):
            return None
        stored = await self._looked_up(digest(token))
        if stored is None or not stored.valid or stored.expires_at.timestamp() <= time.time():
            raise NotRecognised("the token does not exist, has expired or was revoked", token=stored.id if stored else "")
        roles = tuple(sorted(self.roles.intersection(stored.roles)))
        if not roles:
            raise NotEntitled("no role is given to this caller", agent=stored.agent, issuer="ostiary")
        return caller(
            Principal(stored.agent, roles), issuer="ostiary", subject=stored.id, expires_at=int(stored.expires_at.timestamp())
        )

    async def _looked_up(self, key: bytes) -> StoredToken | None:
        until, stored = self._found.get(key, (0.0, None))
        if time.monotonic() < until:
            return stored
        asked_at = time.monotonic()
        try:
            stored = await self.table.find(key)
            if stored is not None and stored.valid and stored.used_on != datetime.now(UTC).date():
                await self.table.used(stored.id)
        except JournalError as error:
            raise Unreachable(str(error)) from error
        self._found[key] = (asked_at + self.cache_s, stored)
        self._found.move_to_end(key)
        if len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)
        return stored
