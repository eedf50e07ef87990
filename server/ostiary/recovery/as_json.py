"""A report for machines."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from ostiary.recovery.report import Report, Source

FORMAT = 1


def document(report: Report) -> dict[str, Any]:
    """Of plain values; moments as ISO 8601, in UTC."""
    made: dict[str, Any] = _plain(
        {
            "format": FORMAT,
            "made_at": report.made_at,
            "since": report.since,
            "repository": report.repository,
            "recovery_key_proven_at": report.proven_at,
            "missed": [{"source": source.name, "objective": one.name} for source, one in report.missed],
            "vanished": report.vanished,
            "alarms": [asdict(alarm) for alarm in report.alarms],
            "sources": [_source(source) for source in report.sources],
        }
    )
    return made


def _source(source: Source) -> dict[str, Any]:
    states = {"objectives": [{**asdict(one), "state": one.state.value} for one in source.objectives]}
    return {**asdict(source), "uncovered": source.uncovered or None, **states}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return value
