"""What is kept of a change, as bytes that nobody reads without its handle and the installation's key.

The key of a body is made of both; so neither the database and the key's file together, nor the database and an agent, tell a
row. What stands beside the body in the clear is bound to it, the transaction that was to commit it too: a proposal has none, so
the body of one is never taken for that of what was applied.
"""

import json
import os
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_IMODE
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ostiary_policies.attributes import digest
from ostiary_policies.model import Principal, Statement
from ostiary_tools.change import WayBack
from ostiary_tools.control.changes import StoredChange
from ostiary_tools.effects import Effects, Fired, LockTaken, RowChange, SequenceUse, TableEffect, Via

_NONCE_BYTES = 12
_KEY_BYTES = 32
_MOST_BYTES = 1_000_000_000
"""Of a body that is taken apart: no forged one fills the memory, and none of ours comes near."""


class KeyUnusable(Exception):
    """The key of changes cannot be read, or others can read it."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is kept in secret."""

    attributes: str
    """A digest of its owner's."""
    statements: tuple[Statement, ...]
    effects: Effects
    shown: tuple[str, ...]
    """What people are shown of its effects."""
    back: WayBack


def load_key(path: Path) -> bytes:
    """The installation's own key of changes, made at the first start with mode 0600. Raises KeyUnusable."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        about = path.stat()
        if S_IMODE(about.st_mode) & 0o077 or about.st_uid != os.geteuid():
            raise KeyUnusable(f"the key of changes `{path}` must belong to this user with mode 0600")
        key = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise KeyUnusable(f"the key of changes `{path}` cannot be read") from error
    if len(key) < 2 * _KEY_BYTES:
        raise KeyUnusable(f"the key of changes `{path}` is too short to be one")
    return key.encode()


def derived(handle: str, installation: bytes) -> tuple[bytes, bytes]:
    """The id that the row is found by and the key of its body; neither tells the other."""
    made = HKDF(SHA256(), 64, salt=installation, info=b"ostiary change 1").derive(handle.encode())
    return made[:32], made[32:]


def sealed(body: Body, stored: StoredChange, id_: bytes, key: bytes) -> bytes:
    """The body as it is kept beside what stands in the clear."""
    plain = zlib.compress(json.dumps(_plain(body), ensure_ascii=True, separators=(",", ":")).encode(), 1)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, _bound(stored, id_))


def opened(stored: StoredChange, id_: bytes, key: bytes) -> Body:
    """Raises InvalidTag where anything is not as it was written, and ValueError, KeyError or TypeError."""
    given = stored.body
    plain = AESGCM(key).decrypt(given[:_NONCE_BYTES], given[_NONCE_BYTES:], _bound(stored, id_))
    return _body(json.loads(zlib.decompressobj().decompress(plain, _MOST_BYTES)))


def body_of(who: Principal, statements: tuple[Statement, ...], effects: Effects, shown: tuple[str, ...], back: WayBack) -> Body:
    """What is to be kept for that owner."""
    return Body(digest(who.attributes), statements, effects, shown, back)


def _bound(stored: StoredChange, id_: bytes) -> bytes:
    clear = (stored.number, stored.agent, stored.roles, stored.datasource, stored.policy_hash, stored.schema_version)
    return id_ + json.dumps([*map(str, clear), stored.expires_at.timestamp(), stored.rows_changed, stored.transaction]).encode()


def _plain(body: Body) -> dict[str, Any]:
    effects = body.effects
    return {
        "attributes": body.attributes,
        "statements": [[one.text, one.parameters] for one in body.statements],
        "counts": effects.counts,
        "tables": [
            [one.table, one.columns, one.key, [[row.before, row.after] for row in one.rows], one.via.value]
            for one in effects.tables
        ],
        "fired": [[one.table, one.trigger, one.function] for one in effects.fired],
        "sequences": [[one.sequence, one.drawn] for one in effects.sequences],
        "locks": [asdict(one) for one in effects.locks],
        "defined": effects.defined,
        "shown": body.shown,
        "back": asdict(body.back),
    }


def _body(plain: Mapping[str, Any]) -> Body:
    effects = Effects(
        counts=tuple(plain["counts"]),
        tables=tuple(
            TableEffect(_name(table), tuple(columns), tuple(key), tuple(_row(*row) for row in rows), Via(via))
            for table, columns, key, rows, via in plain["tables"]
        ),
        fired=tuple(Fired(_name(table), trigger, _name(function)) for table, trigger, function in plain["fired"]),
        sequences=tuple(SequenceUse(_name(sequence), drawn) for sequence, drawn in plain["sequences"]),
        locks=tuple(LockTaken(**{**lock, "relation": _name(lock["relation"])}) for lock in plain["locks"]),
        defined=plain["defined"],
    )
    statements = tuple(Statement(text, tuple(values)) for text, values in plain["statements"])
    back = WayBack(**{**plain["back"], "statements": tuple(plain["back"]["statements"])})
    return Body(plain["attributes"], statements, effects, tuple(plain["shown"]), back)


def _name(given: list[str]) -> tuple[str, str]:
    schema, name = given
    return schema, name


def _row(before: list[str | None] | None, after: list[str | None] | None) -> RowChange:
    return RowChange(None if before is None else tuple(before), None if after is None else tuple(after))
