"""Which approvals were used: an approval is good once, at whichever process it arrives."""

from uuid import UUID

from ostiary_tools.control.link import Link

KEPT_S = 3_600
"""How long a use is remembered; an approval must expire before that."""

_USE = f"""
WITH forgotten AS (
    DELETE FROM approvals.used WHERE id IN (
        SELECT id FROM approvals.used WHERE used_at < now() - interval '{KEPT_S} s' ORDER BY used_at LIMIT 50
    )
)
INSERT INTO approvals.used (id, agent) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id
"""  # noqa: S608  the constant above


class ApprovalTable:
    """The table of used approvals as a port."""

    def __init__(self, dsn: str) -> None:
        self._link = Link(dsn, "approvals")

    async def use(self, id_: UUID, agent: str) -> bool:
        """Whether this is its first use. Raises JournalError; then it may be used up or not, and nothing may be done for it."""
        return bool(await self._link.ask(_USE, id_, agent))

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()
