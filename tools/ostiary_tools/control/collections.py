"""The table of collections as a port: what each is, by its id and, as long as it is not being dropped, by its name."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from ostiary_tools.control.link import Link
from ostiary_tools.vectors.collection import Collection

_log = logging.getLogger(__name__)

_ALL = "SELECT id, body FROM collections.collection WHERE state = $1 ORDER BY name"
# Asked a second time, a row that was made is found made.
_CREATE = """
WITH new AS (
    INSERT INTO collections.collection (id, name, body) VALUES ($1, $2, $3::jsonb) ON CONFLICT DO NOTHING RETURNING id
)
SELECT id FROM new UNION ALL SELECT id FROM collections.collection WHERE id = $1 AND name = $2 AND state = 'kept'
"""
# Of two who change the same one the second has to look again; asked a second time, a change that was made is found made.
# What a newer version writes of an older one's row holds more than that did.
_CHANGE = """
UPDATE collections.collection SET body = $3::jsonb, changed_at = clock_timestamp()
WHERE id = $1 AND name = $2 AND state = 'kept' AND ($4::jsonb @> body OR $3::jsonb = body) RETURNING id
"""
_RELEASE = "UPDATE collections.collection SET state = 'dropping', changed_at = clock_timestamp() WHERE id = $1"
_FORGET = "DELETE FROM collections.collection WHERE id = $1 AND state = 'dropping'"
_FORM = TypeAdapter(Collection)


class CollectionTable:
    """Every method raises JournalError. Each change of a row is a cue on the bus."""

    def __init__(self, dsn: str) -> None:
        self._link = Link(dsn, "collections")

    async def all(self) -> Sequence[Collection]:
        """Those that have a name, by it. One that this version cannot read is none."""
        return await self._of("kept")

    async def dropping(self) -> Sequence[Collection]:
        """Those that are being dropped, or were when whoever did it died."""
        return await self._of("dropping")

    async def create(self, one: Collection) -> bool:
        """Whether it is there under its name; false when the name or the id is another's."""
        return bool(await self._link.ask(_CREATE, one.id, one.name, _written(one)))

    async def change(self, one: Collection, before: Collection) -> bool:
        """Whether it was still there as it was before; its name stays."""
        return bool(await self._link.ask(_CHANGE, one.id, one.name, _written(one), _written(before)))

    async def release(self, id_: UUID) -> None:
        """Nobody finds it any more; `forget` it when its store has nothing of it."""
        await self._link.ask(_RELEASE, id_)

    async def forget(self, id_: UUID) -> None:
        """It was dropped."""
        await self._link.ask(_FORGET, id_)

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()

    async def _of(self, state: str) -> Sequence[Collection]:
        found = ((row["id"], _read(row["body"])) for row in await self._link.ask(_ALL, state))
        return [one for id_, one in found if one is not None and one.id == id_]


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
