"""What somebody hostile puts into a database, a repository or a folder, and what backups and restores make of it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_postgres import PostgresServer
from fix_waiting import until

from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring import database as restoring
from ostiary_tools.backup.restoring.drafts import drafted, publish
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.backup.session import connected
from ostiary_tools.backup.soundness import sound
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.errors import Damaged, Refused

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


@pytest.mark.asyncio
async def test_nobody_is_in_a_new_database_before_it_is_closed_to_others(
    postgres_server: PostgresServer, made_in: Callable[..., str]
):
    database = made_in(postgres_server, "")
    role, name = f"{database}_m", f"{database}_new"
    postgres_server.sql(f"CREATE ROLE {role} LOGIN")

    class Slow:
        """A session between whose statements others come."""

        def __init__(self, connection: asyncpg.Connection) -> None:
            self._connection = connection
            self.entered = 0

        async def execute(self, statement: str) -> None:
            await self._connection.execute(statement)
            try:
                async with session(postgres_server.dsn(role, name)):
                    self.entered += 1
            except (asyncpg.PostgresError, OSError):
                pass

    try:
        async with session(postgres_server.dsn()) as connection:
            slow: Any = Slow(connection)
            await restoring.create(slow, name, "TEMPLATE = template0")
            assert slow.entered == 0
    finally:
        postgres_server.drop([name])
        postgres_server.sql(f"DROP ROLE {role}")


@pytest.mark.asyncio
async def test_a_copy_has_no_name_that_the_next_restore_takes_for_left_over(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn(database=made_in(postgres_server, "CREATE TABLE t ()")))
    with pytest.raises(Refused, match="dropped by the next restore"):
        await restoring.into_server(kept, postgres_server.dsn(), "ostiary_restore_0123456789abcdef", Sought(), quiet)


@pytest.mark.asyncio
async def test_a_draft_is_left_alone_as_long_as_its_restore_lives(postgres_server: PostgresServer):
    """Also right before it gets its name, when nobody is in it any more."""
    there = "SELECT count(*) FROM pg_database WHERE datname = $1"
    async with connected(postgres_server.dsn()) as other:
        async with connected(postgres_server.dsn()) as restore:
            name = f"ostiary_restore_{restore.get_server_pid():08x}01234567"
            await restoring.create(restore, name, "TEMPLATE = template0")
            await restoring.swept(other)
            assert await other.fetchval(there, name) == 1

        async def gone() -> bool:
            await restoring.swept(other)
            return not await other.fetchval(there, name)

        await until(gone)


def test_a_draft_that_was_published_before_its_restore_was_killed_is_left_alone(tmp_path: Path):
    """Whoever moved it away lives on it."""
    living = tmp_path / "app.db"
    living.write_bytes(b"alive")
    (tmp_path / ".copy.restoring").hardlink_to(living)
    with drafted(tmp_path / "copy") as (draft, descriptor):
        os.write(descriptor, b"new")
        publish(draft, descriptor, tmp_path / "copy")
    assert (living.read_bytes(), (tmp_path / "copy").read_bytes()) == (b"alive", b"new")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_nothing_is_written_into_a_file_that_somebody_put_in_the_way(tmp_path: Path):
    theirs = tmp_path / ".copy.restoring"
    theirs.write_bytes(b"")
    theirs.chmod(0o666)
    os.chown(theirs, 65534, 65534)
    with theirs.open("rb") as spy:
        with drafted(tmp_path / "copy") as (draft, descriptor):
            os.write(descriptor, b"secret")
            publish(draft, descriptor, tmp_path / "copy")
        assert spy.read() == b""
    found = (tmp_path / "copy").stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o600)


def test_a_manifest_that_would_fill_the_memory_is_not_read(tmp_path: Path):
    storage = Folder(tmp_path / "backups")
    storage.write("repository.json", b"{}")
    os.truncate(tmp_path / "backups" / "repository.json", 1 << 40)
    with pytest.raises(OSError, match="too large"):
        storage.read("repository.json")
