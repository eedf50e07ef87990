"""What every storage of backups promises, held against each of them: a folder, and a bucket of a server that speaks S3."""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fix_objects import NewObjects

from ostiary_tools.backup.port import Storage
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.errors import LockedOut


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Folder(tmp_path / "store")
    new_objects: NewObjects = request.getfixturevalue("new_objects")
    return new_objects()


def commit(storage: Storage, name: str, **files: bytes) -> None:
    with closing(storage.stage(name, "work")) as stage:
        for file, data in files.items():
            with stage.create(file) as opened:
                opened.write(data)
        stage.commit()


def test_what_is_written_is_read_and_listed(storage: Storage):
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


def test_what_is_new_overwrites_nothing_and_what_is_not_does(storage: Storage):
    storage.write("a", b"first")
    with pytest.raises(FileExistsError):
        storage.write("a", b"second")
    assert storage.read("a") == b"first"
    storage.write("a", b"third", new=False)
    assert storage.read("a") == b"third"
    assert storage.names("staging") == []


def test_a_file_of_many_megabytes_is_read_as_it_was_written_from_any_place(storage: Storage):
    data = os.urandom(1 << 20)
    with closing(storage.stage("kept/one", "work")) as stage:
        for name, count in (("long", 35), ("exact", 32), ("one", 16)):
            with stage.create(name) as file:
                for _ in range(count):
                    file.write(data)
        stage.commit()
    for name, count in (("long", 35), ("exact", 32), ("one", 16)):
        with storage.open(f"kept/one/{name}") as file:
            assert file.read() == data * count
    with storage.open("kept/one/long") as file:
        assert file.seek((20 << 20) + 7) == (20 << 20) + 7
        assert file.read(3) == data[7:10]
        assert file.seek(0, 2) == 35 << 20
        assert file.read(1) == b""
    assert storage.names("kept/one") == ["exact", "long", "one"]


def test_a_folder_is_found_when_it_is_committed_and_not_before(storage: Storage):
    stage = storage.stage("kept/one", "work")
    with stage.create("file") as file:
        file.write(b"bytes")
    assert storage.names("kept") == []
    stage.commit()
    stage.close()
    assert storage.names("kept") == ["one"]
    assert storage.read("kept/one/file") == b"bytes"
    assert storage.names("staging") == []


def test_a_commit_takes_no_others_place(storage: Storage):
    commit(storage, "kept/one", file=b"first")
    commit(storage, "kept/empty")
    for name in ("kept/one", "kept/empty"):
        with pytest.raises(FileExistsError):
            commit(storage, name, file=b"second")
    assert storage.read("kept/one/file") == b"first"
    assert storage.names("kept/empty") == []


def test_what_is_closed_without_a_commit_is_gone_and_its_work_can_begin_again(storage: Storage):
    stage = storage.stage("kept/one", "work")
    stage.create("file").close()
    with pytest.raises(LockedOut):
        storage.stage("kept/two", "work")
    stage.close()
    stage.close()
    assert storage.names("staging") == []
    commit(storage, "kept/two", file=b"")
    assert storage.names("kept") == ["two"]


def test_what_is_removed_is_gone_and_again_is_harmless(storage: Storage):
    commit(storage, "kept/one", file=b"")
    storage.write("kept/two", b"")
    for name in ("kept/one", "kept/two", "kept/one", "nowhere/at/all"):
        storage.remove(name)
    assert storage.names("kept") == []
    assert storage.names("staging") == []


@pytest.mark.parametrize(
    "name", [".", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a/", ".hidden", "a\0b", "a\nb", "a b", "ä", "-rf", "a" * 200]
)
def test_a_name_that_is_none_is_neither_read_nor_written(storage: Storage, name: str):
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


def test_many_at_once_lose_nothing(storage: Storage):
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
