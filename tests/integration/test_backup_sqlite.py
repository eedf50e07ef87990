"""Backups of SQLite files that are written meanwhile, and their restores."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import pytest
from fix_backup import Vault, new_vault
from fix_waiting import until

from ostiary_tools.backup import sqlite
from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.engines.sqlite import SqliteEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Fingerprint, Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.file import into_file
from ostiary_tools.errors import Damaged, Refused, ToolError, Unavailable

pytestmark = pytest.mark.asyncio

HOSTILE = ['a"b', "new\nline", "*", "$1", "ünï", " ", "select"]


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


def new_file(path: Path, mode: str = "delete", rows: int = 2000) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.executescript(
            "CREATE TABLE every (id INTEGER PRIMARY KEY AUTOINCREMENT, v, twice AS (v || v)); CREATE INDEX every_v ON every (v);"
            "CREATE TABLE keyed (k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE VIEW some AS SELECT v FROM every;"
            "CREATE TABLE log (n INTEGER, filling TEXT);"
        )
        values = [None, 1, -(2**63), 1.5, -0.0, float("inf"), "text", b"\x00\xff", "", b""]
        database.executemany("INSERT INTO every (v) VALUES (?)", [(value,) for value in values])
        database.execute("INSERT INTO every (v) VALUES (CAST(x'ff00' AS TEXT))")
        database.executemany("INSERT INTO log VALUES (?, ?)", [(n, "x" * 500) for n in range(rows)])
        for name in HOSTILE:
            quoted = '"' + name.replace('"', '""') + '"'
            database.execute(f"CREATE TABLE {quoted} ({quoted})")
            database.execute(f"INSERT INTO {quoted} VALUES (1)")
        database.commit()
    return path


@contextmanager
def writing(path: Path) -> Iterator[list[int]]:
    """Others write while the block lasts, as fast as they can; how often they did."""
    over, done = threading.Event(), []

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            for n in count(10_000):
                database.execute("INSERT INTO log VALUES (?, 'more')", (n,))
                database.execute("UPDATE log SET filling = ? WHERE n = ?", (str(n), n % 1000))
                database.commit()
                done.append(n)
                if over.is_set():
                    return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


async def backed_up(vault: Vault, path: Path, spool: Path) -> StoredBackup:
    async with making(vault.repository, Kind.SQLITE, "shop", "job") as keeping:
        made = await SqliteEngine().make(Source("shop", Kind.SQLITE, path=path), keeping, spool, quiet)
        return await keeping.commit(made)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_a_file_that_others_write_is_backed_up_at_one_moment_and_restored(mode: str, tmp_path: Path, spool: Path):
    path = new_file(tmp_path / "shop.db", mode)
    with writing(path) as written:
        kept = await backed_up(new_vault(tmp_path / "vault"), path, spool)
    assert len(written) > 0
    assert names(spool) == []
    assert kept.manifest.fingerprint is not None
    assert kept.manifest.fingerprint.rows > 2000
    await into_file(kept, tmp_path / "new.db", quiet)
    with closing(sqlite3.connect(tmp_path / "new.db")) as database:
        numbers = [row[0] for row in database.execute("SELECT n FROM log WHERE n >= 10000 ORDER BY n")]
        assert numbers == list(range(10_000, 10_000 + len(numbers)))
        assert database.execute("SELECT v, typeof(v) FROM every WHERE id = 9").fetchone() == ("", "text")
    assert [name for name in names(tmp_path) if "new" in name] == ["new.db"]


async def test_what_differs_is_found_by_name(tmp_path: Path):
    path = new_file(tmp_path / "a.db", rows=10)

    def printed() -> Fingerprint:
        return sqlite.printed(path, "a", lambda _: None, threading.Event())

    before = printed()
    for change, words in {
        "UPDATE every SET v = '1' WHERE id = 2": 'table "main"."every": as many rows as before (11), and not the same',
        "UPDATE every SET v = x'' WHERE id = 9": 'table "main"."every": as many rows as before (11), and not the same',
        "DELETE FROM log WHERE n = 3": 'table "main"."log": 10 rows before, 9 now',
        "DROP INDEX every_v": 'index "every_v": is missing',
        'DROP TABLE "*"': 'table "main"."*": is missing',
    }.items():
        with closing(sqlite3.connect(path)) as database:
            database.execute(change)
            database.commit()
        after = printed()
        assert str(compared(before, after)[0]) == words
        before = after


async def test_a_restore_over_a_file_is_refused(tmp_path: Path, spool: Path):
    kept = await backed_up(new_vault(tmp_path / "vault"), new_file(tmp_path / "shop.db", rows=10), spool)
    (tmp_path / "there").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("there", "dangling"):
        with pytest.raises(Refused, match="something of that name already"):
            await into_file(kept, tmp_path / name, quiet)
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


async def test_what_a_killed_restore_left_is_written_over_by_the_next(tmp_path: Path, spool: Path):
    kept = await backed_up(new_vault(tmp_path / "vault"), new_file(tmp_path / "shop.db", rows=10), spool)
    (tmp_path / ".new.db.restoring").write_bytes(b"half" * 1_000_000)
    await into_file(kept, tmp_path / "new.db", quiet)
    sqlite.check(tmp_path / "new.db")
    assert not (tmp_path / ".new.db.restoring").exists()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to be looked at" * 100, None])
async def test_what_is_no_database_is_refused_or_kept_as_it_is(content: bytes | None, tmp_path: Path, spool: Path):
    path = tmp_path / "odd"
    if content is not None:
        path.write_bytes(content)
    if content == b"":
        kept = await backed_up(new_vault(tmp_path / "vault"), path, spool)
        assert kept.manifest.fingerprint is not None
        assert kept.manifest.fingerprint.rows == 0
        return
    with pytest.raises(ToolError) as refused:
        await backed_up(new_vault(tmp_path / "vault"), path, spool)
    assert refused.value.message in {
        "the file is no SQLite database",
        "there is no SQLite file where the datasource says",
    }


async def test_a_damaged_file_is_not_backed_up(tmp_path: Path, spool: Path):
    path = new_file(tmp_path / "shop.db")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 5000)
    vault = new_vault(tmp_path / "vault")
    with pytest.raises(Damaged, match="the database itself is damaged"):
        await backed_up(vault, path, spool)
    assert vault.repository.listed() == ()


async def test_a_lock_that_is_never_given_up_is_told(tmp_path: Path, spool: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "_PATIENCE", 5)
    path = new_file(tmp_path / "shop.db")
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked by another program"):
            await backed_up(new_vault(tmp_path / "vault"), path, spool)


async def test_a_cancelled_backup_ends_and_leaves_nothing(tmp_path: Path, spool: Path):
    path = new_file(tmp_path / "shop.db")
    vault = new_vault(tmp_path / "vault")
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        task = asyncio.create_task(backed_up(vault, path, spool))
        await until(lambda: bool(names(spool)) or task.done())
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert vault.repository.listed() == ()
