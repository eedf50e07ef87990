"""Where the embedded server lives on disk, and the checks that it is really ours.

    <home>/postgres/            ours; the locks, `start.log` and what follows
        conf/                   ours; settings and who may log in, written anew at every start
        programs/<version>/     ours; a copy of the programs, only where the wheel's cannot be reached
        cluster/                the server user's; `data/` and `log/`
    <runtime>/ostiary-<uid>-<hash of home>/     the server user's, 0700: the socket

What we make we make private; the mode of what exists is never changed. As root the
server is another user, so directories on the way are made passable (0711) for it, and
an existing one that is not is refused with the mend.
"""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.embedded.account import Account, blocked, ourselves
from ostiary_tools.embedded.errors import EmbeddedError

PORT = 5432
"""Only a part of the socket's file name: the server opens no network port."""

_PRIVATE = 0o700
_LONGEST_SOCKET = 103
"""Bytes that a socket's path may have on macOS; Linux allows 107."""


@dataclass(frozen=True, slots=True)
class Place:
    """The paths of one home."""

    home: Path
    """Absolute, with links resolved."""
    runtime_dir: Path | None = None
    """A private directory for sockets such as XDG_RUNTIME_DIR, where there is one."""

    @property
    def postgres_dir(self) -> Path:
        """Ours, beneath the home."""
        return self.home / "postgres"

    @property
    def turn_lock(self) -> Path:
        """See `lock`."""
        return self.postgres_dir / "turn.lock"

    @property
    def holders_lock(self) -> Path:
        """See `lock`."""
        return self.postgres_dir / "holders.lock"

    @property
    def alive_lock(self) -> Path:
        """See `lock`."""
        return self.postgres_dir / "alive.lock"

    @property
    def conf_dir(self) -> Path:
        """What we tell the server. Ours, not the server user's: a server that was broken into cannot open its own door."""
        return self.postgres_dir / "conf"

    @property
    def programs_dir(self) -> Path:
        """Copies of the programs, by version."""
        return self.postgres_dir / "programs"

    @property
    def start_log(self) -> Path:
        """What the server says before its own log is open."""
        return self.postgres_dir / "start.log"

    @property
    def cluster_dir(self) -> Path:
        """The server user's."""
        return self.postgres_dir / "cluster"

    @property
    def data_dir(self) -> Path:
        """PGDATA."""
        return self.cluster_dir / "data"

    @property
    def log_dir(self) -> Path:
        """The server's own log, a file per weekday."""
        return self.cluster_dir / "log"


def place_of(home: Path, runtime_dir: Path | None) -> Place:
    """The place of a home as the caller wrote it; touches nothing. Blocking."""
    return Place(home.resolve(), runtime_dir)


def prepare(place: Place, account: Account) -> None:
    """Make what is missing beneath the home and refuse what is not safely ours. Blocking. Raises EmbeddedError."""
    mode = 0o700 if account.uid == os.geteuid() else 0o711
    if not place.home.exists():
        place.home.parent.mkdir(parents=True, exist_ok=True)
        _make(place.home, mode)
    _check_home(place.home, account)
    for directory in (place.postgres_dir, place.conf_dir, place.programs_dir):
        _make(directory, mode if directory == place.postgres_dir else 0o755)
        _check_ours(directory, os.geteuid())
    _make_for(place.cluster_dir, account)
    _check_ours(place.cluster_dir, account.uid)


def socket_dir(place: Place, account: Account, last: Path | None) -> Path:
    """Make and check the directory of the socket. Blocking. Raises EmbeddedError.

    `last` is where a server that died had it: other processes still look there, if it is still there.
    """
    runtime = [] if place.runtime_dir is None else [place.runtime_dir]
    known = [] if last is None or not last.is_dir() else [last]
    name = f"ostiary-{account.uid}-{hashlib.sha256(os.fsencode(place.home)).hexdigest()[:10]}"
    parents = [*runtime, Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - the directory in it is 0700 and checked
    for directory in (*known, *(parent / name for parent in parents)):
        if _fits(directory) and directory.parent.is_dir() and blocked(directory.parent, account) is None and _may_make(directory):
            _make_for(directory, account)
            check_socket_dir(directory, account)
            return directory
    message = "no directory for the server's socket is short enough and reachable"
    raise EmbeddedError(message, f"`{parents[-1]}` must exist and let the user `{account.name}` pass")


def check_socket_dir(directory: Path, account: Account) -> None:
    """Refuse a directory in which somebody else could stand in for the server. Raises EmbeddedError."""
    _check_ours(directory, account.uid)
    mode = stat.S_IMODE(directory.lstat().st_mode)
    if mode != _PRIVATE:
        message = f"the socket's directory `{directory}` has mode {mode:04o} instead of 0700"
        raise EmbeddedError(message, "stop every ostiary process, remove the directory and start again")


def _fits(directory: Path) -> bool:
    """PostgreSQL reads a list here, so commas and quotes would split the path; asyncpg splits at commas too."""
    text = str(directory)
    return (
        directory.is_absolute()
        and len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET
        and not set(text) & set(",\"'\\\n")
    )


def _may_make(directory: Path) -> bool:
    return directory.is_dir() or os.access(directory.parent, os.W_OK | os.X_OK)


def _make(directory: Path, mode: int) -> None:
    """Make one directory with exactly this mode, whatever the umask, unless the name is taken."""
    try:
        directory.mkdir(mode=mode)
    except FileExistsError:
        return
    except OSError as error:
        message = f"`{directory}` cannot be made: {error.strerror}"
        raise EmbeddedError(message, "choose a home that you may write to") from error
    if stat.S_IMODE(directory.stat().st_mode) != mode:
        directory.chmod(mode)


def _make_for(directory: Path, account: Account) -> None:
    """Make a private directory of the server's user, unless the name is taken; never seen with another owner."""
    if account.uid == os.geteuid():
        _make(directory, _PRIVATE)
    elif not os.path.lexists(directory):
        fresh = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
        os.chown(fresh, account.uid, account.gid)
        try:
            fresh.rename(directory)
        except OSError:  # another process was faster, and the directory is in use already
            fresh.rmdir()


def _check_home(home: Path, account: Account) -> None:
    status = home.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise EmbeddedError(f"the home `{home}` is not a directory", "choose another home")
    if status.st_uid not in (os.geteuid(), account.uid):
        message = f"the home `{home}` belongs to another user (id {status.st_uid})"
        raise EmbeddedError(message, "run as that user, or choose another home")
    if status.st_mode & stat.S_IWOTH:
        raise EmbeddedError(
            f"everybody may write to the home `{home}`", f"take that away with `chmod o-w {home}`, or choose another home"
        )
    barrier = blocked(home, account)
    if barrier is not None:
        message = f"PostgreSQL runs as the user `{account.name}`, who may not pass `{barrier}`"
        if account.uid == ourselves().uid:
            raise EmbeddedError(message, f"give it its owner's `x` with `chmod u+x {barrier}`, or choose another home")
        raise EmbeddedError(
            message, f"choose a home outside it such as /var/lib/ostiary, or let others pass with `chmod o+x {barrier}`"
        )


def _check_ours(directory: Path, uid: int) -> None:
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise EmbeddedError(f"`{directory}` is not a directory", "remove it, or choose another home")
    if status.st_uid != uid:
        message = f"`{directory}` belongs to another user (id {status.st_uid}) instead of {uid}"
        raise EmbeddedError(message, "run as that user, or choose another home")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedError(f"others may write to `{directory}`", f"take that away with `chmod go-w {directory}`")
