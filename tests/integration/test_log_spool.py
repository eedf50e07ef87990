"""What has arrived of a log and was not kept: a server that is gone holds nothing of it any more."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fix_backup import flip, new_vault
from fix_wal import SIZE, SYSTEM, WrittenLog

from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.wal_archive import slot, standing
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrivals import Spool
from ostiary_tools.backup.wal_archive.posting import Place, Post
from ostiary_tools.backup.wal_archive.receiver import Work, _done, rescue
from ostiary_tools.backup.wal_archive.standing import Standing
from ostiary_tools.errors import Unavailable

LOG = WrittenLog().fill(6)


@pytest.mark.parametrize("alone", [True, False])
def test_what_cannot_be_kept_stays_where_no_server_holds_it(tmp_path: Path, *, alone: bool) -> None:
    """The disk of the repository gives back what nobody wrote, for the one segment that is kept already."""
    vault = new_vault(tmp_path)
    archive, spool = Archive(vault.repository, SYSTEM), Spool(tmp_path / "spool")
    archive.keep(LOG.arrived(tmp_path, 1), "shop")
    segment = archive.keep(LOG.arrived(tmp_path, 2), "shop")
    run = spool.open()
    for number in (2, 3):
        LOG.arrived(run.log, number)
    run.release()
    post = Post(archive, "shop", spool)
    description = vault.root / segment.folder / "segment.json"
    flip(description, 0.5)
    post.settle(alone=alone)
    assert spool.bytes() == (2 * SIZE if alone else 0)
    flip(description, 0.5)
    Post(archive, "shop", spool).settle(alone=True)
    assert ([one.start_position // SIZE for one in archive.segments(1)][-1], spool.bytes()) == (3 if alone else 2, 0)


def test_what_was_left_is_found_again_after_the_repository_could_not_be_read(tmp_path: Path) -> None:
    vault = new_vault(tmp_path)
    archive, spool = Archive(vault.repository, SYSTEM), Spool(tmp_path / "spool")
    archive.keep(LOG.arrived(tmp_path, 1), "shop")
    run = spool.open()
    LOG.arrived(run.log, 2)
    run.release()
    kept, away = vault.root / "wal", vault.root / "away"
    kept.rename(away)
    kept.touch()
    with pytest.raises(OSError, match="Not a directory"):
        Post(archive, "shop", spool)
    kept.unlink()
    away.rename(kept)
    Post(archive, "shop", spool).settle(alone=True)
    assert ([one.start_position // SIZE for one in archive.segments(1)], spool.bytes()) == ([1, 2], 0)


def test_what_another_has_kept_beyond_a_gap_keeps_nothing_in_it_from_being_asked_for(tmp_path: Path) -> None:
    """As a server does that hands its log over by itself, from some moment on."""
    archive, spool = Archive(new_vault(tmp_path).repository, SYSTEM), Spool(tmp_path / "spool")
    for number in (1, 2, 5, 6):
        archive.keep(LOG.arrived(tmp_path, number), "shop")
    archive.keep(LOG.arrived(tmp_path, 3, 5000), "shop")
    post = Post(archive, "shop", spool)
    held = {place: post.missing(place) for place in (SIZE, 3 * SIZE, 4 * SIZE + 9, 5 * SIZE, 7 * SIZE)}
    assert list(held.values()) == [Place(1, 3 * SIZE), Place(1, 3 * SIZE), Place(1, 4 * SIZE), None, None]
    assert post.next() == Place(1, 7 * SIZE)
    post.begin(Place(1, 3 * SIZE))
    assert (post.kept_to, post.whole_to) == (3 * SIZE, 3 * SIZE)


@pytest.mark.asyncio
async def test_what_works_on_a_spool_is_over_when_its_caller_is_however_often_that_is_cancelled() -> None:
    begun, goes_on, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait(60)
        over.set()

    task = asyncio.create_task(_done(work))
    await asyncio.to_thread(begun.wait)
    try:
        for _ in range(3):
            task.cancel()
            for _ in range(3):  # turns of the loop, in which a cancellation arrives
                await asyncio.sleep(0)
        assert not task.done()
    finally:
        goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert over.is_set()


@pytest.mark.asyncio
async def test_one_of_two_sources_of_a_cluster_that_is_away_says_nothing_of_the_log_that_the_other_keeps(tmp_path: Path) -> None:
    repository = new_vault(tmp_path).repository
    away = Source("shop", Kind.FULL, "postgresql://nobody@127.0.0.1:1/none")
    work = Work(away, repository, Sought(), tmp_path / "logs", SYSTEM)
    said = []
    for seconds_ago in (1, 60):
        at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
        standing.write(work.root, Standing("crm", SYSTEM, slot.named(repository.description.id), at, receiving=True))
        await rescue(work, Unavailable("the server is away", "start it"))
        found = standing.read(work.root)
        assert found is not None
        said.append((found.datasource, found.receiving, found.problem))
    assert said == [("crm", True, ""), ("shop", False, "the server is away")]
