"""Full backups that kept logs need: where what is kept leads on from none, one is asked for, by the road that plans take.

Before the first one a log is worth nothing, and after a gap no older one comes past it.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.config.backup import Plan
from ostiary.log_keeping import kept
from ostiary.log_standing import LogStanding, log_standings
from ostiary.scheduling import Scheduling
from ostiary.vault import Vault
from ostiary.worker import Worker
from ostiary_tools.control.connect import JournalError

_log = logging.getLogger(__name__)

_ROUND_S = 30.0
FULL = "full"


@dataclass(frozen=True, slots=True)
class LogBases:
    """What one worker asks for."""

    plans: Mapping[str, Plan]
    vault: Vault
    scheduling: Scheduling
    recorder: Recorder

    async def keep(self, worker: Worker) -> None:
        """Until cancelled: while the worker is the first of them, and whatever goes wrong in one round, there is a next."""
        gaps: dict[str, str] = {}
        while kept(self.plans):
            await asyncio.sleep(_ROUND_S)
            try:
                if worker.first:
                    await self.round(gaps)
            except (JournalError, RecordingFailed) as error:
                _log.warning("full backups that logs need are not asked for now: %s", error)
            except Exception:  # noqa: BLE001  whatever it is, others need one
                _log.exception("full backups that logs need are not asked for now")

    async def round(self, gaps: dict[str, str]) -> None:
        """Ask where one is needed; `gaps` are those on record. Raises JournalError, RecordingFailed."""
        for one in await asyncio.to_thread(log_standings, self.plans, self.vault):
            if one.wants_full:
                await self._record(one, gaps)
            if one.wants_full and one.comes_in:
                # Once an hour, until there is one.
                await self.scheduling.ask(one.plan, FULL, f"{_gap(one)} {datetime.now(UTC):%Y-%m-%dT%H}")

    async def _record(self, one: LogStanding, gaps: dict[str, str]) -> None:
        gap = _gap(one)
        if gap and gaps.get(one.plan) != gap:
            _log.warning("some of the log of `%s` is gone: it is kept anew from %s on", one.plan, gap)
            await self.recorder.note("log_gap", {"plan": one.plan, "kept_anew_from": gap})
            gaps[one.plan] = gap


def _gap(one: LogStanding) -> str:
    return one.standing.gap_to if one.standing is not None and one.standing.gap_at is not None else ""
