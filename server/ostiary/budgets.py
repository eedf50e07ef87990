"""What a call may use of its agent's budgets: held before it runs, settled when it has ended.

A call holds as much as its limits let it use, or what is left where that is less, and then
its limits are that; so what runs at once never exceeds a budget together, in however many
processes. What it did not use it gives back when it ends, however it ends; what a dead
process held is free with the next window. The columns that it reads through a mask count when
it is let through: which ones were touched cannot be given back. A call without budgets touches
nothing here.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import UUID

from ostiary.errors import failed
from ostiary.meter import Meter
from ostiary.paging import finds
from ostiary.refusal import over_budget
from ostiary.shape import Reply
from ostiary_policies.actions import Action
from ostiary_policies.budgets import LEAST_BYTES, Budget, Measure
from ostiary_policies.engine import Engine
from ostiary_policies.entities import resource_id
from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import World
from ostiary_tools.control.budgets import BudgetTable, Kind, Standing, Wish
from ostiary_tools.control.connect import JournalError, Rejected, Unreachable
from ostiary_tools.errors import Unavailable
from ostiary_tools.result import Exported, Hits, Result, Rows

_log = logging.getLogger(__name__)

_LEAST_S = 0.1
"""With less time a statement is not begun."""
_TRIES = 5
"""To write what a call used; until that is written it holds what it held."""
_PAUSE_S = 1.0
_PATIENCE_S = 10.0
"""For an answer, behind the calls that asked before; and for the last words when the process ends."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a call may use at most by its other limits: rows and seconds of each statement, bytes in all."""

    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a call holds."""

    agent: str
    call: UUID
    budgets: tuple[Budget, ...]
    bounds: Bounds
    masked_columns: int
    """That were counted, since the agent had not touched them in a window before."""


@dataclass(slots=True)
class Tally:
    """What a call has used so far in the database, and in the store that it searches."""

    rows: int = 0
    seconds: float = 0.0
    change: Mapping[str, Any] = field(default_factory=dict)
    """How far a change of it has come, in numbers, for the record of its end."""

    @contextmanager
    def clock(self) -> Iterator[None]:
        """The time of the block counts."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds += perf_counter() - started


class Budgets:
    """The budgets of this installation; all its processes count in the same rows."""

    def __init__(self, table: BudgetTable, meter: Meter) -> None:
        self._table = table
        self._meter = meter
        self._settling: set[asyncio.Task[None]] = set()

    async def reserve(self, permit: Permit, call: UUID, bounds: Bounds, engine: Engine, world: World) -> Reservation:
        """Hold what the call may use. Raises OverBudget, and CallFailed when it cannot be known."""
        wishes = _wishes(permit, bounds)
        agent = permit.principal.agent
        asking = asyncio.ensure_future(self._table.reserve(agent, call, wishes, _masked_columns(permit.intent)))
        standings: Mapping[Kind, Standing] | None = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                standings = await asyncio.shield(asking)
        except (JournalError, TimeoutError) as error:
            _log.warning("a budget was not asked for: %s", str(error) or "no answer in time")
            hint = "try again later; the operator sees why in the log"
            raise failed(Unavailable("budgets cannot be counted now, so nothing was run", hint)) from error
        finally:
            if standings is None:
                # It may hold something by now, or soon.
                self._begin(self._give_back(asking, agent, call, wishes))
        if exhausted := _exhausted(wishes, standings):
            for wish in exhausted:
                self._meter.budget_refusals[wish.budget.measure, wish.budget.window] += 1
            raise over_budget([(wish, standings[_kind(wish.budget)]) for wish in exhausted], permit, engine, world)
        fresh = max((len(standing.fresh) for standing in standings.values()), default=0)
        return Reservation(agent, call, tuple(wish.budget for wish in wishes), _granted(standings, bounds, permit.intent), fresh)

    def settle(self, reservation: Reservation, used: Mapping[Measure, float]) -> None:
        """Have it written what the call used, in place of what it held. The call need not wait: its process asks in order."""
        used = {**used, Measure.MASKED_COLUMNS: reservation.masked_columns}
        for measure in {budget.measure for budget in reservation.budgets}:
            self._meter.budget_used[measure] += used[measure]
        # Columns were counted before the call ran.
        spent = {budget: used[budget.measure] for budget in reservation.budgets if budget.measure is not Measure.MASKED_COLUMNS}
        if spent:
            self._begin(self._settle(reservation.agent, reservation.call, spent))

    async def standing(self, agent: str) -> Mapping[Kind, Standing]:
        """The agent's windows that run. Raises Unavailable."""
        try:
            return await self._table.standing(agent)
        except JournalError as error:
            raise Unavailable("budgets cannot be counted now", "try again later") from error

    async def close(self) -> None:
        """Wait for what is being written, but not for long."""
        settling = tuple(self._settling)
        if settling:
            await asyncio.wait(settling, timeout=_PATIENCE_S)
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)
        await self._table.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _give_back(
        self, asking: "asyncio.Future[Mapping[Kind, Standing]]", agent: str, call: UUID, wishes: Sequence[Wish]
    ) -> None:
        """What a call may hold that was not told so; it was a call all the same."""
        await asyncio.wait({asking})
        if not isinstance(asking.exception(), Unreachable | Rejected):
            await self._settle(agent, call, {wish.budget: float(wish.budget.measure is Measure.CALLS) for wish in wishes})

    async def _settle(self, agent: str, call: UUID, spent: Mapping[Budget, float]) -> None:
        for _ in range(_TRIES):
            try:
                await self._table.settle(agent, call, spent)
            except JournalError as error:
                _log.warning("what a call used of its budgets is not written: %s", error)
                await asyncio.sleep(_PAUSE_S)
            else:
                return


def used(intent: Intent, result: Result | None, reply: Reply | None, tally: Tally) -> Mapping[Measure, float]:
    """What a call has used by its end. Of a result that is no table, the rows it may have been made of.

    Rows that a change has changed count whether or not its caller has waited for the reply.
    """
    given = 0 if reply is None else reply.rows if isinstance(result, Rows | Hits | Exported) else tally.rows
    rows = tally.rows if intent.changes or intent.undoes else given
    size = 0 if reply is None else reply.file.bytes if reply.file else reply.size
    return {Measure.CALLS: 1, Measure.ROWS: rows, Measure.BYTES: size, Measure.SECONDS: tally.seconds}


def _wishes(permit: Permit, bounds: Bounds) -> list[Wish]:
    """Of the budgets that count what this call uses. Of masked columns the table of budgets knows which are new."""
    intent = permit.intent
    runs, asks = _runs(intent), _asks(intent)
    rows = bounds.rows * runs if intent.rows_changed is None else intent.rows_changed
    most_and_least = {
        Measure.CALLS: (1, 1),
        Measure.ROWS: (rows, runs if intent.rows_changed is None else rows),
        Measure.BYTES: (bounds.bytes, LEAST_BYTES),
        Measure.SECONDS: (bounds.seconds * asks, _LEAST_S * asks),
        Measure.MASKED_COLUMNS: (len(_masked_columns(intent)), 0),
    }
    wishes = [Wish(budget, *most_and_least[budget.measure]) for budget in permit.obligations.budgets]
    return [wish for wish in wishes if wish.most > 0]


def _exhausted(wishes: Sequence[Wish], standings: Mapping[Kind, Standing]) -> list[Wish]:
    """The budgets that refuse; none when the call holds what it needs."""
    if all(standings[_kind(wish.budget)].granted is not None for wish in wishes):
        return []
    return [wish for wish in wishes if standings[_kind(wish.budget)].short]


def _masked_columns(intent: Intent) -> list[str]:
    """Those that the call reads through a mask, by the ids of policies, sorted."""
    masked = {access.resource for access in intent.accesses if access.action is Action.READ_MASKED}
    return sorted(resource_id(resource) for resource in masked)


def _granted(standings: Mapping[Kind, Standing], bounds: Bounds, intent: Intent) -> Bounds:
    """The bounds within what is held."""
    held: dict[Measure, float] = {}
    for (measure, _), standing in standings.items():
        held[measure] = min(held.get(measure, float("inf")), standing.granted or 0)
    runs, asks = _runs(intent), _asks(intent)
    return Bounds(
        rows=min(bounds.rows, int(held[Measure.ROWS] // runs)) if Measure.ROWS in held else bounds.rows,
        bytes=min(bounds.bytes, int(held[Measure.BYTES])) if Measure.BYTES in held else bounds.bytes,
        seconds=min(bounds.seconds, held[Measure.SECONDS] / asks) if Measure.SECONDS in held else bounds.seconds,
    )


def _runs(intent: Intent) -> int:
    """How many times as many rows as one statement may give. All that a change does is bounded as one, and all that is found."""
    return len(intent.statements) + bool(intent.changes or intent.undoes) + finds(intent)


def _asks(intent: Intent) -> int:
    # What finds has one time for its store and its lookups; these are begun until that is over, so the last may take as long again.
    finding = 2 * len(intent.lookups) or finds(intent)
    return len(intent.statements) + finding + len(intent.explained) + len(intent.changes) + intent.undoes


def _kind(budget: Budget) -> Kind:
    return budget.measure, budget.window
