"""Which documents of a collection came from which folder: remembered on this machine, so that what has gone from a folder goes too.

A key is taken away only when this machine put it there from that very folder, no other folder that was indexed has it, and its
file is a text no more. What is remembered is written before anything is stored and once more when all is done, so a run that was
killed leaves nothing behind that the next one does not find. Reads and writes a file; belongs on a thread.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ostiary.document_files import Found

Folders = Mapping[str, frozenset[str]]
"""Keys of documents by the folder that they are of."""


class Forgotten(Exception):
    """What was remembered cannot be read."""


@dataclass(frozen=True, slots=True)
class IndexedFolders:
    """What is remembered of one collection."""

    file: Path

    def read(self) -> Folders:
        """Nothing of a collection that was never filled from here. Raises Forgotten, OSError."""
        try:
            told = json.loads(self.file.read_text("utf-8"))
            return {folder: frozenset(map(str, keys)) for folder, keys in told.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, TypeError) as error:
            raise Forgotten from error

    def write(self, folders: Folders) -> None:
        """In the place of what was remembered. Raises OSError."""
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.file.with_suffix(f".{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump({folder: sorted(keys) for folder, keys in folders.items()}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self.file)


def remembered(state: Path, collection: UUID) -> IndexedFolders:
    """That of a collection, by its id: one that takes the name later has nothing to do with it."""
    return IndexedFolders(state / "indexed" / f"{collection}.json")


def begun(before: Folders, found: Found) -> Folders:
    """To be remembered while the documents are stored: what was there, and what may be by the end."""
    return {**before, **{folder: before.get(folder, frozenset()) | keys for folder, keys in found.folders.items()}}


def ended(before: Folders, found: Found) -> Folders:
    """To be remembered afterwards. Where not all files were looked at, what was there may be there still."""
    if not found.whole:
        return begun(before, found)
    return {**before, **{folder: frozenset(keys - found.no_texts) for folder, keys in found.folders.items()}}


def vanished(before: Folders, found: Found) -> list[str]:
    """Keys whose files have gone, or are texts no more."""
    if not found.whole:
        return []
    there = {file.key for file in found.files} - found.no_texts
    others = {key for folder, keys in before.items() if folder not in found.folders for key in keys}
    here = {key for folder in found.folders for key in before.get(folder, ())}
    return sorted(here - there - others)
