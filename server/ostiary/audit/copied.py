"""The audit log in a copy of its database: as it was written, up to the newest checkpoint from before the backup began."""

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ostiary.audit.place import AuditPlace
from ostiary.audit.verify import anchor_notes, verify_database
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.history import history
from ostiary_tools.errors import Damaged, Unavailable

_TIME = re.compile(r"^time (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z$", re.MULTILINE)
_WHAT = "audit log"
_SLACK = timedelta(seconds=2)
"""A note tells its second, and is stored a moment later."""


async def verified_copy(dsn: str, place: AuditPlace, began: datetime, *, expected: bool) -> str:
    """What was found in the database at `dsn`, copied by a backup that `began` then; empty where it is no log of this installation.

    Whatever was anchored before must be in it. Raises Damaged where it is not as it was written, where nobody can tell, and where a
    log was `expected` and there is none; Unavailable without this installation's own log.
    """
    if not await _is_ours(dsn, place):
        if expected:
            raise Damaged(_WHAT, "the audit log of this installation is not in the copy", "do not restore from this backup")
        return ""
    with tempfile.TemporaryDirectory(prefix="ostiary-anchor-") as folder:
        anchor = Path(folder) / "audit.log"
        count = await asyncio.to_thread(_until, place.anchor, began, anchor)
        report = await verify_database(dsn, place.public_key, anchor if count else None)
    # Nothing was anchored yet: then what the copy itself holds of checkpoints has to do.
    if report.findings or (report.doubt and count):
        raise Damaged(_WHAT, report.sentence(), "do not restore from this backup")
    return f"audit log: {report.records} records of {report.streams} streams agree with {report.anchors} checkpoints"


async def _is_ours(dsn: str, place: AuditPlace) -> bool:
    try:
        async with history(dsn) as log:
            theirs = await log.installation()
    except JournalError:
        return False
    try:
        async with history(place.reader_dsn) as log:
            return await log.installation() == theirs
    except JournalError as error:
        raise Unavailable("the audit log of this installation cannot be read", "see that its control database runs") from error


def _until(anchor: Path, began: datetime, target: Path) -> int:
    """Write the notes from before that moment; how many there are."""
    count = 0
    with target.open("x", encoding="utf-8") as file:
        for note in _notes(anchor):
            found = _TIME.search(note)
            if found and datetime.fromisoformat(found[1]).replace(tzinfo=UTC) < began - _SLACK:
                file.write(json.dumps({"note": note}) + "\n")
                count += 1
    return count


def _notes(anchor: Path) -> Iterator[str]:
    return anchor_notes(anchor) if anchor.exists() else iter(())
