"""What somebody hostile puts into a database, a repository or a folder, and what backups and restores make of it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_postgres import PostgresServer

from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring import database as restoring
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.backup.session import connected
from ostiary_tools.backup.soundness import sound
from ostiary_tools.errors import Damaged

WEIGHT = "CREATE TABLE weight AS SELECT md5(n::text) AS text FROM generate_series(1, {}) n"
"""A dump that is more than what is read at once."""


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


async def backed_up(vault: Vault, dsn: str, *, job: str = "job") -> StoredBackup:
    async with making(vault.repository, Kind.LOGICAL, "shop", job) as keeping:
        return await keeping.commit(
            await LogicalEngine(Sought()).make(Source("shop", Kind.LOGICAL, dsn), keeping, vault.root, quiet)
        )


@asynccontextmanager
async def session(dsn: str, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, database=database)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_an_owner_of_a_database_gives_its_copys_superuser_nothing_to_run(new_data: Path, ground: Ground):
    """Settings of a database are its owner's, who need be nobody else's; where names are looked for is one of them."""
    async with serving(new_data, ground, "owner") as scratch:
        connection = await scratch.connect()
        await connection.execute("CREATE ROLE mallory")
        await connection.execute("CREATE DATABASE trap OWNER mallory")
        await connection.close()
        connection = await scratch.connect("trap")
        await connection.execute(
            "SET ROLE mallory; CREATE SCHEMA evil;"
            "CREATE FUNCTION evil.verify_heapam(relation regclass, on_error_stop boolean, check_toast boolean, OUT blkno bigint,"
            " OUT msg text) RETURNS record LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE mallory SUPERUSER; END $$;"
            "ALTER DATABASE trap SET search_path = evil, pg_catalog; ALTER DATABASE trap SET statement_timeout = '1ms';"
            "ALTER DATABASE trap SET default_transaction_read_only = on"
        )
        await connection.close()
        assert (await sound(scratch)).databases == 3
        connection = await scratch.connect()
        assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'")
        await connection.close()
        await scratch.stop()


@pytest.mark.asyncio
async def test_an_owner_of_a_database_gives_the_login_for_backups_nothing_to_run(
    postgres_server: PostgresServer, made_in: Callable[..., str]
):
    database = made_in(postgres_server, "")
    role = f"{database}_m"
    async with session(postgres_server.dsn(database=database)) as connection:
        await connection.execute(
            f"CREATE ROLE {role}; CREATE SCHEMA evil AUTHORIZATION {role}; SET ROLE {role};"
            f"CREATE FUNCTION evil.rise(pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
            f" IF current_user <> '{role}' THEN ALTER ROLE {role} SUPERUSER; END IF; RETURN true; END $$;"
            "CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.rise(VALUE)); RESET ROLE;"
            f"ALTER DATABASE {database} SET search_path = evil, pg_catalog"
        )
    try:
        async with connected(postgres_server.dsn(database=database)) as connection:
            await connection.fetchval("SELECT count(datname::text) FROM pg_database")
        async with session(postgres_server.dsn()) as connection:
            assert not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = $1", role)
    finally:
        postgres_server.sql(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}", database)


@pytest.mark.asyncio
async def test_no_byte_of_what_is_exchanged_after_it_was_compared_is_run(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who can write into the repository can encrypt to its keys, which are public, and can wait for the right moment."""
    vault = new_vault(tmp_path)
    database = made_in(postgres_server, WEIGHT.format(200_000))
    kept = await backed_up(vault, postgres_server.dsn(database=database))
    evil = made_in(
        postgres_server,
        "CREATE FUNCTION rise() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        f" IF current_database() LIKE 'ostiary_restore_%' THEN CREATE ROLE {database}_evil; END IF; RETURN true; END $$;"
        "CREATE TABLE orders (id integer CHECK (public.rise())); INSERT INTO orders VALUES (1);" + WEIGHT.format(100_000),
    )
    other = await backed_up(vault, postgres_server.dsn(database=evil), job="evil")
    folder, name = vault.root / "backups", "database.dump.zst.age"
    swept = restoring.swept

    async def exchanging(connection: asyncpg.Connection) -> None:
        # In place: who has it open reads it, too.
        await asyncio.to_thread(shutil.copyfile, folder / other.manifest.id / name, folder / kept.manifest.id / name)
        await swept(connection)

    monkeypatch.setattr(restoring, "swept", exchanging)
    try:
        with pytest.raises(Damaged, match=name):
            await restoring.into_server(kept, postgres_server.dsn(), f"{database}_new", Sought(), quiet)
        async with session(postgres_server.dsn()) as connection:
            assert not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", f"{database}_evil")
    finally:
        postgres_server.sql(f"DROP ROLE IF EXISTS {database}_evil")
