"""Cursors: what lets a caller go on with a truncated reply, kept for some minutes in the control database.

A cursor is a statement and where its next page begins, never a row. The handle is a
secret of 144 bits that only the caller has: one digest of it finds the row, another
is the key that the row is encrypted with, so the database alone can tell no value. It
grants nothing: it serves the agent with the roles and attributes it was given to, and
its page is planned, decided and recorded as any call.
"""

import json
import logging
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ostiary_policies.attributes import digest
from ostiary_policies.model import Principal, Statement
from ostiary_tools.api import Refused, Unavailable, World
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.cursors import CursorTable, StoredCursor
from ostiary_tools.position import Position, SortKey
from ostiary_tools.query import unknown_cursor

_log = logging.getLogger(__name__)

_SECRET_BYTES = 18
_HANDLE = re.compile(r"[A-Za-z0-9_-]{24}", re.ASCII)
_NONCE_BYTES = 12
_BODY_BYTES = 500_000
"""A longer statement, with its values, is not kept: cursors are many."""
_AGAIN = "run the statement again"


class Cursors:
    """The cursors of this installation; all its processes see the same."""

    def __init__(self, table: CursorTable, lifetime_s: float) -> None:
        self._table = table
        self._lifetime_s = lifetime_s

    async def position(self, handle: str, who: Principal, policy_hash: str, world: World) -> Position:
        """Where the caller's cursor stands.

        Raises Refused with the reason when it is the caller's and has ended, and in the words of an unknown one when it
        is not; Unavailable.
        """
        if not _HANDLE.fullmatch(handle):
            raise unknown_cursor()
        id_, key = _derived(handle)
        try:
            stored = await self._table.find(id_)
        except JournalError as error:
            _log.warning("a cursor was not looked up: %s", error)
            raise Unavailable("cursors cannot be looked up now", f"try again later, or {_AGAIN}") from error
        if stored is None or stored.agent != who.agent:
            raise unknown_cursor()
        if ended := self._ended(stored, who, policy_hash, world):
            raise Refused("cursor", f"this cursor has ended: {ended}", _AGAIN)
        try:
            attributes, position = _opened(stored, id_, key)
        except (InvalidTag, ValueError, TypeError, KeyError) as error:
            _log.warning("a cursor is not as it was written")
            raise unknown_cursor() from error
        if attributes != digest(who.attributes):
            raise Refused("cursor", "this cursor has ended: your attributes have changed since", _AGAIN)
        return position

    async def keep(self, position: Position, who: Principal, policy_hash: str, world: World) -> str | None:
        """Keep where the next page begins; its handle, or `None` when it could not be kept."""
        handle = urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        id_, key = _derived(handle)
        version = world.views[position.datasource].snapshot.version
        stored = StoredCursor(who.agent, who.roles, position.datasource, policy_hash, version, b"")
        plain = _body(position, who)
        if len(plain) > _BODY_BYTES:
            return None
        nonce = secrets.token_bytes(_NONCE_BYTES)
        body = nonce + AESGCM(key).encrypt(nonce, plain, _bound(stored, id_))
        try:
            await self._table.put(id_, replace(stored, body=body), self._lifetime_s)
        except JournalError as error:
            _log.warning("a cursor was not kept: %s", error)
            return None
        return handle

    def _ended(self, stored: StoredCursor, who: Principal, policy_hash: str, world: World) -> str:
        """Why the cursor cannot be gone on with, or empty."""
        if stored.expired:
            return f"it was good for {self._lifetime_s:g} s"
        if stored.roles != who.roles:
            return "your roles have changed since"
        if stored.policy_hash != policy_hash:
            return "the policy has changed since"
        if world.view(stored.datasource).snapshot.version != stored.schema_version:
            return "the schema has changed since"
        return ""


def _derived(handle: str) -> tuple[bytes, bytes]:
    """The id that the row is found by and the key of its body; neither tells the other."""
    made = HKDF(SHA256(), 64, salt=None, info=b"ostiary cursor 1").derive(handle.encode())
    return made[:32], made[32:]


def _bound(stored: StoredCursor, id_: bytes) -> bytes:
    """What stands in the clear beside the body; a body moved to another row does not open."""
    clear = {name: value for name, value in asdict(stored).items() if name not in ("body", "expired")}
    return id_ + json.dumps(clear, sort_keys=True).encode()


def _body(position: Position, who: Principal) -> bytes:
    fields = {name: value for name, value in asdict(position).items() if name != "datasource"}
    fields["attributes"] = digest(who.attributes)
    return json.dumps(fields, ensure_ascii=True).encode()


def _opened(stored: StoredCursor, id_: bytes, key: bytes) -> tuple[str, Position]:
    """The digest of its owner's attributes, and where it stands."""
    plain = AESGCM(key).decrypt(stored.body[:_NONCE_BYTES], stored.body[_NONCE_BYTES:], _bound(stored, id_))
    fields: Mapping[str, Any] = json.loads(plain)
    statement = Statement(fields["statement"]["text"], tuple(fields["statement"]["parameters"]))
    return fields["attributes"], Position(
        datasource=stored.datasource,
        statement=statement,
        max_rows=fields["max_rows"],
        given=fields["given"],
        names=tuple(fields["names"]),
        keys=tuple(SortKey(**sort) for sort in fields["keys"]),
        after=tuple(fields["after"]),
    )
