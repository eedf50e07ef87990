"""The table of schedules as a port: up to when times of plans were seen to, and what came of it.

A time is seen to once: what says so moves a schedule forward and never back, so that of two that say it one does nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ostiary_tools import cron
from ostiary_tools.control.link import Link

DRILL = "drill"
"""What is asked for beside kinds of backups."""

_BEGIN = """
INSERT INTO jobs.schedule AS s (key, plan, what, cron, due) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (key, plan, what) DO UPDATE SET cron = excluded.cron, due = excluded.due WHERE s.cron <> excluded.cron
"""
_ENDED = """
UPDATE jobs.schedule AS s
SET state = coalesce(j.state, 'failed'), said = coalesce(j.reply, 'nobody knows any more what became of its job'), since = now()
FROM jobs.schedule AS o LEFT JOIN jobs.job AS j ON j.id = o.job
WHERE s.key = $1 AND s.state = 'waits' AND (o.key, o.plan, o.what) = (s.key, s.plan, s.what)
    AND (j.state IS NULL OR j.state NOT IN ('queued', 'working'))
RETURNING s.plan, s.what, s.state, s.said
"""
_ASKED = """
UPDATE jobs.schedule SET due = $4, job = $5, state = 'waits', said = '', since = now()
WHERE key = $1 AND plan = $2 AND what = $3 AND due < $4
"""
_FAILED = """
UPDATE jobs.schedule SET due = $4, state = 'failed', said = $5, since = now()
WHERE key = $1 AND plan = $2 AND what = $3 AND due <= $4
"""
_BACK = "UPDATE jobs.schedule SET due = $4 WHERE key = $1 AND plan = $2 AND what = $3 AND due > $4 RETURNING due"
_JOB = """
SELECT id FROM jobs.job WHERE id = $1 OR ($2 <> '' AND about = $2 AND body IS NOT NULL) ORDER BY id <> $1, created_at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """How one stands."""

    plan: str
    what: str
    cron: str
    due: datetime
    """Of its times the last that was seen to."""
    job: UUID | None
    state: str
    """Of what was asked for last: `waits`, or how it ended; empty where nothing was yet."""
    said: str
    since: datetime
    newest: datetime | None
    """When the newest backup of the kind, or drill, was begun."""

    def late_s(self, now: datetime) -> float:
        """For how many seconds a time has been due that nobody has seen to."""
        return max(0.0, (now - cron.following(self.cron, self.due)).total_seconds())


@dataclass(frozen=True, slots=True)
class Outcome:
    """How something that was asked for has ended."""

    plan: str
    what: str
    state: str
    said: str


@dataclass(frozen=True, slots=True)
class ScheduleTable:
    """Those of one installation, by the name of its key. Every method raises JournalError."""

    link: Link
    key: str

    async def now(self) -> datetime:
        """The time that schedules go by."""
        rows = await self.link.ask("SELECT clock_timestamp() AS now")
        now: datetime = rows[0]["now"]
        return now

    async def all(self) -> tuple[Scheduled, ...]:
        """Those that a worker has seen, also of plans that are there no more."""
        columns = "plan, what, cron, due, job, state, said, since, newest"
        rows = await self.link.ask(f"SELECT {columns} FROM jobs.schedule WHERE key = $1 ORDER BY plan, what", self.key)  # noqa: S608  its columns
        return tuple(Scheduled(**row) for row in rows)

    async def begin(self, plan: str, what: str, cron: str, due: datetime) -> None:
        """Of a new one, or one with other times, all up to then count as seen to."""
        await self.link.ask(_BEGIN, self.key, plan, what, cron, due)

    async def job(self, id_: UUID, about: str) -> UUID | None:
        """That job, else the one about the same that has not ended."""
        rows = await self.link.ask(_JOB, id_, about)
        return rows[0]["id"] if rows else None

    async def asked(self, plan: str, what: str, due: datetime, job: UUID) -> None:
        """That time was seen to: a job was asked for."""
        await self.link.ask(_ASKED, self.key, plan, what, due, job)

    async def failed(self, plan: str, what: str, due: datetime, said: str) -> None:
        """Up to that time it was seen to, and could not even be asked for."""
        await self.link.ask(_FAILED, self.key, plan, what, due, said)

    async def back(self, plan: str, what: str, due: datetime) -> bool:
        """The clock was set back: times after that one come again. Whether that was news."""
        return bool(await self.link.ask(_BACK, self.key, plan, what, due))

    async def ended(self) -> tuple[Outcome, ...]:
        """Note how jobs have ended; those of which that was news."""
        return tuple(Outcome(**row) for row in await self.link.ask(_ENDED, self.key))

    async def forget(self, but: Iterable[tuple[str, str]]) -> None:
        """All that no plan asks for any more."""
        kept = tuple(but)
        gone = "DELETE FROM jobs.schedule WHERE key = $1 AND (plan, what) NOT IN (SELECT * FROM unnest($2::text[], $3::text[]))"
        await self.link.ask(gone, self.key, [plan for plan, _ in kept], [what for _, what in kept])

    async def newest(self, plan: str, what: str, at: datetime | None) -> None:
        """Note when the newest one was begun."""
        await self.link.ask(
            "UPDATE jobs.schedule SET newest = $4 WHERE key = $1 AND plan = $2 AND what = $3", self.key, plan, what, at
        )
