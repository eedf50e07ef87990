"""A server over a database of the test's own: configured by a file, its audit log in a control database beside it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_audit import copied
from fix_postgres import PostgresServer

from ostiary.config import Config, load

READS_ALL = '@id("reads-all") permit (principal in Role::"reader", action, resource);'
"""Own policy of tests whose subject is not policy: role `reader` may do everything."""

LONG = "select sum(sqrt(a.n + b.n)) from generate_series(1, 30000) a(n), generate_series(1, 30000) b(n)"
"""Runs until it is ended."""

HIDES = """
@id("hides-tables")
forbid (principal, action in [Action::"see", Action::"read"], resource is Table) when { resource.tags.contains("hidden") };
@id("hides-columns")
forbid (principal, action in [Action::"see", Action::"read"], resource is Column)
when { resource.tags.contains("hidden") || resource.table_tags.contains("hidden") };
"""
"""What is tagged `hidden` does not exist for any agent."""


@dataclass(frozen=True)
class Site:
    """A configured server and its audit log."""

    server: PostgresServer
    control: str
    config: Config

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.config.home.data.parent

    def command(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """`ostiary` with the site's own file."""
        return subprocess.run(
            [sys.executable, "-m", "ostiary", *arguments, "--config", str(self.folder / "ostiary.toml")],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )

    async def fetch(self, statement: str, *values: Any, role: str = "ostiary_reader") -> list[Any]:
        """Ask the control database as the role that reads the log."""
        connection = await asyncpg.connect(self.server.dsn(role, self.control))
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def records(self) -> list[dict[str, Any]]:
        """Every record in order, its body with `kind` and `call`."""
        rows = await self.fetch("SELECT kind::text, call_id::text, body FROM audit.log ORDER BY ts, stream, seq")
        return [{"kind": row["kind"], "call": row["call_id"], **json.loads(row["body"])} for row in rows]


MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def make_site(postgres_server: PostgresServer, control_database: Callable[[], Awaitable[str]]) -> Iterator[MakeSite]:
    """Makes a site of its sources by name, with an audit log of its own; `site_config` says what may be wished for."""
    folders: list[Path] = []

    async def make(sources: Mapping[str, str], inside: Path | None = None, **wishes: Any) -> Site:
        folder = Path(tempfile.mkdtemp(prefix="ostiary-site-", dir=inside))
        folders.append(folder)
        control = await control_database()
        return Site(postgres_server, control, site_config(folder, postgres_server, control, sources, **wishes))

    yield make
    for folder in folders:
        shutil.rmtree(folder)


@pytest.fixture
def control_database(audit_template: str, postgres_server: PostgresServer) -> Iterator[Callable[[], Awaitable[str]]]:
    """Makes an empty audit log in a database of its own; a copy costs less than migrating anew."""
    made: list[str] = []

    async def make() -> str:
        made.append(await asyncio.to_thread(copied, postgres_server, audit_template))
        return made[-1]

    yield make
    postgres_server.drop(made)


SAMPLE_OWNER = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ostiary_shop') THEN CREATE ROLE ostiary_shop; END IF;
END $$;
GRANT CREATE ON SCHEMA public TO ostiary_shop;
"""
"""What the sample's own statements take for granted; roles belong to the server, which the tests of a process share."""


@pytest.fixture
def make_database(postgres_server: PostgresServer) -> Iterator[Callable[[str], Awaitable[str]]]:
    """Makes a database of the test's own out of statements."""
    made: list[str] = []

    async def make(statements: str) -> str:
        made.append(f"source_{uuid.uuid4().hex[:8]}")
        # One program for both: to start one costs as much as most statements.
        await asyncio.to_thread(postgres_server.sql, f"CREATE DATABASE {made[-1]};\n\\connect {made[-1]}\n{statements}")
        return made[-1]

    yield make
    postgres_server.drop(made)


def site_config(
    folder: Path,
    server: PostgresServer,
    control: str,
    sources: Mapping[str, str],
    *,
    policy: str = READS_ALL,
    tags: tuple[str, ...] = (),
    limits: Mapping[str, float] | None = None,
    exports: Mapping[str, float] | None = None,
    tagged: Mapping[str, list[str]] | None = None,
    pool_max: int = 5,
    accepted_powers: tuple[str, ...] = ("superuser",),
    mask_key: str = "",
    replicas: Mapping[str, str] | None = None,
    writers: Mapping[str, str] | None = None,
    backups: Mapping[str, str] | None = None,
    views: str = "as_tables",
    approvals: str = "at_client",
    more: str = "",
) -> Config:
    """Write the files of a server and load them as `ostiary serve` would; most tests log in as a superuser, on purpose."""
    (folder / "policies").mkdir()
    (folder / "policies" / "own.cedar").write_text(policy)
    lines = [
        "[home]",
        'data = "data"',
        'state = "state"',
        "[control]",
        f'dsn = "{server.dsn("ostiary_writer", control)}"',
        f'reader_dsn = "{server.dsn("ostiary_reader", control)}"',
        "[policy]",
        'directory = "policies"',
        f"tags = {json.dumps(list(tags))}",
        *(['mask_key = "file:mask.key"'] if mask_key else []),
        f'views = "{views}"',
        f'approvals = "{approvals}"',
        "[limits]",
        *(f"{name} = {value}" for name, value in (limits or {}).items()),
        "[export]",
        *(f"{name} = {value}" for name, value in (exports or {}).items()),
    ]
    for name, dsn in sources.items():
        lines += [f"[datasources.{name}]", f'dsn = "{dsn}"', f"pool_max = {pool_max}"]
        lines += [f'replica_dsn = "{replicas[name]}"'] if replicas and name in replicas else []
        lines += [f'backup_dsn = "{backups[name]}"'] if backups and name in backups else []
        if writers and name in writers:
            lines += [f'writer_dsn = "{writers[name]}"', f"writer_powers = {json.dumps(accepted_powers)}"]
        lines += [f"accepted_powers = {json.dumps(accepted_powers)}", f"[datasources.{name}.tags]"]
        lines += [f"{json.dumps(target)} = {json.dumps(given)}" for target, given in (tagged or {}).items()]
    key = folder / "mask.key"
    key.write_text(mask_key)
    key.chmod(0o600)
    path = folder / "ostiary.toml"
    path.write_text("\n".join([*lines, more]))
    path.chmod(0o600)
    return load(path, {"HOME": str(folder)}, {})
