"""Feeds the verifier: from the database as the reader, or from an export without any database.

Work is done in small pieces with a turn of the event loop between them, so that
verifying a long log beside a serving process holds nobody up.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ostiary.audit.fsck import Finding, Opened, Record, Verification
from ostiary.audit.notes import Keys, Unreadable
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.history import History, history
from ostiary_tools.control.journal import LogRow

EXPORT_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LINES = 500


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found."""

    records: int = 0
    streams: int = 0
    anchors: int = 0
    findings: tuple[Finding, ...] = ()
    doubt: str = ""
    """Why nothing, or not all, can be told; empty when it can."""
    remarks: tuple[str, ...] = ()
    epochs: tuple[Opened, ...] = ()
    """The log was put back, and a person had it go on: what is left of it is never told without that."""

    @property
    def exit_code(self) -> int:
        """0 as written, 1 tampered with, 2 cannot tell, 4 as written since it was put back, and what was lost then is on record."""
        if self.findings:
            return 1
        if self.doubt:
            return 2
        return 4 if self.epochs else 0

    @property
    def verdict(self) -> str:
        """In a word."""
        return {0: "good", 1: "tampered", 2: "unknown", 4: "put back"}[self.exit_code]

    def sentence(self) -> str:
        """The verdict."""
        counted = f"{self.records} records of {self.streams} streams"
        if self.findings:
            return f"the audit log was tampered with: {len(self.findings)} findings in {counted}"
        if self.doubt:
            return f"cannot tell: {self.doubt}"
        agreed = f"{counted} are as they were written, and agree with {self.anchors} checkpoints"
        times = "once" if len(self.epochs) == 1 else f"{len(self.epochs)} times"
        return f"{agreed}; the log was put back {times}, and what was lost is on record" if self.epochs else agreed

    def losses(self) -> Iterator[str]:
        """Each epoch, with the stretches that are lost."""
        for one in self.epochs:
            why = f"opened {one.time} by {json.dumps(one.person)}, because {json.dumps(one.reason)}"
            lost = "; ".join(f"records {each.after + 1} to {each.up_to} of stream {each.stream}" for each in one.lost)
            yield f"epoch {one.number}, {why}: {f'lost are at least {lost}' if lost else 'what was lost is not known'}"


async def verify_database(reader_dsn: str, public_key: Path, anchor: Path | None) -> Report:
    """Verify every record against the anchor file and the checkpoints in the database."""
    try:
        keys = await asyncio.to_thread(_keys, public_key)
        async with history(reader_dsn) as log:
            verification = Verification(str(await log.installation()), keys)
            for epoch in await log.epochs():
                verification.epoch(epoch)
            for seal in await log.seals():
                verification.seal(seal.note, seal.peaks)
            anchored = await asyncio.to_thread(_anchor, verification, anchor)
            notes = [note async for page in log.notes() for note in page]
            reached = verification.reached
            await asyncio.to_thread(verification.anchor, [*notes, *await log.evidence()], "the database")
            for number in sorted({*await log.streams(), *verification.streams}):
                check = verification.stream(number)
                async for records in _records(log, number, check.seq):
                    check.feed(records)
                    await asyncio.sleep(0)
    except (JournalError, OSError, Unreadable) as error:
        return Report(doubt=str(error))
    doubt = "" if anchored else "there is no anchor file, so a cut end would not be noticed"
    if anchored and reached < (newest := verification.newest.number):
        doubt = f"the anchors end before epoch {newest} was opened, so a cut end would not be noticed"
    return _report(verification, doubt)


def verify_export(export: Path, public_key: Path, anchor: Path | None) -> Report:
    """Verify an export with the public key alone, and with an anchor file if there is one."""
    try:
        keys = _keys(public_key)
        with export.open(encoding="utf-8") as lines:
            verification = Verification(_header(next(lines, "")), keys)
            first = next(lines, "")
            while first.startswith('{"epoch":'):
                verification.epoch(str(json.loads(first)["epoch"]))
                first = next(lines, "")
            _anchor(verification, anchor)
            notes: list[str] = []
            rest = chain([first] if first else [], lines)
            while block := list(islice(rest, _LINES)):
                _feed(verification, block, notes)
        if notes:
            verification.anchor(notes, "the export")
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        return Report(doubt=str(error))
    except ValueError:
        return Report(doubt="the note of an epoch in the export cannot be read")
    remarks = () if anchor else ("without an anchor file, records cut off before the export was made are not noticed",)
    return _report(verification, "" if verification.anchors else "the export has no checkpoint", remarks)


def anchor_notes(path: Path) -> Iterator[str]:
    """The notes of an anchor file, as they stand; what is not one comes as an empty text."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                yield str(json.loads(line)["note"])
            except (ValueError, KeyError, TypeError):
                yield ""


def _keys(path: Path) -> Keys:
    try:
        return Keys.parse(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Unreadable(f"there is no public key at {path}: nothing was recorded there yet, or it is kept elsewhere") from None


def _anchor(verification: Verification, anchor: Path | None) -> bool:
    if anchor is None or not anchor.exists():
        return False
    verification.anchor(anchor_notes(anchor), "the anchor file")
    return True


async def _records(log: History, stream: int, after: int) -> AsyncIterator[list[Record]]:
    async for rows in log.records(stream, after):
        yield [_record(row) for row in rows]


def _record(row: LogRow) -> Record:
    return (row[0], row[1], (row[2] - _EPOCH) // _MICROSECOND, row[3], row[4].bytes, row[5].encode(), row[6])


def _header(line: str) -> str:
    try:
        header = json.loads(line)
        if header["export"] != EXPORT_VERSION:
            raise Unreadable(f"the export has form {header['export']}, this program reads form {EXPORT_VERSION}")
        return str(header["installation"])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable("this is no export of an audit log") from error


def _feed(verification: Verification, block: list[str], notes: list[str]) -> None:
    """Seals and notes come before the records they speak of."""
    pending: list[Record] = []
    for line in block:
        try:
            fields: dict[str, Any] = json.loads(line)
            if "seq" in fields:
                if pending and pending[0][0] != fields["stream"]:
                    verification.stream(pending[0][0]).feed(pending)
                    pending = []
                pending.append(
                    (
                        fields["stream"],
                        fields["seq"],
                        fields["ts"],
                        fields["kind"].encode(),
                        bytes.fromhex(fields["call"]),
                        fields["body"].encode(),
                        bytes.fromhex(fields["hash"]),
                    )
                )
            elif "seal" in fields:
                verification.seal(fields["seal"], bytes.fromhex(fields["peaks"]))
            else:
                notes.append(fields["note"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unreadable("a line of the export cannot be read: it is cut or damaged") from error
        if notes and pending:
            verification.anchor(notes, "the export")
            notes.clear()
    if pending:
        verification.stream(pending[0][0]).feed(pending)


def _report(verification: Verification, doubt: str, remarks: tuple[str, ...] = ()) -> Report:
    findings = tuple(verification.finish())
    if verification.unread:
        remarks = (*remarks, f"{verification.unread} lines of the anchor are no checkpoints (a crash may cut one)")
    return Report(
        records=sum(check.count for check in verification.streams.values()),
        streams=len(verification.streams),
        anchors=verification.anchors,
        findings=findings,
        doubt=doubt,
        remarks=remarks,
        epochs=verification.opened(),
    )
