"""Repeated identical denials: the first is a record, the rest a number.

An agent in a loop must not fill the log, and must not go unseen either.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ostiary.audit.record import Entry, canonical

CAPACITY = 1_000
"""Different denials remembered at once; one more is recorded in full each time."""


@dataclass(slots=True)
class Folded:
    """A denial that is being counted."""

    entry: Entry
    since: datetime
    count: int = 0


@dataclass(slots=True)
class Folding:
    """The denials recorded since the last flush."""

    _seen: dict[tuple[Any, ...], Folded] = field(default_factory=dict)

    def repeats(self, entry: Entry) -> bool:
        """Count it when the same denial stands in the log already; false when it must be recorded."""
        known = self._seen.get(_key(entry))
        if known is None:
            return False
        known.count += 1
        return True

    def recorded(self, entry: Entry) -> None:
        """This denial is in the log now."""
        if len(self._seen) < CAPACITY:
            self._seen.setdefault(_key(entry), Folded(entry, datetime.now(UTC)))

    def flush(self) -> list[Mapping[str, Any]]:
        """The fields of one record for each denial that repeated; the counting begins anew."""
        seen, self._seen = self._seen, {}
        return [_fields(folded) for folded in seen.values() if folded.count]


def _key(entry: Entry) -> tuple[Any, ...]:
    what = entry.fingerprint or sha256(canonical(entry.arguments).encode(errors="replace")).hexdigest()
    return (
        entry.agent,
        entry.roles,
        entry.attributes.get("digest"),
        entry.taints,
        entry.transport,
        entry.origin,
        entry.tool,
        entry.decision,
        entry.rules,
        entry.policy_hash,
        entry.reason,
        what,
    )


def _fields(folded: Folded) -> Mapping[str, Any]:
    entry = folded.entry
    return {
        "agent": entry.agent,
        "tool": entry.tool,
        "decision": entry.decision,
        "rules": list(entry.rules),
        "first": str(entry.call_id),
        "count": folded.count,
        "since": folded.since.isoformat(timespec="seconds"),
    }
