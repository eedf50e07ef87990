"""What the gate calls: record an intent, end it, record a refusal.

`RecordingFailed` means "not recorded": whoever gets it refuses. What returns
normally is durable, except an outcome, which may be only accepted (its room was
reserved with its intent), and a repeated denial, which is counted.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from ostiary.audit.anchoring import INTERVAL_S, RECORDS, Anchoring
from ostiary.audit.checkpoint import Signer, load_signer
from ostiary.audit.folding import Folding
from ostiary.audit.lease import Leasing, adopt
from ostiary.audit.notes import STREAMS, Keys
from ostiary.audit.putback import PutBack
from ostiary.audit.record import VERSION, Entry, Kind, Outcome, canonical
from ostiary.audit.stream import OpenIntent
from ostiary.audit.writer import RecordingFailed, Undecided, Writer
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.journal import Guards, Journal, open_journal
from ostiary_tools.control.migrate import MONTHS_AHEAD

__all__ = ["Recorder", "RecorderState", "RecordingFailed", "Ticket", "recording"]

FOLD_S = 30.0
ADOPT_S = 30.0
PARTITIONS_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Ticket:
    """An intent that is durable; hand it back to `conclude` exactly once."""

    stream: int
    seq: int
    call_id: UUID
    agent: str
    tool: str


@dataclass(frozen=True, slots=True)
class RecorderState:
    """How the audit log does, without I/O."""

    stream: int
    records: int
    """Of this stream."""
    queued: int
    lag: int
    """Records that no checkpoint covers yet."""
    checkpoint: str
    """The newest signed note, or empty."""
    guards: Guards
    problems: tuple[str, ...]
    """In words without secrets, empty when all is well. The first names why nothing is recorded, when nothing is."""
    recording: bool


class Recorder:
    """The audit log of this process. Made by `recording`."""

    def __init__(self, writer: Writer, anchoring: Anchoring, guards: Guards) -> None:
        self._writer = writer
        self._anchoring = anchoring
        self._guards = guards
        self._folding = Folding()
        self._troubles: dict[str, str] = {}

    async def intend(self, entry: Entry) -> Ticket:
        """Record a permitted call; resolves when that is durable, and nothing may run before. Raises RecordingFailed.

        Cancelled while it waits, the intent is ended as `cancelled`.
        """
        seq = await self._writer.intend(entry.call_id, _body(entry), entry.agent, entry.tool)
        return Ticket(self._writer.stream.number, seq, entry.call_id, entry.agent, entry.tool)

    async def conclude(self, ticket: Ticket, outcome: Outcome, *, durable: bool = False) -> None:
        """Record how it ended; resolves when the writer has it, or when it is durable.

        Raises RecordingFailed while the database is away; the outcome is kept and written when it returns.
        """
        intent = OpenIntent(ticket.seq, ticket.agent, ticket.tool)
        answer = self._writer.conclude(ticket.call_id, intent, outcome, patient=not durable)
        if self._writer.broken:
            raise self._writer.failure()
        if durable:
            await asyncio.shield(answer)

    async def refuse(self, entry: Entry) -> None:
        """Record a denial; durable when it returns, or counted when the log has the same one already. Raises RecordingFailed."""
        if self._writer.broken:
            raise self._writer.failure()
        if self._folding.repeats(entry):
            return
        await self._writer.add(Kind.DENIAL, entry.call_id, _body(entry))
        self._folding.recorded(entry)

    async def note(self, event: str, fields: Mapping[str, object]) -> None:
        """Record something about the installation; durable when it returns. Raises RecordingFailed."""
        await self._writer.add(Kind.EVENT, uuid4(), canonical({**fields, "v": VERSION, "event": event}))

    @property
    def epoch(self) -> int:
        """The epoch of the log that is recorded in."""
        return self._writer.stream.number // STREAMS

    def state(self) -> RecorderState:
        """How the log does now."""
        stream = self._writer.stream
        problems = tuple(p for p in (self._writer.broken, *self._troubles.values()) if p)
        return RecorderState(
            stream=stream.number,
            records=stream.place.seq,
            queued=self._writer.queued,
            lag=self._anchoring.lag(stream),
            checkpoint=self._anchoring.newest,
            guards=self._guards,
            problems=problems,
            recording=not self._writer.broken,
        )

    def trouble(self, part: str, problem: str) -> None:
        """Remember, or with an empty text forget, what is wrong with a part that does not stop recording."""
        self._troubles[part] = problem

    async def flush_folded(self) -> None:
        """Write the counts of repeated denials. Raises RecordingFailed; the counts are lost then."""
        for fields in self._folding.flush():
            await self.note("denials_folded", fields)


@asynccontextmanager
async def recording(
    dsn: str, *, private_key: Path, public_key: Path, anchor: Path, facts: Mapping[str, object]
) -> AsyncIterator[Recorder]:
    """Lease a stream and record until the block ends; then drain, fold and checkpoint.

    `dsn` is the writer's. `facts` (version, policy hash …) go into the record of the start.
    Raises RecordingFailed when the database cannot be used, Undecided when it was put back, KeyUnusable when the key cannot.
    """
    signer = await asyncio.to_thread(load_signer, private_key, public_key)
    keys = await asyncio.to_thread(_keys, public_key, signer)
    suspects: set[str] = set()
    grew = asyncio.Event()
    leasing = Leasing(dsn, anchor, signer, keys, suspects.add)
    anchoring = Anchoring(signer, anchor)
    try:
        lease = await leasing.first()
        guards = await lease.journal.guards()
    except PutBack as error:
        raise Undecided(str(error)) from error
    except JournalError as error:
        raise RecordingFailed(str(error)) from error
    writer = Writer(lease, leasing.again, lambda: grew.set() if anchoring.lag(writer.stream) >= RECORDS else None)
    recorder = Recorder(writer, anchoring, guards)
    upkeep = _Upkeep(recorder, writer, anchoring=anchoring, leasing=leasing, suspects=suspects, grew=grew)
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(writer.run(), name="audit writer")
        others = [tasks.create_task(run(), name=f"audit {run.__name__}") for run in (upkeep.checkpoints, upkeep.rounds)]
        try:
            await recorder.note("started", {**facts, "shape_guarded": guards.shape, "ddl_guarded": guards.event_triggers})
            yield recorder
            with suppress(RecordingFailed):
                await recorder.flush_folded()
                await recorder.note("stopped", {})
        finally:
            for task in others:
                task.cancel()
            writer.stop()
            await asyncio.wait({writing})
            await upkeep.last_checkpoint()
            await writer.close()


class _Upkeep:
    """What runs beside the writer, on a connection of its own; its failures are stated and never stop recording."""

    def __init__(
        self, recorder: Recorder, writer: Writer, *, anchoring: Anchoring, leasing: Leasing, suspects: set[str], grew: asyncio.Event
    ) -> None:
        self._recorder = recorder
        self._writer = writer
        self._anchoring = anchoring
        self._leasing = leasing
        self._suspects = suspects
        self._told: set[str] = set()
        self._seen = writer.stream.snapshot()
        """Where the stream stood a round ago: what it had then it has now, whatever came since."""
        self._grew = grew
        self._journal: Journal | None = None
        self._one_at_a_time = asyncio.Lock()

    async def checkpoints(self) -> None:
        """Anchor what is new, each second or 1,000 records."""
        while True:
            with suppress(TimeoutError):
                # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with the event.
                async with asyncio.timeout(INTERVAL_S):
                    await self._grew.wait()
            self._grew.clear()
            if self._anchoring.lag(self._writer.stream) > 0:
                await self._try("checkpoints", lambda journal: self._anchoring.publish(journal, self._writer.stream))

    async def rounds(self) -> None:
        """Count folded denials, look for streams without a process, keep partitions ahead."""
        clock = asyncio.get_running_loop().time
        partitions_at = clock() + PARTITIONS_S
        while True:
            await self._tell_suspects()
            await self._try("takeover", self._adopt)
            if clock() >= partitions_at:
                await self._try("partitions", self._extend)
                partitions_at = clock() + PARTITIONS_S
            await asyncio.sleep(ADOPT_S)
            with suppress(RecordingFailed):
                await self._recorder.flush_folded()

    async def last_checkpoint(self) -> None:
        """Anchor the end, with the roster of all streams."""
        await self._try("checkpoints", lambda journal: self._anchoring.publish(journal, self._writer.stream, roster=True))
        if self._journal is not None:
            await self._journal.close()

    async def _adopt(self, journal: Journal) -> None:
        try:
            await self._leasing.stands(journal, self._seen)
        except PutBack:
            self._writer.mistrust()
            raise
        self._seen = self._writer.stream.snapshot()
        await adopt(self._leasing, journal, self._writer.stream.number, lambda stream: self._anchoring.publish(journal, stream))

    async def _extend(self, journal: Journal) -> None:
        self._writer.extend(await journal.make_partitions(MONTHS_AHEAD))

    async def _tell_suspects(self) -> None:
        for problem in sorted(self._suspects - self._told):
            self._recorder.trouble(problem, problem)
            with suppress(RecordingFailed):
                await self._recorder.note("stream_suspect", {"problem": problem})
                self._told.add(problem)

    async def _try(self, part: str, act: Callable[[Journal], Awaitable[None]]) -> None:
        async with self._one_at_a_time:
            try:
                if self._journal is None or not self._journal.alive:
                    self._journal = await open_journal(self._leasing.dsn, "audit upkeep")
                await act(self._journal)
            except (JournalError, OSError) as error:
                self._recorder.trouble(part, f"{part}: {error}")
            else:
                self._recorder.trouble(part, "")


def _keys(path: Path, signer: Signer) -> Keys:
    """Ours, and those of others that record in this log, where the file can be read: that is for verifiers, which say so."""
    try:
        return Keys.parse(f"{path.read_text('utf-8')}\n{signer.verifier_key()}")
    except (OSError, ValueError):
        return Keys.parse(signer.verifier_key())


def _body(entry: Entry) -> str:
    try:
        return entry.body()
    except (TypeError, ValueError) as error:
        raise RecordingFailed("the call holds what JSON cannot say") from error
