"""PostgreSQL's programs on this machine, by version and by whether they can speak TLS.

A program that is sent to a server is at least as new as the server; one that works on files is of its major version exactly.
Blocking: each candidate is asked, for a name or a package proves nothing.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary_tools.embedded.account import Account
from ostiary_tools.embedded.binaries import Binaries, bundled, reachable_by
from ostiary_tools.embedded.errors import EmbeddedError
from ostiary_tools.errors import Unavailable

OLDEST = 14
"""Of servers that are backed up."""
_INSTALLED = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/bin",
    "/usr/bin",
)
"""Where packages put them."""
_CLIENT = ("pg_dump", "pg_isready")
_SERVER = ("postgres", "initdb", "pg_controldata", "pg_checksums")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
_PATIENCE_S = 30.0
_NOT_TRIED = 3
"""How pg_isready ends when libpq does not understand what it was told."""


@dataclass(frozen=True, slots=True)
class Sought:
    """Where programs are looked for besides where packages put them."""

    folders: tuple[Path, ...] = ()
    """Looked into first: as configured, then of PATH."""
    copies: Path | None = None
    """Where the bundled programs may be copied to for a user who cannot reach them."""


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with programs of one version."""

    folder: Path
    major: int
    version: str
    """Such as `18.6`."""

    def path(self, name: str) -> Path:
        """Of one program."""
        return self.folder / name


def for_server_at(major: int, *needed: str, tls: bool, sought: Sought) -> Programs:
    """Programs to send to a server of this major version: the same version before a newer one. Raises Unavailable."""
    names = (*_CLIENT, *needed)
    able = [one for one in _found(names, None, sought) if one.major >= major]
    for one in sorted(able, key=lambda one: one.major):
        if not tls or _speaks_tls(one):
            return one
    package = f"install `postgresql-client-{major}`, or name the folder of its programs as `[backup] programs`"
    if able:
        raise Unavailable(f"no program of PostgreSQL {major} or newer on this machine can speak TLS", package)
    raise Unavailable(f"no `{_named(needed)}` of PostgreSQL {major} or newer is on this machine", package)


def to_serve(major: int, account: Account, sought: Sought) -> Programs:
    """Programs that run a data directory of this major version as that user. Raises Unavailable."""
    for one in _found(_SERVER, account, sought):
        if one.major == major:
            return one
    hint = f"install `postgresql-{major}`, or name the folder of its programs as `[backup] programs`"
    raise Unavailable(f"no server of PostgreSQL {major} that `{account.name}` can run is on this machine", hint)


def _found(names: Sequence[str], account: Account | None, sought: Sought) -> Iterator[Programs]:
    """Folders that have all of these programs, as the first of them says its version when it is run."""
    for folder in _folders(account, sought):
        if all((folder / name).exists() for name in names) and (found := _version(folder / names[0], account)):
            yield Programs(folder, int(found[1]), found[1] + found[2])


def _folders(account: Account | None, sought: Sought) -> Iterator[Path]:
    yield from sought.folders
    with suppress(EmbeddedError, OSError):  # not installed, or that user cannot reach it: others may be there
        yield _bundled(account, sought.copies).bin_dir
    for pattern in _INSTALLED:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")), reverse=True)


def _bundled(account: Account | None, copies: Path | None) -> Binaries:
    return bundled() if account is None or copies is None else reachable_by(account, bundled(), copies)


def _version(program: Path, account: Account | None) -> re.Match[str] | None:
    switch: dict[str, Any] = {} if account is None else account.switch()
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, env={"LC_ALL": "C"}, check=False, cwd="/", timeout=_PATIENCE_S, **switch
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # One that crashes is there and cannot be used.
    return _VERSION.search(done.stdout.decode(errors="replace")) if done.returncode == 0 else None


def _speaks_tls(programs: Programs) -> bool:
    """A libpq without TLS refuses to be told that it is needed, before it looks for any server."""
    environment = {"LC_ALL": "C", "PGSSLMODE": "require", "PGHOST": "/nonexistent", "PGPORT": "1"}
    done = subprocess.run([programs.path("pg_isready")], env=environment, check=False, cwd="/", capture_output=True)
    return done.returncode != _NOT_TRIED


def _named(needed: Sequence[str]) -> str:
    return "`, `".join(needed or _CLIENT[:1])
