"""What is taken out of a collection because it has gone from its folder, and what never is."""

import stat
from pathlib import Path
from uuid import uuid4

import pytest

from ostiary import document_files
from ostiary.document_files import Found, found_in, text_of
from ostiary.indexed_folders import Folders, Forgotten, begun, ended, remembered, vanished


def filled(root: Path, *names: str) -> Path:
    root.mkdir(exist_ok=True)
    for name in names:
        (root / name).write_text("a text")
    return root


def looked(*roots: Path) -> Found:
    """All of it read."""
    found = found_in(roots)
    for file in found.files:
        text_of(file, found)
    return found


def indexed(*roots: Path, before: Folders | None = None) -> Folders:
    return ended(before or {}, looked(*roots))


def test_what_has_gone_or_is_no_text_any_more_is_taken_out(tmp_path: Path):
    docs = filled(tmp_path / "docs", "a", "b", "c")
    before = indexed(docs)
    (docs / "a").unlink()
    (docs / "b").write_bytes(b"\0")
    found = looked(docs)

    assert vanished(before, found) == ["a", "b"]
    assert vanished(ended(before, found), looked(docs)) == []


def test_what_another_folder_has_or_nobody_put_there_stays(tmp_path: Path):
    docs, more = filled(tmp_path / "docs", "a", "b"), filled(tmp_path / "more", "a")
    before = indexed(more, before=indexed(docs))
    for name in "ab":
        (docs / name).unlink()
    filled(docs, "c")

    assert vanished(before, looked(docs)) == ["b"]
    assert vanished({}, looked(docs)) == []
    assert vanished(before, looked(docs / "c")) == []


def test_a_folder_that_was_named_alone_and_is_named_with_others_leaves_no_old_keys(tmp_path: Path):
    docs, more = filled(tmp_path / "docs", "a"), filled(tmp_path / "more", "b")

    assert vanished(indexed(docs), looked(docs, more)) == ["a"]


def test_a_file_that_cannot_be_read_now_stays(tmp_path: Path):
    docs = filled(tmp_path / "docs", "a", "b")
    before = indexed(docs)
    found = found_in((docs,))
    (docs / "a").unlink()  # after it was seen

    assert text_of(found.files[0], found) is None
    assert vanished(before, found) == []


def test_of_a_folder_with_too_many_files_nothing_is_taken_out_and_nothing_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    docs = filled(tmp_path / "docs", "a", "b", "c")
    before = indexed(docs)
    (docs / "a").unlink()
    monkeypatch.setattr(document_files, "MOST_FILES", 1)
    found = looked(docs)

    assert vanished(before, found) == []
    assert ended(before, found) == before


def test_a_run_that_was_killed_is_made_good_by_the_next(tmp_path: Path):
    docs = filled(tmp_path / "docs", "a")
    memory = remembered(tmp_path / "state", uuid4())
    memory.write(begun({}, looked(docs)))  # and then killed
    (docs / "a").unlink()
    filled(docs, "b")

    assert vanished(memory.read(), looked(docs)) == ["a"]
    assert stat.S_IMODE(memory.file.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "{"])
def test_what_cannot_be_read_is_not_taken_for_nothing(tmp_path: Path, text: str):
    memory = remembered(tmp_path, uuid4())
    assert memory.read() == {}
    memory.write({})
    memory.file.write_text(text)

    with pytest.raises(Forgotten):
        memory.read()
