"""The table of jobs as a port: calls that go on after their answer, and how they stand.

A job is its owner's alone: every look names an agent with its roles and attributes, and another's job is not found.
"""

from dataclasses import dataclass
from uuid import UUID

from ostiary_policies.attributes import digest
from ostiary_policies.model import Principal
from ostiary_tools.control.link import Link
from ostiary_tools.result import Job

LOST_S = 30
"""A job of a server that nobody has spoken of for so long died with its process; one of a worker is taken by another."""
KEPT_H = 24
"""How long a job can be asked about."""

_CREATE = f"""
WITH forgotten AS (
    DELETE FROM jobs.job WHERE id IN (
        SELECT id FROM jobs.job WHERE updated_at < now() - interval '{KEPT_H} hours' ORDER BY updated_at LIMIT 50
    )
)
INSERT INTO jobs.job (id, agent, roles, attributes, tool) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET updated_at = now()
RETURNING id, tool, state, message, reply, created_at, updated_at
"""  # noqa: S608  the constant above
_BEAT = "UPDATE jobs.job SET updated_at = now(), message = $2 WHERE id = $1 RETURNING cancel_asked"
_END = "UPDATE jobs.job SET updated_at = now(), state = $2, message = '', reply = $3 WHERE id = $1 AND state = 'working'"
_FIND = f"""
SELECT id, tool, message, reply, created_at, updated_at,
    CASE
        WHEN state = 'working' AND body IS NOT NULL AND (worker IS NULL OR leased_until < now()) THEN 'queued'
        WHEN state = 'working' AND body IS NULL AND updated_at < now() - interval '{LOST_S} s' THEN 'lost'
        ELSE state
    END AS state
FROM jobs.job WHERE id = $1 AND agent = $2 AND roles = $3 AND attributes = $4 AND updated_at >= now() - interval '{KEPT_H} hours'
"""  # noqa: S608  the constant above
_PLANNED = "(j.planned OR EXISTS (SELECT FROM jobs.schedule AS s WHERE s.job = j.id AND s.state = 'waits'))"
_CANCEL = f"""
UPDATE jobs.job AS j
SET cancel_asked = true, updated_at = CASE state WHEN 'queued' THEN now() ELSE updated_at END,
    body = CASE state WHEN 'queued' THEN NULL ELSE body END, state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END
WHERE id = $1 AND agent = $2 AND roles = $3 AND attributes = $4 AND state IN ('queued', 'working') AND NOT {_PLANNED}
"""  # noqa: S608  the constant above
_IS_PLANNED = f"""
SELECT FROM jobs.job AS j WHERE id = $1 AND agent = $2 AND roles = $3 AND attributes = $4 AND body IS NOT NULL AND {_PLANNED}
"""


@dataclass(frozen=True, slots=True)
class JobTable:
    """Every method raises JournalError."""

    link: Link

    async def create(self, id_: UUID, owner: Principal, tool: str) -> Job:
        """A new job that works; when this returns it is durable."""
        rows = await self.link.ask(_CREATE, id_, *_standing(owner), tool)
        return Job(**rows[0])

    async def beat(self, id_: UUID, message: str) -> bool:
        """Say that it is alive and how far; whether it is asked to end."""
        rows = await self.link.ask(_BEAT, id_, message)
        return bool(rows and rows[0]["cancel_asked"])

    async def end(self, id_: UUID, state: str, reply: str) -> None:
        """Say how it ended; the first such word stands."""
        await self.link.ask(_END, id_, state, reply)

    async def find(self, id_: UUID, owner: Principal) -> Job | None:
        """The owner's job, for `KEPT_H` hours."""
        rows = await self.link.ask(_FIND, id_, *_standing(owner))
        return Job(**rows[0]) if rows else None

    async def cancel(self, id_: UUID, owner: Principal) -> bool:
        """Ask the process that runs the owner's job to end it; one that waits has ended. Not where a plan waits: then it is false.

        A plan asks as the configured agent, and that one's name is no secret.
        """
        if await self.link.ask(_IS_PLANNED, id_, *_standing(owner)):
            return False
        await self.link.ask(_CANCEL, id_, *_standing(owner))
        return True


def _standing(owner: Principal) -> tuple[object, ...]:
    """What an owner is known by; of the attributes a digest."""
    return owner.agent, owner.roles, digest(owner.attributes)
