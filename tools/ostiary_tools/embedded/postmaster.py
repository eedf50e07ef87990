"""The server's process: start it, know it again, wait for its answer, end it.

A process id in a file proves nothing, for it may be somebody else's by now. That a
server lives is told by the `alive` lock, which it holds itself; which one it is, by
its answer to a `select`: data directory and start time must be those of its pid file.
"""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from ostiary_tools.embedded.account import Account
from ostiary_tools.embedded.binaries import Binaries
from ostiary_tools.embedded.errors import EmbeddedError, Unreachable
from ostiary_tools.embedded.lock import is_held, opened, try_alone
from ostiary_tools.embedded.names import ADMIN
from ostiary_tools.embedded.place import PORT, Place
from ostiary_tools.embedded.settings import settings_file

Progress = Callable[[str], None]

_POLL_S = 0.02
_REPORT_S = 2.0
_SILENCE_S = 15.0
"""How long a living server may neither answer nor say that it is starting, recovering or stopping."""
_START_DRIFT_S = 300
"""A postmaster notes its start before it reads its settings and again, for SQL, once it serves; a slow disk lies between."""

_ROUNDING_S = 1
_WHO = """
select current_setting('data_directory') as data_dir, extract(epoch from pg_postmaster_start_time())::bigint as started,
    current_setting('server_version') as version
"""


@dataclass(frozen=True, slots=True)
class PidFile:
    """What `postmaster.pid` says."""

    pid: int
    started: int
    """Seconds since 1970."""
    socket_dir: Path | None
    """`None` while the server has not opened it."""
    status: str
    """`starting`, `ready`, `standby` or `stopping`; empty before the first."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answered, and is the one of its data directory."""

    pid: int
    socket_dir: Path
    version: str


def read_pid_file(data_dir: Path) -> PidFile | None:
    """The server's note about itself; `None` when there is none or its first lines are not written yet."""
    try:
        lines = (data_dir / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        pid, started = int(lines[0]), int(lines[2])
    except (OSError, ValueError, IndexError):
        return None
    socket_dir = Path(lines[4]) if len(lines) > 4 and lines[4] else None  # noqa: PLR2004 - the fifth line
    status = lines[7].strip() if len(lines) > 7 else ""  # noqa: PLR2004 - the eighth line
    return PidFile(pid, started, socket_dir, status)


def is_alive(place: Place) -> bool:
    """Whether any process of the server is left."""
    return is_held(place.alive_lock)


def forget_dead(place: Place, socket_dir: Path | None) -> None:
    """Remove what a dead server left. Blocking; only in our turn, and when `is_alive` said no.

    PostgreSQL itself would believe a stale number as soon as some process of the same user has it.
    Raises EmbeddedError when the process is a server of this data directory that we did not start.
    """
    note = read_pid_file(place.data_dir)
    if note is not None and _is_postmaster(note.pid, place.data_dir):
        message = f"a PostgreSQL that ostiary did not start (process {note.pid}) uses `{place.data_dir}`"
        raise EmbeddedError(message, "stop it first")
    (place.data_dir / "postmaster.pid").unlink(missing_ok=True)
    if socket_dir is not None:
        (socket_dir / f".s.PGSQL.{PORT}").unlink(missing_ok=True)
        (socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)


def spawn(place: Place, binaries: Binaries, account: Account) -> None:
    """Start the server in a session of its own, with nothing of ours but the `alive` lock and `start.log`. Blocking."""
    with opened(place.alive_lock) as alive, place.start_log.open("wb") as log:
        if not try_alone(alive):
            raise Unreachable("a server of this data directory lives already", "try again")
        process = subprocess.Popen(
            [binaries.program("postgres"), "-D", place.data_dir, "-c", f"config_file={settings_file(place)}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C"},
            start_new_session=True,
            pass_fds=(alive,),
            umask=0o077,
            **account.switch(),
        )
    # It outlives us or we outlive it; in the second case somebody must read its exit status.
    threading.Thread(target=process.wait, name="ostiary-postmaster", daemon=True).start()


async def answer(place: Place, progress: Progress) -> Running | None:
    """Wait until the living server answers, and make sure that it is ours; `None` when it ends meanwhile.

    Recovery after a crash may take minutes and is waited for, with a word to `progress` now and then.
    Raises Unreachable.
    """
    begun = quiet_since = reported = time.monotonic()
    while True:
        note = await asyncio.to_thread(read_pid_file, place.data_dir)
        outcome = await _ask(place, note)
        if isinstance(outcome, Running):
            return outcome
        if not await asyncio.to_thread(is_alive, place):
            return None
        now = time.monotonic()
        if outcome or (note is not None and note.status in {"starting", "stopping"}):
            quiet_since = now
        if now - quiet_since > _SILENCE_S:
            raise _silent(note)
        if now - reported > _REPORT_S:
            reported = now
            progress(f"waiting for the database, {now - begun:.0f} s: {outcome or 'it does not answer yet'}")
        await asyncio.sleep(_POLL_S)


async def version_of(place: Place, note: PidFile) -> str | None:
    """The version of the server behind a note, if it answers and is the right one."""
    try:
        outcome = await _ask(place, note)
    except EmbeddedError:
        return None
    return outcome.version if isinstance(outcome, Running) else None


async def end(place: Place, progress: Progress) -> bool:
    """Ask the server to shut down without waiting for its clients (a `fast` shutdown), and wait until it is gone.

    False when it still had not ended after a minute: it goes on alone. Raises Unreachable when no process is it.
    """
    begun = reported = time.monotonic()
    asked = False
    while await asyncio.to_thread(is_alive, place):
        now = time.monotonic()
        if not asked:
            asked = await asyncio.to_thread(_interrupt, place)
            if not asked and now - begun > _SILENCE_S:
                raise _silent(await asyncio.to_thread(read_pid_file, place.data_dir))
        if now - begun > 60:  # noqa: PLR2004 - a minute
            return False
        if now - reported > _REPORT_S:
            reported = now
            progress(f"waiting for the database to stop, {now - begun:.0f} s")
        await asyncio.sleep(_POLL_S)
    return True


def last_words(place: Place) -> str:
    """The last complaint in `start.log`, for the message of a failed start. Blocking."""
    try:
        lines = place.start_log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    complaints = [line.partition(": ")[2].strip() for line in lines if "FATAL:" in line or "PANIC:" in line or "could not" in line]
    return complaints[-1] if complaints else (lines[-1].strip() if lines else "")


async def _ask(place: Place, note: PidFile | None) -> Running | str:
    """The server behind the note's socket, or why not yet in the server's own words (empty: silence).

    Raises EmbeddedError when another server answers.
    """
    if note is None or note.socket_dir is None:
        return ""
    try:
        connection = await asyncpg.connect(host=str(note.socket_dir), port=PORT, user=ADMIN, database="postgres", timeout=10)
    except asyncpg.CannotConnectNowError as error:
        return str(error)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        message = f"the server in `{note.socket_dir}` was started by another user and refuses us"
        raise EmbeddedError(message, "run as that user, or stop it first") from error
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.TooManyConnectionsError, asyncpg.InterfaceError):
        return ""
    try:
        found = await connection.fetchrow(_WHO)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return ""
    finally:
        connection.terminate()
    if (
        found is None
        or not _same(place.data_dir, Path(found["data_dir"]))
        or not -_ROUNDING_S <= found["started"] - note.started <= _START_DRIFT_S
    ):
        message = f"the server that answers in `{note.socket_dir}` is not the one of `{place.data_dir}`"
        raise EmbeddedError(message, "stop that server, then start again")
    return Running(note.pid, note.socket_dir, found["version"].split()[0])


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _interrupt(place: Place) -> bool:
    """SIGINT to the postmaster, and to nobody who merely has its number."""
    note = read_pid_file(place.data_dir)
    if note is None or not _is_postmaster(note.pid, place.data_dir):
        return False
    try:
        os.kill(note.pid, signal.SIGINT)
    except ProcessLookupError:
        return False
    return True


def _is_postmaster(pid: int, data_dir: Path) -> bool:
    """Whether the process was started as `postgres -D data_dir`. A dead child that nobody reaped has no command line."""
    if Path("/proc/self/cmdline").exists():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return Path(os.fsdecode(words[0])).name == "postgres" and os.fsencode(data_dir) in words[1:]
    shown = subprocess.run(["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout
    return b"postgres" in shown and os.fsencode(data_dir) in shown


def _silent(note: PidFile | None) -> Unreachable:
    where = "" if note is None or note.socket_dir is None else f" in `{note.socket_dir}`"
    message = f"a server of this data directory lives, but does not answer{where}"
    return Unreachable(message, "stop every ostiary process that uses this home, also in other containers, then start again")
