"""Logical backups of real servers, kept in a real repository."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_postgres import PostgresServer

from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Made, Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.database import CLOSED, Restored, into_server

SHOP = """
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer integer REFERENCES customers, total numeric CHECK (total >= 0));
CREATE INDEX orders_total ON orders (total);
INSERT INTO customers (name) SELECT 'c' || n FROM generate_series(1, 500) n;
INSERT INTO orders (customer, total) SELECT 1 + n % 500, n FROM generate_series(1, 3000) n;
"""


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


async def backed_up(vault: Vault, dsn: str, *, job: str = "job", parallel: int = 2) -> StoredBackup:
    async with making(vault.repository, Kind.LOGICAL, "shop", job) as keeping:
        made = await LogicalEngine(Sought(), parallel).make(Source("shop", Kind.LOGICAL, dsn), keeping, vault.root, quiet)
        return await keeping.commit(made)


@pytest.mark.asyncio
async def test_a_backup_is_restored_to_a_new_database_of_the_server(
    either_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(either_server, SHOP)
    kept = await backed_up(new_vault(tmp_path), either_server.dsn(database=database))
    either_server.sql("DROP TABLE orders", database)
    name = f"{database} \"new'"
    restored = await into_server(kept, either_server.dsn(), name, Sought(), quiet)
    try:
        assert restored == Restored(name, (CLOSED,))
        assert await databases(either_server) & {name, database} == {name, database}
        assert not [found for found in await databases(either_server) if found.startswith("ostiary_restore_")]
        connection = await asyncpg.connect(either_server.dsn(), database=name)
        assert await connection.fetchval("SELECT count(*) FROM orders JOIN customers c ON c.id = customer") == 3000
        await connection.close()
    finally:
        either_server.drop([name.replace('"', '""')])


async def databases(server: PostgresServer) -> set[str]:
    connection = await asyncpg.connect(server.dsn())
    try:
        return {row[0] for row in await connection.fetch("SELECT datname::text FROM pg_database")}
    finally:
        await connection.close()
