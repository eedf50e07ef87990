"""Moments and durations for people, in UTC."""

from datetime import datetime

_STEPS = ((60.0, "s"), (60.0, "min"), (24.0, "h"))


def moment(at: datetime) -> str:
    """Such as `2026-01-31 12:00:00Z`."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def duration(seconds: float) -> str:
    """Such as `0.8 s`, `5 min`, `1.5 h` or `3 days`."""
    for most, unit in _STEPS:
        if seconds < 2 * most:
            return f"{seconds:.2g} {unit}" if seconds < 10 else f"{seconds:.0f} {unit}"  # noqa: PLR2004 one digit
        seconds /= most
    return f"{seconds:.3g} days"


def counted(count: int, what: str) -> str:
    """Such as `1 row` or `2,000 rows`."""
    return f"{count:,} {what}{'s' * (count != 1)}"
