"""The kept log of a cluster: whole, once, found again, and without gaps that nobody sees."""

import secrets
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pyrage
import pytest
import zstandard
from fix_backup import Vault, flip, new_vault
from fix_wal import BEGAN, PAGE, SIZE, SYSTEM, WrittenLog, history

from ostiary_tools.backup import small, wal
from ostiary_tools.backup.keys import parsed_recipients
from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.backup.wal_archive import looking, trimming
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrived import Arrived
from ostiary_tools.backup.wal_archive.looking import Commit, followed, restore_points, transaction
from ostiary_tools.backup.wal_archive.timelines import END, Leg
from ostiary_tools.errors import Damaged

LOG = WrittenLog().fill(7)
"""The segments 1 to 7."""


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


@pytest.fixture
def archive(vault: Vault) -> Archive:
    return Archive(vault.repository, SYSTEM)


def arrived(folder: Path, number: int, size: int = SIZE) -> Arrived:
    return LOG.arrived(folder, number, size)


def kept(archive: Archive, folder: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        archive.keep(arrived(folder, number), "shop")


def test_what_came_is_found_in_order_and_is_what_came(archive: Archive, tmp_path: Path) -> None:
    kept(archive, tmp_path, [5, 3, 4, 7])
    found = list(archive.segments(1))
    assert [one.start_position // SIZE for one in found] == [3, 4, 5, 7]
    for one in found:
        with archive.plain(one) as stream:
            assert stream.read() == (tmp_path / one.name).read_bytes()


def test_what_may_go_is_found_beside_folders_that_are_none_of_a_logs(archive: Archive, vault: Vault, tmp_path: Path) -> None:
    kept(archive, tmp_path, [1, 2, 3])
    for name in ("lost+found-of-it", "0000000100000000.", "histories"):
        (vault.root / "wal" / SYSTEM / name).mkdir()
    [found] = trimming.before(vault.repository, {SYSTEM: 3 * SIZE})
    assert [folder.rpartition("/")[2] for folder in found.folders] == [LOG.name(1), LOG.name(2)]


def test_a_longer_tail_stands_for_a_shorter_one_and_the_whole_one_for_all(archive: Archive, tmp_path: Path) -> None:
    for size in (1000, 5000, 3000):
        archive.keep(arrived(tmp_path, 7, size), "shop")
    [tail] = archive.segments(1)
    assert (tail.end_position, tail.whole) == (7 * SIZE + 5000, False)
    with archive.plain(tail) as stream:
        assert stream.read() == (tmp_path / tail.name).read_bytes()[:5000]
    archive.keep(arrived(tmp_path, 7), "shop")
    [whole] = archive.segments(1)
    assert whole.whole


def test_what_comes_again_changes_nothing_and_another_log_of_that_name_is_refused(archive: Archive, tmp_path: Path) -> None:
    first = archive.keep(arrived(tmp_path, 1), "shop")
    assert archive.keep(arrived(tmp_path, 1), "shop") == first
    other = bytearray(LOG.segment(1))
    other[5000:5100] = secrets.token_bytes(100)
    (tmp_path / first.name).write_bytes(other)
    with pytest.raises(Damaged, match="another log is kept"):
        archive.keep(arrived(tmp_path, 1), "shop")


def test_a_gap_is_named(archive: Archive, tmp_path: Path) -> None:
    kept(archive, tmp_path, [1, 2, 4])
    assert len(archive.continuous(1, SIZE + 10)) == 2
    for start, end in ((SIZE, 4 * SIZE), (3 * SIZE, None), (0, 2 * SIZE)):
        with pytest.raises(Damaged, match="has a gap"):
            archive.continuous(1, start, end)
    archive.keep(arrived(tmp_path, 3, 100), "shop")
    with pytest.raises(Damaged, match="000000010000000000000003"):
        archive.continuous(1, SIZE, 4 * SIZE)
    assert archive.continuous(1, SIZE, 3 * SIZE + 100)[-1].end_position == 3 * SIZE + 100


@pytest.mark.parametrize("file", ["segment.json", "segment.sig", "segment.zst.age"])
def test_a_flipped_bit_is_damage(archive: Archive, vault: Vault, tmp_path: Path, file: str) -> None:
    segment = archive.keep(arrived(tmp_path, 1), "shop")
    flip(vault.root / segment.folder / file, 0.5)
    with pytest.raises(Damaged):
        _read_through(archive)


def test_a_segment_put_in_the_place_of_another_is_damage(archive: Archive, vault: Vault, tmp_path: Path) -> None:
    kept(archive, tmp_path, [1, 2])
    one, two = archive.segments(1)
    (vault.root / one.folder).rename(vault.root / "aside")
    (vault.root / two.folder).rename(vault.root / one.folder)
    with pytest.raises(Damaged):
        _read_through(archive)


def _read_through(archive: Archive) -> None:
    for each in archive.segments(1):
        with archive.plain(each) as stream:
            stream.read()


def branch(timeline: int, number: int) -> WrittenLog:
    """The log of another timeline, from the segment on in which the one before was left."""
    return WrittenLog(number, timeline).fill(2)


def test_a_path_leads_through_switches_and_takes_of_each_segment_the_one_that_a_server_would_read(archive: Archive, tmp_path: Path):
    kept(archive, tmp_path, [1, 2, 3])
    left = 3 * SIZE + 5000
    archive.keep_history(2, history((1, left)), "shop")
    for number in (3, 4):
        archive.keep(branch(2, 3).arrived(tmp_path, number), "shop")
    assert archive.path(2, 1) == [Leg(1, 0, left), Leg(2, left, END)]
    assert archive.path(2) == [Leg(2, 0, END)]
    names = [segment.name[7:8] + segment.name[-1] for segment in archive.continuous(2, SIZE + 10, 5 * SIZE, origin=1)]
    assert names == ["11", "12", "23", "24"]
    with pytest.raises(Damaged, match="000000020000000000000005"):
        archive.continuous(2, SIZE, 5 * SIZE + 1, origin=1)
    assert archive.timelines() == [1, 2]


def test_a_gap_before_a_switch_is_named_with_the_timeline_that_it_is_in(archive: Archive, tmp_path: Path):
    kept(archive, tmp_path, [1])
    archive.keep_history(2, history((1, 3 * SIZE + 5000)), "shop")
    archive.keep(branch(2, 3).arrived(tmp_path, 3), "shop")
    for end in (None, 4 * SIZE):
        with pytest.raises(Damaged, match="000000010000000000000002"):
            archive.continuous(2, SIZE, end, origin=1)


def test_a_history_is_kept_once_and_says_what_others_say(archive: Archive):
    first = archive.keep_history(2, history((1, 5000)), "shop")
    assert archive.keep_history(2, history((1, 5000)), "shop") == first
    for timeline, text in ((2, history((1, 6000))), (3, history((1, 6000), (2, 7000)))):
        with pytest.raises(Damaged, match=r"another history|different things"):
            archive.keep_history(timeline, text, "shop")
    archive.keep_history(3, history((1, 5000), (2, 7000)), "shop")
    assert [leg.timeline for leg in archive.path(3, 2)] == [2, 3]
    with pytest.raises(Damaged, match="does not come from timeline 4"):
        archive.path(3, 4)
    with pytest.raises(Damaged, match="history of timeline 5 is missing"):
        archive.path(5, 1)


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"1\tnowhere", b"2\t0/5000\tx", b"1\t0/6000\tx\n1\t0/7000\tx", b"1\t0/60\n2\t0/50", b"x" * (1 << 21)]
)
def test_what_is_no_history_is_refused(archive: Archive, text: bytes):
    with pytest.raises(Damaged, match="cannot be read"):
        archive.keep_history(3 if text.startswith(b"1\t0/60\n2") else 2, text, "shop")
    assert archive.histories() == []


def test_the_newest_and_the_oldest_are_found(archive: Archive, tmp_path: Path):
    assert archive.newest(1) is None
    kept(archive, tmp_path, [2, 3, 5])
    archive.keep(arrived(tmp_path, 6, 9000), "shop")
    newest, oldest = archive.newest(1), archive.oldest(1)
    assert newest is not None
    assert oldest is not None
    assert (newest.end_position, oldest.start_position) == (6 * SIZE + 9000, 2 * SIZE)


def test_restore_points_and_transactions_are_found_and_little_is_decrypted_for_it(archive: Archive, tmp_path: Path):
    log = WrittenLog().fill(0)
    place = log.point("before it", BEGAN)
    log.fill(2)
    again = log.point("before it", BEGAN)
    log.fill(4)
    for number in range(1, 5):
        archive.keep(log.arrived(tmp_path, number), "shop")
    segments = archive.continuous(1, SIZE)
    found = restore_points(archive, segments, "before it")
    assert [(one.lsn, one.at) for one in found] == [(wal.shown(place), BEGAN), (wal.shown(again), BEGAN)]
    assert restore_points(archive, segments, "after it") == []
    every = [one for one in followed(archive, segments) if isinstance(one, Commit)]
    assert [one.xid for one in every] == sorted(one.xid for one in every)
    for one in (every[0], every[len(every) // 2], every[-1]):
        assert transaction(archive, segments, (5 << 32) + one.xid) == one
        elsewhere = [each for each in segments if each.end_position <= one.start]
        (tmp_path / "backups" / elsewhere[-2].folder / "segment.zst.age").unlink() if len(elsewhere) > 1 else None
    assert transaction(archive, segments[1:], every[0].xid) is None


def test_a_commit_that_crosses_segments_is_found_whether_or_not_the_one_before_was_at_hand(archive: Archive, tmp_path: Path):
    log = WrittenLog()
    while log.end < 2 * SIZE - 16:
        log.add(10, 0, bytes(100 if log.end < 2 * SIZE - 1000 else 2))
    assert log.end < 2 * SIZE < log.commit(4, BEGAN)
    log.fill(2)
    bare = replace(log.arrived(tmp_path, 2), before=None)
    kept_ = [archive.keep(log.arrived(tmp_path, 1), "shop"), archive.keep(bare, "shop")]
    found = transaction(archive, kept_, 4)
    assert found is not None
    assert (found.start < 2 * SIZE < found.end, found.at) == (True, BEGAN)
    contents = kept_[1].contents
    assert contents is not None
    assert not contents.complete
    whole = looking.contents(log.name(2), log.segment(2), whole=True, before=(log.name(1), log.segment(1)))
    assert whole is not None
    assert (whole.complete, whole.lowest_xid) == (True, 4)


def test_what_is_no_log_of_this_place_is_not_kept(archive: Archive, vault: Vault, tmp_path: Path):
    zeroed = bytearray(LOG.segment(2))
    zeroed[3 * PAGE : 4 * PAGE] = bytes(PAGE)
    swapped = LOG.segment(3)
    later = WrittenLog(timeline=2).fill(3).segment(2)
    other = WrittenLog(system="7300000000000000002").fill(3).segment(2)
    for data in (bytes(zeroed), swapped, later, other, bytes(SIZE), secrets.token_bytes(SIZE), LOG.segment(2)[:-1]):
        (tmp_path / LOG.name(2)).write_bytes(data)
        with pytest.raises(Damaged, match=LOG.name(2)):
            archive.keep(arrived(tmp_path, 2), "shop")
    assert not (vault.root / "wal").exists()


def test_a_segment_that_the_server_left_is_kept_and_one_that_only_ends_is_told_as_broken(archive: Archive, tmp_path: Path):
    log = WrittenLog().fill(0)
    log.commit(5000, BEGAN)
    log.switch()
    log.fill(3)
    for number in (1, 2, 3):
        archive.keep(log.arrived(tmp_path, number), "shop")
    assert any(isinstance(one, Commit) and one.xid == 5000 for one in followed(archive, archive.continuous(1, SIZE)))
    torn = LOG.segment(4)[: SIZE // 2] + bytes(SIZE // 2)
    (tmp_path / LOG.name(4)).write_bytes(torn)
    assert archive.keep(LOG.arrived(tmp_path, 4), "shop").contents is None


@pytest.mark.parametrize("largest", [0, 2 << 20])
def test_what_is_sealed_here_and_what_a_program_sealed_are_read_by_either(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
):
    monkeypatch.setattr(small, "LARGEST", largest)
    segment = archive.keep(arrived(tmp_path, 1), "shop")
    for other in (-(1 << 20), 2 << 20):
        monkeypatch.setattr(small, "LARGEST", other)
        with archive.plain(segment) as stream:
            assert stream.read() == LOG.segment(1)


@pytest.mark.parametrize("said", [0, 4096])
def test_what_unpacks_to_more_than_was_kept_is_damage_and_no_full_memory(archive: Archive, said: int):
    packed = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    stored = pyrage.encrypt(packed, parsed_recipients(archive.repository.description.recipients))
    member = Member("x.zst.age", Content.WAL, said, sha256(bytes(said)).hexdigest(), len(stored), sha256(stored).hexdigest())
    tracemalloc.start()
    with pytest.raises(Damaged, match="its content is not what was put into it"):
        small.opened(member, BytesIO(stored), archive.repository.identities)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@dataclass(frozen=True)
class Counting(Folder):
    """Notes which files are read."""

    read_there: list[str] = field(default_factory=list)

    def read(self, name: str) -> bytes:
        """As the folder does."""
        self.read_there.append(name)
        return super().read(name)


def test_what_is_looked_for_is_found_without_reading_what_lies_before_it(vault: Vault, tmp_path: Path):
    counting = Counting(vault.root)
    archive = Archive(replace(vault.repository, storage=counting), SYSTEM)
    first = WrittenLog(4090).fill(12)
    for number in range(4090, 4102):
        archive.keep(first.arrived(tmp_path, number), "shop")
    for look, most in (
        (lambda: archive.newest(1), 1),
        (lambda: list(archive.segments(1, 4100 * SIZE)), 3),
        (lambda: archive.continuous(1, 4091 * SIZE, 4093 * SIZE), 3),
        (lambda: archive.keep(first.arrived(tmp_path, 4095), "shop"), 1),
    ):
        counting.read_there.clear()
        look()
        assert 0 < len([name for name in counting.read_there if name.endswith(".json")]) <= most
