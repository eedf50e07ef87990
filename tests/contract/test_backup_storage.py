"""What a storage of backups promises, and what a folder does beyond it against who plants things in it."""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.errors import LockedOut, NotWritten


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "store")


def commit(storage: Folder, name: str, **files: bytes) -> None:
    with closing(storage.stage(name, "work")) as stage:
        for file, data in files.items():
            with stage.create(file) as opened:
                opened.write(data)
        stage.commit()


def test_what_is_written_is_read_and_listed(storage: Folder):
    assert storage.names("") == []
    storage.write("a/b/c", b"first")
    storage.write("a/d", b"")
    assert storage.names("a") == ["b", "d"]
    assert storage.names("nowhere") == []
    assert storage.read("a/b/c") == b"first"
    with storage.open("a/b/c") as file:
        assert (file.read(2), file.seek(0, 2)) == (b"fi", 5)
    for missing in ("a", "a/b", "a/x", "x/y"):
        with pytest.raises(FileNotFoundError):
            storage.read(missing)


def test_what_is_new_overwrites_nothing_and_what_is_not_does(storage: Folder):
    storage.write("a", b"first")
    with pytest.raises(FileExistsError):
        storage.write("a", b"second")
    assert storage.read("a") == b"first"
    storage.write("a", b"third", new=False)
    assert storage.read("a") == b"third"
    assert storage.names("staging") == []


def test_a_folder_is_found_when_it_is_committed_and_not_before(storage: Folder):
    stage = storage.stage("kept/one", "work")
    with stage.create("file") as file:
        file.write(b"bytes")
    assert storage.names("kept") == []
    stage.commit()
    stage.close()
    assert storage.names("kept") == ["one"]
    assert storage.read("kept/one/file") == b"bytes"
    assert storage.names("staging") == []


def test_a_commit_takes_no_others_place(storage: Folder):
    commit(storage, "kept/one", file=b"first")
    (storage.root / "kept" / "empty").mkdir()
    for name in ("kept/one", "kept/empty"):
        with pytest.raises(FileExistsError):
            commit(storage, name, file=b"second")
    assert storage.read("kept/one/file") == b"first"
    assert storage.names("kept/empty") == []


def test_what_is_closed_without_a_commit_is_gone_and_its_work_can_begin_again(storage: Folder):
    stage = storage.stage("kept/one", "work")
    stage.create("file").close()
    with pytest.raises(LockedOut):
        storage.stage("kept/two", "work")
    stage.close()
    stage.close()
    assert storage.names("staging") == []
    commit(storage, "kept/two", file=b"")
    assert storage.names("kept") == ["two"]


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


def test_what_is_removed_is_gone_and_again_is_harmless(storage: Folder):
    commit(storage, "kept/one", file=b"")
    storage.write("kept/two", b"")
    for name in ("kept/one", "kept/two", "kept/one", "nowhere/at/all"):
        storage.remove(name)
    assert storage.names("kept") == []
    assert storage.names("staging") == []


@pytest.mark.parametrize(
    "name", [".", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a/", ".hidden", "a\0b", "a\nb", "a b", "ä", "-rf", "a" * 200]
)
def test_a_name_that_is_none_is_neither_read_nor_written(storage: Folder, name: str):
    acts: list[Callable[[], object]] = [
        lambda: storage.names(name),
        lambda: storage.open(name),
        lambda: storage.write(name, b""),
        lambda: storage.remove(name),
        lambda: storage.stage(name, "work"),
        lambda: storage.stage("a", name),
    ]
    for act in acts:
        with pytest.raises(ValueError, match="no name of a file"):
            act()
    stage = storage.stage("a", "work")
    with pytest.raises(ValueError, match="no name of a file"):
        stage.create(name)
    stage.close()


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


def test_many_at_once_lose_nothing(storage: Folder):
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for n in range(10):
                stage = storage.stage(f"kept/{number}-{n}", f"work-{number}")
                with stage.create("file") as file:
                    file.write(b"x")
                storage.sweep()
                stage.commit()
                stage.close()
        except BaseException as error:  # noqa: BLE001 -- looked at below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(storage.names("kept")) == 40
    assert storage.names("staging") == []
