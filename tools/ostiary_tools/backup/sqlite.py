"""SQLite files as backups see them: copied by SQLite's own backup, checked, and fingerprinted by a digest of ours. Blocking."""

import hashlib
import sqlite3
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ostiary_tools.backup.manifest import Fingerprint, TablePrint
from ostiary_tools.errors import Damaged, NotWritten, Refused, ToolError, Unavailable
from ostiary_tools.identifiers import quoted

_PAGES = 2000
"""Copied between two looks at whether to go on."""
_PAUSE_S = 0.01
_STARTS = 3
"""How often a copy begins anew because others wrote, before they have to wait for it."""
_PATIENCE = 3000
"""Looks in a row, with pauses between them, at a database that somebody else has locked."""
_ROWS = 1000
_REPAIR = "repair it with `.recover` of the `sqlite3` program"


class Stopped(Exception):
    """The copy was called off."""


class _Overtaken(Exception):
    """Others wrote too often while it was copied."""


class _Text(bytes):
    """A text as it is stored, whatever its encoding is worth."""

    __slots__ = ()


def copy(source: Path, target: Path, told: Callable[[int, int], None], stop: threading.Event) -> None:
    """The database as it is at one moment, in a new file; `told` takes bytes that are done, and all there are. Raises ToolError."""
    check_file(source)
    with in_words(), closing(_reading(source)) as live, closing(sqlite3.connect(target)) as draft:
        draft.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        _Copy(live, draft, told, stop).run()
    target.chmod(0o600)


def check(file: Path) -> None:
    """All of a copy that nobody writes. Raises Damaged."""
    with in_words(), closing(_at_rest(file)) as database:
        found = [row[0] for row in database.execute("PRAGMA integrity_check(1)")]
    if found != ["ok"]:
        raise Damaged("database", "the database itself is damaged: SQLite's integrity check fails", _REPAIR)


def printed(file: Path, name: str, told: Callable[[int], None], stop: threading.Event) -> Fingerprint:
    """What a copy that nobody writes holds; `told` takes rows as they are read. Raises ToolError."""
    with in_words(), closing(_at_rest(file)) as database:
        database.text_factory = _Text
        kinds = [
            tuple(value.decode(errors="surrogateescape") if isinstance(value, bytes) else value or "" for value in row)
            for row in database.execute("SELECT type, name, sql FROM sqlite_schema")
        ]
        tables = sorted(called for kind, called, sql in kinds if kind == "table" and not sql.upper().startswith("CREATE VIRTUAL"))
        prints = tuple(_print(database, table, told, stop) for table in tables)
        return Fingerprint(name, prints, {}, {f"{kind} {quoted(called)}": _digest(sql) for kind, called, sql in kinds})


def version() -> str:
    """SQLite's."""
    return sqlite3.sqlite_version


def check_file(path: Path) -> None:
    """Raises Unavailable where there is no file of that name."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        regular = False
    if not regular:
        raise Unavailable("there is no SQLite file where the datasource says", "see that its path is right and can be read")


class _Copy:
    """One copy, with as many beginnings as it takes."""

    def __init__(
        self,
        live: sqlite3.Connection,
        draft: sqlite3.Connection,
        told: Callable[[int, int], None],
        stop: threading.Event,
    ) -> None:
        self._live = live
        self._draft = draft
        self._size = 0
        self._told = told
        self._stop = stop
        self._left = 0
        self._starts = 0
        self._waits = 0

    def run(self) -> None:
        """In WAL mode one reader's moment costs writers nothing; else they are let in between, until that went wrong too often."""
        self._size = self._asked("PRAGMA page_size")
        if self._asked("PRAGMA journal_mode") != "wal":
            try:
                self._step()
            except _Overtaken:
                pass
            else:
                return
        self._starts = -1
        self._live.execute("BEGIN")
        self._asked("SELECT count(*) FROM sqlite_schema")
        self._step()
        self._live.rollback()

    def _asked(self, question: str) -> Any:
        """A value, as soon as nobody has locked it."""
        while True:
            try:
                return self._live.execute(question).fetchone()[0]
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                self._look(sqlite3.SQLITE_BUSY, 0, 0)
                time.sleep(_PAUSE_S)

    def _step(self) -> None:
        self._left = 0
        self._live.backup(self._draft, pages=_PAGES, progress=self._look, sleep=_PAUSE_S)

    def _look(self, status: int, left: int, pages: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self._waits = self._waits + 1 if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else 0
        if self._waits > _PATIENCE:
            raise Unavailable("the SQLite file is locked by another program", "try again when that is done")
        if self._starts >= 0 and left > self._left:
            self._starts += 1
            if self._starts > _STARTS:
                raise _Overtaken
        self._left = left
        self._told((pages - left) * self._size, pages * self._size)


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=_PAUSE_S, isolation_level=None)


def _at_rest(path: Path) -> sqlite3.Connection:
    """Nobody writes it, so no lock or log of it is looked for."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _print(database: sqlite3.Connection, table: str, told: Callable[[int], None], stop: threading.Event) -> TablePrint:
    rows = total = 0
    cursor = database.execute(f"SELECT * FROM {quoted(table)}")  # noqa: S608 quoted
    while some := cursor.fetchmany(_ROWS):
        if stop.is_set():
            raise Stopped
        rows += len(some)
        total += sum(int.from_bytes(hashlib.blake2b(_row(row), digest_size=8).digest()) for row in some)
        told(len(some))
    return TablePrint("main", table, rows, str(total))


def _digest(sql: str) -> str:
    return hashlib.sha256(sql.encode(errors="surrogateescape")).hexdigest()[:16]


def _row(row: tuple[object, ...]) -> bytes:
    """Values with their types and lengths, so that no two rows are written alike."""
    return b"".join(map(_value, row))


def _value(value: object) -> bytes:
    match value:
        case None:
            return b"n"
        case float():
            return b"f" + struct.pack(">d", value)
        case int():
            return b"i" + value.to_bytes(8, signed=True)
        case bytes():
            return (b"t" if isinstance(value, _Text) else b"b") + len(value).to_bytes(8) + value
    raise TypeError(type(value))


@contextmanager
def in_words() -> Iterator[None]:
    """What SQLite raises, without a value."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _WORDS:
            kind, words = _WORDS[code]
            raise kind(*words) from error
        raise Unavailable("the SQLite file could not be read", "see that it is a database and can be read") from error


_WORDS: Mapping[int, tuple[Callable[..., ToolError], tuple[str, ...]]] = {
    sqlite3.SQLITE_NOTADB: (Refused, ("kind", "the file is no SQLite database", "see that the datasource's path is right")),
    sqlite3.SQLITE_CORRUPT: (Damaged, ("database", "the database itself is damaged: SQLite cannot read it", _REPAIR)),
    sqlite3.SQLITE_FULL: (NotWritten, ("there is no room for the copy of the database", "make room, then run it again")),
    sqlite3.SQLITE_BUSY: (Unavailable, ("the SQLite file is locked by another program", "try again when that is done")),
}
