"""Taking a stream: a connection, a lock, and the state another process left.

The lock dies with the connection, so a stream without its process is free. A stream
that contradicts its checkpoints is left as it is, for whoever looks into it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from ostiary.audit.anchor import recent_notes
from ostiary.audit.checkpoint import roots
from ostiary.audit.stream import MAX_STREAMS, Contradiction, Stream, anchored_root, end_open_intents, resume
from ostiary.audit.writer import Lease
from ostiary_tools.control.connect import JournalError, Unreachable
from ostiary_tools.control.journal import Journal, StreamEnd, open_journal
from ostiary_tools.control.migrate import MONTHS_AHEAD


@dataclass(frozen=True, slots=True)
class Leasing:
    """How this installation takes streams."""

    dsn: str
    anchor: Path
    suspect: Callable[[str], None]
    """Told of each stream that was left alone, and why."""

    async def first(self) -> Lease:
        """Take the first free stream; intents its last process left open get outcome `unknown`. Raises JournalError."""
        return await self._take(None)

    async def again(self, lost: Lease) -> Lease:
        """Take the lost stream again, or another. When it returns, the lost session is over. Raises JournalError."""
        lost.journal.abort()
        return await self._take(lost)

    async def _take(self, lost: Lease | None) -> Lease:
        journal = await open_journal(self.dsn, "audit writer")
        try:
            if lost is not None:
                await journal.end(lost.journal.backend)
            until = await journal.make_partitions(MONTHS_AHEAD)
            return Lease(journal, await self._stream(journal, None if lost is None else lost.stream.number), until)
        except JournalError:
            journal.abort()
            raise

    async def _stream(self, journal: Journal, own: int | None) -> Stream:
        installation = await journal.installation()
        anchored = roots(recent_notes(self.anchor))
        for number in sorted(range(MAX_STREAMS), key=lambda n: n != own):
            if not await journal.lease(number):
                continue
            try:
                stream = await resume(
                    journal, installation, await _end(journal, number), anchored_root(anchored, installation, number)
                )
            except Contradiction as error:
                self.suspect(str(error))
                await journal.release(number)
                continue
            if number != own:
                await end_open_intents(journal, stream)
            return stream
        raise Unreachable(f"all {MAX_STREAMS} streams of the audit log are taken")


async def adopt(leasing: Leasing, journal: Journal, own: int, publish: Callable[[Stream], Awaitable[None]]) -> None:
    """Look for free streams but our `own` whose process died, write outcome `unknown` for their open intents, and `publish` them.

    A stream whose newest checkpoint covers its last record and names no open intent costs nothing to pass over.
    """
    installation = await journal.installation()
    anchored = roots(recent_notes(leasing.anchor))
    for found in await journal.streams():
        known = found.checkpoint
        ended = known is not None and known.size == found.seq and known.open_from > known.size
        if ended or found.stream == own or not await journal.lease(found.stream):
            continue
        try:
            end = await _end(journal, found.stream)
            stream = await resume(journal, installation, end, anchored_root(anchored, installation, found.stream))
            await end_open_intents(journal, stream)
            await publish(stream)
        except Contradiction as error:
            leasing.suspect(str(error))
        await journal.release(found.stream)


async def _end(journal: Journal, number: int) -> StreamEnd:
    """Where a stream ends, read under its lock: whoever had it before may have written until a moment ago."""
    return next((end for end in await journal.streams() if end.stream == number), StreamEnd(number, 0, None))
