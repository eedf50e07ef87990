"""Times of a plan, by whatever clock."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ostiary_tools import cron

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORDS = st.sampled_from(["0 2 * * *", "*/7 * * * *", "0 2 * * sun", "30 4 1 * *", "15 */6 * * 1-5", "0 0 29 2 *"])
STEPS = st.lists(st.integers(-5 * 86_400, 5 * 86_400) | st.integers(0, 3600), max_size=12)


@given(WORDS, st.lists(st.integers(0, 40 * 86_400), max_size=12))
def test_by_a_clock_that_goes_on_each_round_sees_to_all_that_came_and_nothing_comes_twice(words: str, steps: list[int]):
    now, came = START, [cron.latest(words, START)]
    for step in steps:
        now += timedelta(seconds=step)
        match cron.turn(words, came[-1], now):
            case cron.Comes(at=at):
                assert came[-1] < at <= now
                came.append(at)
            case other:
                assert other is None
        assert came[-1] <= now < cron.following(words, came[-1])


@given(WORDS, STEPS)
def test_by_a_clock_that_jumps_nothing_comes_twice_unless_that_was_noticed_and_silence_ends_at_the_second_time(
    words: str, steps: list[int]
):
    now, seen = START, cron.latest(words, START)
    came: set[datetime] = set()
    for step in steps:
        now += timedelta(seconds=step)
        match cron.turn(words, seen, now):
            case cron.Comes(at=at):
                assert at not in came
                assert at <= now
                came.add(at)
                seen = at
            case cron.SetBack(to=to):
                assert to <= now < cron.following(words, now) < seen
                came = {at for at in came if at <= to}
                seen = to
        assert seen <= cron.following(words, now), "at the time after the next one something comes in any case"
