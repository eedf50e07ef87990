"""What is said of a migration before it runs is what a server does, and the way back leads back."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache

import asyncpg
import pytest
from fix_migrations import CASES, LOCKS, RELATIONS, SCHEMA, Migration, migrations
from fix_postgres import PostgresServer

from ostiary_tools.datasources.catalog import build_snapshot, read_catalog
from ostiary_tools.evolution import LockMode, Verdict, lint, read, reverse
from ostiary_tools.snapshot import Snapshot

pytestmark = pytest.mark.asyncio
ALL = tuple(migrations())
SERVERS = [pytest.param("postgres_server", id="embedded"), pytest.param("server_15", id="15", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SERVERS)
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the schema that all migrations start from; each runs in a transaction that is rolled back."""
    server: PostgresServer = request.getfixturevalue(request.param)
    name = f"migrations_{os.getpid()}"
    server.sql(f'CREATE DATABASE "{name}"')
    server.sql((CASES / "schema.sql").read_text("utf-8"), name)
    server.sql("ANALYZE", name)
    yield server.dsn(database=name)
    server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def transaction(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction of which nothing stays."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "app"})
    try:
        await connection.execute("BEGIN")
        yield connection
    finally:
        await connection.close()


_snapshots = cache(dict[str, Snapshot])


async def snapshot_at(dsn: str) -> Snapshot:
    kept = _snapshots()
    if dsn not in kept:
        connection = await asyncpg.connect(dsn)
        try:
            rows = await read_catalog(connection, "")
            assert rows is not None
            kept[dsn] = build_snapshot("data", rows, search_path=("app",), tags={})
        finally:
            await connection.close()
    return kept[dsn]


async def schema(connection: asyncpg.Connection) -> list[str]:
    await connection.execute("SAVEPOINT looking")
    lines = [row["line"] for row in await connection.fetch(SCHEMA)]
    # Looking takes locks too.
    await connection.execute("ROLLBACK TO looking")
    return lines


async def held(connection: asyncpg.Connection, names: dict[int, str]) -> dict[str, str]:
    strongest: dict[str, LockMode] = {}
    for row in await connection.fetch(LOCKS):
        if (name := names.get(row["oid"])) is not None:
            mode = LockMode[_words(row["mode"]).replace(" ", "_")]
            strongest[name] = max(mode, strongest.get(name, mode))
    return {name: mode.words for name, mode in strongest.items()}


def _words(mode: str) -> str:
    """`AccessExclusiveLock` as the manual writes it."""
    bare = mode.removesuffix("Lock")
    return "".join(f" {letter}" if letter.isupper() and n else letter for n, letter in enumerate(bare)).upper()


@pytest.mark.parametrize("migration", ALL, ids=lambda m: m.title)
async def test_it_does_what_the_linter_says_and_the_way_back_leads_back(migration: Migration, dsn: str):
    snapshot = await snapshot_at(dsn)
    if migration.since > snapshot.server_version // 10_000:
        pytest.skip(f"PostgreSQL {migration.since} brought it")
    changes = read(migration.sql, snapshot)
    verdicts = [lint(step, snapshot) for change in changes for step in change.steps]
    back = reverse(changes, snapshot)

    async with transaction(dsn) as connection:
        before = {row["oid"]: row for row in await connection.fetch(RELATIONS)}
        first = await schema(connection)
        await connection.execute(migration.sql)
        names = {oid: row["name"] for oid, row in before.items()}
        taken = await held(connection, names)
        after = {row["oid"]: row["file"] for row in await connection.fetch(RELATIONS)}
        changed = await schema(connection)
        for statement in back.statements if back.whole else ():
            await connection.execute(statement)
        again = await schema(connection)
        if back.whole:
            await connection.execute(migration.sql)
            assert await schema(connection) == changed, "forward again"
    moved = frozenset(names[oid] for oid in before if oid in after and before[oid]["file"] != after[oid])

    assert (migration.locks, migration.rewrites) == (taken, moved), "the case says what the server does"
    assert told(verdicts) == (taken, moved), "the linter says what the server does"
    assert any(v.scans for v in verdicts) == migration.scans
    assert sorted(f.rule for v in verdicts for f in v.findings) == sorted(migration.findings)
    assert back.whole == migration.back, back.reasons
    assert (again == first) == (back.whole or migration.title in STILL)
    assert (changed == first) == (migration.title in STILL), "a migration that does nothing would prove nothing"


STILL = {"the same type", "a type by an expression", "a target of statistics"}
"""Migrations of which no dump of the schema tells."""


def told(verdicts: list[Verdict]) -> tuple[dict[str, str], frozenset[str]]:
    """Locks and rewritten tables by name, as the linter says."""
    strongest: dict[str, LockMode] = {}
    for verdict in verdicts:
        for name, mode in verdict.locks.items():
            strongest[".".join(name)] = max(mode, strongest.get(".".join(name), mode))
    rewritten = frozenset(".".join(v.step.table) for v in verdicts if v.rewrites and v.step.table)
    return {name: mode.words for name, mode in strongest.items()}, rewritten
