"""What a permitted run may do with backups: what its permit covers, on backups of the very kind and datasource it names."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ostiary import __version__
from ostiary.progress import Tell
from ostiary.vault import Vault
from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Backup, Permit
from ostiary_tools.backup.custody import Checked, Level, Restored, Wanted
from ostiary_tools.backup.known import resource, resources
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.moment import Moment
from ostiary_tools.control.register import Register
from ostiary_tools.errors import Damaged, Refused

if TYPE_CHECKING:
    from ostiary_tools.backup.repository import Repository, StoredBackup
    from ostiary_tools.backup.restoring.moments import Reached
    from ostiary_tools.backup.scratch import Scratch

_NAMED = 5
"""Damages that are named; there may be many."""


@dataclass(frozen=True, slots=True)
class PermittedCustody:
    """Implements `ostiary_tools.backup.custody.Custody` for one call."""

    permit: Permit
    vault: Vault
    work: str
    """Whose work it is; done again, it is still the same."""
    tell: Tell | None

    async def back_up(self, datasource: str, kind: str) -> Manifest:
        """Where the permit covers `back_up`."""
        from ostiary_tools.backup.taking import take

        wanted = Backup(datasource, kind)
        self._covered(Action.BACK_UP, wanted)
        if wanted.kind == Kind.INCREMENTAL:  # which may become the other
            self._covered(Action.BACK_UP, Backup(datasource, Kind.FULL.value))
        source = self.vault.sources.get(wanted)
        if source is None:
            raise _not_covered()
        repository = await asyncio.to_thread(self.vault.repository)
        made = await take(repository, source, self.work, self.vault.workshop(), self._told)
        await self.vault.note(lambda register: register.backup(repository.description.id, made))
        return made

    async def verify(self, backup: str, level: Level) -> Checked:
        """Where it covers `verify`."""
        from ostiary_tools.backup.checking import check

        repository, kept = await self._kept(Action.VERIFY, backup)
        if level is Level.DRILL:
            return await self._drilled(repository, kept)
        if level is Level.WAL:
            return await self._followed(repository, kept)
        found = await check(repository, kept, self._told)
        if found.damages:
            raise _damaged(found.damages)
        return Checked(kept.manifest, kept.manifest.stored_bytes, notes=found.notes)

    async def _followed(self, repository: "Repository", kept: "StoredBackup") -> Checked:
        from ostiary_tools.backup.checking import check_log

        found = await check_log(repository, kept, f"ostiary {__version__}", self._told)
        await self._note_look(repository, kept.manifest)
        if found.damages:
            raise _damaged(found.damages)
        return Checked(kept.manifest, kept.manifest.stored_bytes, notes=found.notes, log=found.words)

    async def _drilled(self, repository: "Repository", kept: "StoredBackup") -> Checked:
        from ostiary.drilling import drill_here
        from ostiary_tools.backup.drill import hold

        evidence = await hold(drill_here(self.vault), repository, kept.manifest.id, self._told)
        await self._note_drill(repository, kept.manifest, evidence.ended_at)
        for check in evidence.checks:
            if check.damage:
                raise Damaged(check.damage, f"the drill failed at `{check.name}`: {check.words}", "use another backup")
        words = tuple(f"{check.name}: {check.words}" for check in evidence.checks)
        return Checked(kept.manifest, kept.manifest.stored_bytes, evidence.ended_at, words)

    async def _note_look(self, repository: "Repository", made: Manifest) -> None:
        from ostiary_tools.backup.evidence import LOGS, drills

        looks = await asyncio.to_thread(drills, repository, made, LOGS)

        async def note(register: Register) -> None:
            await register.backup(repository.description.id, made)
            await register.looked(repository.description.id, made.id, max(one.ended_at for one in looks))

        if looks:
            await self.vault.note(note)

    async def _note_drill(self, repository: "Repository", made: Manifest, at: datetime) -> None:
        async def note(register: Register) -> None:
            await register.backup(repository.description.id, made)
            await register.drilled(repository.description.id, made.id, at)

        await self.vault.note(note)

    async def restore(self, wanted: Wanted) -> Restored:
        """Where it covers `restore`."""
        from ostiary_tools.backup.restoring.choosing import restore

        if wanted.moment is not None:
            return await self._restored_to(wanted, wanted.moment)
        _, kept = await self._kept(Action.RESTORE, wanted.backup)
        return await restore(kept, wanted, self.vault.place(resource(kept.manifest)), self._told)

    async def _restored_to(self, wanted: Wanted, moment: Moment) -> Restored:
        """At that moment, from such backups alone as are covered."""
        from ostiary_tools.backup.restoring.bases import PHYSICAL, Asked
        from ostiary_tools.backup.restoring.choosing import restore_to

        full = Backup(wanted.datasource, Kind.FULL.value)
        self._covered(Action.RESTORE, full)
        covered = self.permit.intent.accesses
        kinds = frozenset(kind for kind in PHYSICAL if Access(Action.RESTORE, Backup(wanted.datasource, kind.value)) in covered)
        asked = Asked(await self.vault.recalled(), wanted.datasource, moment, kinds, wanted.timeline)
        return await restore_to(asked, wanted.name, self.vault.place(full), self._told, self._examine)

    async def _examine(self, scratch: "Scratch", reached: "Reached") -> str:
        from ostiary.drilling import examined

        return await examined(self.vault.audit, scratch, reached) if self.vault.audit else ""

    async def _kept(self, action: Action, backup: str) -> "tuple[Repository, StoredBackup]":
        """The backup with its repository, if what it says that it is of is covered."""
        repository = await self.vault.recalled()
        kept = await asyncio.to_thread(repository.load, backup)
        for one in resources(kept.manifest):
            self._covered(action, one)
        return repository, kept

    def _covered(self, action: Action, wanted: Backup) -> None:
        if Access(action, wanted) not in self.permit.intent.accesses:
            raise _not_covered()

    async def _told(self, done: float, total: float | None, message: str) -> None:
        if self.tell is not None:
            await self.tell(done, total, message)


def _damaged(found: Sequence[Damaged]) -> Damaged:
    """The first, with those that there are besides."""
    first, others = found[0], sorted({one.what for one in found[1:]})
    more = f"; damaged besides: {', '.join(others[:_NAMED])}{' and more' * (len(others) > _NAMED)}" if others else ""
    return Damaged(first.what, first.message + more, first.hint)


def _not_covered() -> Refused:
    return Refused("permit", "the permit of this call does not cover that backup", "state it in the intent")
