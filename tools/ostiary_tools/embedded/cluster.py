"""The embedded PostgreSQL of a home, shared by every process that works there.

`attach` starts the server or adopts the one that runs; the last process to detach
stops it. A process that is killed frees its locks, so whoever detaches next is the
last. A server without any process is adopted by the next `attach`. After a crash of
the server, `attach` again (with the old handle still open) starts it anew at the same
address.

Knows nothing of audit, policy or configuration.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import asyncpg

from ostiary_tools.embedded import postmaster
from ostiary_tools.embedded.account import Account, server_account
from ostiary_tools.embedded.errors import EmbeddedError, InUse, Unreachable
from ostiary_tools.embedded.furnish import furnish
from ostiary_tools.embedded.launch import is_made, launch
from ostiary_tools.embedded.lock import holders_of, is_held, open_lock, opened, take_shared, try_alone, turn
from ostiary_tools.embedded.place import PORT, Place, check_socket_dir, place_of, prepare

Progress = Callable[[str], None]

_PATIENCE_S = 10.0
"""How long `stop` and `reset` wait for another process that starts or stops the server."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server, held until `detach`."""

    place: Place
    socket_dir: Path
    version: str
    """As the server says: `18.6`."""
    _hold: list[int]
    """The descriptor of our share in the holders' lock; empty once detached."""

    @property
    def data_dir(self) -> Path:
        """PGDATA."""
        return self.place.data_dir

    def dsn(self, role: str, database: str) -> str:
        """The address for asyncpg and libpq; no secret in it."""
        return f"postgresql://{quote(role, safe='')}@/{quote(database, safe='')}?host={quote(str(self.socket_dir))}&port={PORT}"

    async def detach(self, progress: Progress = lambda _: None) -> None:
        """Give the server back, and stop it when nobody else holds it. Close connections first; again is harmless."""
        if not self._hold:
            return
        fd = self._hold.pop()
        try:
            async with turn(self.place.turn_lock, lambda _: None):
                last = try_alone(fd)
                os.close(fd)  # within our turn, or the next one to detach would take us for a holder
                fd = -1
                if last and await asyncio.to_thread(postmaster.is_alive, self.place):
                    await _stop(self.place, progress)
        finally:
            if fd >= 0:
                os.close(fd)


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a home's server without touching it."""

    running: bool
    in_use: bool
    """Some process holds the server, or is starting or stopping it."""
    holders: tuple[int, ...] = ()
    """Their process ids; empty where the system does not tell."""
    pid: int | None = None
    version: str | None = None
    """`None` when the server did not answer."""
    data_dir: Path | None = None
    """`None` where no server ever ran."""
    socket_dir: Path | None = None
    size_bytes: int = 0


async def attach(home: Path, progress: Progress, *, runtime_dir: Path | None = None) -> Cluster:
    """Start or adopt the server of `home` and hold it.

    `runtime_dir` is a private directory for sockets (XDG_RUNTIME_DIR) where there is one. The first time takes
    seconds, recovery after a crash as long as it takes; both speak to `progress`. Raises EmbeddedError.
    """
    try:
        place, account = await asyncio.to_thread(_prepared, home, runtime_dir)
        async with turn(place.turn_lock, _say_waiting(progress)):
            return await _attach(place, account, progress)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        message = f"the embedded database could not be prepared: {error}"
        raise EmbeddedError(
            message, f"is there room in `{home}`, and may you write there? its logs are below `{home / 'postgres'}`"
        ) from error


async def status(home: Path) -> Status:
    """Look, and change nothing."""
    place = await asyncio.to_thread(_known, home)
    if place is None:
        return Status(running=False, in_use=False)
    try:
        async with turn(place.turn_lock, _give_up_after(0)):
            in_use = await asyncio.to_thread(is_held, place.holders_lock)
            running = await asyncio.to_thread(postmaster.is_alive, place)
    except InUse:
        in_use = running = True
    holders = await asyncio.to_thread(holders_of, place.holders_lock)
    size = await asyncio.to_thread(_size_bytes, place.data_dir)
    note = await asyncio.to_thread(postmaster.read_pid_file, place.data_dir) if running else None
    if note is None:
        return Status(running, in_use, holders, None, None, place.data_dir, None, size)
    version = await postmaster.version_of(place, note)
    return Status(running, in_use, holders, note.pid, version, place.data_dir, note.socket_dir, size)


async def stop(home: Path, progress: Progress = lambda _: None, *, force: bool = False) -> bool:
    """Stop a server that nobody holds, or with `force` whoever holds it; false when none runs.

    Raises InUse with the holders, and Unreachable when it has not stopped within a minute.
    """
    place = await asyncio.to_thread(_known, home)
    if place is None:
        return False
    async with turn(place.turn_lock, _give_up_after(_PATIENCE_S)):
        if not force:
            await _refuse_in_use(place)
        if not await asyncio.to_thread(postmaster.is_alive, place):
            return False
        if not await _stop(place, progress):
            raise Unreachable("the database is still shutting down", "look again in a while with `ostiary status`")
    return True


async def reset(home: Path, progress: Progress = lambda _: None) -> None:
    """Delete the databases of a home for good. Raises InUse. Whoever calls this has asked first."""
    place = await asyncio.to_thread(_known, home)
    if place is None:
        return
    async with turn(place.turn_lock, _give_up_after(_PATIENCE_S)):
        await _refuse_in_use(place)
        if await asyncio.to_thread(postmaster.is_alive, place) and not await _stop(place, progress):
            raise Unreachable("the database is still shutting down, nothing was deleted", "try again in a while")
        progress("deleting the databases")
        for directory in (place.data_dir, place.log_dir):
            if await asyncio.to_thread(directory.exists):
                await _to_its_end(shutil.rmtree, directory)


@asynccontextmanager
async def attached(home: Path, progress: Progress, *, runtime_dir: Path | None = None) -> AsyncIterator[Cluster]:
    """`attach` for a block, `detach` after it."""
    cluster = await attach(home, progress, runtime_dir=runtime_dir)
    try:
        yield cluster
    finally:
        await cluster.detach()


async def _attach(place: Place, account: Account, progress: Progress) -> Cluster:
    fd = open_lock(place.holders_lock)
    try:
        running = await _adopt(place, account, progress, alone=try_alone(fd)) or await _start(place, account, progress)
        await furnish(running.socket_dir, progress)
        take_shared(fd)
    except BaseException:
        os.close(fd)
        raise
    return Cluster(place, running.socket_dir, running.version, [fd])


async def _adopt(place: Place, account: Account, progress: Progress, *, alone: bool) -> postmaster.Running | None:
    """The server that lives already, once it answers; `None` when there is none."""
    if not await asyncio.to_thread(postmaster.is_alive, place):
        return None
    try:
        running = await postmaster.answer(place, progress)
    except Unreachable:
        # Its socket was swept away, perhaps with the user's last session. Nobody can be using it if nobody else holds it.
        if not alone:
            raise
        if not await postmaster.end(place, progress):
            raise
        return None
    if running is not None:
        await asyncio.to_thread(check_socket_dir, running.socket_dir, account)
    return running


async def _start(place: Place, account: Account, progress: Progress) -> postmaster.Running:
    """A fresh server; made first where there is none yet."""
    if not await asyncio.to_thread(is_made, place):
        progress("making the database (only the first time)")
    await _to_its_end(launch, place, account)
    running = await postmaster.answer(place, progress)
    if running is None:
        words = await asyncio.to_thread(postmaster.last_words, place)
        raise EmbeddedError(
            f"PostgreSQL did not start: {words or 'it gave no reason'}", f"see `{place.start_log}` and `{place.log_dir}`"
        )
    return running


async def _to_its_end(work: Callable[..., object], *arguments: object) -> None:
    """Run in a thread. A cancelled caller waits for it all the same: it must not go on when our turn is over."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _known(home: Path) -> Place | None:
    """The place, if a server ever ran there. Raises EmbeddedError when we may not look."""
    place = place_of(home, None)
    try:
        if not place.turn_lock.exists():
            return None
        with opened(place.turn_lock):
            return place
    except OSError as error:
        raise EmbeddedError(f"`{home}` cannot be looked into: {error.strerror}", "run as the user who owns it") from error


def _prepared(home: Path, runtime_dir: Path | None) -> tuple[Place, Account]:
    place = place_of(home, runtime_dir)
    account = server_account(place.cluster_dir)
    prepare(place, account)
    return place, account


async def _stop(place: Place, progress: Progress) -> bool:
    """End the server and remove its socket's directory, which another start makes again."""
    note = await asyncio.to_thread(postmaster.read_pid_file, place.data_dir)
    gone = await postmaster.end(place, progress)
    if gone and note is not None and note.socket_dir is not None:
        with suppress(OSError):
            await asyncio.to_thread(note.socket_dir.rmdir)
    return gone


async def _refuse_in_use(place: Place) -> None:
    if await asyncio.to_thread(is_held, place.holders_lock):
        holders = await asyncio.to_thread(holders_of, place.holders_lock)
        who = f" (process {', '.join(map(str, holders))})" if holders else ""
        raise InUse(f"the database is in use{who}", "close the programs that use it, or stop it with `--force`", holders=holders)


def _say_waiting(progress: Progress) -> Callable[[float], None]:
    """Speaks at once and then every few seconds."""
    due = [0.0]

    def waiting(waited_s: float) -> None:
        if waited_s >= due[0]:
            progress("waiting for another process that starts or stops the database")
            due[0] = waited_s + 5

    return waiting


def _give_up_after(limit_s: float) -> Callable[[float], None]:
    def waiting(waited_s: float) -> None:
        if waited_s >= limit_s:
            raise InUse("another process is starting or stopping the database", "try again in a moment")

    return waiting


def _size_bytes(directory: Path) -> int:
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # files come and go under a running server
                total += os.lstat(Path(parent) / name).st_size
    return total
