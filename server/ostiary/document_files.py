"""Files of a folder as documents to be indexed: which ones, under which keys, and why the others are not.

What is hidden, no text or too large is left out and said, and so are links: one that leads out of the folder is not followed, and
one that stays names what is found without it. Reads files; belongs on a thread.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ostiary_tools.vectors.admission import KEY_BYTES

MOST_FILES = 20_000
MOST_FILE_BYTES = 2_000_000
_MOST_DEPTH = 40
_LOOK_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class DocumentFile:
    """A file that can be read as text when it is its turn."""

    key: str
    """Its path within what was named, with `/`."""
    path: Path


@dataclass(slots=True)
class Found:
    """Files in order, and how many were left out for which reason."""

    files: list[DocumentFile] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    folders: dict[str, set[str]] = field(default_factory=dict)
    """Keys of the files below each folder that was named, by its whole path."""
    no_texts: set[str] = field(default_factory=set)
    """Keys of files that were read and are no texts."""
    whole: bool = True
    """No file was left out because there are too many."""


def found_in(paths: tuple[Path, ...]) -> Found:
    """All below the folders that are named, and the files that are. Raises OSError for what cannot be looked into."""
    found = Found()
    several = len(paths) > 1
    for named in paths:
        root = named.resolve()
        if root.is_dir():
            prefix = f"{root.name}/" if several else ""
            keys = found.folders.setdefault(str(root), set())
            for path in _below(root, root, found, 0):
                file = DocumentFile(prefix + path.relative_to(root).as_posix(), path)
                _take(file, found)
                keys.add(file.key)
        elif root.is_file():
            _take(DocumentFile(named.as_posix() if several and not named.is_absolute() else root.name, root), found)
        else:
            found.left_out["no file or folder"] += 1
    return found


def text_of(file: DocumentFile, found: Found) -> str | None:
    """Its text; `None` for what is none, which is counted."""
    try:
        # Not followed: what was looked at is what is read. Not waited for: it may be a pipe by now.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                found.left_out["no regular file"] += 1
                return None
            data = stream.read(MOST_FILE_BYTES + 1)
    except OSError:
        found.left_out["cannot be read"] += 1
        return None
    text = _decoded(data, found)
    if text is None:
        found.no_texts.add(file.key)
    return text


def _decoded(data: bytes, found: Found) -> str | None:
    if len(data) > MOST_FILE_BYTES:
        found.left_out[f"larger than {MOST_FILE_BYTES // 1_000_000} MB"] += 1
        return None
    if b"\0" in data[:_LOOK_BYTES]:
        found.left_out["binary"] += 1
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        found.left_out["binary"] += 1
        return None
    if not text.strip():
        found.left_out["empty"] += 1
        return None
    return text


def _take(file: DocumentFile, found: Found) -> None:
    if not file.key.isprintable() or len(file.key.encode(errors="replace")) > KEY_BYTES:
        found.left_out["a name that cannot be printed, or is too long"] += 1
    elif len(found.files) >= MOST_FILES:
        found.left_out[f"more than {MOST_FILES:,} files"] += 1
        found.whole = False
    else:
        found.files.append(file)


def _below(folder: Path, root: Path, found: Found, depth: int) -> Iterator[Path]:
    """Files of a folder in the order of their names."""
    if depth > _MOST_DEPTH:
        found.left_out["too deep"] += 1
        return
    with os.scandir(folder) as entries:
        every = sorted(entries, key=lambda entry: entry.name)
    for entry in every:
        path = Path(entry.path)
        if entry.name.startswith("."):
            found.left_out["hidden"] += 1
        elif entry.is_symlink():
            found.left_out["a link"] += 1
        elif entry.is_dir(follow_symlinks=False):
            yield from _below(path, root, found, depth + 1)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            found.left_out["no regular file"] += 1
