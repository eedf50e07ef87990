"""What a `Changer` promises, on every server found on this machine: it tells all that a change did, and takes it back exactly."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import pytest
import pytest_asyncio
from asyncpg.pool import PoolConnectionProxy
from fix_postgres import PostgresServer
from fix_waiting import until

from ostiary_policies.model import Statement
from ostiary_tools.datasources.changing import PostgresChanger
from ostiary_tools.datasources.port import ChangeLimits
from ostiary_tools.datasources.postgres import PostgresDatasource, PostgresSettings, open_postgres
from ostiary_tools.effects import Effects, Isolation, RowChange, TableEffect, Via
from ostiary_tools.errors import (
    DatabaseError,
    LockedOut,
    OutcomeUnknown,
    Overtaken,
    Refused,
    SchemaChanged,
    TimedOut,
    Unavailable,
    Violated,
)
from ostiary_tools.powers import Power

pytestmark = pytest.mark.asyncio

LIMITS = ChangeLimits(timeout_s=20, lock_timeout_s=5, max_rows=1000)
SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE,
    balance numeric NOT NULL DEFAULT 0 CHECK (balance >= 0));
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL REFERENCES customers ON DELETE CASCADE,
    amount numeric NOT NULL, tax numeric GENERATED ALWAYS AS (amount / 10) STORED);
CREATE TABLE lines ("order" int REFERENCES orders ON DELETE CASCADE, "No" int, what text, PRIMARY KEY ("order", "No"));
CREATE TABLE notes (id int PRIMARY KEY, customer int REFERENCES customers ON DELETE SET NULL, body text);
INSERT INTO customers SELECT n, 'c' || n, 'c' || n || '@example.com', 100 FROM generate_series(1, 6) n;
INSERT INTO orders (customer, amount) SELECT 1 + n % 3, n * 10 FROM generate_series(0, 5) n;
INSERT INTO lines SELECT o, l, 'x' FROM generate_series(1, 6) o, generate_series(1, 2) l;
INSERT INTO notes SELECT n, n, 'hello' FROM generate_series(1, 3) n;
"""


@dataclass
class Shop:
    """A database, its owner's connection, and a datasource that changes it through a login that owns nothing."""

    server: PostgresServer
    database: str
    admin: asyncpg.Connection
    login: str
    datasource: PostgresDatasource

    async def sql(self, statements: str) -> None:
        """As the owner, and open to the login."""
        await self.admin.execute(statements)
        await self.admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {self.login}")

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        """As the owner sees them."""
        return [tuple(row) for row in await self.admin.fetch(query)]

    @asynccontextmanager
    async def changing(self, *statements: str, limits: ChangeLimits = LIMITS) -> AsyncIterator[PostgresChanger]:
        """A transaction in which these have run."""
        async with self.datasource.change(limits) as changer:
            for statement in statements:
                await changer.run(Statement(statement))
            assert isinstance(changer, PostgresChanger)
            yield changer

    async def effects(self, *statements: str, limits: ChangeLimits = LIMITS) -> Effects:
        """Of statements that are rolled back."""
        async with self.changing(*statements, limits=limits) as changer:
            return await changer.effects()

    async def applied(self, *statements: str) -> Effects:
        """Of statements that stay."""
        async with self.changing(*statements) as changer:
            effects = await changer.effects()
            await changer.commit()
            return effects

    async def undone(self, effects: Effects) -> Effects:
        """What undoing did."""
        async with self.datasource.change(LIMITS) as changer:
            await changer.undo(effects)
            found = await changer.effects()
            await changer.commit()
            return found

    async def dump(self) -> list[list[tuple[object, ...]]]:
        """Every row of every table, as text."""
        tables = await self.rows(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        )
        return [await self.rows(f"SELECT t::text FROM {name} t ORDER BY 1") for (name,) in sorted(tables, key=str)]


@pytest.fixture(scope="module")
def place(server: PostgresServer) -> Iterator[tuple[PostgresServer, str, str]]:
    """One database of each server for all tests, and a login that may write in it."""
    name = f"changing_{os.getpid()}"
    server.sql(f"CREATE DATABASE {name}")
    server.sql(f"CREATE ROLE {name} LOGIN")
    yield server, name, name
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.sql(f"DROP ROLE {name}")


@pytest_asyncio.fixture
async def shop(place: tuple[PostgresServer, str, str]) -> AsyncIterator[Shop]:
    server, database, login = place
    admin = await asyncpg.connect(server.dsn(database=database))
    await admin.execute(f"DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO {login}")
    writer_dsn = server.dsn(login, database)
    superuser = frozenset({Power.SUPERUSER})
    datasource = await open_postgres(
        PostgresSettings("data", server.dsn(database=database), accepted_powers=superuser, writer_dsn=writer_dsn)
    )
    made = Shop(server, database, admin, login, datasource)
    await made.sql(SHOP)
    yield made
    await datasource.close()
    await admin.execute(f"ALTER ROLE {login} NOCREATEDB")
    await admin.close()


def table(effects: Effects, name: str) -> TableEffect:
    return dict(effects.by_table())["public", name]


def told(effects: Effects) -> dict[str, tuple[int, int, int, Via]]:
    return {name: (each.inserted, each.updated, each.deleted, each.via) for (_, name), each in effects.by_table()}


def inverse(effects: Effects) -> dict[tuple[str, str], set[RowChange]]:
    return {name: {RowChange(row.after, row.before) for row in each.rows} for name, each in effects.by_table()}


def as_sets(effects: Effects) -> dict[tuple[str, str], set[RowChange]]:
    return {name: set(each.rows) for name, each in effects.by_table()}


async def test_rows_are_told_before_and_after(shop: Shop) -> None:
    effects = await shop.effects(
        "UPDATE customers SET name = 'new' WHERE id = 1",
        "DELETE FROM notes WHERE id = 3",
        "INSERT INTO orders (customer, amount) VALUES (5, 7)",
    )
    assert effects.counts == (1, 1, 1)
    assert table(effects, "customers").rows == (
        RowChange(("1", "c1", "c1@example.com", "100"), ("1", "new", "c1@example.com", "100")),
    )
    assert table(effects, "notes").rows == (RowChange(("3", "3", "hello"), None),)
    [order] = table(effects, "orders").rows
    assert (order.before, order.after) == (None, ("7", "5", "7", "0.70000000000000000000"))
    assert {each.via for each in effects.tables} == {Via.STATEMENT}
    assert not effects.defined
    assert await shop.rows("SELECT count(*) FROM customers WHERE name = 'new'") == [(0,)]


async def test_values_are_bound_and_cast(shop: Shop) -> None:
    async with shop.datasource.change(LIMITS) as changer:
        assert (
            await changer.run(Statement("UPDATE customers SET balance = $1, name = $2 WHERE id = $3", ("0.30", "'; --", "2"))) == 1
        )
        assert table(await changer.effects(), "customers").rows[0].after == ("2", "'; --", "c2@example.com", "0.30")


async def test_a_chain_of_cascades_is_followed(shop: Shop) -> None:
    effects = await shop.effects("DELETE FROM customers WHERE id = 1")
    assert told(effects) == {
        "customers": (0, 0, 1, Via.STATEMENT),
        "lines": (0, 0, 4, Via.CASCADE),
        "notes": (0, 1, 0, Via.CASCADE),
        "orders": (0, 0, 2, Via.CASCADE),
    }
    assert table(effects, "notes").rows == (RowChange(("1", "1", "hello"), ("1", None, "hello")),)
    assert table(effects, "lines").key == ("order", "No")


async def test_what_a_trigger_writes_elsewhere_is_told(shop: Shop) -> None:
    await shop.sql("""
        CREATE TABLE log (at int GENERATED ALWAYS AS IDENTITY, what text);
        CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO log (what) VALUES (new.name); RETURN new; END $$;
        CREATE TRIGGER logging AFTER UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION logged();
        CREATE TRIGGER other AFTER DELETE ON customers FOR EACH ROW EXECUTE FUNCTION logged();
    """)
    effects = await shop.effects("UPDATE customers SET name = 'n' WHERE id <= 2")
    assert told(effects) == {"customers": (0, 2, 0, Via.STATEMENT), "log": (2, 0, 0, Via.TRIGGER)}
    assert [(each.trigger, each.function) for each in effects.fired] == [("logging", ("public", "logged"))]
    assert table(effects, "log").key == ()


async def test_rows_of_blocks_that_were_rolled_back_are_not_told(shop: Shop) -> None:
    await shop.sql("""
        CREATE TABLE log (id int PRIMARY KEY, what text);
        CREATE FUNCTION tried() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            BEGIN INSERT INTO log VALUES (1, 'kept'); UPDATE notes SET body = 'kept' WHERE id = 1;
            EXCEPTION WHEN others THEN NULL; END;
            BEGIN INSERT INTO log VALUES (2, 'gone'); DELETE FROM notes; PERFORM 1 / 0; EXCEPTION WHEN others THEN NULL; END;
            RETURN new; END $$;
        CREATE TRIGGER trying AFTER UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION tried();
    """)
    effects = await shop.effects("UPDATE customers SET name = 'n' WHERE id = 1")
    assert table(effects, "log").rows == (RowChange(None, ("1", "kept")),)
    assert table(effects, "notes").rows == (RowChange(("1", "1", "hello"), ("1", "1", "kept")),)


async def test_a_row_written_several_times_is_told_once(shop: Shop) -> None:
    effects = await shop.effects(
        "INSERT INTO notes VALUES (9, 1, 'a')",
        "UPDATE notes SET body = 'b' WHERE id IN (1, 9)",
        "UPDATE notes SET body = 'c' WHERE id IN (1, 9)",
        "INSERT INTO notes VALUES (10, 1, 'vanishes')",
        "DELETE FROM notes WHERE id = 10",
        "DELETE FROM notes WHERE id = 2",
        "INSERT INTO notes VALUES (2, NULL, 'again')",
    )
    assert effects.counts == (1, 2, 2, 1, 1, 1, 1)
    assert set(table(effects, "notes").rows) == {
        RowChange(("1", "1", "hello"), ("1", "1", "c")),
        RowChange(("2", "2", "hello"), ("2", None, "again")),
        RowChange(None, ("9", "1", "c")),
    }


async def test_a_row_that_moves_between_partitions_is_one_of_the_whole(shop: Shop) -> None:
    await shop.sql("""
        CREATE TABLE parts (id int, kind text, v text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
        CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
        CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
        INSERT INTO parts VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'b', 'z');
    """)
    before = await shop.dump()
    effects = await shop.applied("UPDATE parts SET kind = 'b' WHERE id = 1", "UPDATE parts SET v = 'w' WHERE id >= 2")
    assert {each.table for each in effects.tables} == {("public", "parts")}
    assert {row.after for row in table(effects, "parts").rows if row.after} == {("1", "b", "x"), ("2", "a", "w"), ("3", "b", "w")}
    assert as_sets(await shop.undone(effects)) == inverse(effects)
    assert await shop.dump() == before


async def test_a_table_without_a_key_is_told_and_not_undone(shop: Shop) -> None:
    await shop.sql("CREATE TABLE bare (a int, b text); INSERT INTO bare VALUES (1, 'x'), (1, 'x'), (2, 'y')")
    one = await shop.effects("UPDATE bare SET b = 'z' WHERE a = 2")
    assert table(one, "bare").rows == (RowChange(("2", "y"), ("2", "z")),)
    both = await shop.applied("DELETE FROM bare WHERE a = 1")
    assert table(both, "bare").rows == (RowChange(("1", "x"), None),) * 2
    with pytest.raises(Refused, match="has no primary key") as refused:
        await shop.undone(both)
    assert refused.value.rule == "undo"


EXACT = """
CREATE TYPE mood AS ENUM ('ok', 'so so');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Odd ""table" ("Key one" text, "select" int, j json, jb jsonb, b bytea, r int4range, m mood, ms mood[], p pair,
    d positive, ts timestamptz, t timestamp, i interval, f float8, n numeric, c char(5), bits bit(3), x xml, a text[], u uuid,
    net inet, nul text, g text GENERATED ALWAYS AS ("Key one" || '!') STORED, PRIMARY KEY ("Key one", "select"));
INSERT INTO "Odd ""table" VALUES ('k''\\"', 1, '{"a":  1}', '{"b": [1, null]}', '\\x00ff', '[1,5)',
    'so so', '{ok,"so so"}', ROW(1, 'a "b"'), 7,
    '2026-03-29 01:30:00+00', 'infinity', '1 year -3 days 04:05:06.7', 0.1, 'NaN', 'ab', '101',
    '<a>1</a>', '{"a,b",NULL,"NULL",""}',
    '6f1c0f7a-0000-4000-8000-000000000001', '10.0.0.1', NULL);
"""


async def test_values_of_any_type_come_back_exactly(shop: Shop) -> None:
    try:
        await shop.sql(EXACT)
    except asyncpg.FeatureNotSupportedError:  # built without libxml
        await shop.sql(EXACT.replace(" x xml,", " x text,"))
    before = await shop.dump()
    deleted = await shop.applied('DELETE FROM "Odd ""table"')
    assert table(deleted, 'Odd "table').key == ("Key one", "select")
    assert as_sets(await shop.undone(deleted)) == inverse(deleted)
    assert await shop.dump() == before
    updated = await shop.applied("""UPDATE "Odd ""table" SET j = NULL, jb = '1', b = '', r = 'empty',
        m = 'ok', ms = NULL, p = NULL, d = 9,
        ts =
        '-infinity', t = NULL, i = '0', f = '-Infinity', n = 1.10, c = 'x', bits = '000', x = NULL, a = '{}', u = NULL, nul = ''""")
    assert as_sets(await shop.undone(updated)) == inverse(updated)
    assert await shop.dump() == before


async def test_undoing_is_the_exact_inverse(shop: Shop) -> None:
    before = await shop.dump()
    effects = await shop.applied(
        "DELETE FROM customers WHERE id = 1",
        "UPDATE customers SET id = 60 WHERE id = 6",
        "UPDATE customers SET name = upper(name), balance = balance + 1 WHERE id IN (2, 3)",
        "INSERT INTO customers VALUES (7, 'seven', 'c1@example.com')",
        "INSERT INTO orders (customer, amount) VALUES (7, 1), (2, 2)",
        "UPDATE notes SET customer = 7 WHERE id = 2",
    )
    assert await shop.dump() != before
    assert as_sets(await shop.undone(effects)) == inverse(effects)
    assert await shop.dump() == before


async def test_rows_that_changed_since_are_named_and_nothing_is_undone(shop: Shop) -> None:
    effects = await shop.applied("UPDATE customers SET name = 'n' WHERE id <= 5", "DELETE FROM notes")
    await shop.sql("UPDATE customers SET balance = 5 WHERE id IN (2, 3); INSERT INTO notes VALUES (3, 3, 'other')")
    now = await shop.dump()
    with pytest.raises(Overtaken) as refused:
        await shop.undone(effects)
    found = refused.value
    assert found.rule == "undo"
    assert (found.table, found.key, found.rows, found.count) == (("public", "customers"), ("id",), (("2",), ("3",)), 2)
    assert found.message == "rows are no longer as the change left them", "who may read the keys is not known here"
    await shop.sql("UPDATE customers SET balance = 100")
    with pytest.raises(Overtaken) as refused:
        await shop.undone(effects)
    assert (refused.value.table, refused.value.rows, refused.value.count) == (("public", "notes"), (("3",),), 1)
    await shop.sql("UPDATE customers SET balance = 5 WHERE id IN (2, 3)")
    assert await shop.dump() == now


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_what_others_commit_meanwhile_is_not_told(shop: Shop, isolation: Isolation) -> None:
    """Neither rows they add, change or take away, nor rows that they only lock."""
    async with shop.changing(
        "UPDATE customers SET name = 'mine' WHERE id = 1", limits=replace(LIMITS, isolation=isolation)
    ) as changer:
        await shop.sql("""UPDATE customers SET name = 'theirs' WHERE id = 2; DELETE FROM customers WHERE id = 3;
            INSERT INTO customers VALUES (8, 'theirs'); INSERT INTO orders (customer, amount) VALUES (1, 5)""")
        assert told(await changer.effects()) == {"customers": (0, 1, 0, Via.STATEMENT)}
        other = await asyncpg.connect(shop.server.dsn(database=shop.database))
        await other.execute("BEGIN; SELECT * FROM customers WHERE id IN (4, 5) FOR KEY SHARE")
        await changer.run(Statement("UPDATE customers SET name = 'mine too' WHERE id = 4"))  # a lock shared by both
        found = table(await changer.effects(), "customers").rows
        await other.close()
    assert {row.after[1] for row in found if row.after} == {"mine", "mine too"}
    assert len(found) == 2


async def test_rows_outside_a_predicate_are_counted_and_sampled(shop: Shop) -> None:
    async with shop.changing("UPDATE customers SET balance = id * 10 WHERE id <= 4", "DELETE FROM notes WHERE id = 1") as changer:
        await changer.effects()
        name = ("public", "customers")
        assert await changer.outside(name, "balance >= 25", before=False) == 2
        assert await changer.outside(name, "balance = 100", before=True) == 0
        assert await changer.outside(name, "nullif(balance, 100) > 0", before=True) == 4
        assert await changer.outside(("public", "notes"), "body = 'x'", before=True) == 1
        assert await changer.outside(("public", "notes"), "false", before=False) == 0
        rows = await changer.sample(name, ['name || $1 AS "Name"', "balance"], "id > 2", ("!",), before=True, limit=1)
        assert ([head.name for head in rows.columns], rows.rows) == (["Name", "balance"], (("c3!", "100"),))
        assert rows.truncated
        after = await changer.sample(name, ["balance"], "id > 2", (), before=False, limit=5)
        assert sorted(row[0] or "" for row in after.rows) == ["30", "40"]


async def test_a_unique_conflict_names_the_constraint_of_the_table_that_is_written(shop: Shop) -> None:
    async with shop.datasource.change(LIMITS) as changer:
        with pytest.raises(DatabaseError) as failed:
            await changer.run(Statement("UPDATE customers SET email = 'c2@example.com' WHERE id = 1"))
    assert (failed.value.sqlstate, failed.value.message) == ("23505", "a row with such a key is there already")
    assert failed.value.violated == Violated(("public", "customers"), "customers_email_key", "")


@pytest.mark.parametrize(
    ("statement", "sqlstate", "named"),
    [
        ("INSERT INTO customers (id) VALUES (9)", "23502", Violated(("public", "customers"), "", "name")),
        ("UPDATE customers SET balance = -1", "23514", Violated(("public", "customers"), "customers_balance_check", "")),
        (
            "INSERT INTO orders (customer, amount) VALUES (99, 1)",
            "23503",
            Violated(("public", "orders"), "orders_customer_fkey", ""),
        ),
        ("UPDATE customers SET balance = 'x'", "22P02", None),
    ],
)
async def test_other_constraints_are_named_likewise(shop: Shop, statement: str, sqlstate: str, named: Violated | None) -> None:
    async with shop.datasource.change(LIMITS) as changer:
        with pytest.raises(DatabaseError) as failed:
            await changer.run(Statement(statement))
    assert (failed.value.sqlstate, failed.value.violated) == (sqlstate, named)


async def test_a_constraint_of_a_table_that_the_statement_does_not_name_is_not_named(shop: Shop) -> None:
    await shop.sql("CREATE TABLE hidden (id int PRIMARY KEY, c int REFERENCES customers); INSERT INTO hidden VALUES (1, 4)")
    async with shop.datasource.change(LIMITS) as changer:
        with pytest.raises(DatabaseError) as failed:
            await changer.run(Statement("DELETE FROM customers WHERE id = 4"))
    assert (failed.value.sqlstate, failed.value.violated) == ("23503", None)
    assert "hidden" not in failed.value.message


async def test_a_deferred_constraint_fails_the_commit_and_nothing_stays(shop: Shop) -> None:
    await shop.sql("ALTER TABLE notes ALTER CONSTRAINT notes_customer_fkey DEFERRABLE INITIALLY DEFERRED")
    async with shop.changing("INSERT INTO notes VALUES (9, 99, 'x')") as changer:
        name = await changer.name()
        with pytest.raises(DatabaseError) as failed:
            await changer.commit()
    assert failed.value.sqlstate == "23503"
    assert await shop.datasource.fate(name) == "aborted"


@pytest.mark.parametrize(("configured", "kept"), [("off", "on"), ("remote_write", "remote_write")])
async def test_what_is_committed_is_on_the_disk_however_the_database_is_configured(shop: Shop, configured: str, kept: str) -> None:
    await shop.sql(f"""
        CREATE FUNCTION loses() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM set_config('synchronous_commit', '{configured}', true); RETURN NULL; END $$;
        CREATE TRIGGER losing AFTER UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION loses();
    """)
    async with shop.changing("UPDATE customers SET name = 'n' WHERE id = 1") as changer:
        await changer.name()
        [row] = await changer.reader.fetch("SELECT pg_catalog.current_setting('synchronous_commit')")
        assert row[0] == kept


async def test_a_failed_transaction_is_not_taken_for_committed(shop: Shop) -> None:
    async with shop.changing("UPDATE notes SET body = 'x'") as changer:
        with pytest.raises(DatabaseError):
            await changer.run(Statement("INSERT INTO notes VALUES (1)"))
        with pytest.raises(DatabaseError, match="rolled back"):
            await changer.commit()
    assert await shop.rows("SELECT count(*) FROM notes WHERE body = 'x'") == [(0,)]


async def test_a_lock_that_is_not_to_be_had_says_who_holds_it(shop: Shop) -> None:
    await shop.admin.execute("SET application_name = 'nightly'; BEGIN; UPDATE customers SET name = 'x' WHERE id = 1")
    with pytest.raises(LockedOut) as locked:
        await shop.effects("UPDATE customers SET name = 'y'", limits=replace(LIMITS, lock_timeout_s=0.4))
    pid = shop.admin.get_server_pid()
    assert locked.value.message == (
        f"a lock was not to be had in time: it is held by session {pid} of role `ostiary_admin` in application `nightly`"
    )
    await shop.admin.execute("ROLLBACK")


async def test_a_deadlock_is_told_by_its_sqlstate(shop: Shop) -> None:
    await shop.admin.execute("SET deadlock_timeout = '1h'; BEGIN; UPDATE customers SET name = 'x' WHERE id = 2")
    async with shop.changing("UPDATE customers SET name = 'y' WHERE id = 1") as changer:
        waiting = asyncio.create_task(shop.admin.execute("UPDATE customers SET name = 'x' WHERE id = 1"))
        await until(lambda: _is_waiting(shop, shop.admin.get_server_pid()))
        with pytest.raises(DatabaseError) as failed:
            await changer.run(Statement("UPDATE customers SET name = 'y' WHERE id = 2"))
        assert failed.value.sqlstate == "40P01"
        await waiting
    await shop.admin.execute("ROLLBACK")


async def _is_waiting(shop: Shop, pid: int) -> bool:
    other = await asyncpg.connect(shop.server.dsn(database=shop.database))
    try:
        return bool(await other.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", pid))
    finally:
        await other.close()


@pytest.mark.parametrize("isolation", [Isolation.REPEATABLE_READ, Isolation.SERIALIZABLE])
async def test_a_serialization_failure_is_told_by_its_sqlstate(shop: Shop, isolation: Isolation) -> None:
    async with shop.datasource.change(replace(LIMITS, isolation=isolation)) as changer:
        await changer.run(Statement("UPDATE notes SET body = 'x' WHERE id = 1"))
        await shop.sql("UPDATE customers SET name = 'theirs' WHERE id = 1")
        with pytest.raises(DatabaseError) as failed:
            await changer.run(Statement("UPDATE customers SET name = 'mine' WHERE id = 1"))
    assert failed.value.sqlstate == "40001"


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_what_became_of_a_transaction_is_known_afterwards(shop: Shop, isolation: Isolation) -> None:
    async with shop.changing("UPDATE notes SET body = 'x'", limits=replace(LIMITS, isolation=isolation)) as changer:
        await changer.effects()
        name = await changer.name()
        assert await shop.datasource.fate(name) == "running"
        await changer.commit()
    assert await shop.datasource.fate(name) == "committed"
    async with shop.changing("UPDATE notes SET body = 'y'") as changer:
        other = await changer.name()
    await until(lambda: _has_fate(shop, other, "aborted"))


async def _has_fate(shop: Shop, name: str, fate: str) -> bool:
    return await shop.datasource.fate(name) == fate


async def test_what_is_not_known_is_not_taken_for_aborted(shop: Shop) -> None:
    async with shop.changing("UPDATE notes SET body = 'x'") as changer:
        cluster, timeline, number = (await changer.name()).split("/")
    assert await shop.datasource.fate(f"{cluster}/{timeline}/{int(number) + 100_000}") == "unknown"
    assert await shop.datasource.fate(f"{cluster}/00000009/{number}") == "unknown"
    assert await shop.datasource.fate(f"1{cluster}/{timeline}/{number}") == "unknown"


@pytest.mark.parametrize("moment", ["running", "committing"])
async def test_a_session_that_is_killed_leaves_nothing_and_says_so(shop: Shop, moment: str) -> None:
    kill = "SELECT pg_terminate_backend($1)"
    async with shop.changing("UPDATE notes SET body = 'x'") as changer:
        name = await changer.name()
        await shop.admin.fetchval(kill, changer.reader.connection.get_server_pid())
        if moment == "running":
            with pytest.raises(Unavailable):
                await changer.run(Statement("UPDATE notes SET body = 'y'"))
        with pytest.raises(OutcomeUnknown):
            await changer.commit()
    await until(lambda: _has_fate(shop, name, "aborted"))
    assert await shop.rows("SELECT DISTINCT body FROM notes") == [("hello",)]


async def test_a_session_that_ends_before_the_one_beside_it_has_begun_is_unavailable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shop.datasource.writer is not None
    login = shop.datasource.writer._login  # only there can the moment be chosen
    begin, first = login.begin, list[int]()

    async def killed_between(script: str, *, again: bool = True) -> PoolConnectionProxy:
        if first:
            connected = login.state().size
            await shop.admin.fetchval("SELECT pg_terminate_backend($1)", first[0])
            await until(lambda: login.state().size < connected)  # the driver has heard of it
        connection = await begin(script, again=again)
        first.append(connection.get_server_pid())
        return connection

    async with shop.changing():
        pass  # what the login may do is known now, and no more asked
    monkeypatch.setattr(login, "begin", killed_between)  # the real one, and a real kill before its second call
    with pytest.raises(Unavailable):
        await shop.effects("UPDATE notes SET body = 'x'")


async def test_a_trigger_that_defines_something_is_told(shop: Shop) -> None:
    await shop.sql("""
        CREATE FUNCTION makes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            EXECUTE 'CREATE TABLE public.made (a int)'; RETURN new; END $$;
        CREATE TRIGGER making AFTER UPDATE ON notes FOR EACH STATEMENT EXECUTE FUNCTION makes();
    """)
    effects = await shop.effects("UPDATE notes SET body = 'x' WHERE id = 1")
    assert effects.defined
    assert told(effects) == {"notes": (0, 1, 0, Via.STATEMENT)}


@pytest.mark.parametrize(
    "act",
    [
        "ALTER ROLE {login} SET work_mem = '1MB'",
        "GRANT SELECT ON notes TO PUBLIC",
        "COMMENT ON TABLE notes IS ''x''",
        "PERFORM lo_create(0)",
        "TRUNCATE lines",
    ],
)
async def test_whatever_writes_the_catalog_counts_as_defined(shop: Shop, act: str) -> None:
    body = act.format(login=shop.login)
    run = body if body.startswith("PERFORM") else f"EXECUTE '{body}'" if "''" in body else f"EXECUTE $q${body}$q$"
    await shop.sql(f"""
        CREATE FUNCTION acts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {run}; RETURN new; END $$;
        CREATE TRIGGER acting AFTER UPDATE ON notes FOR EACH STATEMENT EXECUTE FUNCTION acts();
    """)
    assert (await shop.effects("UPDATE notes SET body = 'x' WHERE id = 1")).defined


async def test_a_trigger_that_does_not_end_is_ended(shop: Shop) -> None:
    await shop.sql("""
        CREATE FUNCTION loops() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN LOOP NULL; END LOOP; END $$;
        CREATE TRIGGER looping BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION loops();
    """)
    with pytest.raises(TimedOut):
        await shop.effects("UPDATE notes SET body = 'x'", limits=replace(LIMITS, timeout_s=0.3))


async def test_all_statements_of_a_change_share_one_time(shop: Shop) -> None:
    slow = "UPDATE notes SET body = 'x' FROM pg_sleep(0.4) WHERE id = 1"
    assert (await shop.effects(slow, limits=replace(LIMITS, timeout_s=0.9))).rows == 1
    with pytest.raises(TimedOut):
        await shop.effects(slow, slow, slow, limits=replace(LIMITS, timeout_s=0.9))


async def test_a_change_of_more_rows_than_allowed_is_refused(shop: Shop) -> None:
    allowed = replace(LIMITS, max_rows=6)
    assert (await shop.effects("UPDATE customers SET name = 'x'", limits=allowed)).rows == 6
    with pytest.raises(Refused) as refused:
        await shop.effects("UPDATE customers SET name = 'x'", "DELETE FROM notes WHERE id = 1", limits=allowed)
    assert refused.value.rule == "max_rows"


async def test_sequences_locks_and_who_waits_are_told(shop: Shop) -> None:
    await shop.sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {shop.login}")
    async with shop.changing("INSERT INTO orders (customer, amount) SELECT 1, n FROM generate_series(1, 3) n") as changer:
        waiting = asyncio.create_task(shop.admin.execute("BEGIN; LOCK TABLE orders IN SHARE MODE; ROLLBACK"))
        await until(lambda: _is_waiting(shop, shop.admin.get_server_pid()))
        effects = await changer.effects()
    await waiting
    assert [(use.sequence, use.drawn) for use in effects.sequences] == [(("public", "orders_id_seq"), 3)]
    assert {(lock.relation[1], lock.mode, lock.waiting) for lock in effects.locks} >= {("orders", "ROW EXCLUSIVE", 1)}


async def test_a_definition_tells_what_is_written_anew(server: PostgresServer, database: str) -> None:
    superuser = frozenset({Power.SUPERUSER})
    settings = PostgresSettings(
        "data",
        server.dsn(database=database),
        accepted_powers=superuser,
        writer_dsn=server.dsn(database=database),
        writer_powers=superuser,
    )
    server.sql("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 2)", database)
    datasource = await open_postgres(settings)
    try:
        async with datasource.change(LIMITS) as changer:
            await changer.run(Statement("ALTER TABLE public.t ALTER COLUMN v TYPE bigint"))
            await changer.run(Statement("CREATE TABLE public.u AS SELECT * FROM public.t"))
            effects = await changer.effects()
            assert effects.defined
            assert ("ACCESS EXCLUSIVE", True) in {(lock.mode, lock.rewritten) for lock in effects.locks if lock.relation[1] == "t"}
            assert table(effects, "u").rows == (RowChange(None, ("1", "2")),)
            await changer.run(Statement("UPDATE public.t SET v = 3"))
            with pytest.raises(Refused, match="redefines a table and changes its rows"):
                await changer.effects()
    finally:
        await datasource.close()


async def test_a_statement_judged_by_what_is_no_more_is_not_run(shop: Shop) -> None:
    snapshot = await shop.datasource.refresh()
    relied = {key: mark for key, mark in snapshot.marks.items() if key[2] == "notes"}
    await shop.sql("ALTER TABLE notes ADD COLUMN extra int")
    async with shop.datasource.change(LIMITS, relied) as changer:
        with pytest.raises(SchemaChanged):
            await changer.run(Statement("UPDATE notes SET body = 'x'"))


async def test_rows_are_locked_before_they_are_changed(shop: Shop) -> None:
    effects = await shop.effects("UPDATE customers SET name = 'x' WHERE id IN (2, 5)", "DELETE FROM notes WHERE id = 1")
    async with shop.datasource.change(LIMITS) as changer:
        await changer.lock(effects)
        free = await shop.rows("SELECT id FROM customers ORDER BY id FOR UPDATE SKIP LOCKED")
        assert free == [(1,), (3,), (4,), (6,)]


async def test_without_a_login_for_changes_a_datasource_is_read_only(shop: Shop) -> None:
    assert shop.datasource.changeable
    datasource = await open_postgres(
        PostgresSettings("data", shop.server.dsn(database=shop.database), accepted_powers=frozenset({Power.SUPERUSER}))
    )
    try:
        assert not datasource.changeable
        with pytest.raises(Refused) as refused:
            async with datasource.change(LIMITS):
                pass
        assert (refused.value.rule, refused.value.hint) == ("read_only", "its operator can configure `writer_dsn` for it")
    finally:
        await datasource.close()


async def test_a_login_that_may_do_more_than_write_rows_is_not_used(shop: Shop) -> None:
    await shop.admin.execute(f"ALTER ROLE {shop.login} CREATEDB")
    with pytest.raises(Unavailable, match="login may do more than its operator has accepted"):
        await shop.effects("UPDATE notes SET body = 'x'")
    assert shop.datasource.state().healthy


async def test_sessions_are_emptied_between_changes(shop: Shop) -> None:
    await shop.effects("UPDATE notes SET body = 'x'", "UPDATE customers SET name = 'n'")
    for _ in range(4):
        effects = await shop.effects("UPDATE notes SET body = 'y' WHERE id = 1")
        assert told(effects) == {"notes": (0, 1, 0, Via.STATEMENT)}


async def test_rows_that_row_security_hides_are_not_changed_unseen(shop: Shop) -> None:
    await shop.sql("""
        CREATE TABLE files (id int PRIMARY KEY, whose text, v int);
        INSERT INTO files VALUES (1, 'mine', 0), (2, 'theirs', 0);
        ALTER TABLE files ENABLE ROW LEVEL SECURITY;
        CREATE POLICY own ON files USING (whose = 'mine');
        CREATE FUNCTION touches() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            UPDATE public.files SET v = 1; RETURN new; END $$;
        CREATE TRIGGER touching AFTER UPDATE ON notes FOR EACH STATEMENT EXECUTE FUNCTION touches();
    """)
    seen = await shop.effects("UPDATE files SET v = 2")
    assert table(seen, "files").rows == (RowChange(("1", "mine", "0"), ("1", "mine", "2")),)
    with pytest.raises(Refused, match="row security may hide rows") as refused:
        await shop.effects("UPDATE notes SET body = 'x'")
    assert refused.value.rule == "effects"


async def test_a_large_table_is_not_searched_for_the_row_that_a_statement_wrote(shop: Shop) -> None:
    await shop.sql("""CREATE TABLE many (id int PRIMARY KEY, v int);
        INSERT INTO many SELECT n, n FROM generate_series(1, 10000) n; ANALYZE""")
    async with shop.changing("UPDATE many SET v = 0 WHERE id = 7") as changer:
        assert table(await changer.effects(), "many").rows == (RowChange(("7", "7"), ("7", "0")),)
        [row] = await changer.reader.fetch("SELECT pg_stat_get_xact_numscans('many'::regclass) AS scans")
        assert row["scans"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    ["UPDATE many SET v = v + 1", "DELETE FROM many", "INSERT INTO many SELECT -n, n, 'y' FROM generate_series(1, 100000) n"],
)
async def test_a_hundred_thousand_rows_are_told_and_taken_back(shop: Shop, statement: str) -> None:
    await shop.sql("""CREATE TABLE many (id int PRIMARY KEY, v int, t text);
        INSERT INTO many SELECT n, n, 'x' || n FROM generate_series(1, 100000) n""")
    before = await shop.rows("SELECT md5(string_agg(m::text, ',' ORDER BY id)) FROM many m")
    limits = replace(LIMITS, timeout_s=60, max_rows=100_000)
    clock = asyncio.get_running_loop().time
    async with shop.changing(statement, limits=limits) as changer:
        start = clock()
        effects = await changer.effects()
        print(f"{statement}: effects in {clock() - start:.1f} s")  # noqa: T201  the times
        await changer.commit()
    assert effects.rows == 100_000
    async with shop.datasource.change(limits) as changer:
        start = clock()
        await changer.undo(effects)
        print(f"{statement}: undone in {clock() - start:.1f} s")  # noqa: T201  the times
        assert as_sets(await changer.effects()) == inverse(effects)
        await changer.commit()
    assert await shop.rows("SELECT md5(string_agg(m::text, ',' ORDER BY id)) FROM many m") == before
