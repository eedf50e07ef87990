"""How backups stand, as probes ask: no repository holds one up, whatever becomes of it, and one look serves all who ask meanwhile.

A probe comes every few seconds and waits for few, and a bucket takes money for what it is asked.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from ostiary.config.backup import Plan
from ostiary.log_standing import log_standings
from ostiary.own_thread import answered
from ostiary.vault import Vault
from ostiary_tools.backup.remembered import Remembered
from ostiary_tools.errors import Unavailable

_WAITED_S = 2.0
"""As long as `readiness` waits for a datasource."""
_FRESH_S = 60.0
"""How long what a bucket said is told again."""


@dataclass(frozen=True, slots=True)
class _Seen:
    wrong: Sequence[str]
    at: float


class BackupLooks:
    """Of one process. The private fields hold one invariant: at most one look is under way."""

    def __init__(self, vault: Vault, plans: Mapping[str, Plan]) -> None:
        self._vault = vault
        self._plans = plans
        self._looking: asyncio.Task[_Seen] | None = None
        self._began = 0.0
        self._seen: _Seen | None = None

    async def wrong(self) -> Sequence[str]:
        """What is wrong with them, in sentences; also that it is not known."""
        if self._seen is not None and self._vault.bucket is not None and monotonic() - self._seen.at < _FRESH_S:
            return self._seen.wrong
        if self._looking is None or self._looking.done():
            self._began = monotonic()
            self._looking = asyncio.create_task(self._look(), name="backups look")
        done, _ = await asyncio.wait({look := self._looking}, timeout=_WAITED_S)
        return look.result().wrong if done else self._unanswered()

    def _unanswered(self) -> Sequence[str]:
        took = monotonic() - self._began
        late = f"backups: the repository in `{self._vault.where}` has not answered for {took:.0f} s, so how they stand is not known"
        if self._seen is None:
            return [late]
        return [f"{late}; {monotonic() - self._seen.at:.0f} s ago it was as follows", *self._seen.wrong]

    async def _look(self) -> _Seen:
        try:
            remembered = await self._vault.remembered()
        except Unavailable:
            remembered = None  # that it cannot be asked is said already
        found = await answered("backups-look", lambda: self._found(remembered), _WAITED_S, lambda: None)
        self._seen = _Seen(found, monotonic())
        return self._seen

    def _found(self, remembered: Remembered | None) -> Sequence[str]:
        vault = self._vault.looking()
        wrong = [f"backups: {one}" for one in vault.standing(remembered).wrong] if vault.begun else []
        logs = log_standings(self._plans, vault)
        return [*wrong, *(f"log of `{one.plan}`: {alarm.message}; {alarm.hint}" for one in logs for alarm in one.alarms)]
