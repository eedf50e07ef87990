"""pgBackRest and Barman as the system's packages bring them, each with two backups of a PostgreSQL 15 of its own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fix_postgres import ADMIN, POSTGRES_15, PostgresServer, new_server, short_directory

from ostiary_tools.backup.external.barman import Barman
from ostiary_tools.backup.external.pgbackrest import PgBackRest
from ostiary_tools.backup.external.port import External, Tool
from ostiary_tools.embedded.account import named

ROWS = "CREATE TABLE orders (id int PRIMARY KEY, total numeric); INSERT INTO orders SELECT n, n FROM generate_series(1, 5000) n;"
MORE = "INSERT INTO orders SELECT n, n FROM generate_series(5001, 6000) n;"
STANZA = "shop"
PGBACKREST = """
[global]
repo1-path={home}/repository
lock-path={home}/lock
log-level-file=off
start-fast=y
compress-type=zst
[shop]
pg1-path={data}
pg1-socket-path={socket}
pg1-user={admin}
"""
BARMAN = """
[barman]
barman_home={home}/repository
barman_user={user}
barman_lock_directory={home}
log_file={home}/log
configuration_files_directory=
[shop]
description=shop
conninfo=host={socket} user={admin} dbname=postgres
streaming_conninfo=host={socket} user={admin}
backup_method=postgres
archiver=on
path_prefix={programs}
immediate_checkpoint=true
"""


@dataclass(frozen=True)
class KeptElsewhere:
    """A server, and what a tool keeps of it."""

    kind: str
    server: PostgresServer
    home: Path
    config: Path
    program: str

    @property
    def external(self) -> External:
        """Its adapter, as an installation calls it `main`."""
        account = named(self.server.user) if self.server.user is not None else None
        tool = Tool("main", Path(self.program), STANZA, self.config, account)
        return PgBackRest(tool) if self.kind == "pgbackrest" else Barman(tool)

    @property
    def section(self) -> str:
        """For the configuration."""
        user = f'user = "{self.server.user}"\n' if self.server.user is not None else ""
        said = f'[external.main]\ntool = "{self.kind}"\nstanza = "{STANZA}"\nconfig = "{self.config}"\nsuperuser = "{ADMIN}"\n'
        return f"{said}{user}recovery_point_s = 3600\nrecovery_time_s = 3600\n"

    def run(self, *words: str) -> str:
        """The tool, as who owns its repository."""
        here = (f"--config={self.config}", f"--stanza={STANZA}") if self.kind == "pgbackrest" else ("-c", str(self.config))
        done = subprocess.run(
            [self.program, *here, *words],
            user=self.server.user, cwd="/", text=True, capture_output=True, timeout=120, check=False,
            env={"PATH": os.defpath, "HOME": str(self.home)},
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def files(self) -> dict[str, tuple[int, int]]:
        """All that it keeps: sizes and times of the last change."""
        found = (path for path in (self.home / "repository").rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


@pytest.fixture(scope="session", params=["pgbackrest", "barman"])
def kept_elsewhere(request: pytest.FixtureRequest) -> Iterator[KeptElsewhere]:
    """With two backups, of which the second has more rows; skipped where the tool, or PostgreSQL 15, is not installed."""
    program = shutil.which(request.param)
    if program is None or not (POSTGRES_15 / "lib" / "dblink.so").exists():
        pytest.skip(f"the package `{request.param}`, or PostgreSQL 15 with contrib, is not installed")
    home = short_directory()
    home.chmod(0o755)
    try:
        yield from _kept(request.param, program, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _kept(kind: str, program: str, home: Path) -> Iterator[KeptElsewhere]:
    root, config = home / "server", home / "tool.conf"
    root.mkdir()
    archiving = {
        "pgbackrest": f"{program} --config={config} --stanza={STANZA} archive-push %p",
        "barman": f"cp %p {home}/repository/{STANZA}/incoming/%f",
    }[kind]
    server = new_server(root, {"archive_mode": "on", "fsync": "off", "archive_command": archiving}, POSTGRES_15 / "bin")
    server.run("pg_checksums", "--enable", "--no-sync", "-D", str(server.data))
    for folder in (home / "repository", home / "lock", *(home / "repository" / part for part in (STANZA, f"{STANZA}/incoming"))):
        if kind == "pgbackrest" and STANZA in folder.parts:
            continue
        folder.mkdir()
        if server.user is not None:
            shutil.chown(folder, server.user)
    if server.user is not None:
        shutil.chown(home, server.user)
    user = server.user or os.environ.get("USER", "root")
    said = {"home": home, "data": server.data, "socket": root, "admin": ADMIN, "user": user, "programs": POSTGRES_15 / "bin"}
    config.write_text((PGBACKREST if kind == "pgbackrest" else BARMAN).format(**said))
    config.chmod(0o644)
    made = KeptElsewhere(kind, server, home, config, program)
    server.start()
    try:
        _BEGINNINGS[kind](made)
        yield made
    finally:
        server.stop("immediate")


def _with_pgbackrest(made: KeptElsewhere) -> None:
    made.run("stanza-create")
    made.server.sql(ROWS)
    made.run("backup", "--type=full")
    made.server.sql(MORE)
    made.run("backup", "--type=incr")
    made.server.sql("SELECT pg_switch_wal()")


def _with_barman(made: KeptElsewhere) -> None:
    for statements in (ROWS, MORE):
        made.run("switch-wal", "--force", "--archive", STANZA)
        made.server.sql(statements)
        made.run("backup", "--wait", STANZA)
    made.run("switch-wal", "--force", "--archive", STANZA)


_BEGINNINGS: dict[str, Callable[[KeptElsewhere], None]] = {"pgbackrest": _with_pgbackrest, "barman": _with_barman}
