"""The log as JSON Lines, to be verified anywhere with the public key alone.

First line: `export` (form) and `installation`. Then `epoch` lines, `seal` lines, `note` lines (the
newest checkpoint of each stream), then every record in order with the very fields
that were hashed: `ts` in microseconds since 1970, `call` and `hash` in hex.
"""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

from ostiary_tools.control.history import History, history
from ostiary_tools.control.journal import LogRow

FORM = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def export_log(reader_dsn: str, target: Path) -> int:
    """Write the whole log to a new file, mode 0600, synced; how many records. Raises JournalError and OSError."""
    count = 0
    with new_file(target) as file:
        async with history(reader_dsn) as log:
            newest = [await log.newest_checkpoint(stream) for stream in await log.streams()]
            await write_preamble(
                file, log, [checkpoint.note for checkpoint in newest if checkpoint is not None], await log.epochs()
            )
            for stream in await log.streams():
                async for rows in log.records(stream):
                    count += write_records(file, rows)
        file.flush()
        os.fsync(file.fileno())
    return count


async def write_preamble(file: TextIO, log: History, notes: Sequence[str], epochs: Sequence[str]) -> None:
    """Everything that comes before the records; the notes are what these must agree with, and so are the epochs among them."""
    _line(file, {"export": FORM, "installation": str(await log.installation())})
    for epoch in epochs:
        _line(file, {"epoch": epoch})
    for seal in await log.seals():
        _line(file, {"seal": seal.note, "peaks": seal.peaks.hex()})
    for note in notes:
        _line(file, {"note": note})


def write_records(file: TextIO, rows: Sequence[LogRow]) -> int:
    """One line for each record."""
    for row in rows:
        fields = {
            "stream": row.stream,
            "seq": row.seq,
            "ts": (row.ts - _EPOCH) // timedelta(microseconds=1),
            "kind": row.kind.decode(),
            "call": row.call_id.hex,
            "body": row.body,
            "hash": row.hash.hex(),
        }
        _line(file, fields)
    return len(rows)


def new_file(target: Path) -> TextIO:
    """A file that was not there before, for this user alone. Raises FileExistsError."""
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def _line(file: TextIO, fields: dict[str, object]) -> None:
    file.write(json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n")
