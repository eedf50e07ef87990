"""The register of what was kept, as a port: which backups there were, how far logs had come, and what was let go of by whom.

It lies with the installation and not in the repository, so that nothing vanishes from that without being missed. What is noted
twice is noted once, and a log's end only moves on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.remembered import KeptBackup, KeptLog, Remembered, Vanished
from ostiary_tools.control.link import Link

How = Literal["deleted", "expired", "given up"]

_FORGOTTEN_DAYS = 366
"""What was let go of so long ago is not told any more."""
_BACKUPS = f"""
SELECT repository, id, datasource, kind, drilled_at, looked_at, marked_at, gone_at, gone, person
FROM jobs.kept_backup WHERE gone = '' OR gone_at > now() - interval '{_FORGOTTEN_DAYS} days' ORDER BY id
"""  # noqa: S608  the constant above
_LOGS = """
SELECT repository, system_identifier, timeline, datasource, start, "end", at, history
FROM jobs.kept_log ORDER BY system_identifier, timeline
"""
_BACKUP = """
INSERT INTO jobs.kept_backup (repository, id, datasource, kind) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
_DRILLED = "UPDATE jobs.kept_backup SET drilled_at = greatest(drilled_at, $3) WHERE repository = $1 AND id = $2"
_LOOKED = "UPDATE jobs.kept_backup SET looked_at = greatest(looked_at, $3) WHERE repository = $1 AND id = $2"
_MARKED = "UPDATE jobs.kept_backup SET marked_at = $3 WHERE repository = $1 AND id = $2 AND gone = ''"
_LET_GO = """
INSERT INTO jobs.kept_backup AS b (repository, id, datasource, kind, gone_at, gone, person) VALUES ($1, $2, $3, $4, now(), $5, $6)
ON CONFLICT (repository, id) DO UPDATE SET gone_at = now(), gone = excluded.gone, person = excluded.person WHERE b.gone = ''
"""
_LOG = """
INSERT INTO jobs.kept_log AS l VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (repository, system_identifier, timeline) DO UPDATE
SET datasource = excluded.datasource, "end" = greatest(l."end", excluded."end"), history = l.history OR excluded.history,
    at = CASE WHEN excluded."end" > l."end" THEN excluded.at ELSE l.at END
WHERE excluded."end" > l."end" OR excluded.history > l.history
"""
_TRIMMED = "UPDATE jobs.kept_log SET start = greatest(start, $3) WHERE repository = $1 AND system_identifier = $2"
_FOUND = """
WITH gone AS (DELETE FROM jobs.vanished WHERE repository = $1 AND NOT words = ANY ($4::text[]))
INSERT INTO jobs.vanished (repository, what, "of", words, hint)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
ON CONFLICT DO NOTHING RETURNING what, "of", words, hint
"""


@dataclass(frozen=True, slots=True)
class Register:
    """Of one control database. Every method raises JournalError."""

    link: Link

    async def recall(self) -> Remembered:
        """All that is known, of whichever repository."""
        backups = [KeptBackup(**row) for row in await self.link.ask(_BACKUPS)]
        logs = [KeptLog(**{**row, "start": int(row["start"]), "end": int(row["end"])}) for row in await self.link.ask(_LOGS)]
        return Remembered(tuple(backups), tuple(logs))

    async def backup(self, repository: str, made: Manifest) -> None:
        """It is kept. What was let go of stays so."""
        await self.link.ask(_BACKUP, repository, made.id, made.datasource, made.kind.value)

    async def drilled(self, repository: str, id_: str, at: datetime) -> None:
        """A drill of it ended then."""
        await self.link.ask(_DRILLED, repository, id_, at)

    async def looked(self, repository: str, id_: str, at: datetime) -> None:
        """A look at the log that leads on from it ended then."""
        await self.link.ask(_LOOKED, repository, id_, at)

    async def marked(self, repository: str, id_: str, at: datetime | None) -> None:
        """It was said then that it may go; `None` where that holds no more."""
        await self.link.ask(_MARKED, repository, id_, at)

    async def let_go(self, repository: str, id_: str, of: tuple[str, str], how: How, person: str) -> None:
        """It need not be there any more. `of`: its datasource and kind, as far as they are known."""
        await self.link.ask(_LET_GO, repository, id_, *of, how, person)

    async def log(self, one: KeptLog) -> None:
        """It is kept so far."""
        values = (one.system_identifier, one.timeline, one.datasource, one.start, one.end, one.at, one.history)
        await self.link.ask(_LOG, one.repository, *values)

    async def trimmed(self, repository: str, system_identifier: str, before: int) -> None:
        """What comes before that LSN need not be there any more."""
        await self.link.ask(_TRIMMED, repository, system_identifier, before)

    async def forget_log(self, repository: str, system_identifier: str) -> None:
        """None of a cluster's log need be there; what is, is noted anew."""
        gone = "DELETE FROM jobs.kept_log WHERE repository = $1 AND system_identifier = $2"
        await self.link.ask(gone, repository, system_identifier)

    async def found(self, repository: str, missing: Sequence[Vanished]) -> Sequence[Vanished]:
        """Note what is missing now; what of it is news."""
        columns = [[getattr(one, name) for one in missing] for name in ("what", "of", "words", "hint")]
        return [Vanished(**row) for row in await self.link.ask(_FOUND, repository, *columns)]

    async def missing(self) -> Sequence[Vanished]:
        """What the last look found missing."""
        rows = await self.link.ask('SELECT what, "of", words, hint FROM jobs.vanished ORDER BY since, words')
        return [Vanished(**row) for row in rows]
