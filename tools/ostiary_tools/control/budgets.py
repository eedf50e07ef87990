"""The table of budgets as a port: hold what a call may use, settle what it used, tell how an agent stands.

Every process of an installation counts in the same rows, and the database's clock turns the windows.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ostiary_policies.budgets import Budget, Measure, Window
from ostiary_tools.control.link import Link

_FORGET_S = 3_600.0
"""How often each process has the rows of agents forgotten that call no more."""

_RESERVE = (
    "SELECT measure, window_s, used, held, ends_in_s, granted, fresh, short FROM budgets.reserve($1, $2, $3, $4, $5, $6, $7, $8)"
)
_SETTLE = "SELECT budgets.settle($1, $2, $3, $4, $5)"
_STANDING = "SELECT measure, window_s, used, held, ends_in_s FROM budgets.standing($1)"
_FORGET = "SELECT budgets.forget()"

Kind = tuple[Measure, Window]
"""What is counted, and over which time."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a call may take of one budget."""

    budget: Budget
    most: float
    least: float
    """With less than that it is not worth running."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One of an agent's windows."""

    used: float
    held: float
    """By calls that run."""
    ends_in_s: float
    granted: float | None = None
    """What the asking call holds of it now; `None` when it holds nothing of any."""
    fresh: tuple[str, ...] = ()
    """Of a budget of distinct things: those that the asking call would be the first to touch in this window."""
    short: bool = False
    """Whether less is left of it than the asking call needs."""


class BudgetTable:
    """Every method raises JournalError."""

    def __init__(self, dsn: str) -> None:
        # Not flushed by itself: the intent of the call is, later and in the same database, and takes the reservation along. What a
        # crash can take is a settlement, and then the call holds what it held until its window ends.
        self._link = Link(dsn, "budgets", flushed=False)
        self._forget_at = 0.0

    async def reserve(self, agent: str, call: UUID, wishes: Sequence[Wish], columns: Sequence[str]) -> Mapping[Kind, Standing]:
        """Hold of every budget what the call wishes or what is left; of none where less than the least is left of any.

        `columns` are the masked ones that the call reads. A budget of them counts those that are new in its window, at once.
        """
        if (now := asyncio.get_running_loop().time()) >= self._forget_at:
            self._forget_at = now + _FORGET_S
            await self._link.ask(_FORGET)
        amounts = [wish.budget.amount for wish in wishes]
        mosts, leasts = [wish.most for wish in wishes], [wish.least for wish in wishes]
        budgets = [wish.budget for wish in wishes]
        return _standings(await self._link.ask(_RESERVE, agent, call, *_kinds(budgets), amounts, mosts, leasts, columns))

    async def settle(self, agent: str, call: UUID, used: Mapping[Budget, float]) -> None:
        """What the call used, in place of what it held."""
        await self._link.ask(_SETTLE, agent, call, *_kinds(list(used)), list(used.values()))

    async def standing(self, agent: str) -> Mapping[Kind, Standing]:
        """The agent's windows that run; nothing is used of those that are not in it."""
        return _standings(await self._link.ask(_STANDING, agent))

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()


def _kinds(budgets: Sequence[Budget]) -> tuple[list[str], list[int]]:
    return [budget.measure.value for budget in budgets], [budget.window.seconds for budget in budgets]


def _standings(rows: Sequence[Mapping[str, Any]]) -> Mapping[Kind, Standing]:
    # A newer process may count what this one does not know.
    by_length = {window.seconds: window for window in Window}
    known = [row for row in rows if row["measure"] in set(Measure) and row["window_s"] in by_length]
    return {
        (Measure(row["measure"]), by_length[row["window_s"]]): Standing(
            row["used"], row["held"], row["ends_in_s"], row.get("granted"), tuple(row.get("fresh") or ()), bool(row.get("short"))
        )
        for row in known
    }
