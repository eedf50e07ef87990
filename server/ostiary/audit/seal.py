"""Sealing: the oldest month is exported, signed for and dropped, and the chain goes on.

Order matters: nothing is dropped before its export is on disk, the whole log has
been verified, and a signed note stands for every stream in the month.
"""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary.audit.anchor import append_notes
from ostiary.audit.chain import origin
from ostiary.audit.checkpoint import Signer, checkpoint_text, load_signer
from ostiary.audit.export import new_file, write_preamble, write_records
from ostiary.audit.merkle import Peaks, leaf_hash
from ostiary.audit.notes import STREAMS, parse_epoch
from ostiary.audit.place import AuditPlace
from ostiary.audit.verify import verify_database
from ostiary_tools.control.history import History, history
from ostiary_tools.control.journal import open_journal


class SealRefused(Exception):
    """The month was not sealed; nothing was dropped."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was sealed."""

    partition: str
    records: int
    export: Path


async def oldest_month(reader_dsn: str) -> str:
    """The oldest month that has a partition, as `YYYY_MM`. Raises JournalError."""
    async with history(reader_dsn) as log:
        return (await log.partitions())[0].removeprefix("log_")


async def seal_month(place: AuditPlace, month: str, export: Path) -> Sealed:
    """Seal a month (`YYYY_MM`), which must be the oldest and past. Raises SealRefused, JournalError, OSError, KeyUnusable."""
    report = await verify_database(place.reader_dsn, place.public_key, place.anchor)
    if report.findings or report.doubt:
        raise SealRefused(f"the log is sealed only when it verifies: {report.sentence()}")
    signer = load_signer(place.private_key, place.public_key)
    partition = f"log_{month}"
    async with history(place.reader_dsn) as log:
        if (await log.partitions())[0] != partition:
            raise SealRefused(f"`{month}` is not the oldest month of the log")
        seals = [seal async for seal in _seals(log, signer, month)]
        with new_file(export) as file:
            # An epoch of a later month speaks of records that are not in this file.
            newest = max((seal["stream"] for seal in seals), default=0) // STREAMS
            epochs = [note for note in await log.epochs() if parse_epoch(note)[0].number <= newest]
            await write_preamble(file, log, [seal["note"] for seal in seals], epochs)
            for seal in seals:
                async for rows in log.records(seal["stream"], seal["first"], month):
                    write_records(file, rows)
            file.flush()
            os.fsync(file.fileno())
    append_notes(place.anchor, [seal["note"] for seal in seals])
    journal = await open_journal(place.admin_dsn, "audit seal")
    try:
        return Sealed(partition, await journal.seal(partition, json.dumps(seals)), export)
    finally:
        await journal.close()


async def _seals(log: History, signer: Signer, month: str) -> AsyncIterator[dict[str, Any]]:
    """What stands for each stream of the month: a signed note that says so, and the peaks to grow on from."""
    installation = await log.installation()
    for stream in await log.streams():
        peaks, last = await _sealed_peaks(log, stream), b""
        first = peaks.size
        async for rows in log.records(stream, first, month):
            for row in rows:
                peaks.add(leaf_hash(row.hash))
            last = rows[-1].hash
        if last:
            note = signer.sign(checkpoint_text(origin(installation, stream), peaks, last, f"sealed log_{month}"))
            packed = peaks.packed().hex()
            yield {"stream": stream, "first": first, "size": peaks.size, "hash": last.hex(), "note": note, "peaks": packed}


async def _sealed_peaks(log: History, stream: int) -> Peaks:
    """The tree of what was sealed before."""
    before = [seal for seal in await log.seals() if seal.stream == stream]
    return Peaks.unpacked(before[-1].size, before[-1].peaks) if before else Peaks()
