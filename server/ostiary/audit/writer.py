"""The one task that writes a stream: many records, one COPY, one transaction, one sync.

An accepted intent is answered when it is durable or when it is known or feared not
to be; never in between, and never by trying again blindly. While the database is
away everything new is refused at once. Outcomes are kept for its return, because
room for an outcome is reserved when its intent is accepted.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ostiary.audit.chain import Item, Place, microseconds
from ostiary.audit.putback import PutBack
from ostiary.audit.record import Kind, Outcome, Status
from ostiary.audit.stream import OpenIntent, Stream, item, outcome_item
from ostiary_tools.control.connect import JournalError, Lost
from ostiary_tools.control.journal import Journal, LogRow

CAPACITY = 20_000
"""Records waiting plus outcomes still owed."""
MAX_BATCH = 2_000
MAX_BODY_BYTES = 1 << 20
SETTLE_S = 3.0
"""How long callers wait to learn whether a batch in doubt was committed."""
_OUTCOME = Kind.OUTCOME.value.encode()
LINGER_S = 0.01
"""How long an outcome that nobody waits for waits for company: with the next intent it costs one sync and not two."""
_BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class RecordingFailed(Exception):
    """Not recorded, or not known to be: the caller refuses."""


class Undecided(RecordingFailed):
    """Not recorded: the log was put back to an earlier moment, and nobody has decided yet that it goes on."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A connection and the stream it leases."""

    journal: Journal
    stream: Stream
    until: datetime
    """Rows from this moment on have no partition."""


@dataclass(slots=True)
class Waiting:
    """A record in the queue."""

    item: Item
    answer: asyncio.Future[int]
    """Resolves to the sequence number when the record is durable."""
    intent: OpenIntent | None = None
    """Of an intent; its `seq` is not known yet."""
    released: bool = False
    """Its caller was told "not recorded", and the room for its outcome was given back."""
    patient: bool = False
    """An outcome whose reply leaves without it being durable."""


class Writer:
    """Owns the lease. INVARIANT: the stream's state in memory changes only when rows are known to be durable."""

    def __init__(self, lease: Lease, renew: Callable[[Lease], Awaitable[Lease]], grew: Callable[[], None]) -> None:
        self._renew = renew
        self._grew = grew
        self._queue: deque[Waiting] = deque()
        self._owed = 0
        self._failures = 0
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopping = False
        self.broken = ""
        self._failed = RecordingFailed
        self._lease: Lease
        self._hold(lease)

    @property
    def stream(self) -> Stream:
        """The stream as far as it is durable."""
        return self._lease.stream

    @property
    def queued(self) -> int:
        """Records waiting."""
        return len(self._queue)

    async def intend(self, call_id: UUID, body: str, agent: str, tool: str) -> int:
        """Record an intent; its number, once it is durable. Room for its outcome stays reserved until `conclude`.

        Cancelled, the intent is ended by a `cancelled` outcome if it came to be recorded. Raises RecordingFailed.
        """
        waiting = self._accept(Kind.INTENT, call_id, body, OpenIntent(0, agent, tool))
        self._owed += 1
        answer = waiting.answer
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self.conclude(call_id, OpenIntent(answer.result(), agent, tool), Outcome(Status.CANCELLED, 0))
            raise

    def conclude(self, call_id: UUID, intent: OpenIntent, outcome: Outcome, *, patient: bool = True) -> "asyncio.Future[int]":
        """Queue an outcome, in the room its intent reserved; the future resolves when it is durable.

        A patient one is written with the next other record, or after `LINGER_S`.
        """
        self._owed -= 1
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._put(Waiting(outcome_item(call_id, intent, outcome), answer, patient=patient))
        return answer

    async def add(self, kind: Kind, call_id: UUID, body: str) -> int:
        """Record a denial or an event; its number, once it is durable. Raises RecordingFailed."""
        return await self._accept(kind, call_id, body, None).answer

    async def run(self) -> None:
        """Write until `stop` was called and the queue is empty."""
        while not (self._stopping and not self._queue):
            if not self._lease.journal.alive:
                await self._recover([], None, "the connection to the audit database broke")
            elif not self._queue:
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._linger()
                await self._write([self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))])

    def stop(self) -> None:
        """Take nothing more; `run` returns when the queue is empty, or lost because the database is away."""
        self._stopping = True
        self._wake.set()
        self._urgent.set()

    async def close(self) -> None:
        """Give the lease back."""
        await self._lease.journal.close()

    def mistrust(self) -> None:
        """Give the lease up, and take one again only where that can be had."""
        self._lease.journal.abort()

    def failure(self, why: str = "") -> RecordingFailed:
        """What whoever records now is told."""
        return self._failed(why or self.broken)

    def extend(self, until: datetime) -> None:
        """Partitions reach further now."""
        self._lease = replace(self._lease, until=until)

    def _accept(self, kind: Kind, call_id: UUID, body: str, intent: OpenIntent | None) -> Waiting:
        if self.broken or self._stopping:
            raise self.failure(self.broken or "the audit log is closing")
        if len(self._queue) + self._owed >= CAPACITY:
            raise RecordingFailed("the audit log cannot keep up: its queue is full")
        try:
            made = item(kind, call_id, body)
        except ValueError as error:
            raise RecordingFailed("the call holds text that is not Unicode") from error
        if len(made.encoded) > MAX_BODY_BYTES:
            raise RecordingFailed(f"the record of this call is longer than {MAX_BODY_BYTES} bytes")
        waiting = Waiting(made, asyncio.get_running_loop().create_future(), intent)
        self._put(waiting)
        return waiting

    def _put(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._wake.set()
        if not waiting.patient:
            self._urgent.set()

    async def _linger(self) -> None:
        """While only patient outcomes are queued, wait a moment for what they can be written with."""
        if self._stopping or not all(waiting.patient for waiting in self._queue):
            return
        self._urgent.clear()
        timer = asyncio.get_running_loop().call_later(LINGER_S, self._urgent.set)
        await self._urgent.wait()
        timer.cancel()

    def _hold(self, lease: Lease) -> None:
        self._lease = lease
        lease.journal.on_loss(self._wake.set)

    async def _write(self, batch: list[Waiting]) -> None:
        rows, place = self.stream.link([w.item for w in batch])
        if place.ts_us >= microseconds(self._lease.until):
            await self._recover(batch, None, f"the audit log has no partition for {rows[0].ts:%B %Y}")
            return
        try:
            await self._lease.journal.append(rows)
        except Lost as error:
            await self._recover(batch, rows, str(error))
        except JournalError as error:
            await self._recover(batch, None, str(error))
        else:
            self._failures = 0
            self._note(batch, rows, place)
            self._answer(batch, rows)
            self._grew()

    def _note(self, batch: list[Waiting], rows: list[LogRow], place: Place) -> None:
        stream = self.stream
        stream.advance(rows, place)
        for waiting, row in zip(batch, rows, strict=True):
            if waiting.intent is not None:
                stream.open[row.call_id] = waiting.intent._replace(seq=row.seq)
            elif row.kind == _OUTCOME:
                stream.open.pop(row.call_id, None)

    def _answer(self, batch: list[Waiting], rows: list[LogRow]) -> None:
        for waiting, row in zip(batch, rows, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(row.seq)
            elif waiting.intent is not None:
                # Its caller has left or was told "not recorded": nothing of it runs, and the log must say so.
                self._owed += waiting.released
                self.conclude(row.call_id, waiting.intent._replace(seq=row.seq), Outcome(Status.CANCELLED, 0))

    async def _recover(self, batch: list[Waiting], doubt: list[LogRow] | None, why: str) -> None:
        """Refuse everything until a lease is held again. Of `doubt`, the rows of `batch`, it is not known whether they exist."""
        self.broken = why
        self._drop(self._queue, why)
        if doubt is None:
            self._queue = self._kept(batch) + self._queue
            self._drop(batch, why)
        self._queue = self._kept(self._queue)
        clock = asyncio.get_running_loop().time
        give_up = clock() + SETTLE_S
        while self.broken:
            if self._failures:
                await asyncio.sleep(_BACKOFF_S[min(self._failures, len(_BACKOFF_S)) - 1])
            self._failures += 1
            try:
                await self._settle(batch, doubt)
            except JournalError as error:
                self.broken = str(error)
                self._failed = Undecided if isinstance(error, PutBack) else RecordingFailed
                if clock() > give_up or self._stopping:
                    self._drop(batch, f"it is not known whether this call was recorded: {error}")
                if self._stopping:
                    self._queue.clear()
                    return

    async def _settle(self, batch: list[Waiting], doubt: list[LogRow] | None) -> None:
        """Take a lease; by then the old session is over, so what it committed can be read."""
        lease = await self._renew(self._lease)
        try:
            present = doubt is not None and await lease.journal.holds(doubt[-1].stream, doubt[-1].seq, doubt[-1].hash)
        except JournalError:
            lease.journal.abort()
            raise
        self._hold(lease)
        why, self.broken, self._failed = self.broken, "", RecordingFailed
        if doubt is not None and present:
            self._answer(batch, doubt)
        elif doubt is not None:
            self._drop(batch, why)
            self._queue = self._kept(batch) + self._queue
        self._wake.set()

    def _drop(self, batch: Iterable[Waiting], why: str) -> None:
        """Tell whoever waits that this was not recorded."""
        for waiting in batch:
            if waiting.intent is not None and not waiting.released:
                waiting.released = True
                self._owed -= 1
            if not waiting.answer.done():
                waiting.answer.set_exception(RecordingFailed(why))
                waiting.answer.exception()  # looked at here: a caller who has left must cause no warning

    @staticmethod
    def _kept(batch: Iterable[Waiting]) -> deque[Waiting]:
        """Outcomes: their intents are recorded, so they are written once the database is back."""
        return deque(w for w in batch if w.item.kind == _OUTCOME)
