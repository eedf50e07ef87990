"""Taking a stream: a connection, a lock, and the state another process left.

The lock dies with the connection, so a stream without its process is free. A stream that contradicts its checkpoints is left as
it is, for whoever looks into it. A log that ends before what is known of it is not recorded in at all: it was put back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ostiary.audit.anchor import append_notes, recent_notes
from ostiary.audit.checkpoint import Signer, roots
from ostiary.audit.notes import STREAMS, Epoch, Keys
from ostiary.audit.putback import PutBack, evidence, newest_epoch
from ostiary.audit.stream import Contradiction, Stream, anchored_root, end_open_intents, resume
from ostiary.audit.writer import Lease
from ostiary_tools.control.connect import JournalError, Unreachable
from ostiary_tools.control.journal import Journal, StreamEnd, open_journal
from ostiary_tools.control.migrate import MONTHS_AHEAD


@dataclass(frozen=True, slots=True)
class Leasing:
    """How this installation takes streams."""

    dsn: str
    anchor: Path
    signer: Signer
    keys: Keys
    """That its notes may be signed with."""
    suspect: Callable[[str], None]
    """Told of each stream that was left alone, and why."""

    async def first(self) -> Lease:
        """Take the first free stream; intents its last process left open get outcome `unknown`. Raises JournalError."""
        return await self._take(None)

    async def again(self, lost: Lease) -> Lease:
        """Take the lost stream again, or another. When it returns, the lost session is over. Raises JournalError."""
        lost.journal.abort()
        return await self._take(lost)

    async def stands(self, journal: Journal, own: Stream) -> None:
        """See that the log still has all that is known of it, also by who writes `own`. Raises PutBack, JournalError."""
        epoch = await self._epoch(journal, await journal.installation(), own)
        await self._forked(journal, own, epoch)

    async def _take(self, lost: Lease | None) -> Lease:
        journal = await open_journal(self.dsn, "audit writer")
        try:
            if lost is not None:
                await journal.end(lost.journal.backend)
            until = await journal.make_partitions(MONTHS_AHEAD)
            return Lease(journal, await self._stream(journal, None if lost is None else lost.stream), until)
        except JournalError:
            journal.abort()
            raise

    async def _stream(self, journal: Journal, lost: Stream | None) -> Stream:
        installation = await journal.installation()
        epoch = await self._epoch(journal, installation, lost)
        anchored = roots(recent_notes(self.anchor))
        own = None if lost is None else lost.number
        forked = lost is not None and await self._forked(journal, lost, epoch)
        for number in sorted(range(epoch.first, epoch.first + STREAMS), key=lambda n: n != own):
            if (forked and number == own) or not await journal.lease(number):
                continue
            # Asked once more now that it is leased: who opens an epoch waits for no lease, and sees this one.
            if newest_epoch(await journal.epochs(), self.keys, installation).number != epoch.number:
                await journal.release(number)
                return await self._stream(journal, lost)
            try:
                root = anchored_root(anchored, installation, number)
                stream = await resume(journal, installation, await _end(journal, number), root, epoch.digest)
            except Contradiction as error:
                self.suspect(str(error))
                await journal.release(number)
                continue
            if number != own:
                await end_open_intents(journal, stream)
            return stream
        raise Unreachable(f"all {STREAMS} streams of the audit log are taken")

    async def _epoch(self, journal: Journal, installation: UUID, own: Stream | None) -> Epoch:
        """The epoch that the log is in. Raises PutBack, and tells the others why, when a person must decide first."""
        # First the notes, then the records: these only become more meanwhile.
        mine = await _unseen(journal, own, self.signer)
        notes = [*mine, *await asyncio.to_thread(lambda: list(recent_notes(self.anchor))), *await journal.evidence()]
        ends = await journal.streams()
        notes += [end.checkpoint.note for end in ends if end.checkpoint is not None]
        epoch = newest_epoch(await journal.epochs(), self.keys, installation)
        here = {end.stream: end.seq for end in ends}
        found = await asyncio.to_thread(evidence, notes, self.keys, installation, here, epoch)
        if not found:
            return epoch
        with suppress(OSError):
            # Once: the next time it is found there.
            await asyncio.to_thread(append_notes, self.anchor, [note for note in mine if note in found.notes])
        with suppress(JournalError):
            await journal.tell(found.notes)
        raise PutBack(found.words(here))

    async def _forked(self, journal: Journal, own: Stream, epoch: Epoch) -> bool:
        """Whether other records stand where this process wrote its own, which is tampering: no epoch covers it."""
        if own.number < epoch.first or not (mine := await _unseen(journal, own, self.signer)):
            return False
        with suppress(OSError):
            await asyncio.to_thread(append_notes, self.anchor, mine)
        self.suspect(f"stream {own.number} has not the records that this process wrote")
        return True


async def adopt(leasing: Leasing, journal: Journal, own: int, publish: Callable[[Stream], Awaitable[None]]) -> None:
    """Look for free streams but our `own` whose process died, write outcome `unknown` for their open intents, and `publish` them.

    A stream whose newest checkpoint covers its last record and names no open intent costs nothing to pass over. Those of earlier
    epochs have ended.
    """
    installation = await journal.installation()
    anchored = roots(recent_notes(leasing.anchor))
    for found in await journal.streams():
        known = found.checkpoint
        ended = known is not None and known.size == found.seq and known.open_from > known.size
        if ended or found.stream == own or not await journal.lease(found.stream):
            continue
        epoch = newest_epoch(await journal.epochs(), leasing.keys, installation)
        try:
            if found.stream >= epoch.first:
                root = anchored_root(anchored, installation, found.stream)
                stream = await resume(journal, installation, await _end(journal, found.stream), root, epoch.digest)
                await end_open_intents(journal, stream)
                await publish(stream)
        except Contradiction as error:
            leasing.suspect(str(error))
        await journal.release(found.stream)


async def _end(journal: Journal, number: int) -> StreamEnd:
    """Where a stream ends, read under its lock: whoever had it before may have written until a moment ago."""
    return next((end for end in await journal.streams() if end.stream == number), StreamEnd(number, 0, None))


async def _unseen(journal: Journal, own: Stream | None, signer: Signer) -> list[str]:
    """What a process knows of its stream, signed, where the log does not have it: nobody else may have heard of those records."""
    if own is None or not own.place.seq:
        return []
    known = own.snapshot()
    place = known.place
    # The end may be a seal by now, and then its record is in no table.
    end = await journal.head(place.stream)
    if (end.seq, end.hash) == (place.seq, place.hash) or await journal.holds(place.stream, place.seq, place.hash):
        return []
    return [(await asyncio.to_thread(known.checkpoint, signer)).note]
