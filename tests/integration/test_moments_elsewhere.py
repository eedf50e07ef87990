"""Moments of servers that are not the usual one: of an older PostgreSQL, and of one whose clock is set back."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fix_copies import ground_of
from fix_moments import CLOCK, History, begun, events_in
from fix_postgres import POSTGRES_15

from ostiary_tools.backup.moment import Latest, Lsn, Moment, Name, Time
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.scratch import Ground
from ostiary_tools.errors import Refused

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def history_15(tmp_path_factory: pytest.TempPathFactory, sought: Sought) -> Iterator[History]:
    """A base, events 1 to 5, and the name `before_three`."""
    binaries = POSTGRES_15 / "bin"
    if not (binaries / "postgres").exists():
        pytest.skip(f"PostgreSQL 15 is not in {POSTGRES_15}")
    with begun(tmp_path_factory.mktemp("history_15"), sought, binaries) as made:
        asyncio.run(made.back_up())
        asyncio.run(made.event(1, 2))
        asyncio.run(made.asked("SELECT pg_create_restore_point('before_three')::text"))
        asyncio.run(made.event(3, 4))
        asyncio.run(made.asked("SELECT pg_switch_wal()::text"))
        asyncio.run(made.event(5))
        made.keep()
        yield made


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        (lambda it: Time(it.marks[4].at), 4),
        (lambda _: Name("before_three"), 2),
        (lambda _: Latest(), 5),
    ],
    ids=["time", "name", "latest"],
)
def test_a_moment_of_an_older_postgres_is_exact_to_the_row_and_served_by_its_own_programs(
    history_15: History, site: Path, sought: Sought, moment: Callable[[History], Moment], last: int
):
    made = asyncio.run(history_15.restored(moment(history_15), site / "copy"))
    assert made.reached.base.manifest.server_version.startswith("15.")
    assert any(str(POSTGRES_15) in step for step in made.steps)
    assert (site / "copy" / "PG_VERSION").read_text().strip() == "15"
    assert asyncio.run(events_in(site / "copy", ground_of(15, sought))) == history_15.until(last)


@pytest.fixture
def set_back(tmp_path: Path, sought: Sought) -> Iterator[History]:
    """A base and events 1 to 3; the clock is set back by an hour, and 4 to 6; it goes on two minutes ahead, with 7 and 8."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        pytest.skip("the package `libfaketime` is not installed")
    with begun(tmp_path, sought, preload=found) as made:
        asyncio.run(made.back_up())
        for ahead_s, events in ((0, (1, 2, 3)), (-3600, (4, 5, 6)), (120, (7, 8))):
            (made.server.root / CLOCK).write_text(f"{ahead_s:+d}\n")
            asyncio.run(made.event(*events))
        made.keep()
        yield made


def test_with_a_clock_that_was_set_back_a_copy_ends_where_it_first_passed_the_moment(set_back: History, site: Path, ground: Ground):
    marks = set_back.marks
    assert marks[4].at < marks[1].at < marks[3].at < marks[7].at, "the server's own clock was set back"
    asked: dict[str, tuple[Moment, int]] = {
        "before it was": (Time(marks[2].at), 2),
        "past all that came before": (Time(marks[3].at + timedelta(seconds=60)), 6),
        "lsn": (Lsn(marks[5].after), 5),
    }
    for name, (moment, last) in asked.items():
        copy = site / name.replace(" ", "_")
        asyncio.run(set_back.restored(moment, copy))
        assert asyncio.run(events_in(copy, ground)) == set_back.until(last), name
    with pytest.raises(Refused, match="no backup was whole before"):
        asyncio.run(set_back.restored(Time(marks[5].at), site / "none"))
    assert not (site / "none").exists()
