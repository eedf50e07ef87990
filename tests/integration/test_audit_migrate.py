"""Migrations of the control database: once, in order, never edited, and as far as the administrator's rights reach."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from fix_audit import audit_log_at
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary.audit.opening import opened, standing
from ostiary_tools.control.connect import Rejected, Unreachable
from ostiary_tools.control.migrate import Migration, migrate, pending, shipped
from ostiary_tools.control.people import Answered, PeopleTable, Request

CLOUD = "cloud"
"""An administrator that is no superuser, as managed services give one."""


@pytest.mark.asyncio
async def test_migrations_are_applied_once(postgres_server: PostgresServer, fresh_database: Callable[[], str]) -> None:
    dsn = postgres_server.dsn(database=fresh_database())
    names = tuple(f"{m.version:04}_{m.name}" for m in shipped())
    assert await pending(dsn) == names
    assert await migrate(dsn) == names
    assert (await migrate(dsn), await pending(dsn)) == ((), ())


@pytest.mark.asyncio
async def test_two_that_migrate_at_once_wait_for_each_other(
    postgres_server: PostgresServer, fresh_database: Callable[[], str]
) -> None:
    dsn = postgres_server.dsn(database=fresh_database())
    done = await asyncio.gather(*(migrate(dsn) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(shipped())]


@pytest.mark.asyncio
async def test_an_edited_migration_and_a_newer_database_are_refused(
    postgres_server: PostgresServer, fresh_database: Callable[[], str]
) -> None:
    dsn = postgres_server.dsn(database=fresh_database())
    more = Migration(shipped()[-1].version + 1, "more", "CREATE TABLE public.more (x int)")
    assert await migrate(dsn, (*shipped(), more)) != ()
    with pytest.raises(Rejected, match="does not know"):
        await migrate(dsn)
    with pytest.raises(Rejected, match="in another form"):
        await migrate(dsn, (*shipped(), replace(more, sql="CREATE TABLE public.other (x int)")))


@pytest.mark.asyncio
async def test_a_failing_migration_leaves_nothing_and_the_guards_on(
    postgres_server: PostgresServer, fresh_database: Callable[[], str]
) -> None:
    database = fresh_database()
    dsn = postgres_server.dsn(database=database)
    await migrate(dsn)
    bad = Migration(shipped()[-1].version + 1, "bad", "CREATE TABLE audit.half (x int); SELECT 1 / 0")
    with pytest.raises(Rejected, match="division by zero"):
        await migrate(dsn, (*shipped(), bad))
    connection = await asyncpg.connect(dsn)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="protected"):
            await connection.execute("CREATE TABLE audit.half (x int)")
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_a_log_of_the_first_version_is_brought_up_to_this_one_and_still_verifies(
    postgres_server: PostgresServer, fresh_database: Callable[[], str], tmp_path: Path
) -> None:
    older = audit_log_at(postgres_server, fresh_database(), tmp_path)
    await migrate(older.place.admin_dsn, shipped()[:1])
    await older.write(3)
    assert await migrate(older.server.dsn(database=older.database)) == tuple(f"{m.version:04}_{m.name}" for m in shipped()[1:])
    await older.write(3)
    assert (await older.verify()).exit_code == 0
    assert await older.fetch("SELECT id FROM cursors.cursor", role="ostiary_writer") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="protected"):
        await older.fetch("CREATE TABLE audit.more (x int)")


@pytest.mark.asyncio
async def test_no_database_is_told_without_the_login(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        await migrate(f"postgresql://me:hunter2@/x?host={tmp_path}")
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def managed_server() -> Iterator[PostgresServer]:
    """A server whose database is owned by an administrator that is no superuser."""
    root = short_directory()
    server = new_server(root, {"fsync": "off"})
    server.start()
    server.sql(f"CREATE ROLE {CLOUD} LOGIN CREATEROLE CREATEDB")
    server.sql("CREATE DATABASE control", role=CLOUD)
    yield server
    server.stop("immediate")
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.asyncio
async def test_without_a_superuser_everything_holds_but_the_event_triggers_and_that_is_said(
    managed_server: PostgresServer, tmp_path: Path
) -> None:
    await migrate(managed_server.dsn(CLOUD, "control"), shipped()[:1])
    await migrate(managed_server.dsn(CLOUD, "control"))
    log = audit_log_at(managed_server, "control", tmp_path)
    async with log.recording() as recorder:
        guards = recorder.state().guards
        assert (guards.shape, guards.event_triggers) == (True, False)
    assert (await log.verify()).exit_code == 0
    admin = await asyncpg.connect(managed_server.dsn(CLOUD, "control"))
    try:
        for attack in ("DELETE FROM audit.log", "SET ROLE ostiary_owner", "DROP TABLE audit.log", "SET ROLE ostiary_cursors"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(attack)
    finally:
        await admin.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_administrator_that_is_no_superuser_opens_an_epoch_and_writes_none(
    managed_server: PostgresServer, tmp_path: Path
) -> None:
    dsn = managed_server.dsn(CLOUD, "control")
    await migrate(dsn)
    log = audit_log_at(managed_server, "control", tmp_path)
    log = replace(log, place=replace(log.place, admin_dsn=dsn))
    await log.write(1)
    await opened(log.place, await standing(log.place, []), "olga", "moved to another provider")
    await log.write(1)
    assert (await log.verify()).exit_code == 4
    admin = await asyncpg.connect(dsn)
    try:
        for attack in ("DELETE FROM audit.epoch", "INSERT INTO audit.evidence VALUES ('')", "DELETE FROM approvals.asked"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(attack)
    finally:
        await admin.close()


@pytest.mark.asyncio
async def test_an_administrator_that_is_no_superuser_grants_what_was_asked_and_alters_none_of_it(managed_server: PostgresServer):
    await migrate(managed_server.dsn(CLOUD, "control"))
    service, people = (PeopleTable(managed_server.dsn(role, "control")) for role in ("ostiary_writer", CLOUD))
    admin = await asyncpg.connect(managed_server.dsn(CLOUD, "control"))
    try:
        request = Request("about", "ada", ("reader",), "query", "shop", ("rule",), 1, "may it?", "digest")
        asked = [await service.ask(name, request, 900.0) for name in ("first", "second")]
        granted = [await people.grant("first", "ann", shown) for shown in ("another", "digest", "digest")]
        for attack in (
            "DELETE FROM approvals.asked",
            "UPDATE approvals.asked SET people = 0",
            "UPDATE approvals.granted SET person = 'bob'",
            "INSERT INTO approvals.granted (asked, person, login) VALUES ('first', 'bob', 'bob')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(attack)
        taken = [await service.take("about") for _ in range(2)]
    finally:
        await admin.close()
        await service.close()
        await people.close()
    assert [one and one.id for one in asked] == ["first", "first"]
    assert granted == [False, True, False]
    assert taken == [Answered("first", "digest", ("ann",), ""), None]
