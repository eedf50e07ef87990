"""The kept log of a cluster: whole, once, found again, and without gaps that nobody sees."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest
from fix_backup import Vault, flip, new_vault

from ostiary_tools.backup import wal
from ostiary_tools.backup.wal_archive.archive import Archive, Arrived
from ostiary_tools.errors import Damaged

SIZE = 1 << 20
"""Of a segment, the smallest there is."""
SYSTEM = "7300000000000000001"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


@pytest.fixture
def archive(vault: Vault) -> Archive:
    return Archive(vault.repository, SYSTEM)


def arrived(folder: Path, number: int, size: int = SIZE, timeline: int = 1) -> Arrived:
    name = wal.name(timeline, number, SIZE)
    path = folder / name
    if not path.exists():
        path.write_bytes(secrets.token_bytes(SIZE))
    return Arrived(path, name, number * SIZE + size, SIZE)


def kept(archive: Archive, folder: Path, numbers: Sequence[int]) -> None:
    for number in numbers:
        archive.keep(arrived(folder, number), "shop")


def test_what_came_is_found_in_order_and_is_what_came(archive: Archive, tmp_path: Path) -> None:
    kept(archive, tmp_path, [5, 3, 4, 4096, 4095])
    found = list(archive.segments(1))
    assert [one.start_position // SIZE for one in found] == [3, 4, 5, 4095, 4096]
    for one in found:
        with archive.plain(one) as stream:
            assert stream.read() == (tmp_path / one.name).read_bytes()


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
    (tmp_path / first.name).write_bytes(secrets.token_bytes(SIZE))
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
