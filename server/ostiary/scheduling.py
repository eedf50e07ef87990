"""Plans of backups kept by the clock: a worker asks for what is due, as the configured agent and down the one road.

Of several workers one does. Each time of a schedule has a job of its own, whose id is made of it: whoever asks again, because the
one before was killed in between, asks for the same job. Times that were missed are made up for once, and what has not ended holds
back what comes after it. The clock is the control database's; where it is set back nothing fires twice, and where it is set back by
more than a schedule's own step, that goes on from there.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from ostiary.approvals import Asked, CannotAsk
from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary.call import Call
from ostiary.config import Config
from ostiary.errors import CallFailed, UnknownTool
from ostiary.gate import Gate
from ostiary.identity.principals import configured_principal
from ostiary.policy_files import Policies
from ostiary.vault import Vault
from ostiary.worker import Worker
from ostiary_policies.model import Principal
from ostiary_tools import cron
from ostiary_tools.api import KnownBackup
from ostiary_tools.asking import InputNeeded
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.schedules import DRILL, Scheduled, ScheduleTable
from ostiary_tools.identifiers import one_line

_log = logging.getLogger(__name__)

_ROUND_S = 5.0
_AGAIN_S = 60.0
"""After it could not be asked for."""
_LOOK_S = 300.0
"""How often the repository is looked through."""
_SHOWN = 300
_MAY_PASS = frozenset(("busy", "not_recorded", "unavailable", "internal"))
"""Codes of failures after which it is asked for again."""
_TIMES = UUID("5a7e1c7e-0b5e-4b62-9f5c-6f1c1d0f6b7d")
"""Of the ids that are made of times."""
WHATS = ("logical", "full", "incremental", "sqlite", DRILL)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One line of a plan."""

    plan: str
    what: str
    cron: str

    @property
    def key(self) -> tuple[str, str]:
        """By which its row is known."""
        return self.plan, self.what


class Later(Exception):
    """It cannot be asked for now, and may be soon."""


class Refusal(Exception):
    """It cannot be asked for."""


@dataclass(slots=True)
class Scheduling:
    """What one worker keeps."""

    schedules: Sequence[Schedule]
    table: ScheduleTable
    gate: Gate
    policies: Policies
    vault: Vault
    recorder: Recorder
    who: Principal
    _not_before: dict[Schedule, float] = field(default_factory=dict)
    _look_at: float = 0.0

    async def keep(self, worker: Worker) -> None:
        """Until cancelled: while the worker is the first of them, and whatever goes wrong in one round, there is a next."""
        while True:
            try:
                if worker.first:
                    await self.round(await self.table.now())
                    if not self.schedules:
                        return  # those of plans that are gone were forgotten
            except (JournalError, RecordingFailed) as error:
                _log.warning("plans of backups are not kept now: %s", error)
            except Exception:  # noqa: BLE001  whatever it is, others are due
                _log.exception("plans of backups are not kept now")
            await asyncio.sleep(_ROUND_S)

    async def round(self, now: datetime) -> None:
        """Ask for what is due. Raises JournalError, RecordingFailed."""
        for outcome in await self.table.ended():
            level, said = (logging.INFO if outcome.state == "completed" else logging.WARNING), one_line(outcome.said, _SHOWN)
            _log.log(level, "the %s of plan `%s` has ended (%s): %s", outcome.what, outcome.plan, outcome.state, said)
            self._look_at = 0.0
        rows = {(row.plan, row.what): row for row in await self.table.all()}
        for one in self.schedules:
            await self._kept(one, rows.get(one.key), now)
        if self._look_at <= (clock := asyncio.get_running_loop().time()):
            self._look_at = clock + _LOOK_S
            await self.table.forget(one.key for one in self.schedules)
            if self.schedules:
                await self._look()

    async def _kept(self, one: Schedule, row: Scheduled | None, now: datetime) -> None:
        if row is None or row.cron != one.cron:
            await self.table.begin(*one.key, one.cron, cron.latest(one.cron, now))
            return
        match cron.turn(one.cron, row.due, now):
            case cron.SetBack(to=due):
                await self._set_back(one, row, due)
            case cron.Comes(at=due) if row.state != "waits" and self._may_ask(one):
                await self._fire(one, due)

    def _may_ask(self, one: Schedule) -> bool:
        return self._not_before.get(one, 0.0) <= asyncio.get_running_loop().time()

    async def _set_back(self, one: Schedule, row: Scheduled, due: datetime) -> None:
        facts = {"plan": one.plan, "what": one.what, "was": row.due.isoformat(), "is": due.isoformat()}
        await self.recorder.note("plan_clock_set_back", facts)
        await self.table.back(*one.key, due)
        _log.warning("the clock of the control database was set back: plan `%s` goes on from %s", one.plan, due.isoformat())

    async def ask(self, plan: str, what: str, why: str) -> None:
        """Ask for it out of its time, once for the same reason. Raises JournalError, RecordingFailed."""
        id_ = uuid5(_TIMES, f"{self.table.key} {plan} {what} {why}")
        try:
            await self._job(Schedule(plan, what, ""), id_)
        except (Later, Refusal) as error:
            _log.warning("the %s of plan `%s` that is needed cannot be asked for: %s", what, plan, error)

    async def _fire(self, one: Schedule, due: datetime) -> None:
        id_ = uuid5(_TIMES, f"{self.table.key} {one.plan} {one.what} {due.isoformat()}")
        try:
            job = await self._job(one, id_)
        except Later as error:
            _log.warning("the %s of plan `%s` cannot be asked for now: %s", one.what, one.plan, error)
            self._not_before[one] = asyncio.get_running_loop().time() + _AGAIN_S
        except Refusal as error:
            _log.warning("the %s of plan `%s` is not done: %s", one.what, one.plan, error)
            await self.table.failed(*one.key, due, str(error))
        else:
            await self.table.asked(*one.key, due, job)

    async def _job(self, one: Schedule, id_: UUID) -> UUID:
        """The job of that id, asked for unless it was before, or the one that waits already for the same. Raises Later, Refusal."""
        tool, arguments, about = await self._wanted(one)
        if (found := await self.table.job(id_, "")) is not None:
            return found
        call = Call(tool, arguments, origin=f"plan {one.plan}", transport="worker", job=str(id_))
        try:
            await self.gate.call(self.who, call)
        except CallFailed as error:
            raise (Later if error.code in _MAY_PASS or "jobs" in error.rules else Refusal)(error.text()) from error
        except UnknownTool as error:
            raise Refusal(f"{error}; the role {', '.join(self.who.roles)} may not call it") from error
        except (Asked, CannotAsk, InputNeeded) as error:
            raise Refusal("not_approved: policy wants a human's yes to it, and a plan cannot ask") from error
        found = await self.table.job(id_, about)
        if found is None:
            raise Later("its job is not there")
        return found

    async def _wanted(self, one: Schedule) -> tuple[str, Mapping[str, str], str]:
        """The call, and what its job is about. Raises Later, Refusal."""
        if one.what != DRILL:
            return "create_backup", {"datasource": one.plan, "kind": one.what}, f"backup {one.plan} {one.what}"
        known = await self.vault.known(self.policies.engine, self.who)
        newest = next((each.manifest.id for each in known.backups if each.manifest.datasource == one.plan), None)
        if known.away:
            raise Later(known.unusable)
        if newest is None:
            raise Refusal(known.unusable or "there is no backup to drill")
        return "verify_backup", {"backup": newest, "level": "drill"}, f"verify {newest} drill"

    async def _look(self) -> None:
        """Note how old the newest is of each, for who asks without looking through the repository."""
        known = await self.vault.known(self.policies.engine, self.who)
        if known.unusable:
            return
        for one in self.schedules:
            await self.table.newest(*one.key, _newest(one, known.backups))


def schedules(config: Config) -> tuple[Schedule, ...]:
    """All lines of all plans."""
    return tuple(
        Schedule(name, what, words)
        for name, plan in config.plans.items()
        for what in WHATS
        if (words := getattr(plan, what)) is not None
    )


def keeper(config: Config) -> Principal:
    """As whom plans are kept: the configured agent, as a custodian where it may be one; what that one may, policy says."""
    agent = config.agent
    role = "custodian" if "custodian" in agent.roles else agent.role
    return configured_principal(agent.name, (role,), config.attributes)


def _newest(one: Schedule, backups: Iterable[KnownBackup]) -> datetime | None:
    of = [each for each in backups if each.manifest.datasource == one.plan]
    if one.what == DRILL:
        return max((datetime.fromisoformat(held) for each in of if (held := each.proven or each.failed)), default=None)
    kinds = {one.what, "full"} if one.what == "incremental" else {one.what}  # it is a full one where it cannot be
    return max((each.manifest.started_at for each in of if each.manifest.kind.value in kinds), default=None)
