"""A server for a data directory of a restore or a drill: ours alone, on a private socket, and it does nothing by itself.

Whatever the data directory says, the server listens to no network, archives nothing, connects to no other server, loads no library
that its settings name, and lets in nobody but the user of this process. A data directory that a server lives on is refused.
"""

import asyncio
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from ostiary_tools.backup.programs import Programs
from ostiary_tools.backup.quiet import SESSION, quiet_settings
from ostiary_tools.backup.running import Command, Running, complaint, run, started
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.embedded.account import Account, blocked, ourselves
from ostiary_tools.errors import Damaged, ProgramFailed, Refused, ToolError, Unavailable
from ostiary_tools.identifiers import one_line, quoted

PORT = 5432
"""Only a part of the socket's file name."""
SERVER = "server"
"""What is damaged where a copy's server ended."""
_POLL_S = 0.05
_STOP_S = 120.0
"""How long a server may write what it holds, once it is asked to stop, before it is killed."""
_GOING_S = 20.0
"""How long a server that lets go of its sessions may take to end."""
_MOMENT_S = 1.0
"""How long one that was killed may take to be missed."""
_KILLED = "was terminated by signal 9"
"""What a server says of a process of its own."""
_FULL = "No space left on device"
_LONGEST_SOCKET = 103
AT_LEAST_AS = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
"""A server in recovery must have as much of these as the one whose history it repeats."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What servers of copies stand on."""

    programs: Programs
    account: Account
    """Whom the data directory belongs to."""
    runtime_dir: Path | None = None
    """A private folder for sockets such as XDG_RUNTIME_DIR, where there is one."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """A server of a copy."""

    socket_dir: Path
    superuser: str
    _running: Running = field(repr=False)

    def dsn(self, database: str, user: str = "") -> str:
        """The address for asyncpg and libpq; no secret in it."""
        who = quote(user or self.superuser, safe="")
        return f"postgresql://{who}@/{quote(database, safe='')}?host={quote(str(self.socket_dir))}&port={PORT}"

    async def connect(self, database: str = "postgres") -> asyncpg.Connection:
        """As its superuser; wait until it lets in. Raises Damaged when it ends instead, with what it said."""
        while True:
            try:
                return await asyncpg.connect(
                    host=str(self.socket_dir),
                    port=PORT,
                    user=self.superuser,
                    database=database,
                    server_settings=SESSION,
                    timeout=60,
                )
            except (asyncpg.CannotConnectNowError, ConnectionError, FileNotFoundError):
                if self._running.over:
                    raise self.failed() from None
                await asyncio.sleep(_POLL_S)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if self._running.over:
                    raise self.failed() from None
                if isinstance(error, asyncpg.InternalServerError):  # a catalog that is no longer one
                    what = f"database {one_line(quoted(database))}"
                    raise Damaged(what, f"{what} of the copy cannot be entered: {error}", "use another backup") from error
                raise Unavailable(f"the copy's server refuses us: {error}") from error

    @property
    def over(self) -> bool:
        """Whether the server has ended."""
        return self._running.over

    async def stop(self) -> None:
        """Stop it cleanly, whoever is connected. Raises ProgramFailed where it did not."""
        self._running.signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._running.ended()
        except TimeoutError:
            raise ProgramFailed(f"the copy's server had not stopped after {_STOP_S:.0f} s") from None

    async def end(self) -> Damaged | Unavailable:
        """Why it ended; one that has not by now is not waited for."""
        await self.gone(_GOING_S)
        return self.failed()

    async def gone(self, seconds: float = _MOMENT_S) -> bool:
        """Whether it has ended, or does so in this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._running.code()
        return self.over

    @property
    def killed(self) -> bool:
        """Whether it, or a process of it, was killed: for want of memory, or by somebody. That says nothing of the copy."""
        return self._running.killed or _KILLED in self._running.said

    async def not_killed(self) -> None:
        """For who found something that may come of that alone. Raises Unavailable where it was killed."""
        await self.gone()
        if self.killed:
            raise self.failed() from None

    def failed(self) -> Damaged | Unavailable:
        """Why it ended, in its words."""
        if self.killed:
            return Unavailable("the copy's server was killed", "see that this machine has memory enough, and try again")
        reason = fatal(self._running.said) or "it gave no reason"
        if _FULL in reason:
            return Unavailable("the copy's server found no space left on the device", "see that there is room for the copy")
        return Damaged(SERVER, f"the copy's server ended: {reason}")


@asynccontextmanager
async def serving(
    data_dir: Path, ground: Ground, superuser: str, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Scratch]:
    """A server of that data directory while the block lasts; it may not let in yet. `settings` win over ours.

    Raises Refused for a data directory that is in use or not the account's, Unavailable, and Damaged.
    """
    await asyncio.to_thread(_check, data_dir, ground)
    facts = await control_data(data_dir, ground)
    private = await asyncio.to_thread(_private, ground, superuser)
    limits = {name: facts[label] for label, name in AT_LEAST_AS.items() if label in facts}
    chosen = {**quiet_settings(ground.programs.major), "port": str(PORT), **limits, **_files(private, data_dir), **(settings or {})}
    command = Command(
        ground.programs.path("postgres"),
        ("-D", str(data_dir), *(word for name, value in chosen.items() for word in ("-c", f"{name}={value}"))),
        account=ground.account,
        last_signal=signal.SIGINT,
        grace_s=_STOP_S,
        rubbish=private,
    )
    try:
        async with started(command) as running:
            scratch = Scratch(private, superuser, running)
            try:
                yield scratch
            except (ToolError, *DRIVER_ERRORS):
                # Who spoke with a server that was killed knows no more than that it broke off.
                await scratch.not_killed()
                raise
    finally:
        await asyncio.to_thread(shutil.rmtree, private, ignore_errors=True)


async def make(data_dir: Path, ground: Ground, superuser: str, *arguments: str) -> None:
    """A new and empty data directory, with page checksums; `arguments` are initdb's. Raises ProgramFailed."""
    words = (f"--pgdata={data_dir}", f"--username={superuser}", "--auth-local=peer", "--auth-host=reject", "--data-checksums")
    await run(Command(ground.programs.path("initdb"), (*words, *arguments), account=ground.account))


async def check_pages(data_dir: Path, ground: Ground) -> int:
    """Compare every page of a stopped copy with its checksum; how many there were. Raises Damaged, naming a file."""
    command = Command(ground.programs.path("pg_checksums"), ("--check", "-D", str(data_dir)), account=ground.account, writes=True)
    async with started(command) as running:
        output = (await asyncio.to_thread(running.output.read)).decode(errors="replace")
        code = await running.verdict()
        bad = re.search(r'checksum verification failed in file "([^"]*)", block (\d+)', running.said)
        if bad:
            file = Path(bad[1]).relative_to(data_dir) if Path(bad[1]).is_relative_to(data_dir) else Path(bad[1]).name
            raise Damaged(str(file), f"page {bad[2]} of the file `{file}` is not as it was written")
        if code:
            raise ProgramFailed(f"`{running.name}` ended with an error: {running.words()}")
    blocks = re.search(r"Blocks scanned: *(\d+)", output)
    return int(blocks[1]) if blocks else 0


async def has_checksums(data_dir: Path, ground: Ground) -> bool:
    """Whether its pages are summed. Raises Damaged."""
    return (await control_data(data_dir, ground)).get("Data page checksum version", "0") != "0"


async def control_data(data_dir: Path, ground: Ground) -> Mapping[str, str]:
    """What `pg_controldata` says. Raises Damaged."""
    command = Command(ground.programs.path("pg_controldata"), ("-D", str(data_dir)), account=ground.account, writes=True)
    async with started(command) as running:
        output = (await asyncio.to_thread(running.output.read)).decode(errors="replace")
        if await running.verdict() or "warning" in (output + running.said).lower():
            raise Damaged("global/pg_control", "the control file of the data directory cannot be read")
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in output.splitlines())}


def fatal(said: str) -> str:
    """The first reason that a server gave for its end: the ones after it follow from that."""
    lines = [line.partition("FATAL:")[2] or line.partition("PANIC:")[2] for line in said.splitlines()]
    reasons = [line.strip() for line in lines if line.strip()]
    # Who connects while it starts is told so, and that is nobody's end.
    real = [line for line in reasons if not line.startswith("the database system is")]
    return complaint(f"FATAL:  {real[0]}") if real else complaint(said)


def _check(data_dir: Path, ground: Ground) -> None:
    if os.path.lexists(data_dir / "postmaster.pid"):
        raise Refused("living", "a server uses this data directory", "a backup is restored to something new, never over what lives")
    barrier = blocked(data_dir, ground.account)
    if barrier is not None:
        message = f"PostgreSQL runs as the user `{ground.account.name}`, who may not pass `{barrier}`"
        raise Unavailable(message, f"choose a folder outside it, or let others pass with `chmod o+x {barrier}`")
    if data_dir.stat().st_uid != ground.account.uid:
        raise Refused("owner", "the data directory belongs to another user")


def _files(private: Path, data_dir: Path) -> Mapping[str, str]:
    return {
        "config_file": str(private / "postgresql.conf"),
        "hba_file": str(private / "hba.conf"),
        "ident_file": str(private / "ident.conf"),
        "data_directory": str(data_dir),
        "unix_socket_directories": str(private),
    }


def _private(ground: Ground, superuser: str) -> Path:
    """A folder for the socket and for who may log in, of the server's user alone. Raises Unavailable."""
    made = _short_folder(ground)
    who = ourselves().name
    files = {
        "postgresql.conf": "# All of it is said on the command line.\n",
        "hba.conf": "local all all peer map=ostiary\n",
        "ident.conf": f"ostiary {_quoted(who)} {_quoted(superuser)}\n",
    }
    for name, text in files.items():
        (made / name).write_text(text, encoding="utf-8")
    for path in (*made.iterdir(), made):
        if ground.account.uid != os.geteuid():
            os.chown(path, ground.account.uid, ground.account.gid)
    return made


def _short_folder(ground: Ground) -> Path:
    parents = [*([ground.runtime_dir] if ground.runtime_dir else []), Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 ours is 0700
    for parent in parents:
        longest = parent / "ostiary-copy-12345678" / f".s.PGSQL.{PORT}"
        odd = set(str(parent)) & set(",\"'\\\n")
        if parent.is_dir() and not odd and len(os.fsencode(longest)) <= _LONGEST_SOCKET and blocked(parent, ground.account) is None:
            try:
                return Path(tempfile.mkdtemp(prefix="ostiary-copy-", dir=parent))
            except OSError:
                continue
    message = "no folder for the socket of the copy's server is short enough and reachable"
    raise Unavailable(message, f"`{parents[-1]}` must exist and let the user `{ground.account.name}` pass")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
