"""Migrations as files of a folder: `NNNN_name.sql`, with the way back behind a line `-- reverse`, or none."""

import hashlib
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ostiary.exits import CommandFailed, Exit

_NAME = re.compile(r"([0-9]{4})_([A-Za-z0-9_-]+)\.sql")
_REVERSE = re.compile(r"^--[ \t]*reverse[ \t]*$", re.IGNORECASE | re.MULTILINE)
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One file."""

    number: int
    name: str
    forward: str
    reverse: str | None
    """What the file says; `None` when it leaves that to be computed."""
    checksum: str
    """SHA-256 of the whole file, in hex."""

    @property
    def title(self) -> str:
        """As the file is called."""
        return f"{self.number:04}_{self.name}"


def folder_files(folder: Path) -> tuple[MigrationFile, ...]:
    """The migrations of a folder, by number. Raises CommandFailed."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".sql")
    except OSError as failure:
        reason = (failure.strerror or "failed").lower()
        raise CommandFailed(f"cannot read `{folder}`: {reason}", "name the folder with `--folder`", Exit.USAGE) from None
    found = [read_file(path) for path in paths]
    for one, other in pairwise(found):
        if one.number == other.number:
            raise CommandFailed(f"`{one.title}` and `{other.title}` have one number", "give each its own", Exit.USAGE)
    return tuple(found)


def read_file(path: Path) -> MigrationFile:
    """One migration. Raises CommandFailed."""
    known = _NAME.fullmatch(path.name)
    if known is None:
        raise CommandFailed(f"`{path.name}` is no name of a migration", "call it `0001_what_it_does.sql`", Exit.USAGE)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise CommandFailed(f"cannot read `{path}` as text", "write it in UTF-8, readable for you", Exit.USAGE) from None
    if len(raw) > _MOST_BYTES:
        raise CommandFailed(f"`{path}` is longer than {_MOST_BYTES:,} bytes", "split it", Exit.USAGE)
    forward, *back = _REVERSE.split(text)
    if len(back) > 1:
        raise CommandFailed(f"`{path}` has more than one line `-- reverse`", "keep one", Exit.USAGE)
    return MigrationFile(int(known[1]), known[2], forward, back[0] if back else None, hashlib.sha256(raw).hexdigest())
