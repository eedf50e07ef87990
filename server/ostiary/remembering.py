"""What lies in the repository, noted with the installation, and missed where it is there no more: by one worker, again and again.

A backup is noted by whoever makes it, too; what is noted here is what they were killed before, and how far logs have come.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.vault import Vault
from ostiary.worker import Worker
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.remembered import KeptLog, Vanished
from ostiary_tools.control.register import Register
from ostiary_tools.errors import Damaged, ToolError

if TYPE_CHECKING:
    from ostiary_tools.backup.evidence import Evidence
    from ostiary_tools.backup.repository import Repository

_log = logging.getLogger(__name__)

_ROUND_S = 30.0
_WHOLE_EVERY = 10
"""Rounds; in others it is only looked how far logs have come."""


@dataclass(frozen=True, slots=True)
class Remembering:
    """What one worker notes."""

    vault: Vault
    recorder: Recorder

    async def keep(self, worker: Worker) -> None:
        """Until cancelled: while the worker is the first of them, and whatever goes wrong in one round, there is a next."""
        turn = 0
        while True:
            pause_s = _ROUND_S if worker.first else 1.0
            try:
                if worker.first:
                    await self.round(whole=turn % _WHOLE_EVERY == 0)
                    turn += 1
            except (ToolError, OSError, RecordingFailed) as error:
                _log.info("what is kept of backups is not noted now: %s", error)
            except Exception:  # noqa: BLE001  whatever it is, there is a next round
                _log.exception("what is kept of backups is not noted now")
            await asyncio.sleep(pause_s)

    async def round(self, *, whole: bool = True) -> None:
        """Miss what is gone, and note what is there. Raises ToolError, OSError, RecordingFailed."""
        vault = self.vault.looking()
        try:
            repository = await vault.recalled()
        except ToolError as error:
            if whole:
                await self._all_of_it(error)
            raise
        id_ = repository.description.id
        logs = await asyncio.to_thread(lambda: list(_logs(repository)))
        missing, backups = await asyncio.to_thread(_looked, repository) if whole else ([], [])
        if missing:  # somebody may have let go of it meanwhile
            again, _ = await asyncio.to_thread(_looked, await vault.recalled())
            missing = [one for one in missing if one in again]
        news: list[Vanished] = []

        async def note(register: Register) -> None:
            if whole:
                news.extend(await register.found(id_, missing))
            for made, drill in backups:
                await register.backup(id_, made)
                if drill is not None:
                    await register.drilled(id_, made.id, drill.ended_at)
            for log in logs:
                await register.log(log)

        await vault.note(note)
        await self._told(news)

    async def _all_of_it(self, error: ToolError) -> None:
        """Where the repository itself is gone, or is another one."""
        from ostiary_tools.backup.repository import Gone
        from ostiary_tools.backup.sealing import pinned

        id_ = await asyncio.to_thread(pinned, self.vault.pin)
        if id_ is None or not isinstance(error, Gone | Damaged):
            return
        news: list[Vanished] = []

        async def note(register: Register) -> None:
            news.extend(await register.found(id_, [Vanished(id_, "backup", error.message, error.hint)]))

        await self.vault.note(note)
        await self._told(news)

    async def _told(self, news: Sequence[Vanished]) -> None:
        for one in news:
            _log.warning("%s; %s", one.words, one.hint)
            await self.recorder.note("kept_vanished", {"what": one.what, "of": one.of, "found": one.words})


def _looked(repository: "Repository") -> "tuple[list[Vanished], list[tuple[Manifest, Evidence | None]]]":
    """What is missing, and what is new."""
    from ostiary_tools.backup.vanished import vanished

    return list(vanished(repository)), list(_unknown(repository))


def _unknown(repository: "Repository") -> "Iterator[tuple[Manifest, Evidence | None]]":
    from ostiary_tools.backup.evidence import newest
    from ostiary_tools.backup.repository import BACKUPS

    known = {one.id for one in repository.remembered.backups} if repository.remembered else set()
    for id_ in repository.storage.names(BACKUPS):
        if id_ in known:
            continue
        try:
            made = repository.load(id_).manifest
        except ToolError:
            continue  # it is told as damaged
        yield made, newest(repository, made)


def _logs(repository: "Repository") -> Iterator[KeptLog]:
    from ostiary_tools.backup.wal_archive.archive import Archive, clusters

    for system in clusters(repository):
        archive = Archive(repository, system)
        for timeline in archive.timelines():
            try:
                oldest, newest = archive.oldest(timeline), archive.newest(timeline)
            except Damaged:
                continue
            if oldest is None or newest is None:
                continue
            reach = (oldest.start_position, newest.end_position, newest.kept_at, timeline in archive.histories())
            yield KeptLog(repository.description.id, system, timeline, newest.datasource, *reach)
