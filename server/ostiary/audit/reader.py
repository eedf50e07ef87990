"""The audit log for whoever may read it: newest records first, and whether it verifies."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from typing import Any

from ostiary.audit.place import AuditPlace
from ostiary.audit.record import Kind
from ostiary.audit.verify import Report, verify_database
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.history import history
from ostiary_tools.control.journal import LogRow
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.result import Text

_END = (1 << 63) - 1
_KIND_NAMES = {kind.value: kind.name.lower() for kind in Kind}


@dataclass(frozen=True, slots=True)
class LogReader:
    """`AuditReader` over the reader's role."""

    place: AuditPlace

    async def records(
        self, *, agent: str | None, tool: str | None, kind: str | None, before: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """The newest first. `position` names, for every stream, the oldest record shown; the next page is a look into an index.

        `kind` is `intent`, `outcome`, `denial` or `event`. Raises Refused for another kind or a damaged position, Unavailable.
        """
        letter = _letter(kind)
        places = _places(before)
        try:
            async with history(self.place.reader_dsn, statement_timeout_s=30) as log:
                numbers = [n for n in await log.streams() if before is None or n in places]
                found = [await log.newest(n, places.get(n, _END), limit, agent=agent, tool=tool, kind=letter) for n in numbers]
        except JournalError as error:
            raise Unavailable(f"the audit log cannot be read: {error}", "try again later") from error
        places = {n: places.get(n, _END) for n in numbers}
        newest = merge(*found, key=lambda row: row.ts, reverse=True)
        return [_shown(row, places) for row, _ in zip(newest, range(limit), strict=False)]

    async def verify(self) -> Text:
        """Verify every record; the report in words."""
        return Text(words(await verify_database(self.place.reader_dsn, self.place.public_key, self.place.anchor)))


async def calls(place: AuditPlace, since: datetime | None, limit: int) -> list[Mapping[str, Any]]:
    """Intents and denials, the newest first, none of them older than `since`. Raises JournalError."""
    async with history(place.reader_dsn, statement_timeout_s=30) as log:
        kinds = (Kind.INTENT.value, Kind.DENIAL.value)
        found = [await log.newest(number, _END, limit, kind=kind) for number in await log.streams() for kind in kinds]
    newest = merge(*found, key=lambda row: row.ts, reverse=True)
    return [_shown(row, {}) for row, _ in zip(newest, range(limit), strict=False) if since is None or row.ts >= since]


def words(report: Report) -> str:
    """A report for people: the verdict, then each finding."""
    lines = [report.sentence(), *(f"- {loss}" for loss in report.losses()), *report.remarks]
    for finding in report.findings:
        where = f"stream {finding.stream}, record {finding.seq}: " if finding.stream is not None else ""
        lines.append(f"- {where}{finding.what}")
    return "\n".join(lines)


def _shown(row: LogRow, places: dict[int, int]) -> Mapping[str, Any]:
    """The stored body with where it stands. Moves the stream's place down to this record."""
    places[row.stream] = row.seq
    return {
        "position": ",".join(f"{stream}:{seq}" for stream, seq in places.items() if seq != 1),
        "at": row.ts.isoformat(timespec="milliseconds"),
        "stream": row.stream,
        "seq": row.seq,
        "kind": _KIND_NAMES.get(row.kind.decode(), "unknown"),
        "call_id": str(row.call_id),
        **{k: v for k, v in json.loads(row.body).items() if k != "v"},
    }


def _letter(kind: str | None) -> str | None:
    if kind is None:
        return None
    for letter, name in _KIND_NAMES.items():
        if kind in (letter, name):
            return letter
    raise Refused("audit_kind", f"unknown kind `{kind}`", f"kinds: {', '.join(_KIND_NAMES.values())}")


def _places(before: str | None) -> dict[int, int]:
    if not before:
        return {}
    try:
        pairs = [part.split(":") for part in before.split(",")]
        return {int(stream): int(seq) for stream, seq in pairs}
    except ValueError as error:
        raise Refused("audit_position", f"unknown position `{before}`", "use the `position` of a record as it was given") from error
