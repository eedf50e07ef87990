"""Times as cron writes them: five fields, in UTC, where no hour comes twice or never."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from cronsim import CronSim, CronSimError

_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Comes:
    """A time has come; those before it that nobody has seen to come with it."""

    at: datetime


@dataclass(frozen=True, slots=True)
class SetBack:
    """The clock was set back by more than a step: what was seen to lies so far ahead that times would pass in silence."""

    to: datetime


Turn: TypeAlias = Comes | SetBack | None


def turn(words: str, seen: datetime, now: datetime) -> Turn:
    """What is to be done now, where times were seen to up to one of them."""
    newest = latest(words, now)
    if following(words, now) < seen:
        return SetBack(newest)
    return Comes(newest) if seen < newest else None


def checked(words: str) -> str:
    """The words. Raises ValueError, in words of ours, where they name no time."""
    if len(words.split()) != _FIELDS:
        raise ValueError("must be the five fields of cron: minute, hour, day of the month, month, day of the week")
    try:
        next(CronSim(words, datetime(2000, 1, 1)))  # noqa: DTZ001  which zone does not matter
    except CronSimError as error:
        raise ValueError(f"is no time of cron: {str(error).lower()}") from None
    except StopIteration:
        raise ValueError("names a day that never comes") from None
    return words


def latest(words: str, now: datetime) -> datetime:
    """The newest time that has come by now, which is in UTC."""
    return next(CronSim(words, now.replace(microsecond=0) + timedelta(seconds=1), reverse=True))


def following(words: str, now: datetime) -> datetime:
    """The next that comes after now."""
    return next(CronSim(words, now))
