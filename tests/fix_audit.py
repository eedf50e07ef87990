"""An audit log of a test's own: a migrated database, keys and an anchor file."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_postgres import PostgresServer

from ostiary.audit.place import AuditPlace
from ostiary.audit.record import Entry, Outcome, Status
from ostiary.audit.recorder import Recorder, recording
from ostiary.audit.verify import Report, verify_database
from ostiary_tools.control.migrate import migrate

DONE = Outcome(Status.OK, duration_us=120, rows=3, bytes=90)


def entry(**changes: Any) -> Entry:
    """A permitted call, or another with `changes`."""
    plain = Entry(
        uuid.uuid4(), "ada", ("analyst",), "stdio", "tool", "query", {"sql": "select 1"}, "permit", ("analyst.read",), "p1", "shop"
    )
    return replace(plain, **changes)


@dataclass(frozen=True)
class AuditLog:
    """Where everything of the log is."""

    server: PostgresServer
    database: str
    place: AuditPlace

    @property
    def writer_dsn(self) -> str:
        """The writer's login."""
        return self.server.dsn("ostiary_writer", self.database)

    def recording(self) -> AbstractAsyncContextManager[Recorder]:
        """Record as a server process would."""
        place = self.place
        return recording(
            self.writer_dsn,
            private_key=place.private_key,
            public_key=place.public_key,
            anchor=place.anchor,
            facts={"version": "test"},
        )

    async def write(self, calls: int) -> None:
        """A process that records some calls and stops."""
        async with self.recording() as recorder:
            for _ in range(calls):
                await recorder.conclude(await recorder.intend(entry()), DONE)

    async def verify(self) -> Report:
        """Verify as `ostiary audit verify` does."""
        return await verify_database(self.place.reader_dsn, self.place.public_key, self.place.anchor)

    def keep(self) -> str:
        """A copy of the database as it is now, to put it back to."""
        then = f"{self.database}_{uuid.uuid4().hex[:6]}"
        self.server.sql(f"CREATE DATABASE {then} TEMPLATE {self.database}")
        return then

    def put_back(self, then: str) -> None:
        """What a restore to that moment leaves, whoever is connected."""
        self.server.drop([self.database])
        self.server.sql(
            f"CREATE DATABASE {self.database} TEMPLATE {then};\nREVOKE ALL ON DATABASE {self.database} FROM PUBLIC;\n"
            f"GRANT CONNECT ON DATABASE {self.database} TO ostiary_writer, ostiary_reader;"
        )

    async def connect(self, role: str = "ostiary_admin") -> asyncpg.Connection:
        """Log in as a role."""
        return await asyncpg.connect(self.server.dsn(role, self.database))

    async def fetch(self, statement: str, *values: Any, role: str = "ostiary_admin") -> list[Any]:
        """Ask as a role."""
        connection = await self.connect(role)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def tamper(self, statements: str) -> None:
        """What a superuser can do who knows how: lift every guard, change rows, put the guards back, in one transaction."""
        connection = await self.connect()
        try:
            async with connection.transaction():
                tables = await connection.fetch(
                    "SELECT oid::regclass::text AS t FROM pg_class"
                    " WHERE relnamespace = 'audit'::regnamespace AND relkind IN ('r', 'p')"
                )
                events = ("ostiary_guard_ddl", "ostiary_guard_drop")
                for event in events:
                    await connection.execute(f"ALTER EVENT TRIGGER {event} DISABLE")
                for row in tables:
                    await connection.execute(f"ALTER TABLE {row['t']} DISABLE TRIGGER ALL")
                await connection.execute(statements)
                for row in tables:
                    await connection.execute(f"ALTER TABLE {row['t']} ENABLE TRIGGER ALL")
                for event in events:
                    await connection.execute(f"ALTER EVENT TRIGGER {event} ENABLE ALWAYS")
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def audit_template(postgres_server: PostgresServer) -> str:
    """A migrated control database that nobody connects to."""
    postgres_server.sql("CREATE DATABASE audit_template")
    asyncio.run(migrate(postgres_server.dsn(database="audit_template")))
    return "audit_template"


def copied(server: PostgresServer, template: str) -> str:
    """A new database with an empty audit log; a copy costs less than migrating anew, and has no rights of its own."""
    name = f"control_{uuid.uuid4().hex[:8]}"
    server.sql(
        f"CREATE DATABASE {name} TEMPLATE {template};\nREVOKE ALL ON DATABASE {name} FROM PUBLIC;\n"
        f"GRANT CONNECT ON DATABASE {name} TO ostiary_writer, ostiary_reader;"
    )
    return name


@pytest.fixture
def audit_log(postgres_server: PostgresServer, audit_template: str, tmp_path: Path) -> Iterator[AuditLog]:
    """An empty, migrated audit log."""
    database = copied(postgres_server, audit_template)
    yield audit_log_at(postgres_server, database, tmp_path)
    # With what was kept of it.
    listed = ("-X", "-At", "-h", str(postgres_server.root), "-U", "ostiary_admin", "-d", "postgres")
    names = postgres_server.run("psql", *listed, "-c", f"SELECT datname FROM pg_database WHERE datname LIKE '{database}%'").stdout
    postgres_server.drop(names.split())


def audit_log_at(server: PostgresServer, database: str, folder: Path) -> AuditLog:
    """The log in a database, with keys and anchor in a folder."""
    place = AuditPlace(
        reader_dsn=server.dsn("ostiary_reader", database),
        admin_dsn=server.dsn(database=database),
        anchor=folder / "anchors",
        public_key=folder / "audit.pub",
        private_key=folder / "audit.key",
    )
    return AuditLog(server, database, place)
