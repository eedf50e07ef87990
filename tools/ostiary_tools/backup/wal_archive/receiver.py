"""Receives the log of one cluster and keeps it as it comes, until it is told to stop or cannot go on; then it is begun again.

`pg_receivewal` writes into a spool; from there whole segments go into the repository at once, and the beginning of the next one
every few seconds. It uses no slot: what the server keeps for us is moved on only once it is durable in the repository (`slot`).
"""

import asyncio
import re
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import asyncpg

from ostiary_tools.backup import wal
from ostiary_tools.backup.login import Login, login
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Programs, Sought, for_server_at
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.running import Command, Running, started
from ostiary_tools.backup.session import ANSWERS_S, connected, environment
from ostiary_tools.backup.together import waiting
from ostiary_tools.backup.wal_archive import slot
from ostiary_tools.backup.wal_archive.archive import Archive
from ostiary_tools.backup.wal_archive.arrivals import Arrivals, Spool
from ostiary_tools.backup.wal_archive.beating import beating
from ostiary_tools.backup.wal_archive.posting import Place, Post
from ostiary_tools.backup.wal_archive.slot import Look, Server
from ostiary_tools.backup.wal_archive.standing import Teller
from ostiary_tools.backup.wal_archive.timelines import History, name
from ostiary_tools.errors import Damaged, ProgramFailed, ToolError, Unavailable

T = TypeVar("T")
_LOOK_S = 1.0
_MOST_LOOKS = 3600
_HEADER = 40
"""Bytes that a page begins with, at most."""
_SEGMENT = re.compile(r"\b[0-9A-F]{24}\b")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, and how much."""

    tail_s: float = 5.0
    """Between two tails of a segment that fills."""
    beat_s: float = 10.0
    """Between two rows of the clock."""
    spool_bytes: int = 2 << 30
    """So much waits on this machine at most; then it waits on the server."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is kept where."""

    source: Source
    repository: Repository
    sought: Sought
    root: Path
    """Of this cluster: its spool, and how it stands."""
    system_identifier: str
    pace: Pace = Pace()
    others: Callable[[], Sequence[Source]] = tuple
    """What else is backed up of this cluster, as far as it is known by now: each database has a clock of its own."""


async def keep(work: Work) -> None:
    """Until cancelled. Raises ToolError and OSError; how it stands is told in any case, that too."""
    teller = await _teller(work)
    try:
        post = await _done(lambda: _post(work))
        try:
            await _settled(post, teller, work)
            async with connected(work.source.dsn, answers_s=ANSWERS_S) as session:
                await _Receiver(work, session, post, teller).receive()
        finally:
            await _done(post.release)
    except (ToolError, OSError) as error:
        teller.wrong(error)
        raise
    finally:
        await _done(lambda: teller.say(receiving=False))


async def rescue(work: Work, why: ToolError) -> None:
    """Keep what has come, where the server is away, for whatever reason and perhaps for good.

    Where another keeps its log, since it is away for this source alone, that one says how it stands.
    """
    teller = await _teller(work)
    kept_by_another = teller.now.receiving and not teller.now.silent(datetime.now(UTC))
    post = await _done(lambda: _post(work))
    try:
        await _settled(post, teller, work, alone=True)
        teller.wrong(why)
    finally:
        await _done(post.release)
        if not kept_by_another:
            await _done(lambda: teller.say(receiving=False))


class _Gone(Exception):
    """The server has not kept what is to come next."""


class _Receiver:
    """While a session with the server lasts."""

    def __init__(self, work: Work, session: asyncpg.Connection, post: Post, teller: Teller) -> None:
        self._work = work
        self._session = session
        self._post = post
        self._teller = teller
        self._slot = slot.named(work.repository.description.id)
        self._name = f"ostiary log {secrets.token_hex(4)}"
        self._advanced = 0
        self._looks: deque[tuple[int, datetime]] = deque(maxlen=_MOST_LOOKS)
        """What was written by when, that is not kept yet."""

    async def receive(self) -> None:
        server = await slot.looked_at(self._session)
        if server.system_identifier != self._work.system_identifier:
            raise Unavailable("the login for backups leads to another cluster by now", "wait until it is looked at again")
        who = await asyncio.to_thread(login, self._work.source.dsn)
        tls = server.session.tls or who.needs_tls
        sought = self._work.sought
        programs = await asyncio.to_thread(for_server_at, server.session.major, "pg_receivewal", tls=tls, sought=sought)
        held = await slot.reserved(self._session, self._slot)
        begin = await self._begin(server, held, programs, who)
        try:
            await self._from(begin, server, programs, who)
        except _Gone:
            # A slot holds nothing that was gone when it was made: it was lost, or is new, and what lies between is lost.
            anew = _segment_at(Place(server.timeline, held), server)
            if anew == begin:
                raise Unavailable("the server has let go of log that it is to keep", "see `pg_replication_slots`") from None
            self._gap(anew)
            await self._from(anew, server, programs, who)

    async def _from(self, place: Place, server: Server, programs: Programs, who: Login) -> None:
        self._post.begin(place)
        run = await _done(Spool(self._work.root).open)
        try:
            first = wal.name(place.timeline, place.position // server.segment_bytes, server.segment_bytes)
            await asyncio.to_thread(run.begin, first)
            async with started(self._command(run.log, server, programs, who)) as program, _beside(self._beating()):
                await self._watch(program, run, server, first)
        finally:
            await _done(run.release)

    async def _watch(self, program: Running, run: Arrivals, server: Server, first: str) -> None:
        """While it receives."""
        tail_at, clock_s = 0.0, asyncio.get_running_loop().time
        while True:
            found = await self._look(server)
            tail = clock_s() >= tail_at
            more = await self._posted(server, run, found, tail=tail)
            tail_at = clock_s() + self._work.pace.tail_s if tail and not more else tail_at
            await self._told(found)
            if program.over:
                _raise_why(program.words(), first)
            if not more:
                await asyncio.sleep(_LOOK_S)

    async def _look(self, server: Server) -> Look:
        found = await slot.look(self._session, self._slot, self._name)
        # At the beginning of a page its header is counted, which nobody sends before there is more.
        behind = found.inserted % server.page_bytes
        self._looks.append((found.inserted - behind if behind <= _HEADER else found.inserted, found.at))
        if found.held in {slot.Held.LOST, slot.Held.MISSING}:
            # What has come is not lost with it; whether what comes next is there shows when it is asked for.
            await slot.reserved(self._session, self._slot)
        return found

    async def _posted(self, server: Server, run: Arrivals, found: Look, *, tail: bool) -> bool:
        """Whether there is more. What cannot be kept now stays where it is, on this machine or on the server."""
        post = self._post
        try:
            more = await self._meanwhile(server, _done(lambda: post.post(run, found.written, tail=tail)))
        except Damaged:
            raise
        except (ToolError, OSError) as error:
            self._teller.wrong(error)
            await self._bounded()
            return False
        self._teller.right()
        if post.whole_to > self._advanced:
            await slot.advance(self._session, self._slot, post.whole_to)
            self._advanced = post.whole_to
        return more

    async def _meanwhile(self, server: Server, posting: Coroutine[None, None, T]) -> T:
        """What it gives; a repository that takes its time holds up neither what is told nor the bound of what waits here."""
        task = asyncio.ensure_future(posting)
        try:
            while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
                await self._bounded()
                await self._told(await self._look(server))
            return await task
        finally:
            task.cancel()
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({task})

    async def _bounded(self) -> None:
        if await asyncio.to_thread(Spool(self._work.root).bytes) > self._work.pace.spool_bytes:
            raise _full()

    async def _told(self, found: Look) -> None:
        while self._looks and self._looks[0][0] <= self._post.kept_to:
            self._teller.change(kept_until=self._looks.popleft()[1])
        spool = await asyncio.to_thread(Spool(self._work.root).bytes)
        self._teller.change(
            kept_to=wal.shown(self._post.kept_to),
            server_at=found.at,
            lag_bytes=max(0, found.inserted - self._post.kept_to) if self._looks else 0,
            spool_bytes=spool,
            held=found.held,
            held_bytes=max(0, found.inserted - found.restart) if found.restart is not None else 0,
            safe_bytes=found.safe_bytes,
            most_bytes=found.most_bytes,
        )
        await _done(lambda: self._teller.say(receiving=True))

    def _beating(self) -> Coroutine[None, None, None]:
        work = self._work
        return beating(lambda: (work.source, *work.others()), work.pace.beat_s, self._teller)

    async def _begin(self, server: Server, held: int, programs: Programs, who: Login) -> Place:
        """The segment that is to come first."""
        kept, here = self._post.next(), Place(server.timeline, held)
        if kept is None:
            return _segment_at(here, server)
        if kept.timeline > server.timeline:
            message = f"the server is on timeline {server.timeline}, and the log of timeline {kept.timeline} is kept"
            raise Damaged("timeline", message, "let the login for backups lead to the server that was promoted")
        if kept.timeline == server.timeline:
            return await asyncio.to_thread(self._post.missing, held) or kept
        history = await self._history(server, programs, who)
        legs = list(history.legs)
        left = next((n for n, leg in enumerate(legs) if leg.timeline == kept.timeline), None)
        if left is None:  # it has come from elsewhere, and what is kept leads nowhere
            anew = _segment_at(here, server)
            self._gap(anew)
            return anew
        if kept.position < legs[left].end:
            return kept
        return _segment_at(Place(legs[left + 1].timeline, legs[left].end), server)

    async def _history(self, server: Server, programs: Programs, who: Login) -> History:
        """Of the server's timeline: who begins to receive it is given it first."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp))  # not in the spool: nothing else that comes is to be kept
        file = folder / name(server.timeline)
        try:
            async with started(self._command(folder, server, programs, who)) as program, asyncio.timeout(ANSWERS_S):
                while not await asyncio.to_thread(file.exists):
                    if program.over:
                        _raise_why(program.words(), "")
                    await asyncio.sleep(_LOOK_S / 10)
            text = await asyncio.to_thread(file.read_bytes)
        except TimeoutError:
            raise Unavailable("the server does not send its log", "see what its WAL senders wait for") from None
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        archive = Archive(self._work.repository, self._work.system_identifier)
        return await _done(lambda: archive.keep_history(server.timeline, text, self._work.source.name))

    def _command(self, folder: Path, server: Server, programs: Programs, who: Login) -> Command:
        words = ("--no-password", "--no-loop", f"--directory={folder}", "--status-interval=1")
        named = {**environment(who, server.session), "PGAPPNAME": self._name}
        return Command(programs.path("pg_receivewal"), words, named, who.secrets)

    def _gap(self, anew: Place) -> None:
        self._teller.change(gap_at=datetime.now(UTC), gap_to=wal.shown(anew.position))


async def _settled(post: Post, teller: Teller, work: Work, *, alone: bool = False) -> None:
    """Keep what was left, before anything else: the server may be gone for good. Raises Unavailable where too much is left."""
    try:
        await _done(lambda: post.settle(alone=alone))
    except (ToolError, OSError) as error:
        teller.wrong(error)
        if await asyncio.to_thread(Spool(work.root).bytes) > work.pace.spool_bytes:
            raise _full() from error


async def _teller(work: Work) -> Teller:
    named = slot.named(work.repository.description.id)
    return await asyncio.to_thread(Teller.begin, work.root, work.source.name, work.system_identifier, named)


def _post(work: Work) -> Post:
    return Post(Archive(work.repository, work.system_identifier), work.source.name, Spool(work.root))


def _segment_at(place: Place, server: Server) -> Place:
    return Place(place.timeline, place.position - place.position % server.segment_bytes)


def _raise_why(words: str, first: str) -> None:
    # The server names the segment in whatever language it speaks.
    if first and first in _SEGMENT.findall(words):
        raise _Gone
    message = f"`pg_receivewal` ended: {words or 'it gave no reason'}"
    if "pg_hba.conf" in words:
        raise Unavailable(message, "add a line for the database `replication` to the server's `pg_hba.conf`")
    raise ProgramFailed(message, "it is tried again")


def _full() -> Unavailable:
    message = "so much of the log waits on this machine that no more is taken, and the server keeps it"
    return Unavailable(message, "see why the repository does not take it, before the server's disk is full")


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Something that goes on while the block lasts."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _done(work: Callable[[], T]) -> T:
    """In a thread, to its end also where the caller is cancelled: two threads never work on one spool."""
    doing = waiting(work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        while not doing.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([doing])
        raise
