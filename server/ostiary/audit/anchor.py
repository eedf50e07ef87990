"""The anchor: a file outside the database that checkpoints are appended to.

One JSON object `{"note": …}` a line, in the order they were signed, synced before
the call returns. Copy it where this host cannot write (another host, a bucket with
object lock, a git remote): what is anchored there is out of an attacker's reach.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_RECENT_BYTES = 1 << 20


def append_notes(path: Path, notes: Sequence[str]) -> None:
    """Append and sync. A line that a crash cut is ended first, so that it spoils no other. Raises OSError."""
    if not notes:
        return
    text = "".join(json.dumps({"note": note}, ensure_ascii=False) + "\n" for note in notes)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        cut = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        data = (b"\n" if cut else b"") + text.encode()
        while data:
            data = data[os.write(file, data) :]
        os.fsync(file)
    finally:
        os.close(file)


def recent_notes(path: Path) -> Iterator[str]:
    """The notes at the end of the file, oldest first; none when there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        start = max(0, file.seek(0, os.SEEK_END) - _RECENT_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    for line in lines[1 if start else 0 :]:
        with suppress(ValueError, KeyError, TypeError):
            yield str(json.loads(line)["note"])
