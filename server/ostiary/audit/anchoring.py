"""Checkpoints while a process runs: every second, or after 1,000 records, when there is something new.

Signed and synced off the event loop. The anchor is what is synced: a checkpoint that
a crash took from the database is compared with it when the stream goes on.
"""

import asyncio
from pathlib import Path

from ostiary.audit.anchor import append_notes
from ostiary.audit.checkpoint import Signer, roster_text, size_and_root
from ostiary.audit.stream import Stream
from ostiary_tools.control.connect import Rejected
from ostiary_tools.control.journal import Journal

INTERVAL_S = 1.0
RECORDS = 1_000
ROSTER_INTERVAL_S = 10.0


class Anchoring:
    """What was anchored last, and how to anchor more. One call at a time."""

    def __init__(self, signer: Signer, anchor: Path) -> None:
        self._signer = signer
        self._anchor = anchor
        self._sizes: dict[int, int] = {}
        self._roster_at = 0.0
        self.newest = ""
        """The newest note, or empty."""

    def lag(self, stream: Stream) -> int:
        """Records that no checkpoint covers yet."""
        return stream.peaks.size - self._sizes.get(stream.number, 0)

    async def publish(self, journal: Journal, stream: Stream, *, roster: bool = False) -> None:
        """Sign, store and anchor where the stream stands now, if that is new; `roster` also signs over all streams.

        Raises JournalError, and OSError when the anchor cannot be written.
        """
        notes = []
        if self.lag(stream) > 0:
            checkpoint = await asyncio.to_thread(stream.snapshot().checkpoint, self._signer)
            try:
                await journal.keep_checkpoint(checkpoint)
            except Rejected as error:
                # A stream that changed hands may have been signed at this very size already; then that one counts.
                if "(23505)" not in str(error):
                    raise
            notes.append(checkpoint.note)
            self._sizes[stream.number] = checkpoint.size
        now = asyncio.get_running_loop().time()
        if notes and (roster or now - self._roster_at >= ROSTER_INTERVAL_S):
            notes.append(await self._roster(journal, stream))
            self._roster_at = now
        if notes:
            await asyncio.to_thread(append_notes, self._anchor, notes)
            self.newest = notes[0]

    async def _roster(self, journal: Journal, stream: Stream) -> str:
        sizes = {e.stream: size_and_root(e.checkpoint.note) for e in await journal.streams() if e.checkpoint is not None}
        note = await asyncio.to_thread(self._signer.sign, roster_text(stream.installation, sizes))
        await journal.keep_roster(note)
        return note
