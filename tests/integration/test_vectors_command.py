"""`ostiary vectors …` as a person runs it, on a real store; and the same road as an agent's."""

import json
import os
from collections.abc import Awaitable, Callable
from inspect import signature
from pathlib import Path

import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site

from ostiary.cli_vectors import app
from ostiary.document_files import MOST_FILE_BYTES, found_in, text_of

PAGES = {
    "bikes.md": "# Bikes\n\nTyres are pumped up in spring.",
    "deep/er/money.md": "# Refunds\n\nMoney comes back within ten days.",
    "note.txt": "Ships wait for the tide.",
    "broken.json": "{not json: at all",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts, and what is none: hidden, binary, too large, empty, links in and out of it, a loop, and a pipe."""
    root = tmp_path / "pages"
    for name, text in PAGES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (tmp_path / "secret.txt").write_text("canary: outside")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("canary: hidden")
    (root / ".env").write_text("canary: hidden")
    (root / "out.md").symlink_to(tmp_path / "secret.txt")
    (root / "away").symlink_to(tmp_path)
    (root / "deep" / "loop").symlink_to(root)
    (root / "inside.md").symlink_to(root / "bikes.md")
    (root / "picture.png").write_bytes(b"\x89PNG\0\0")
    (root / "latin.txt").write_bytes(b"caf\xe9")
    (root / "empty.md").write_text(" \n")
    (root / "big.txt").write_text("x" * (MOST_FILE_BYTES + 1))
    (root / "line\nbreak.md").write_text("canary: a name of two lines")
    os.mkfifo(root / "pipe")
    return root


LEFT_OUT = {
    "a link": 4,
    "a name that cannot be printed, or is too long": 1,
    "binary": 2,
    "empty": 1,
    "hidden": 2,
    "larger than 2 MB": 1,
    "no regular file": 1,
}


def test_only_texts_of_the_folder_itself_are_read(folder: Path):
    found = found_in((folder,))
    texts = {file.key: text for file in found.files if (text := text_of(file, found)) is not None}

    assert texts == PAGES
    assert found.left_out == LEFT_OUT


def test_a_file_that_became_a_link_or_a_pipe_is_not_read(folder: Path):
    found = found_in((folder / "bikes.md", folder / "note.txt"))
    (folder / "bikes.md").unlink()
    (folder / "bikes.md").symlink_to(folder.parent / "secret.txt")
    (folder / "note.txt").unlink()
    os.mkfifo(folder / "note.txt")

    assert [text_of(file, found) for file in found.files] == [None, None]


def test_folders_and_files_that_are_named_together_keep_their_names_apart(folder: Path):
    other = folder.parent / "other"
    other.mkdir()
    (other / "bikes.md").write_text("others")

    keys = {file.key for file in found_in((folder, other, folder / "note.txt", folder / "nothing")).files}

    assert {"pages/bikes.md", "other/bikes.md", "note.txt"} <= keys


async def site_of(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], server: PostgresServer) -> Site:
    database, vectors = await make_database("CREATE TABLE t (id integer)"), await make_database("CREATE EXTENSION vector;")
    more = f'[vectors.local]\nkind = "pgvector"\ndsn = "{server.dsn(database=vectors)}"\n'
    return await make_site({"shop": server.dsn(database=database)}, more=more)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_folder_is_indexed_by_one_command_and_dropped_by_a_yes_and_all_is_on_record(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, folder: Path
):
    pytest.importorskip("wordllama", reason="the extra `vector` is not installed")
    site = await site_of(make_site, make_database, postgres_server)

    indexed = site.command("vectors", "index", "pages", str(folder), "--json")
    assert json.loads(indexed.stdout) == {
        "collection": "pages",
        "added": 4,
        "changed": 0,
        "unchanged": 0,
        "deleted": 0,
        "chunks_stored": 4,
        "left_out": LEFT_OUT,
    }
    (folder / "bikes.md").unlink()
    (folder / "note.txt").write_bytes(b"\0")
    again = json.loads(site.command("vectors", "index", "pages", str(folder), "--json").stdout)
    assert (again["unchanged"], again["deleted"]) == (2, 2)
    kept = site.command("vectors", "drop", "pages")
    assert kept.returncode == 1
    assert "wants a human's approval" in kept.stderr
    dropped = site.command("vectors", "drop", "pages", "--yes", "--json")
    assert json.loads(dropped.stdout) == {"message": "dropped `pages`", "lines": []}

    records = [record for record in await site.records() if record.get("transport") == "command"]
    called = [(record["tool"], record["decision"]) for record in records if record["kind"] != "outcome"]
    assert called[:3] == [("manage_collection", "refused"), ("manage_collection", "permit"), ("index_documents", "permit")]
    assert called[3:6] == [("manage_collection", "permit"), ("index_documents", "permit"), ("index_documents", "permit")]
    assert set(called[6:-1]) <= {("manage_collection", "asked"), ("manage_collection", "deny")}, "nothing is dropped without a yes"
    assert called[-1] == ("manage_collection", "permit")
    assert {record["agent"] for record in records} == {"local"}
    assert {tuple(record["roles"]) for record in records} == {("curator",)}
    assert "canary" not in json.dumps(records)


def test_every_command_answers_machines_too():
    assert {
        one.callback.__name__
        for one in app.registered_commands
        if one.callback and "json_" not in signature(one.callback).parameters
    } == set()
