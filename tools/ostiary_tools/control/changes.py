"""The table of changes as a port: put one, find it, move it from state to state, let the ended go.

Knows nothing of handles, keys and callers: it is given an id and a body that it cannot read. A move is one conditional UPDATE,
so of two processes that would apply the same change one can.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ostiary_tools.change import State
from ostiary_tools.control.link import Link

_KEPT = "1 day"
"""How long an ended change is kept, so that its owner is told how it ended."""
_BATCH = 1000
"""So many are forgotten at once."""

_FORGET = f"""
DELETE FROM changes.change WHERE id IN (
    SELECT id FROM changes.change
    WHERE expires_at < now() - interval '{_KEPT}' AND state NOT IN ('applying', 'reverting') ORDER BY expires_at LIMIT {_BATCH}
)
"""  # noqa: S608  the constants above
_PUT = """
INSERT INTO changes.change (id, number, agent, roles, datasource, policy_hash, schema_version, rows_changed, expires_at, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING
"""
_COLUMNS = """number, agent, roles, datasource, policy_hash, schema_version, state, transaction, rows_changed, expires_at, body,
    expires_at <= now() AS expired"""
_FIND = f"SELECT {_COLUMNS} FROM changes.change WHERE id = $1"  # noqa: S608  the constant above
# Asked a second time, a move that was made is found made.
_MOVE = """
UPDATE changes.change SET moved_at = now(), state = $4, transaction = $5, body = coalesce($6, body),
    expires_at = coalesce($7, expires_at), rows_changed = coalesce($8, rows_changed)
WHERE id = $1 AND ((state = $2 AND transaction = $3) OR (state = $4 AND transaction = $5)) RETURNING id
"""
_UNSETTLED = f"""
SELECT id, number, agent, datasource, state, transaction, rows_changed, expires_at < now() - interval '{_KEPT}' AS forgettable
FROM changes.change
WHERE state IN ('applying', 'reverting') AND moved_at <= now() - make_interval(secs => $1) ORDER BY moved_at LIMIT 100
"""  # noqa: S608  the constant above
_POSTPONE = "UPDATE changes.change SET moved_at = now() WHERE id = ANY ($1) AND state IN ('applying', 'reverting')"


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A row of `changes.change`."""

    number: UUID
    agent: str
    roles: tuple[str, ...]
    datasource: str
    policy_hash: str
    schema_version: str
    rows_changed: int
    expires_at: datetime
    body: bytes
    state: State = "proposed"
    transaction: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A change that was about to be committed when it was last spoken of."""

    id: bytes
    number: UUID
    agent: str
    datasource: str
    state: State
    transaction: str
    rows_changed: int
    forgettable: bool
    """It would not be kept any more, were it settled."""


@dataclass(frozen=True, slots=True)
class Move:
    """From one state to another; the transaction tells two tries of the same move apart."""

    id: bytes
    state: State
    transaction: str
    to: State
    by: str
    """The transaction from then on."""


class ChangeTable:
    """Every method raises JournalError."""

    def __init__(self, dsn: str) -> None:
        self._link = Link(dsn, "changes")

    async def put(self, id_: bytes, stored: StoredChange) -> None:
        """Keep a proposal; durable when it returns."""
        owner = (stored.number, stored.agent, list(stored.roles), stored.datasource)
        judged = (stored.policy_hash, stored.schema_version, stored.rows_changed, stored.expires_at)
        await self._link.ask(_PUT, id_, *owner, *judged, stored.body)

    async def find(self, id_: bytes) -> StoredChange | None:
        """The change, expired or not, or `None`."""
        rows = await self._link.ask(_FIND, id_)
        return StoredChange(**{**rows[0], "roles": tuple(rows[0]["roles"])}) if rows else None

    async def move(
        self, move: Move, *, body: bytes | None = None, expires_at: datetime | None = None, rows: int | None = None
    ) -> bool:
        """Whether it is where it was to be moved to, by this move; durable when it returns."""
        given = (move.id, move.state, move.transaction, move.to, move.by, body, expires_at, rows)
        return bool(await self._link.ask(_MOVE, *given))

    async def unsettled(self, quiet_s: float) -> Sequence[Unsettled]:
        """Those of which nobody has spoken for so long, the oldest first."""
        return [Unsettled(**row) for row in await self._link.ask(_UNSETTLED, quiet_s)]

    async def postpone(self, ids: Sequence[bytes]) -> None:
        """Turn them to the end of those."""
        await self._link.ask(_POSTPONE, ids)

    async def forget(self) -> None:
        """Let go of what ended, or was never used, so long ago that nobody is told of it any more."""
        await self._link.ask(_FORGET)

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()
