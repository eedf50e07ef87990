"""A whole cluster, as `pg_basebackup` sends it, with its write-ahead log up to one moment that is fingerprinted.

Or what has changed in it since another backup, whose `backup_manifest` says what that one holds.

The log is received from before the base begins until after the moment. What has not come yet the server keeps for a slot that
ends with our session: one that is left behind would let it keep its log for ever. The moment is a snapshot of which is known where
in the log it ends, so that a copy can be held against it row by row although the server goes on writing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

import asyncpg

from ostiary_tools.backup import file_sums, wal
from ostiary_tools.backup.engines.archiving import held_back
from ostiary_tools.backup.engines.cluster_facts import Cluster, looked_at
from ostiary_tools.backup.engines.flow import written
from ostiary_tools.backup.engines.overheard import Overheard
from ostiary_tools.backup.engines.receiving import beside, explained, linked, received, receiving, settle
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.login import Login, login
from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.manifest import ClusterFacts, Content, Fingerprint, Kind, Member, Point
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Keeping, Made, Source, Tell
from ostiary_tools.backup.programs import Programs, Sought, for_server_at
from ostiary_tools.backup.reading import RIGHTS, in_words, pin
from ostiary_tools.backup.running import Command, Running, started
from ostiary_tools.backup.sequences import positions, spanned
from ostiary_tools.backup.session import connected, environment, held, looking
from ostiary_tools.backup.wal_archive.boundary import boundary
from ostiary_tools.errors import Damaged, ProgramFailed, Unavailable

NO_FINGERPRINT = "it has no fingerprint: the login for backups may not read every row"
_ATTEMPTS = 20
_PAUSE_S = 0.1
FILES = "backup-manifest"
"""The name of the member that the base's manifest is once more."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one backup is made of."""

    source: Source
    who: Login
    cluster: Cluster
    programs: Programs
    keeping: Keeping
    spool: Path
    since: Path | None
    readable: bool

    @property
    def wal(self) -> Path:
        """Where the log comes to."""
        return self.spool / "wal"

    def command(self, program: str, *arguments: str, writes: bool = False) -> Command:
        """A program that connects as the login."""
        return Command(
            self.programs.path(program),
            ("--no-password", *arguments),
            environment(self.who, self.cluster.session),
            self.who.secrets,
            writes=writes,
        )


@dataclass(frozen=True, slots=True)
class _Base:
    """A base that was sent."""

    members: tuple[Member, Member]
    timeline: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Moment:
    """What was agreed on, while its transaction is open."""

    connection: asyncpg.Connection
    point: Point
    stretch: wal.Stretch
    """The log from the base's start to the point."""
    sequences: Mapping[str, str]
    """Where they stood before it; they go on meanwhile."""


@dataclass(frozen=True, slots=True)
class FullEngine:
    """Makes full backups."""

    sought: Sought
    parallel: int = 2
    """Processes of the server at once that read the fingerprint."""
    since: Path | None = None
    """A `backup_manifest`: then no more is sent than what has changed since it was written."""

    async def make(self, source: Source, keeping: Keeping, spool: Path, tell: Tell) -> Made:
        """Take one; see `port.Engine`."""
        work = await self._work(source, keeping, spool)
        with explained():
            async with _log(work) as receiver:
                async with telling(tell, "copied", work.cluster.bytes) as pace:
                    troubles = [held_back(source.dsn, pace)] if work.cluster.archives else []
                    base = await beside(_base(work, pace.add), receiver, *troubles)
                async with _agreed(work, base, receiver) as moment:
                    await receiver.close()
                    await tell(pace.done, None, "reading the fingerprint")
                    fingerprint = await self._fingerprint(work, moment) if work.readable else None
        await asyncio.to_thread(settle, work.wal, moment.stretch)
        packed = cast("BinaryIO", wal.Packed(work.wal, moment.stretch))  # a raw file is all that is asked of one
        log = await keeping.put("wal.tar", Content.WAL, packed, lambda _: None)
        return _made(work, base, log, moment, fingerprint)

    async def _work(self, source: Source, keeping: Keeping, spool: Path) -> _Work:
        async with connected(source.dsn) as connection:
            cluster = await looked_at(connection)
            readable = await _may_read(connection)
        who = await asyncio.to_thread(login, source.dsn)
        tls = cluster.session.tls or who.needs_tls
        needed = ("pg_basebackup", "pg_receivewal")
        programs = await asyncio.to_thread(for_server_at, cluster.session.major, *needed, tls=tls, sought=self.sought)
        return _Work(source, who, cluster, programs, keeping, spool, self.since, readable)

    async def _fingerprint(self, work: _Work, moment: _Moment) -> Fingerprint:
        found = await taken(moment.connection, work.cluster.session.database, Kind.FULL, workers=self.parallel - 1)
        return replace(found, sequences=spanned([found.sequences, moment.sequences]))


def _made(work: _Work, base: _Base, log: Member, moment: _Moment, fingerprint: Fingerprint | None) -> Made:
    notes = () if work.readable else (NO_FINGERPRINT,)
    facts = ClusterFacts(
        work.cluster.system_identifier,
        base.timeline,
        wal.shown(base.start),
        wal.shown(base.end),
        moment.point,
        work.cluster.superuser,
    )
    return Made(work.cluster.session.version, (*base.members, log), fingerprint, facts, notes)


def _log(work: _Work) -> AbstractAsyncContextManager[Running]:
    command = work.command("pg_receivewal", "--no-loop", f"--directory={work.wal}")
    return receiving(command, work.source.dsn, work.wal, work.cluster.segment_bytes)


async def _base(work: _Work, told: Callable[[int], None]) -> _Base:
    """Send it into its member, and learn from which place of the log to which it goes."""
    settled = ("--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--label=ostiary")
    since = () if work.since is None else (f"--incremental={work.since}",)
    command = work.command("pg_basebackup", *settled, *since, "--manifest-checksums=SHA256", writes=True)
    with (work.spool / file_sums.NAME).open("xb") as manifest:
        async with started(command) as running:

            def through(output: BinaryIO) -> BinaryIO:
                return cast("BinaryIO", Overheard(output, file_sums.NAME, manifest))  # a raw file is all that is asked of one

            base = await written(work.keeping, "base.tar", Content.BASE, running, told, through=through)
    try:
        stated = await asyncio.to_thread(file_sums.stated, work.spool)
    except Damaged as error:
        raise ProgramFailed("`pg_basebackup` did not say to which part of the log the base belongs") from error
    files = await work.keeping.put(FILES, Content.FILES, (work.spool / file_sums.NAME).open("rb"), lambda _: None)
    return _Base((base, files), stated.timeline, wal.position(stated.start_lsn), wal.position(stated.end_lsn))


@asynccontextmanager
async def _agreed(work: _Work, base: _Base, receiver: Running) -> AsyncIterator[_Moment]:
    """A snapshot that ends at one place in the log, held while the block lasts. Raises Unavailable where none was to be had.

    Commits become visible a moment after they are in the log, and not always in its order.
    """
    async with connected(work.source.dsn) as connection:
        for _ in range(_ATTEMPTS):
            before = await _positions(connection) if work.readable else {}
            async with _seen(connection, readable=work.readable) as snapshot:
                end = await beside(received(work.source.dsn, work.wal, _from(work, base), work.cluster.page_bytes), receiver)
                stretch = _from(work, base, end)
                if await _ends(work, base, stretch, snapshot):
                    yield _Moment(connection, Point(snapshot, wal.shown(end)), stretch, before)
                    return
            await asyncio.sleep(_PAUSE_S)
    hint = "try again; where commits wait for a synchronous standby, see that it runs"
    raise Unavailable("no moment was found that belongs to one place in the server's log", hint)


async def _ends(work: _Work, base: _Base, stretch: wal.Stretch, snapshot: str) -> bool:
    """Whether it ends at one place, and at one where a copy is whole."""
    folder = await asyncio.to_thread(linked, work.wal)
    place = await called_off(lambda: None, boundary, folder, stretch, wal.Snapshot.read(snapshot))
    return place is not None and place >= base.end


def _from(work: _Work, base: _Base, end: int = 0) -> wal.Stretch:
    return wal.Stretch(work.cluster.system_identifier, base.timeline, base.start, end or base.end, work.cluster.segment_bytes)


@asynccontextmanager
async def _seen(connection: asyncpg.Connection, *, readable: bool) -> AsyncIterator[str]:
    """What a snapshot sees, which is held while the block lasts."""
    holding: AbstractAsyncContextManager[object] = held(connection, Kind.FULL) if readable else _unread(connection)
    async with holding:
        with in_words():
            snapshot = await connection.fetchval("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text")
        yield snapshot


async def _positions(connection: asyncpg.Connection) -> Mapping[str, str]:
    with in_words():
        async with looking(connection):
            await pin(connection)
            return await positions(connection, Kind.FULL)


@asynccontextmanager
async def _unread(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Of a login that may not read what the snapshot sees."""
    with in_words():
        async with looking(connection):
            yield


async def _may_read(connection: asyncpg.Connection) -> bool:
    try:
        async with held(connection, Kind.FULL):
            return True
    except Unavailable as error:
        if error.hint != RIGHTS:
            raise
        return False
