"""The server's own bounds on a call, as the gate holds them."""

from dataclasses import dataclass, replace
from pathlib import Path

from ostiary import budgets
from ostiary.budgets import Reservation
from ostiary.export.exporter import Bounds
from ostiary_policies.model import Permit
from ostiary_tools.datasources.port import ChangeLimits, ReadLimits

_FILE_VALUE_CHARS = 1_000_000
"""A longer value is not exported: some hundred rows of them are held in memory at once."""
_EMBEDDED = 6
"""Times as long as rows for a file may take those for a collection."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The server's own bounds; a policy may only be stricter."""

    max_rows: int
    timeout_s: float
    reply_chars: int
    exports: Path
    """The folder of exported files."""
    file: Bounds
    """Of one exported file."""
    file_timeout_s: float
    calls: int
    """At once."""
    calls_per_agent: int
    changes: ChangeLimits
    """On one change."""

    def limits(self, permit: Permit, reservation: Reservation | None = None) -> ReadLimits:
        """Bounds on what the permit reads: these, or the permit's or what is held of a budget where they are stricter."""
        terms, intent = permit.obligations, permit.intent
        apart = intent.to_file or intent.to_collection
        rows, timeout_s = (self.file.rows, self.file_timeout_s) if apart else (self.max_rows, self.timeout_s)
        if intent.to_collection:  # each row is embedded while the next ones wait
            timeout_s *= _EMBEDDED
        held = reservation.bounds if reservation else None
        return ReadLimits(
            timeout_s=min(timeout_s, terms.timeout_s or timeout_s, held.seconds if held else timeout_s),
            max_rows=min(rows, terms.limit_rows or rows, held.rows if held else rows),
            max_chars=_FILE_VALUE_CHARS if apart else self.reply_chars,
        )

    def change_limits(self, permit: Permit, reservation: Reservation | None = None) -> ChangeLimits:
        """Bounds on what the permit changes, likewise."""
        own, terms, held = self.changes, permit.obligations, reservation.bounds if reservation else None
        return replace(
            own,
            timeout_s=min(own.timeout_s, terms.timeout_s or own.timeout_s, held.seconds if held else own.timeout_s),
            max_rows=min(own.max_rows, terms.limit_rows or own.max_rows, held.rows if held else own.max_rows),
        )

    def bounds(self, permit: Permit) -> budgets.Bounds:
        """What a call may use at most."""
        terms, changes = permit.obligations, permit.intent.changes or permit.intent.undoes
        limits = self.change_limits(permit) if changes else self.limits(permit)
        size = self.file.bytes if permit.intent.to_file else 4 * self.reply_chars
        return budgets.Bounds(limits.max_rows, min(size, terms.limit_bytes or size), limits.timeout_s)
