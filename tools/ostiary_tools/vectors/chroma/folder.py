"""A folder of Chroma, looked at before Chroma opens it."""

import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path

from ostiary_tools.errors import Refused, Unavailable

_KNOWN = {"embeddings_queue": 2, "metadb": 6, "sysdb": 10}
"""The steps of Chroma 1.5.9's own migrations."""


def prepared(folder: Path) -> None:
    """Make it for ourselves alone, or see that it is ours: others must not put into it what Chroma would load."""
    if not folder.is_absolute() or "\0" in str(folder):
        raise Refused("path", "the folder of a Chroma store is an absolute path", "write it from the root on")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, ValueError) as error:
        raise Unavailable(
            "the folder of the Chroma store cannot be made or read", "see that its path is a folder of yours"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Refused("path", "the folder of the Chroma store can be written to by others", "give it to this user, with mode 0700")


def held_to_version(folder: Path) -> None:
    """Chroma opens what a newer one has written without a word, and does not know what it finds there."""
    database = folder / "chroma.sqlite3"
    if database.exists() and _beyond(_steps(database), _KNOWN) and _beyond(_steps(database), _steps_of_this()):
        raise Refused(
            "version",
            "a newer Chroma has written to the store's folder than the one installed here",
            "install that version of chromadb",
        )


def _beyond(found: dict[str, int], known: dict[str, int]) -> bool:
    return any(step > known.get(part, 0) for part, step in found.items())


def _steps(database: Path) -> dict[str, int]:
    """Read so that what a kill left half done is taken back first, as Chroma would."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)) as connection:
            return dict(connection.execute("SELECT dir, max(version) FROM migrations GROUP BY dir").fetchall())
    except sqlite3.Error as error:
        raise Unavailable(
            "the database in the Chroma store's folder cannot be read", "restore it, or choose an empty folder"
        ) from error


def _steps_of_this() -> dict[str, int]:
    """Those that the installed Chroma makes in a new folder; a later patch of it may know more."""
    from ostiary_tools.vectors.chroma.opening import opened  # who opens a folder looks at it by this module

    with tempfile.TemporaryDirectory() as empty:
        opened(Path(empty)).close()
        return _steps(Path(empty) / "chroma.sqlite3")
