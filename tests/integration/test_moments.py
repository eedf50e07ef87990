"""Restores to a moment: exact to the row, from the newest base before it, and never short of it."""

from datetime import timedelta
from pathlib import Path

import pytest
from fix_moments import History, events_in

from ostiary_tools.backup.moment import Latest, Lsn, Moment, Time, Transaction
from ostiary_tools.backup.scratch import Ground

_TICK = timedelta(microseconds=1)


@pytest.mark.asyncio
async def test_a_time_is_that_of_the_commit_to_the_microsecond(history: History, site: Path, ground: Ground):
    made = await history.restored(Time(history.marks[14].at), site / "copy")
    assert made.reached.base.manifest.id == history.bases[1].manifest.id
    assert await events_in(site / "copy", ground) == [*range(1, 10), 11, 12, 13, 14]
    assert made.reached.last == history.marks[14].at
    assert made.reached.following is not None
    assert made.reached.following > history.marks[14].at
    assert made.reached.clock is not None
    assert made.reached.clock.at < history.marks[14].at


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("what", ["before a time", "lsn", "transaction", "latest"])
async def test_a_moment_is_exact_to_the_row(history: History, site: Path, ground: Ground, what: str):
    asked: dict[str, tuple[Moment, int]] = {
        "before a time": (Time(history.marks[14].at - _TICK), 13),
        "lsn": (Lsn(history.marks[7].after), 7),
        "transaction": (Transaction(history.marks[12].xid), 12),
        "latest": (Latest(), 19),
    }
    moment, last = asked[what]
    made = await history.restored(moment, site / "copy")
    assert await events_in(site / "copy", ground) == [id_ for id_ in sorted(history.marks) if id_ <= last]
    assert made.reached.base.manifest.id == history.bases[int(last > 9)].manifest.id
