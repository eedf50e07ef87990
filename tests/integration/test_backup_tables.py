"""Single tables out of a backup, into a schema and into a file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import PostgresServer

from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.tables import Copy, into_schema, into_sql
from ostiary_tools.backup.scratch import Ground, Scratch, serving
from ostiary_tools.errors import Refused

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

SHOP = """
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE "or""ders" (id serial PRIMARY KEY, customer integer REFERENCES customers, total numeric CHECK (total >= 0));
CREATE INDEX orders_total ON "or""ders" (total);
CREATE SEQUENCE shared;
CREATE TABLE days (day date, v text DEFAULT nextval('shared')) PARTITION BY RANGE (day);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
INSERT INTO days VALUES ('2026-01-05');
INSERT INTO customers (name) VALUES ('a'), ('b');
INSERT INTO "or""ders" (customer, total) VALUES (1, 10), (2, 20), (2, 30);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamping BEFORE INSERT ON "or""ders" FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE "or""ders" ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON "or""ders" USING (true);
"""
ORDERS = [("public", 'or"ders'), ("public", "days")]
NOTES = {
    'left out: the foreign key "or""ders_customer_fkey" of public."or""ders"',
    'left out: the trigger stamping of public."or""ders"',
    'left out: the policy own of public."or""ders", which lets nobody but its owner see rows',
    "left out: the default of the column v of public.days",
    "left out: the default of the column v of public.days_1",
}


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


@pytest.fixture
def data(new_data: Path) -> Path:
    """A copy's data directory, as a restore makes one."""
    return new_data


@asynccontextmanager
async def copied(data: Path, ground: Ground, sought: Sought) -> AsyncIterator[Copy]:
    """A copy that runs, with the shop in it."""
    async with serving(data, ground, "owner") as scratch:
        await filled(scratch)
        yield Copy(scratch, "shop", ground.programs.major, sought)


async def filled(scratch: Scratch) -> None:
    connection = await scratch.connect()
    await connection.execute("CREATE DATABASE shop")
    await connection.close()
    connection = await scratch.connect("shop")
    await connection.execute(f"SET search_path = public; {SHOP}")
    await connection.close()


async def test_tables_come_into_a_new_schema_with_what_is_theirs_alone(
    postgres_server: PostgresServer, made_in: Callable[..., str], data: Path, ground: Ground, sought: Sought
):
    database = made_in(postgres_server, "CREATE TABLE mine (v integer)")
    dsn = postgres_server.dsn(database=database)
    postgres_server.sql(f"CREATE ROLE {database}_all LOGIN; GRANT pg_read_all_data TO {database}_all")
    async with copied(data, ground, sought) as copy:
        notes = await into_schema(copy, ORDERS, dsn, "ba.ck", quiet)
        postgres_server.sql(f"DROP ROLE {database}_all")
        *told, reach = notes
        assert set(told) == NOTES
        assert "other logins may use the schema" in reach, "masks and row rules name other tables"
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval('SELECT sum(total) FROM "ba.ck"."or""ders"') == 60
        assert await connection.fetchval('INSERT INTO "ba.ck"."or""ders" (total) VALUES (1) RETURNING id') == 4
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute('INSERT INTO "ba.ck"."or""ders" (total) VALUES (-1)')
        indexes = await connection.fetch("SELECT indexname::text FROM pg_indexes WHERE schemaname = 'ba.ck' ORDER BY 1")
        assert [row[0] for row in indexes] == ['or"ders_pkey', "orders_total"]
        assert await connection.fetchval('SELECT count(*) FROM "ba.ck".days_1') == 1
        with pytest.raises(Refused, match=r"there is a schema `ba.ck` already"):
            await into_schema(copy, ORDERS, dsn, "ba.ck", quiet)
        await connection.close()


async def test_tables_wait_for_no_standby_that_is_away(
    own_server: Callable[..., PostgresServer], data: Path, ground: Ground, sought: Sought
):
    server = own_server(fsync="off", synchronous_standby_names="away")
    async with copied(data, ground, sought) as copy, asyncio.timeout(60):
        await into_schema(copy, ORDERS, server.dsn(), "back", quiet)


async def test_tables_are_written_into_a_new_file_that_psql_runs(
    postgres_server: PostgresServer, made_in: Callable[..., str], data: Path, ground: Ground, sought: Sought, tmp_path: Path
):
    database = made_in(postgres_server)
    file = tmp_path / "tables.sql"
    async with copied(data, ground, sought) as copy:
        with pytest.raises(Refused, match=r"there is no table `public.nothing` in the backup"):
            await into_sql(copy, [*ORDERS, ("public", "nothing")], file, "back", quiet)
        assert await asyncio.to_thread(file.exists) is False
        assert set(await into_sql(copy, ORDERS, file, "back", quiet)) == NOTES
        with pytest.raises(Refused, match="something of that name already"):
            await into_sql(copy, ORDERS, file, "again", quiet)
    postgres_server.sql(await asyncio.to_thread(file.read_text), database)
    connection = await asyncpg.connect(postgres_server.dsn(database=database))
    assert await connection.fetchval('SELECT sum(total) FROM back."or""ders"') == 60
    await connection.close()
    assert [path.name for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))] == ["tables.sql"]
