"""Backups that may go: a worker marks them, everybody sees it, and a person has them deleted when the grace is over.

What may go is asked anew at each step, so a mark is never why something is deleted, only when. Each deletion is on record before it
begins and when it is done; its mark goes last, so that whoever is killed in between is followed by one who finds what was left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.config.backup import Plan
from ostiary.vault import Vault
from ostiary.worker import Worker
from ostiary_tools.backup import expiry, wal
from ostiary_tools.backup.expiry import Review, reviewed
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.repository import BACKUPS, Repository
from ostiary_tools.backup.retention import Terms, Tried, log_needed
from ostiary_tools.backup.wal_archive import trimming
from ostiary_tools.backup.wal_archive.trimming import Trimmed
from ostiary_tools.control.register import Register
from ostiary_tools.errors import Damaged, Refused, ToolError

_log = logging.getLogger(__name__)

_ROUND_S = 600.0
Note = Callable[[str, Mapping[str, object]], Awaitable[None]]
"""Puts something on record; durable when it returns."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a person can have deleted now."""

    backups: Sequence[Tried]
    """Leaf to root."""
    log: Sequence[Trimmed]
    """What no backup that stays needs."""
    left: Sequence[str]
    """Ids of backups that are gone, or let go of, though nobody has recorded that they are gone."""

    @property
    def segments(self) -> int:
        """Of the log."""
        return sum(len(one.folders) for one in self.log)


@dataclass(frozen=True, slots=True)
class Marking:
    """What one worker marks."""

    vault: Vault
    plans: Mapping[str, Plan]
    recorder: Recorder

    async def keep(self, worker: Worker) -> None:
        """Until cancelled: while the worker is the first of them, and whatever goes wrong in one round, there is a next."""
        while self.plans:
            pause_s = _ROUND_S if worker.first else 1.0
            try:
                if worker.first:
                    await self.round(datetime.now(UTC))
            except (ToolError, OSError, RecordingFailed) as error:
                _log.warning("backups that may go are not marked now: %s", error)
            except Exception:  # noqa: BLE001  whatever it is, there is a next round
                _log.exception("backups that may go are not marked now")
            await asyncio.sleep(pause_s)

    async def round(self, now: datetime) -> Review:
        """Mark what may go, and take marks back from what stays. Raises ToolError, OSError, RecordingFailed."""
        repository = await self.vault.recalled()
        of = repository.description.id
        found = await asyncio.to_thread(reviewed, repository, terms(self.plans), now)
        for id_ in found.void:  # it might hold one day, where a clock was ahead
            await asyncio.to_thread(expiry.unmark, repository, id_)
        for one in found.unmarked:
            grace = timedelta(days=self.plans[one.manifest.datasource].grace_days)
            await self.recorder.note("backup_marked", {**_facts(one), "due": (now + grace).isoformat()})
            await self._noted(of, one.manifest, now)
            await asyncio.to_thread(expiry.mark, repository, one.manifest, now, grace)
        for one in found.pardoned:
            await self.recorder.note("backup_unmarked", {**_facts(one), "why": found.stays[one.id]})
            await self._noted(of, one.manifest, None)
            await asyncio.to_thread(expiry.unmark, repository, one.id)
        return found

    async def _noted(self, repository: str, made: Manifest, at: datetime | None) -> None:
        """Which mark is in force, for whoever finds one: who writes to the repository may put an older one back."""

        async def note(register: Register) -> None:
            await register.backup(repository, made)
            await register.marked(repository, made.id, at)

        await self.vault.note(note)


def terms(plans: Mapping[str, Plan]) -> Mapping[str, Terms]:
    """By datasource."""
    return {
        name: Terms(one.keep_last, one.keep_days, one.keep_weekly, one.keep_monthly, one.keep_yearly) for name, one in plans.items()
    }


def due(repository: Repository, plans: Mapping[str, Plan], now: datetime) -> Due:
    """What can be deleted now. Blocking. Raises Refused where a clock is wrong, and Damaged where a backup is."""
    found = _sound(repository, plans, now)
    gone = found.due(now)
    ids = {one.id for one in gone}
    return Due(gone, _unneeded(repository, [one for one in found.backups if one.id not in ids]), found.left)


def _sound(repository: Repository, plans: Mapping[str, Plan], now: datetime) -> Review:
    """What there is, where nothing of it is doubtful."""
    found = reviewed(repository, terms(plans), now)
    if found.damaged:
        message = f"the backup `{found.damaged[0]}` is damaged, and nobody knows what it needs"
        raise Damaged(found.damaged[0], message, "look who changed it, and delete it by `ostiary backup delete` first")
    ahead = [one.id for one in found.backups if one.manifest.ended_at > now]
    if ahead:
        raise Refused(
            "clock", f"the backup `{ahead[-1]}` is dated in the future", "look at the clock of this machine; nothing was deleted"
        )
    return found


def _unneeded(repository: Repository, stay: Sequence[Tried]) -> Sequence[Trimmed]:
    """Of the log what none of these needs."""
    return trimming.before(repository, log_needed(one.manifest for one in stay))


@dataclass(frozen=True, slots=True)
class Expiry:
    """Who has something deleted, and where that is said before it is done."""

    person: str
    note: Note
    """On record."""
    vault: Vault | None = None
    """Whose register says what is not to be missed."""

    async def let_go(self, repository: Repository, one: Tried) -> None:
        """The backup is not to be missed."""
        made, of = one.manifest, repository.description.id
        if self.vault is not None:
            how = (made.datasource, made.kind.value)
            await self.vault.note(lambda register: register.let_go(of, made.id, how, "expired", self.person))

    async def trimmed(self, repository: Repository, one: Trimmed) -> None:
        """Nor that of the log."""
        of = repository.description.id
        if self.vault is not None:
            await self.vault.note(lambda register: register.trimmed(of, one.system_identifier, one.before))


async def expire(repository: Repository, plans: Mapping[str, Plan], shown: Due, by: Expiry) -> Due:
    """Delete what was shown and may still go; what was deleted. Raises ToolError, OSError, RecordingFailed.

    Begun again after it was killed at any step, it goes on where it was.
    """
    now, note, person = datetime.now(UTC), by.note, by.person
    found = await asyncio.to_thread(due, repository, plans, now)
    for id_ in found.left:
        # What nobody marked, or not long enough, nobody deleted here: whoever writes to the repository has taken it away.
        event = "backup_expired" if await asyncio.to_thread(expiry.was_due, repository, id_, now) else "backup_missing"
        await asyncio.to_thread(_gone, repository, id_)
        await note(event, {"backup": id_, "person": person, "found": "gone"})
        await asyncio.to_thread(expiry.unmark, repository, id_)
    ids = {one.id for one in shown.backups}
    gone = [one for one in found.backups if one.id in ids]
    for one in gone:
        facts = {**_facts(one), "person": person}
        await note("backup_expiring", facts)
        await by.let_go(repository, one)
        await asyncio.to_thread(repository.delete, one.id)
        await note("backup_expired", facts)
        await asyncio.to_thread(expiry.unmark, repository, one.id)
    # Asked anew: what a backup needs that is there stays, also of one that could go and was not shown.
    there = await asyncio.to_thread(_sound, repository, plans, datetime.now(UTC))
    left = await asyncio.to_thread(_unneeded, repository, there.backups)
    log = [one for one in left if one.system_identifier in {each.system_identifier for each in shown.log}]
    for trimmed in log:
        facts = {"cluster": trimmed.system_identifier, "before": wal.shown(trimmed.before), "segments": len(trimmed.folders)}
        await note("log_expiring", {**facts, "person": person})
        await by.trimmed(repository, trimmed)
        await asyncio.to_thread(_removed, repository, trimmed.folders)
        await note("log_expired", {**facts, "person": person})
    return Due(gone, log, found.left)


def _gone(repository: Repository, id_: str) -> None:
    """Unless it is, as who let go of it was killed."""
    if id_ in repository.storage.names(BACKUPS):
        repository.delete(id_)


def _removed(repository: Repository, folders: Collection[str]) -> None:
    """With the folders that they leave empty: one would tell of a timeline of which nothing is kept."""
    for folder in folders:
        repository.storage.remove(folder)
    for block in dict.fromkeys(folder.rpartition("/")[0] for folder in folders):
        if not repository.storage.names(block):
            repository.storage.remove(block)


def _facts(one: Tried) -> dict[str, object]:
    made = one.manifest
    return {"backup": made.id, "datasource": made.datasource, "kind": made.kind.value, "proven": one.proven}
