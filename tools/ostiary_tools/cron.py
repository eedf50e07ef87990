"""Times as cron writes them: five fields, in UTC, where no hour comes twice or never."""

from datetime import datetime, timedelta

from cronsim import CronSim, CronSimError

_FIELDS = 5


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
