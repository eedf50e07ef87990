"""What a folder of backups does beyond what every storage promises, against who plants things in it."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.errors import NotWritten


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "store")


def commit(storage: Folder, name: str, **files: bytes) -> None:
    with closing(storage.stage(name, "work")) as stage:
        for file, data in files.items():
            with stage.create(file) as opened:
                opened.write(data)
        stage.commit()


def test_a_commit_takes_no_place_where_somebody_made_an_empty_folder(storage: Folder):
    storage.write("kept/one", b"")
    (storage.root / "kept" / "empty").mkdir()
    with pytest.raises(FileExistsError):
        commit(storage, "kept/empty", file=b"")


def test_what_was_committed_is_durable_once_the_same_is_begun_again(storage: Folder, monkeypatch: pytest.MonkeyPatch):
    """Who committed it may have been killed before he had seen to that."""
    commit(storage, "kept/one", file=b"")
    durable: set[int] = set()
    real = os.fsync

    def seen(descriptor: int) -> None:
        real(descriptor)
        durable.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", seen)  # the real one, and noted: short of a power cut nothing else tells
    storage.stage("kept/one", "work").close()
    assert (storage.root / "kept").stat().st_ino in durable


def test_a_sweep_takes_what_the_dead_left_and_nothing_of_the_living(storage: Folder):
    living = storage.stage("kept/one", "living")
    living.create("file").close()
    staging = storage.root / "staging"
    (staging / "dead").mkdir()
    (staging / "dead" / "file").write_bytes(b"half")
    (staging / "dead.lock").touch()
    (staging / "without-a-lock").mkdir()
    (staging / "draft-0000").touch()
    (staging / "only.lock").touch()
    assert storage.sweep() == 4
    assert storage.names("staging") == ["living", "living.lock"]
    assert storage.sweep() == 0
    living.commit()
    living.close()
    assert storage.names("kept/one") == ["file"]


def test_no_link_is_followed_on_any_way(storage: Folder, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"of somebody else")
    storage.write("inside/file", b"ours")
    (storage.root / "linked").symlink_to(outside)
    (storage.root / "inside" / "link").symlink_to(outside / "file")
    for act in (
        lambda: storage.names("linked"),
        lambda: storage.read("linked/file"),
        lambda: storage.read("inside/link"),
        lambda: storage.write("linked/new", b""),
        lambda: commit(storage, "linked/new", file=b""),
    ):
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            act()
    storage.write("inside/link", b"ours", new=False)
    storage.remove("linked")
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
    assert (outside / "file").read_bytes() == b"of somebody else"


def test_what_is_removed_takes_nothing_along_that_a_link_in_it_leads_to(storage: Folder, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    commit(storage, "kept/one", file=b"")
    (storage.root / "kept" / "one" / "link").symlink_to(outside)
    (storage.root / "staging" / "link").symlink_to(outside)
    storage.remove("kept/one")
    assert storage.sweep() == 1
    assert (outside / "file").exists()


def test_a_folder_that_is_a_link_is_none(tmp_path: Path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        Folder(tmp_path / "link").write("a", b"")
    assert list((tmp_path / "real").iterdir()) == []


def test_a_folder_that_is_open_to_others_is_refused_with_the_next_step(storage: Folder):
    storage.write("a", b"")
    storage.root.chmod(0o750)
    for act in (lambda: storage.write("b", b""), lambda: storage.read("a"), lambda: storage.names("")):
        with pytest.raises(NotWritten, match="open to others") as refused:
            act()
        assert "0700" in refused.value.hint


def test_nobody_else_may_enter_or_read(storage: Folder):
    before = os.umask(0)
    try:
        storage.write("a/b", b"")
        commit(storage, "kept/one", file=b"")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in [storage.root, *storage.root.rglob("*")]}
    assert modes == {0o600, 0o700}
