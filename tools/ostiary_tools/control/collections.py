"""The table of collections as a port: what each is, by its id and, as long as it is not being dropped, by its name.

Every row bears a seal over all of it, under a key that is not in the database. One whose seal does not hold, or that bears
none, is no collection but an outsider: what it says decides nothing. A row that was in force once and is put back holds.
"""

import hmac
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from ostiary_tools.control.link import Link
from ostiary_tools.vectors.collection import Collection

_log = logging.getLogger(__name__)

_ALL = "SELECT id, name, state, body, key, seal FROM collections.collection WHERE state = $1 ORDER BY name"
_ONE = "SELECT id, name, state, body, key, seal FROM collections.collection WHERE id = $1 AND state = 'kept'"
# Asked a second time, a row that was made is found made.
_CREATE = """
WITH new AS (
    INSERT INTO collections.collection (id, name, body, key, seal) VALUES ($1, $2, $3::jsonb, $4, $5)
    ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM new
UNION ALL SELECT id FROM collections.collection WHERE id = $1 AND name = $2 AND state = 'kept' AND seal = $5
"""
# Of two who change the same one the second has to look again; asked a second time, a change that was made is found made.
# What a newer version writes of an older one's row holds more than that did.
_CHANGE = """
UPDATE collections.collection SET body = $3::jsonb, key = $4, seal = $5, changed_at = clock_timestamp()
WHERE id = $1 AND name = $2 AND state = 'kept' AND ($6::jsonb @> body OR $3::jsonb = body) RETURNING id
"""
_RELEASE = """
UPDATE collections.collection SET state = 'dropping', body = $3::jsonb, key = $4, seal = $5, changed_at = clock_timestamp()
WHERE id = $1 AND name = $2 AND $3::jsonb @> body RETURNING id
"""
_FORGET = "DELETE FROM collections.collection WHERE id = $1 AND state = 'dropping'"
_DISCARD = """
DELETE FROM collections.collection
WHERE id = $1 AND name = $2 AND state = 'kept' AND body = $3::jsonb AND key = $4 AND seal IS NOT DISTINCT FROM $5
"""
_FORM = TypeAdapter(Collection)


@dataclass(frozen=True, slots=True)
class Seal:
    """What rows are sealed with."""

    key: bytes = field(repr=False)
    name: str
    """Tells which key it is, and nothing of it."""

    def over(self, id_: UUID, name: str, state: str, body: str) -> bytes:
        """The seal of such a row. Raises ValueError for a body that is no JSON, and RecursionError."""
        row = json.dumps([str(id_), name, state, json.loads(body)], sort_keys=True, separators=(",", ":"))
        return hmac.digest(self.key, row.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class Outsider:
    """A row that is not as this installation wrote it."""

    id: UUID
    name: str
    body: str = field(repr=False)
    key: str = field(repr=False)
    seal: bytes | None = field(repr=False)
    other_key: bool
    """It says that it was sealed with another one."""

    @property
    def claim(self) -> Collection | None:
        """What it says it is, where that can be read; nothing to rely on."""
        return _read(self.body)


@dataclass(frozen=True, slots=True)
class Rows:
    """What the table holds."""

    collections: Sequence[Collection]
    outsiders: Sequence[Outsider]


class CollectionTable:
    """Every method raises JournalError. Each change of a row is a cue on the bus."""

    def __init__(self, dsn: str, seal: Seal) -> None:
        self._link = Link(dsn, "collections")
        self._seal = seal

    async def all(self) -> Rows:
        """Those that have a name, by it. One that this version cannot read is none."""
        return await self._of("kept")

    async def find(self, id_: UUID) -> Collection | None:
        """That one as it is now."""
        rows = self._read_all(await self._link.ask(_ONE, id_))
        return rows.collections[0] if rows.collections else None

    async def dropping(self) -> Rows:
        """Those that are being dropped, or were when whoever did it died."""
        return await self._of("dropping")

    async def create(self, one: Collection) -> bool:
        """Whether it is there under its name; false when the name or the id is another's."""
        return bool(await self._link.ask(_CREATE, *self._row(one, "kept")))

    async def change(self, one: Collection, before: Collection) -> bool:
        """Whether it was still there as it was before; its name stays."""
        return bool(await self._link.ask(_CHANGE, *self._row(one, "kept"), _written(before)))

    async def release(self, one: Collection) -> bool:
        """Whether it was still there so. Nobody finds it any more; `forget` it when its store has nothing of it."""
        return bool(await self._link.ask(_RELEASE, *self._row(one, "dropping")))

    async def forget(self, id_: UUID) -> None:
        """It was dropped."""
        await self._link.ask(_FORGET, id_)

    async def discard(self, one: Outsider) -> None:
        """Take the row away, if it is still that; what may be in a store under its id stays."""
        await self._link.ask(_DISCARD, one.id, one.name, one.body, one.key, one.seal)

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()

    def _row(self, one: Collection, state: str) -> tuple[UUID, str, str, str, bytes]:
        body = _written(one)
        return one.id, one.name, body, self._seal.name, self._seal.over(one.id, one.name, state, body)

    async def _of(self, state: str) -> Rows:
        return self._read_all(await self._link.ask(_ALL, state))

    def _read_all(self, rows: Sequence[Any]) -> Rows:
        collections: list[Collection] = []
        outsiders: list[Outsider] = []
        for row in rows:
            if not self._holds(row):
                other_key = row["key"] not in ("", self._seal.name)
                outsiders.append(Outsider(row["id"], row["name"], row["body"], row["key"], row["seal"], other_key))
            elif (one := _read(row["body"])) is not None and (one.id, one.name) == (row["id"], row["name"]):
                collections.append(one)
        return Rows(collections, outsiders)

    def _holds(self, row: Any) -> bool:
        try:
            wanted = self._seal.over(row["id"], row["name"], row["state"], row["body"])
        except (ValueError, RecursionError):
            return False
        return row["key"] == self._seal.name and hmac.compare_digest(row["seal"] or b"", wanted)


def _written(one: Collection) -> str:
    """As JSON. What earlier calls left on its owner is known elsewhere, and as it is by then."""
    owner = replace(one.owner, taints=frozenset()) if one.owner else None
    return _FORM.dump_json(replace(one, owner=owner)).decode()


def _read(body: str) -> Collection | None:
    try:
        return _FORM.validate_json(body)
    except ValidationError:
        _log.warning("a collection cannot be read by this version, and does not exist for it")
        return None
