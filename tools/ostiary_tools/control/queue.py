"""The queue as a port: jobs that wait for a worker, who works on what, and which workers there are.

The row that an agent looks at is the queue itself. A worker holds a job by a lease that each beat renews; what a worker does to a
job it holds no more does nothing.
"""

from dataclasses import dataclass
from uuid import UUID

from ostiary_policies.attributes import digest
from ostiary_policies.model import Principal
from ostiary_tools.control.jobs import KEPT_H
from ostiary_tools.control.link import Link
from ostiary_tools.result import Job

LEASE_S = 30
"""A job whose worker has not spoken of it for so long is another's to take."""
ALIVE_S = 15
"""A worker that was not heard of for so long is counted no more."""
MOST_OF_AN_AGENT = 8
"""Jobs that wait or run; those of plans are counted apart, so that none of them waits for an agent of the same name."""
MOST_TAKEOVERS = 5
"""A job that so many workers have died of, or with, is given up."""

_PUT = f"""
WITH put AS (
    INSERT INTO jobs.job (id, agent, roles, attributes, tool, state, about, key, body, planned)
    SELECT $1, $2, $3, $4, $5, 'queued', $6, $7, $8, $9
    WHERE (SELECT count(*) FROM jobs.job WHERE agent = $2 AND body IS NOT NULL AND planned = $9) < {MOST_OF_AN_AGENT}
    ON CONFLICT DO NOTHING
    RETURNING id, tool, state, message, reply, created_at, updated_at, agent, roles, attributes, body
)
SELECT * FROM put
UNION ALL
SELECT id, tool, state, message, reply, created_at, updated_at, agent, roles, attributes, body
FROM jobs.job WHERE body IS NOT NULL AND (id = $1 OR (about = $6 AND about <> '' AND state = 'queued'))
"""  # noqa: S608  the constant above
_FREE = "(j.state = 'queued' OR j.state = 'working') AND (j.leased_until IS NULL OR j.leased_until < now())"
_DUE = f"""
j.body IS NOT NULL AND j.key = $1 AND {_FREE}
AND NOT EXISTS (SELECT FROM jobs.job AS o WHERE o.about = j.about AND o.about <> '' AND o.state = 'working' AND o.id <> j.id)
"""
_CLAIM = f"""
UPDATE jobs.job AS t
SET state = 'working', worker = $2, leased_until = now() + interval '{LEASE_S} s', updated_at = now(),
    takeovers = takeovers + CASE WHEN worker IS NULL THEN 0 ELSE 1 END
WHERE id = (
    SELECT j.id FROM jobs.job AS j WHERE {_DUE} ORDER BY j.created_at, j.id FOR UPDATE SKIP LOCKED LIMIT 1
)
RETURNING id, agent, roles, attributes, tool, body, attempts, takeovers, cancel_asked
"""  # noqa: S608  the constants above
_BEAT = f"""
UPDATE jobs.job SET updated_at = now(), message = $3, leased_until = now() + interval '{LEASE_S} s'
WHERE id = $1 AND worker = $2 AND state = 'working' RETURNING cancel_asked
"""  # noqa: S608  the constant above
_END = """
UPDATE jobs.job SET updated_at = now(), state = $3, message = '', reply = $4, body = NULL, worker = NULL, leased_until = NULL
WHERE id = $1 AND worker = $2 AND state = 'working'
"""
_GIVE_BACK = """
UPDATE jobs.job
SET updated_at = now(), message = $3, worker = NULL, leased_until = now() + make_interval(secs => $4), attempts = attempts + $5
WHERE id = $1 AND worker = $2 AND state = 'working'
"""
_STANDING = f"""
SELECT EXISTS (SELECT FROM jobs.job AS j WHERE {_DUE}) AS due,
    EXISTS (SELECT FROM jobs.worker WHERE key = $1 AND seen_at > now() - interval '{ALIVE_S} s') AS worked
"""  # noqa: S608  the constants above
_SEEN = f"""
WITH seen AS (
    INSERT INTO jobs.worker (id, key) VALUES ($2, $1) ON CONFLICT (id) DO UPDATE SET seen_at = now()
), forgotten AS (
    DELETE FROM jobs.worker WHERE seen_at < now() - interval '{KEPT_H} hours'
)
SELECT NOT EXISTS (
    SELECT FROM jobs.worker AS o
    WHERE o.key = $1 AND o.id <> $2 AND o.seen_at > now() - interval '{ALIVE_S} s'
        AND (o.started_at, o.id) < (SELECT m.started_at, m.id FROM jobs.worker AS m WHERE m.id = $2)
) AS first
"""  # noqa: S608  the constants above
_COUNTED = f"""
SELECT tool, state, count(*)::int AS count, sum(takeovers)::int AS takeovers
FROM jobs.job WHERE updated_at >= now() - interval '{KEPT_H} hours' GROUP BY tool, state ORDER BY tool, state
"""  # noqa: S608  the constant above
_LAST = "SELECT extract(epoch FROM now() - max(created_at))::float8 AS ago FROM jobs.job WHERE about = $1"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job as it is written down."""

    id: UUID
    agent: str
    roles: tuple[str, ...]
    attributes: str
    """A digest of them."""
    tool: str
    body: bytes
    attempts: int
    takeovers: int
    cancel_asked: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """Jobs that can still be asked about, those of all processes."""

    tool: str
    state: str
    count: int
    takeovers: int
    """How often one was taken from a worker that was heard of no more."""


@dataclass(frozen=True, slots=True)
class QueueTable:
    """For the jobs whose bodies are under one key, by its name. Every method raises JournalError."""

    link: Link
    key: str

    async def put(
        self, id_: UUID, owner: Principal, tool: str, about: str, body: bytes, *, planned: bool = False
    ) -> tuple[Job, "Claimed"] | None:
        """A job that waits, durable when this returns; or the one that waits already for work on the same.

        One that is `planned` no agent ends.

        `None` when so many of the owner's wait or run that one more may not.
        """
        known = (owner.agent, owner.roles, digest(owner.attributes))
        rows = await self.link.ask(_PUT, id_, *known, tool, about, self.key, body, planned)
        if not rows:
            return None
        row = dict(rows[0])
        kept = (row.pop("agent"), tuple(row.pop("roles")), row.pop("attributes"))
        return Job(**{name: row[name] for name in row if name != "body"}), Claimed(row["id"], *kept, row["tool"], row["body"], 0, 0)

    async def claim(self, worker: UUID) -> Claimed | None:
        """The oldest that may be taken, which is that worker's from now on."""
        rows = await self.link.ask(_CLAIM, self.key, worker)
        return Claimed(**{**rows[0], "roles": tuple(rows[0]["roles"])}) if rows else None

    async def beat(self, id_: UUID, worker: UUID, message: str) -> bool | None:
        """Renew the lease and say how far it is; whether it is asked to end, `None` when it is the worker's no more."""
        rows = await self.link.ask(_BEAT, id_, worker, message)
        return bool(rows[0]["cancel_asked"]) if rows else None

    async def end(self, id_: UUID, worker: UUID, state: str, reply: str) -> None:
        """Say how it ended, and forget what it called."""
        await self.link.ask(_END, id_, worker, state, reply)

    async def give_back(self, id_: UUID, worker: UUID, message: str, *, pause_s: float = 0.0, failed: bool = False) -> None:
        """Leave it to whoever comes next, after a pause."""
        await self.link.ask(_GIVE_BACK, id_, worker, message, pause_s, int(failed))

    async def standing(self) -> tuple[bool, bool]:
        """Whether a job may be taken, and whether there is a worker."""
        rows = await self.link.ask(_STANDING, self.key)
        return rows[0]["due"], rows[0]["worked"]

    async def seen(self, worker: UUID) -> bool:
        """Say that the worker is there; whether it is the first of them, by whom alone is done what needs only one."""
        rows = await self.link.ask(_SEEN, self.key, worker)
        return bool(rows[0]["first"])

    async def gone(self, worker: UUID) -> None:
        """It is there no more."""
        await self.link.ask("DELETE FROM jobs.worker WHERE id = $1", worker)

    async def counted(self) -> tuple[Counted, ...]:
        """How jobs stand, by tool and state."""
        return tuple(Counted(**row) for row in await self.link.ask(_COUNTED))

    async def last(self, about: str) -> float | None:
        """Seconds since a job about that was asked for; `None` for never, or longer ago than jobs are kept."""
        rows = await self.link.ask(_LAST, about)
        return None if rows[0]["ago"] is None else float(rows[0]["ago"])
