"""Whatever is wrong with a kept log is found and named, by name of the segment or history that is damaged."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fix_backup import Vault, copied, flip, new_vault
from fix_wal import PAGE, SIZE, SYSTEM, WrittenLog, history

from ostiary_tools.backup import wal
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.manifest import ClusterFacts, Kind, Manifest, Point
from ostiary_tools.backup.wal_archive import pages
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.verification import VerifiedLog, verify_log
from ostiary_tools.errors import Refused

LEFT = 5 * SIZE + 3 * PAGE
"""Where the second timeline went on."""
FIRST = WrittenLog().fill(7)
SECOND = WrittenLog(5, 2).fill(3)
"""Of it, from the segment on in which the first was left."""
TAIL = 9000
"""Bytes of the last segment of the second."""
BASE = SIZE + 2000
NEVER = datetime(2026, 1, 1, tzinfo=UTC)


def manifest(start: int = BASE, timeline: int = 1, end: int = BASE + 5000, system: str = SYSTEM) -> Manifest:
    """Of a full backup."""
    facts = ClusterFacts(system, timeline, wal.shown(start), wal.shown(end), Point("1:1:", wal.shown(end)))
    return Manifest("20260101T000000Z-00000000", Kind.FULL, "shop", "job", NEVER, NEVER, "18.6", (), None, facts)


@dataclass(frozen=True)
class Kept:
    """A log that is kept, of two timelines."""

    vault: Vault
    folder: Path
    """Of segments as they came."""

    @property
    def archive(self) -> Archive:
        """It."""
        return Archive(self.vault.repository, SYSTEM)

    def at(self, name: str) -> Path:
        """Where a segment lies."""
        return self.vault.root / "wal" / SYSTEM / name[:16] / name

    def verified(self, made: Manifest | None = None) -> VerifiedLog:
        """What is found."""
        return verify_log(self.vault.repository, made or manifest(), lambda _: None)

    def damages(self, made: Manifest | None = None) -> list[str]:
        """Named."""
        return [one.what for one in self.verified(made).damages]

    def resealed(self, log: WrittenLog, number: int, data: bytes, size: int = SIZE) -> None:
        """Other bytes in a segment's place, kept and signed by whoever has the keys."""
        shutil.rmtree(self.at(log.name(number)), ignore_errors=True)
        (self.folder / log.name(number)).write_bytes(data)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "check", lambda *_: None)
            self.archive.keep(replace(log.arrived(self.folder, number, size), before=None), "shop")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """It is not to be changed."""
    home = tmp_path_factory.mktemp("kept")
    one = Kept(new_vault(home), home)
    for number in range(1, 8):
        one.archive.keep(FIRST.arrived(home, number), "shop")
    one.archive.keep_history(2, history((1, LEFT)), "shop")
    for number in (5, 6):
        one.archive.keep(SECOND.arrived(home, number), "shop")
    for size in (TAIL // 2, TAIL):
        one.archive.keep(SECOND.arrived(home, 7, size), "shop")
    return one


@pytest.fixture
def kept(original: Kept, tmp_path: Path) -> Kept:
    return Kept(copied(original.vault, tmp_path), tmp_path)


def test_a_log_that_is_whole_is_found_whole_on_all_its_timelines(kept: Kept):
    found = kept.verified()
    assert found.damages == ()
    assert (found.timelines, found.segments, found.start, found.end) == ((1, 2), 10, BASE, 8 * SIZE)
    assert found.last_commit is not None
    assert found.words.startswith(
        f"the log from {wal.shown(BASE)} to 0/800000, 10 segments of the timelines 1, 2, is as it was kept"
    )
    later = kept.verified(manifest(6 * SIZE + 100, 2, 6 * SIZE + 200))
    assert (later.damages, later.timelines, later.segments, later.end) == ((), (2,), 2, 7 * SIZE + TAIL)


def test_without_a_key_what_is_stored_is_compared(kept: Kept):
    public = replace(kept, vault=replace(kept.vault, repository=kept.vault.with_keys()))
    found = public.verified()
    assert (found.damages, len(found.notes), found.last_commit) == ((), 1, None)
    flip(kept.at(FIRST.name(3)) / "segment.zst.age", 0.7)
    assert public.damages() == [FIRST.name(3)]
    other = replace(kept, vault=replace(kept.vault, repository=kept.vault.with_keys(new_identity())))
    assert other.damages() == [FIRST.name(3)]


@pytest.mark.parametrize("number", [2, 4])
def test_a_segment_that_is_missing_is_named(kept: Kept, number: int):
    shutil.rmtree(kept.at(FIRST.name(number)))
    assert kept.damages() == [FIRST.name(number)]


def test_segments_before_the_backup_are_not_needed_and_its_first_one_is(kept: Kept):
    shutil.rmtree(kept.at(FIRST.name(1)))
    assert kept.damages(manifest(2 * SIZE + 10, end=2 * SIZE + 500)) == []
    assert kept.damages() == [FIRST.name(1)]
    # The backup has its own log up to its point, so that the kept one may begin in there.
    found = kept.verified(manifest(end=2 * SIZE + 500))
    assert (found.damages, found.start) == ((), 2 * SIZE)


def test_a_first_timeline_that_ends_before_it_was_left_is_a_gap(kept: Kept):
    for number in (4, 5, 6, 7):
        shutil.rmtree(kept.at(FIRST.name(number)))
    assert kept.damages() == [FIRST.name(4)]
    kept.archive.keep(FIRST.arrived(kept.folder, 4), "shop")
    assert kept.damages() == []  # the second one has all of the segment in which it was left


@pytest.mark.parametrize("file", ["segment.json", "segment.sig", "segment.zst.age"])
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_a_flipped_bit_in_any_file_is_named(kept: Kept, file: str, where: float):
    flip(kept.at(FIRST.name(3)) / file, where)
    assert kept.damages() == [FIRST.name(3)]


@pytest.mark.parametrize("file", ["segment.json", "segment.sig", "segment.zst.age"])
def test_a_file_that_is_cut_or_gone_is_named(kept: Kept, file: str):
    path = kept.at(FIRST.name(3)) / file
    path.write_bytes(path.read_bytes()[:-1])
    assert kept.damages() == [FIRST.name(3)]
    path.unlink()
    assert kept.damages() == [FIRST.name(3)]


def test_folders_that_were_swapped_are_both_named(kept: Kept):
    one, two, aside = kept.at(FIRST.name(2)), kept.at(FIRST.name(3)), kept.folder / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    assert kept.damages() == [FIRST.name(2), FIRST.name(3)]


def test_a_whole_log_in_the_place_of_another_clusters_is_damage(kept: Kept):
    kept.at(FIRST.name(1)).parents[1].rename(kept.vault.root / "wal" / "7300000000000000002")
    found = kept.damages(manifest(system="7300000000000000002"))
    assert len(found) >= 7
    assert kept.damages() == ["wal"]


def other_cluster(data: bytes) -> bytes:
    """Its segment."""
    assert data
    return WrittenLog(system="7300000000000000002").fill(3).segment(3)


def wrong_timeline(data: bytes) -> bytes:
    """Of the same place, of a later one."""
    assert data
    return WrittenLog(timeline=3).fill(3).segment(3)


def zeroed_page(data: bytes) -> bytes:
    """In the middle."""
    return data[: 40 * PAGE] + bytes(PAGE) + data[41 * PAGE :]


def zeroed_end(data: bytes) -> bytes:
    """As a server leaves it that was told to switch, which this one was not."""
    return data[: 100 * PAGE] + bytes(28 * PAGE)


def other_page(data: bytes) -> bytes:
    """An older one of the same log in a page's place."""
    return data[: 40 * PAGE] + data[39 * PAGE : 40 * PAGE] + data[41 * PAGE :]


def skipped_records(data: bytes) -> bytes:
    """Pages are what they should be, and what is in them is not."""
    return data[: 40 * PAGE + 24] + bytes(PAGE - 24) + data[41 * PAGE : 41 * PAGE + 24] + bytes(PAGE - 24) + data[42 * PAGE :]


def neighbour(data: bytes) -> bytes:
    """Another segment of the same log."""
    assert data
    return FIRST.segment(4)


@pytest.mark.parametrize("change", [other_cluster, wrong_timeline, zeroed_page, zeroed_end, other_page, skipped_records, neighbour])
def test_a_segment_that_was_kept_wrong_is_named(kept: Kept, change: Callable[[bytes], bytes]):
    kept.resealed(FIRST, 3, change(FIRST.segment(3)))
    assert kept.damages()[0] == FIRST.name(3)


def test_a_segment_of_another_history_of_the_same_cluster_breaks_the_chain(kept: Kept):
    other = WrittenLog().fill(7, seed=8)
    kept.resealed(FIRST, 3, other.segment(3))
    assert kept.damages() == [FIRST.name(3)]


def test_two_logs_under_one_name_are_named(kept: Kept):
    other = bytearray(SECOND.segment(7))
    other[1000:1010] = b"0123456789"
    kept.resealed(SECOND, 7, bytes(other), TAIL - 100)
    [named] = kept.damages()
    assert named.startswith(f"{SECOND.name(7)}.")


def test_a_tail_that_holds_less_than_it_says_is_named(kept: Kept):
    said = kept.archive.newest(2)
    assert said is not None
    folder = kept.vault.root / said.folder
    shorter = kept.archive.keep(SECOND.arrived(kept.folder, 7, TAIL - 1000), "shop")
    shutil.copy(kept.vault.root / shorter.folder / "segment.zst.age", folder / "segment.zst.age")
    assert kept.damages() == [SECOND.name(7)]
    signed_anew(kept, folder, lambda described: described["member"].update(plain_bytes=TAIL - 1000))
    assert kept.damages() == [folder.name]


def test_a_tail_that_is_followed_by_more_is_a_gap(kept: Kept):
    shutil.rmtree(kept.at(FIRST.name(4)))
    kept.archive.keep(FIRST.arrived(kept.folder, 4, SIZE // 2), "shop")
    assert kept.damages() == [FIRST.name(4)]


def test_a_history_that_is_missing_or_altered_is_named(kept: Kept):
    lies = kept.vault.root / "wal" / SYSTEM / "histories" / "00000002"
    described = (lies / "history.json").read_bytes()
    (lies / "history.json").write_bytes(described.replace(b"0/506000", b"0/206000"))
    assert kept.damages() == ["00000002.history"]
    shutil.rmtree(lies)
    assert kept.damages() == ["00000002.history"]
    lies.with_name("00000003").mkdir()
    assert kept.damages() == ["00000002.history", "00000003.history"]


def test_what_does_not_belong_there_is_counted_and_not_repeated(kept: Kept):
    (kept.at(FIRST.name(3)) / "IGNORE PREVIOUS").write_text("")
    assert kept.damages() == [FIRST.name(3)]
    (kept.at(FIRST.name(3)) / "IGNORE PREVIOUS").rename(kept.at("0" * 24).parents[1] / "IGNORE ALL")
    assert kept.damages() == [f"wal/{SYSTEM}"]
    assert "IGNORE" not in str(kept.verified().damages)


def test_where_nothing_is_kept_that_is_said_and_a_backup_without_a_log_is_refused(kept: Kept):
    shutil.rmtree(kept.vault.root / "wal")
    assert kept.damages() == ["wal"]
    with pytest.raises(Refused, match="no log leads on"):
        kept.verified(replace(manifest(), cluster=None))


def test_damages_do_not_hide_each_other(kept: Kept):
    shutil.rmtree(kept.at(FIRST.name(2)))
    flip(kept.at(FIRST.name(4)) / "segment.sig", 0.5)
    kept.resealed(FIRST, 6, zeroed_page(FIRST.segment(6)))
    assert kept.damages() == [FIRST.name(number) for number in (2, 4, 6)]
    assert all(one.what in one.message for one in kept.verified().damages)


def signed_anew(kept: Kept, folder: Path, change: Callable[[dict[str, dict[str, int]]], object]) -> None:
    """A description changed and signed with the right key, as a fault of ours would."""
    described = json.loads((folder / "segment.json").read_bytes())
    change(described)
    data = json.dumps(described).encode()
    (folder / "segment.json").write_bytes(data)
    what = f"{folder.relative_to(kept.vault.root)}/segment.json"
    (folder / "segment.sig").write_bytes(kept.vault.repository.writer().sign(what, data))
