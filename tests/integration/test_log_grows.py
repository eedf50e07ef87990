"""A log that is read while more of it comes: tails make room for longer ones, and who reads takes that for no damage."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fix_backup import new_vault
from fix_wal import PAGE, SIZE, SYSTEM, WrittenLog

from ostiary.recovery.outline import outlined
from ostiary_tools.backup import wal
from ostiary_tools.backup.manifest import ClusterFacts, Kind, Manifest, Point
from ostiary_tools.backup.restoring.log import Feed
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrivals import PARTIAL, Spool
from ostiary_tools.backup.wal_archive.posting import Post
from ostiary_tools.backup.wal_archive.verification import verify_log
from ostiary_tools.embedded.account import ourselves

LOG = WrittenLog().fill(4)
START = SIZE + 2000
POINT = START + 5000
COMING = 3
"""The number of the segment that fills."""
NEVER = datetime(2026, 1, 1, tzinfo=UTC)


class Growing:
    """A log that is kept as it comes: two segments, and the beginning of a third."""

    def __init__(self, home: Path) -> None:
        self.repository = new_vault(home).repository
        self.archive = Archive(self.repository, SYSTEM)
        spool = Spool(home / "spool")
        self._run = spool.open()
        self._post = Post(self.archive, "shop", spool)
        self._reached = COMING * SIZE
        for number in (1, 2):
            LOG.arrived(self._run.log, number)
        self._part = self._run.log / f"{LOG.name(COMING)}{PARTIAL}"
        self._part.write_bytes(LOG.segment(COMING))
        self.grow()

    def grow(self, tails: int = 3) -> None:
        """So often a page more is kept of what comes."""
        for _ in range(tails):
            self._reached += PAGE
            while self._post.post(self._run, self._reached, tail=True):
                pass

    def fill(self) -> None:
        """The segment is whole, and so is the next one: then no tail stays."""
        self._part.rename(self._part.with_suffix(""))
        LOG.arrived(self._run.log, COMING + 1)
        while self._post.post(self._run, None, tail=False):
            pass


More = Callable[[Growing], None]


@pytest.fixture
def growing(tmp_path: Path) -> Growing:
    return Growing(tmp_path)


@pytest.mark.parametrize("more", [Growing.grow, Growing.fill])
def test_a_copy_is_given_the_longest_beginning_that_is_there_when_its_turn_comes(
    growing: Growing, tmp_path: Path, more: More
) -> None:
    (tmp_path / "pg_wal").mkdir()
    stretch = wal.Stretch(SYSTEM, 1, START, POINT, SIZE)
    pieces = Feed(growing.archive, tmp_path / "pg_wal", ourselves(), stretch, 1).pieces(lambda _: None)
    found = [next(pieces)]
    more(growing)
    found += pieces
    assert [piece.name for piece in found] == [LOG.name(number) for number in (1, 2, COMING)]
    assert found[-1].data == LOG.segment(COMING)[: len(found[-1].data)]
    assert len(found[-1].data) == (SIZE if more is Growing.fill else 6 * PAGE)


@pytest.mark.parametrize("more", [Growing.grow, Growing.fill])
def test_what_makes_room_while_a_log_is_verified_is_no_damage(growing: Growing, more: More) -> None:
    facts = ClusterFacts(SYSTEM, 1, wal.shown(START), wal.shown(POINT), Point("1:1:", wal.shown(POINT)))
    made = Manifest("20260101T000000Z-00000000", Kind.FULL, "shop", "job", NEVER, NEVER, "18.6", (), None, facts)
    turns = [more]
    found = verify_log(growing.repository, made, lambda _: turns.pop()(growing) if turns else None)  # with the first piece
    assert (found.damages, found.segments) == ((), 3)


@pytest.mark.parametrize("more", [Growing.grow, Growing.fill])
def test_what_makes_room_while_a_log_is_looked_through_is_not_missed(growing: Growing, more: More) -> None:
    lookings = (growing.archive.segments(1), outlined(growing.archive, 1))
    firsts = [next(looking) for looking in lookings]
    more(growing)
    for first, looking in zip(firsts, lookings, strict=True):
        assert [one.name for one in (first, *looking)] == [LOG.name(number) for number in (1, 2, COMING)]
