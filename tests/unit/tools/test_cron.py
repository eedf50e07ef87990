"""When a time of cron comes."""

from datetime import UTC, datetime, timedelta

import pytest

from ostiary_tools import cron

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("words", "latest", "following"),
    [
        ("0 2 * * *", "2026-11-22 02:00", "2026-11-23 02:00"),
        ("0 12 * * *", "2026-11-22 12:00", "2026-11-23 12:00"),
        ("0 2 * * 1-6", "2026-11-21 02:00", "2026-11-23 02:00"),
        ("30 4 L * *", "2026-10-31 04:30", "2026-11-30 04:30"),
        ("0 0 29 2 *", "2024-02-29 00:00", "2028-02-29 00:00"),
    ],
)
def test_a_time_has_come_when_its_second_begins_and_comes_again(words: str, latest: str, following: str) -> None:
    for late in (timedelta(), timedelta(microseconds=1), timedelta(seconds=59)):
        assert f"{cron.latest(words, NOON + late):%Y-%m-%d %H:%M}" == latest
        assert f"{cron.following(words, NOON + late):%Y-%m-%d %H:%M}" == following
    assert cron.latest("0 12 * * *", NOON - timedelta(microseconds=1)) == NOON - timedelta(days=1)
