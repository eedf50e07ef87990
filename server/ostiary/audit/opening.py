"""Opening an epoch: a person has the log go on that was put back, and what was lost is on record for ever.

What is there is verified up to its end first. The note is signed and anchored before the database hears of it, so that no number
is given twice; then one transaction writes it, as the first record of the epoch, and ends what came back to life.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from uuid import UUID, uuid4

from ostiary.audit.anchor import append_notes
from ostiary.audit.chain import Item, Place, link, microseconds
from ostiary.audit.checkpoint import Signer, load_signer
from ostiary.audit.merkle import Peaks, leaf_hash
from ostiary.audit.notes import End, Epoch, Keys, parse_epoch
from ostiary.audit.place import AuditPlace
from ostiary.audit.putback import Evidence, evidence, newest_epoch, next_number
from ostiary.audit.record import VERSION, Kind, canonical
from ostiary.audit.verify import Report, anchor_notes, verify_database
from ostiary_tools.control.epochs import Ended, open_epoch
from ostiary_tools.control.history import history
from ostiary_tools.control.journal import Head, LogRow, open_journal


@dataclass(frozen=True, slots=True)
class Standing:
    """The log as it was verified, and what is known besides."""

    installation: UUID
    report: Report
    here: Mapping[int, Head]
    epoch: Epoch
    known: Evidence

    @property
    def number(self) -> int:
        """Of the epoch to be opened."""
        return next_number(self.epoch, self.here, self.known)

    @property
    def ends(self) -> dict[int, End]:
        """Of every stream that there is or was, with the most that is known of it."""
        return {number: self._end(number) for number in sorted({*self.here, *self.known.claims, *self.epoch.ends})}

    @property
    def tampered(self) -> tuple[str, ...]:
        """What is wrong besides missing ends. No epoch covers it."""
        return tuple(f"stream {one.stream}, record {one.seq}: {one.what}" for one in self.report.findings if not one.short)

    def _end(self, number: int) -> End:
        head, claim = self.here.get(number, Head()), self.known.claims.get(number)
        before = self.epoch.ends.get(number, End())
        known, root = max((before.known, before.root), (claim.size, claim.root) if claim else (0, b""))
        return End(head.seq, head.hash) if known <= head.seq else End(head.seq, head.hash, known, root)


async def standing(place: AuditPlace, copies: Sequence[Path]) -> Standing:
    """Verify what is there, and gather what is known of it, also by `copies` of anchors or exports. Raises JournalError, OSError.

    Nothing is told to the database.
    """
    keys = Keys.parse(await asyncio.to_thread(place.public_key.read_text, "utf-8"))
    async with history(place.reader_dsn) as log:
        installation, here, epochs = await log.installation(), await log.heads(), await log.epochs()
        stored = [*await log.evidence(), *[note async for page in log.notes() for note in page]]
    # After the ends were read: what is written since makes the opening a refusal.
    report = await verify_database(place.reader_dsn, place.public_key, place.anchor)
    epoch = newest_epoch(epochs, keys, installation)
    ends = {number: head.seq for number, head in here.items()}
    files = [path for path in (place.anchor, *copies) if path in copies or path.exists()]
    known = await asyncio.to_thread(
        lambda: evidence(chain(stored, *map(anchor_notes, files)), keys, installation, ends, epoch),
    )
    return Standing(installation, report, here, epoch, known)


async def opened(place: AuditPlace, stands: Standing, person: str, reason: str) -> Ended:
    """Open the epoch; what was ended. Raises JournalError, OSError, KeyUnusable."""
    await _tell(place.admin_dsn, stands.known.notes)
    signer = await asyncio.to_thread(load_signer, place.private_key, place.public_key)
    note = epoch_note(stands, signer, person, reason)
    epoch, _ = parse_epoch(note)
    # Before the database hears of it: a number that was anchored is never given again, whatever becomes of this process.
    await asyncio.to_thread(append_notes, place.anchor, [note])
    ends = [{"stream": number, "seq": head.seq, "hash": head.hash.hex() or None} for number, head in stands.here.items()]

    def record(ended: Ended) -> LogRow:
        facts = {"v": VERSION, "event": "epoch_opened", "epoch": epoch.number, "person": person, "reason": reason, "note": note}
        lost = [_lost(number, end) for number, end in epoch.ends.items() if end.known]
        body = canonical({**facts, "ended": asdict(ended), "lost": lost, "findings": len(stands.tampered)})
        place_ = Place(epoch.first, 0, epoch.genesis(stands.installation, epoch.first), 0)
        item = Item(Kind.EVENT.value.encode(), uuid4(), body, body.encode())
        return link(place_, [item], microseconds(datetime.now(UTC)))[0][0]

    return await open_epoch(place.admin_dsn, epoch.number, note, json.dumps(ends), record)


def epoch_note(stands: Standing, signer: Signer, person: str, reason: str) -> str:
    """The signed note of the epoch to be opened."""
    why = json.dumps({"person": person, "reason": reason})
    lines = [*(_line(number, end) for number, end in stands.ends.items()), f"why {why}"]
    peaks = Peaks()
    for line in lines:
        peaks.add(leaf_hash(line.encode()))
    time = f"time {datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"
    head = (f"ostiary/{stands.installation}/epochs", str(stands.number), _text(peaks.root()))
    return signer.sign("".join(f"{line}\n" for line in (*head, *lines, time)))


def stretches(ends: Mapping[int, End]) -> Iterator[str]:
    """What is lost, for people."""
    for number, end in ends.items():
        if end.known:
            yield f"stream {number} ends at record {end.seq}, and {end.known} were signed for"


async def _tell(admin_dsn: str, notes: Sequence[str]) -> None:
    """Processes that record here and know nothing of it stop, should it not come to the epoch."""
    journal = await open_journal(admin_dsn, "epoch")
    try:
        await journal.tell(notes)
    finally:
        await journal.close()


def _lost(number: int, end: End) -> dict[str, object]:
    return {"stream": number, "after": end.seq, "up_to": end.known}


def _line(number: int, end: End) -> str:
    return f"end {number} {end.seq} {_text(end.hash)} {end.known} {_text(end.root)}"


def _text(value: bytes) -> str:
    return b64encode(value).decode() or "-"
