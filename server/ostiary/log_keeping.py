"""The write-ahead log of what plans say, kept as it comes: by one worker for each cluster, begun again whenever it cannot go on.

Whoever has the cluster's turn receives; the others wait for it. What was received and not kept stays on this machine, and is kept
first by whoever begins there again.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.config.backup import Plan
from ostiary.vault import Vault
from ostiary_policies.model import Backup
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.turns import Turns
from ostiary_tools.errors import ToolError, Unavailable

if TYPE_CHECKING:
    from ostiary_tools.backup.port import Source
    from ostiary_tools.backup.wal_archive.receiver import Work

_log = logging.getLogger(__name__)

_TURN_S = 5.0
"""Between two tries to get a turn that another has."""
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 60.0
_GOES_WELL_S = 60.0
_RELEASE_S = 3600.0
_TAIL_S, _BEAT_S = 5.0, 10.0
_BUCKET_TAIL_S = 20.0
"""Each costs some fifteen requests, and somebody pays for them."""
_SHARE = 4
"""Of what may be lost, which waiting for the next tail, or for the next try, may take."""


def kept(plans: Mapping[str, Plan]) -> Mapping[str, Plan]:
    """Those by which a log is kept."""
    return {name: plan for name, plan in plans.items() if plan.wal == "kept"}


@dataclass(frozen=True, slots=True)
class LogKeeping:
    """What one worker keeps."""

    plans: Mapping[str, Plan]
    vault: Vault
    turns: Turns
    recorder: Recorder

    async def keep(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._release(), name="log slots")
            for name, plan in kept(self.plans).items():
                group.create_task(self._keep(name, plan), name=f"log {name}")

    async def _keep(self, name: str, plan: Plan) -> None:
        """Whatever goes wrong, there is a next time."""
        pause_s, said = _FIRST_PAUSE_S, ""
        most_s = max(_FIRST_PAUSE_S, min(_LAST_PAUSE_S, plan.recovery_point_s / _SHARE))
        clock = asyncio.get_running_loop().time
        while True:
            began, problem = clock(), ""
            try:
                await self._once(name, plan)
            except (ToolError, JournalError, OSError) as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001  whatever it is, the log is to be kept
                problem = f"{type(error).__name__}"
                _log.exception("the log of `%s` is not kept now", name)
            if problem and problem != said:
                _log.warning("the log of `%s` is not kept now: %s", name, problem)
            said = problem
            pause_s = _FIRST_PAUSE_S if clock() - began > _GOES_WELL_S else min(2 * pause_s, most_s)
            await asyncio.sleep(pause_s if problem else _TURN_S)

    async def _release(self) -> None:
        """Servers keep no log for plans that are no more."""
        while True:
            for source in self.vault.sources.values():
                if source.kind is Kind.FULL and source.name not in kept(self.plans):
                    try:
                        await self._release_of(source)
                    except (ToolError, JournalError, OSError, RecordingFailed) as error:
                        _log.info("whether the server of `%s` keeps log for nobody is not known now: %s", source.name, error)
                    except Exception:  # noqa: BLE001  whatever it is, logs are to be kept
                        _log.exception("whether the server of `%s` keeps log for nobody is not known now", source.name)
            await asyncio.sleep(_RELEASE_S)

    async def _release_of(self, source: "Source") -> None:
        from ostiary_tools.backup.session import ANSWERS_S, connected, system_identifier
        from ostiary_tools.backup.wal_archive import slot

        repository = await asyncio.to_thread(self.vault.repository)
        system = await system_identifier(source.dsn)
        ours = [await asyncio.to_thread(known_cluster, self.vault, name) for name in kept(self.plans)]
        if system in ours or None in ours:  # one that is not known yet may be this one
            return
        async with self.turns.turn(f"log {system}") as lost, connected(source.dsn, answers_s=ANSWERS_S) as session:
            # Whoever has the turn keeps it by a plan that this worker does not know.
            if lost is not None and await slot.drop(session, name := slot.named(repository.description.id)):
                _log.warning("the server of `%s` keeps no log for us any more: no plan wants it", source.name)
                await self.recorder.note("log_slot_dropped", {"datasource": source.name, "slot": name})

    async def _once(self, name: str, plan: Plan) -> None:
        """While it goes, or until another has the turn. Raises ToolError, JournalError, OSError."""
        from ostiary_tools.backup.session import system_identifier
        from ostiary_tools.backup.wal_archive.receiver import rescue

        source = self.vault.sources.get(Backup(name, Kind.FULL.value))
        if source is None:
            raise Unavailable(f"`{name}` has no login for backups", "give it `backup_dsn`")
        try:
            system = await system_identifier(source.dsn)
        except ToolError as error:
            if (known := await asyncio.to_thread(self._known, name)) is not None:
                await rescue(await asyncio.to_thread(self._work, source, plan, known), error)
            raise
        await asyncio.to_thread(self._note, name, system)
        async with self.turns.turn(f"log {system}") as lost:
            if lost is not None:
                await _while_ours(await asyncio.to_thread(self._work, source, plan, system), lost)

    def _work(self, source: "Source", plan: Plan, system: str) -> "Work":
        from ostiary_tools.backup.wal_archive.receiver import Pace, Work

        repository = self.vault.keeping().repository()
        if not repository.proven:
            message = "the recovery key of the repository was never seen to work, so nothing is kept"
            raise Unavailable(message, "a person proves it with `ostiary backup prove`")

        def others() -> "Sequence[Source]":
            names = [name for name in kept(self.plans) if name != source.name and known_cluster(self.vault, name) == system]
            known = (self.vault.sources.get(Backup(name, Kind.FULL.value)) for name in names)
            return [one for one in known if one is not None]

        tail_s = _TAIL_S if self.vault.bucket is None else _BUCKET_TAIL_S
        pace = Pace(min(tail_s, plan.recovery_point_s / _SHARE), min(_BEAT_S, plan.recovery_point_s / _SHARE))
        return Work(source, repository, self.vault.workshop().sought, cluster_folder(self.vault, system), system, pace, others)

    def _note(self, name: str, system: str) -> None:
        """For when it cannot be asked."""
        file = _plan_file(self.vault, name)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists() or file.read_text() != system:
            file.write_text(system)

    def _known(self, name: str) -> str | None:
        return known_cluster(self.vault, name)


def known_cluster(vault: Vault, name: str) -> str | None:
    """Which cluster a plan's log came from when it last came. Blocking."""
    try:
        found = _plan_file(vault, name).read_text()
    except FileNotFoundError:
        return None
    return found if found.isascii() and found.isdigit() else None


def cluster_folder(vault: Vault, system_identifier: str) -> Path:
    """Where its log arrives on this machine, and what says how its keeping stands."""
    return vault.logs / system_identifier


def _plan_file(vault: Vault, name: str) -> Path:
    return vault.logs / f"{name}.plan"


async def _while_ours(work: "Work", lost: asyncio.Event) -> None:
    from ostiary_tools.backup.wal_archive.receiver import keep

    keeping, losing = asyncio.create_task(keep(work)), asyncio.create_task(lost.wait())
    try:
        await asyncio.wait({keeping, losing}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            return await keeping
        raise Unavailable("the control database ended the session by which this worker alone keeps the log", "it is tried again")
    finally:
        for task in (keeping, losing):
            task.cancel()
        await asyncio.gather(keeping, losing, return_exceptions=True)
