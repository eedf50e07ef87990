"""Logical backups of real servers, kept in a real repository."""

import asyncio
import itertools
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fix_backup import Vault, new_vault
from fix_copies import given
from fix_postgres import POSTGRES_15, PostgresServer, new_server, short_directory

from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.engines.logical import NO_PASSWORDS, LogicalEngine
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Fingerprint, Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.database import CLOSED, UNOWNED, Restored, into_server
from ostiary_tools.backup.restoring.instance import ground_for, into_instance
from ostiary_tools.backup.scratch import serving
from ostiary_tools.embedded.account import server_account
from ostiary_tools.errors import Damaged, Refused, Unavailable

HOSTILE = ['a"b', "new\nline", "dot.ted", "*", "$1", "(t|u)+?[a]", "back\\slash", "--option", "ünï", " ", "select"]
RICH = """
CREATE EXTENSION vector;
CREATE SCHEMA "far away";
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, mood mood, like_ vector(3), p point, j json,
    f float8[], twice text GENERATED ALWAYS AS (name || name) STORED);
INSERT INTO people (name, mood, like_, p, j, f) SELECT 'p' || n, 'ill', '[1,2,3]', point(n, -n), '{"a": 1}', '{NaN,-0,Infinity}'
    FROM generate_series(1, 200) n;
CREATE TABLE parts (day date, v text) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 (v text, day date NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO parts SELECT date '2026-01-01' + n, 'v' || n FROM generate_series(0, 50) n;
CREATE INDEX parts_v ON parts (v);
CREATE TABLE child (extra text) INHERITS (people);
INSERT INTO child (name, id, extra) OVERRIDING SYSTEM VALUE VALUES ('c', 77777, 'x');
CREATE TABLE "far away"."Mixed ""Case"" Name" (v int);
ALTER TABLE "far away"."Mixed ""Case"" Name" ADD CONSTRAINT above CHECK (v > 0) NOT VALID;
ALTER TABLE people ENABLE ROW LEVEL SECURITY;
ALTER TABLE people FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON people USING (name = current_user);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.name := ''stamped''; RETURN NEW; END';
CREATE TRIGGER stamping BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS people FROM people;
CREATE MATERIALIZED VIEW later AS SELECT 1 WITH NO DATA;
CREATE VIEW names AS SELECT name FROM people;
CREATE UNLOGGED TABLE quick (v int); INSERT INTO quick VALUES (1);
CREATE SEQUENCE fresh START 50; CREATE SEQUENCE set_ahead; SELECT setval('set_ahead', 42, false);
SELECT lo_from_bytea(0, repeat('large', 10000)::bytea);
"""
SHOP = """
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer integer REFERENCES customers, total numeric CHECK (total >= 0));
CREATE INDEX orders_total ON orders (total);
INSERT INTO customers (name) SELECT 'c' || n FROM generate_series(1, 500) n;
INSERT INTO orders (customer, total) SELECT 1 + n % 500, n FROM generate_series(1, 3000) n;
"""


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


async def of(server: PostgresServer, database: str) -> Fingerprint:
    """What the database holds now."""
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await taken(connection, database, Kind.LOGICAL)
    finally:
        await connection.close()


async def backed_up(vault: Vault, dsn: str, *, job: str = "job", parallel: int = 2) -> StoredBackup:
    async with making(vault.repository, Kind.LOGICAL, "shop", job) as keeping:
        made = await LogicalEngine(Sought(), parallel).make(Source("shop", Kind.LOGICAL, dsn), keeping, vault.root, quiet)
        return await keeping.commit(made)


@pytest.mark.asyncio
async def test_a_backup_is_restored_to_a_new_database_of_the_server(
    any_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(any_server, SHOP)
    kept = await backed_up(new_vault(tmp_path), any_server.dsn(database=database))
    any_server.sql("DROP TABLE orders", database)
    name = f"{database} \"new'"
    restored = await into_server(kept, any_server.dsn(), name, Sought(), quiet)
    try:
        assert restored == Restored(name, (CLOSED,))
        assert await databases(any_server) & {name, database} == {name, database}
        assert not [found for found in await databases(any_server) if found.startswith("ostiary_restore_")]
        connection = await asyncpg.connect(any_server.dsn(), database=name)
        assert await connection.fetchval("SELECT count(*) FROM orders JOIN customers c ON c.id = customer") == 3000
        await connection.close()
    finally:
        any_server.drop([name.replace('"', '""')])


@pytest.mark.asyncio
async def test_everything_of_a_database_comes_back(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where each table is dumped by its name."""
    monkeypatch.setattr("ostiary_tools.backup.engines.groups.LARGE", 0)
    hostile = "".join(
        f"CREATE TABLE {name} ({name} serial PRIMARY KEY, v text); INSERT INTO {name} (v) VALUES ('x'), ('y');"
        for name in ('"' + name.replace('"', '""') + '"' for name in HOSTILE)
    )
    database = made_in(postgres_server, RICH + hostile)
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn(database=database))
    assert [member.name for member in kept.manifest.members if member.content is Content.DATA] == [
        "data-1.dump.zst.age",
        "data-2.dump.zst.age",
    ]
    restored = await restored_in(postgres_server, kept, f"{database}_new", made_in)
    assert restored.notes == (CLOSED,)


@pytest.mark.asyncio
@pytest.mark.slow
async def test_under_write_load_the_copy_is_what_the_snapshot_saw(
    any_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ostiary_tools.backup.engines.groups.LARGE", 0)
    database = made_in(any_server, SHOP)
    dsn = any_server.dsn(database=database)
    over = asyncio.Event()
    writers = [asyncio.create_task(writing(dsn, over)) for _ in range(2)]
    try:
        kept = await backed_up(new_vault(tmp_path), dsn)
    finally:
        over.set()
        written = await asyncio.gather(*writers)
    assert sum(written) > 0
    assert kept.manifest.fingerprint is not None
    live = await of(any_server, database)
    assert {difference.name for difference in compared(kept.manifest.fingerprint, live)} >= {'table "public"."orders"'}
    await restored_in(any_server, kept, f"{database}_new", made_in)


async def writing(dsn: str, over: asyncio.Event) -> int:
    """Write until it is over; how often that was."""
    connection = await asyncpg.connect(dsn)
    for times in itertools.count(1):
        await connection.execute("INSERT INTO orders (customer, total) VALUES (1, 5); UPDATE orders SET total = 6 WHERE id = 7")
        if over.is_set():
            await connection.close()
            return times
    raise AssertionError


async def restored_in(server: PostgresServer, kept: StoredBackup, name: str, made_in: Callable[..., str]) -> Restored:
    """Restored to a new database, which goes with the test."""
    try:
        return await into_server(kept, server.dsn(), name, Sought(), quiet)
    finally:
        server.drop([name])


@pytest.mark.asyncio
async def test_a_restore_over_a_database_is_refused(postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path):
    database = made_in(postgres_server, SHOP)
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn(database=database))
    before = await of(postgres_server, database)
    with pytest.raises(Refused, match=r"there is a database `.*` already"):
        await into_server(kept, postgres_server.dsn(), database, Sought(), quiet)
    for name in ("", "x" * 64, "a\0b"):
        with pytest.raises(Refused, match="name has 1 to 63 bytes"):
            await into_server(kept, postgres_server.dsn(), name, Sought(), quiet)
    assert await of(postgres_server, database) == before


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_copy_that_differs_is_dropped_and_the_difference_named(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(postgres_server, SHOP)
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn(database=database))
    assert kept.manifest.fingerprint is not None
    first, *others = kept.manifest.fingerprint.tables
    other = replace(kept.manifest.fingerprint, tables=(replace(first, sum="1"), *others))
    lying = replace(kept, manifest=replace(kept.manifest, fingerprint=other))
    before = await databases(postgres_server)
    with pytest.raises(Damaged, match=r'table "public"."customers": as many rows as before'):
        await into_server(lying, postgres_server.dsn(), f"{database}_new", Sought(), quiet)
    assert await databases(postgres_server) == before


@pytest.mark.asyncio
async def test_of_what_was_tampered_with_no_byte_is_run(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    """A dump is code, and its recipients' keys are public: who can write into the repository can encrypt to them."""
    vault = new_vault(tmp_path)
    database = made_in(postgres_server, SHOP)
    kept = await backed_up(vault, postgres_server.dsn(database=database))
    evil = await backed_up(vault, postgres_server.dsn(database=made_in(postgres_server, "CREATE TABLE evil ()")), job="evil")
    shutil.copy(
        vault.root / "backups" / evil.manifest.id / "database.dump.zst.age",
        vault.root / "backups" / kept.manifest.id / "database.dump.zst.age",
    )
    before = await databases(postgres_server)
    with pytest.raises(Damaged, match=r"`database.dump.zst.age` is damaged"):
        await into_server(kept, postgres_server.dsn(), f"{database}_new", Sought(), quiet)
    assert await databases(postgres_server) == before


async def databases(server: PostgresServer) -> set[str]:
    connection = await asyncpg.connect(server.dsn())
    try:
        return {row[0] for row in await connection.fetch("SELECT datname::text FROM pg_database")}
    finally:
        await connection.close()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_backup_is_restored_to_a_new_instance_with_its_roles(
    any_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path, site: Path, sought: Sought
):
    database = made_in(any_server, SHOP)
    role = f'{database} "r"; x'
    quoted = '"' + role.replace('"', '""') + '"'
    any_server.sql(
        f"CREATE ROLE {quoted} LOGIN PASSWORD 'pa;ss'; CREATE ROLE {database}_g; GRANT {database}_g TO {quoted};"
        f"GRANT SELECT ON orders TO {quoted}; ALTER TABLE customers OWNER TO {database}_g",
        database,
    )
    try:
        kept = await backed_up(new_vault(tmp_path), any_server.dsn(database=database))
    finally:
        any_server.sql(f"DROP OWNED BY {quoted}; DROP OWNED BY {database}_g CASCADE; DROP ROLE {quoted}, {database}_g", database)
    account = server_account(Path("/nonexistent/cluster"))
    ground = await asyncio.to_thread(ground_for, kept.manifest, account, sought)
    made = await into_instance(kept, given(site / "copy", ground) / "data", ground, sought, quiet)
    assert (made.database, made.notes) == (database, ())
    async with serving(made.data_dir, ground, made.superuser) as scratch:
        connection = await scratch.connect(database)
        assert await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'customers'") == f"{database}_g"
        asked = "SELECT has_table_privilege($1, 'public.orders', 'SELECT') AND pg_has_role($1, $2, 'MEMBER')"
        assert await connection.fetchval(asked, role, f"{database}_g")
        login = "SELECT rolpassword LIKE 'SCRAM%' AND rolcanlogin FROM pg_authid WHERE rolname = $1"
        assert await connection.fetchval(login, role)
        await connection.close()
        await scratch.stop()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_login_that_is_no_superuser_backs_up_and_restores(
    any_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    """As on managed servers: it reads everything, owns the new database, and is told what it lacks."""
    database = made_in(any_server, SHOP)
    role, other = f"plain_{database}", f"other_{database}"
    any_server.sql(f"CREATE ROLE {role} LOGIN CREATEDB; GRANT pg_read_all_data TO {role}; CREATE ROLE {other}")
    any_server.sql(f"ALTER TABLE orders OWNER TO {other}", database)
    name = f"{database}_new"
    try:
        kept = await backed_up(new_vault(tmp_path), any_server.dsn(role, database))
        restored = await into_server(kept, any_server.dsn(role, database), name, Sought(), quiet)
        # `pg_read_all_data` reads what passwords are kept in, too.
        assert (kept.manifest.notes, restored.notes) == ((), (UNOWNED, CLOSED))
        connection = await asyncpg.connect(any_server.dsn(role, name))
        assert await connection.fetchval("SELECT count(*) FROM orders") == 3000
        await connection.close()
    finally:
        any_server.drop([name])
        any_server.sql(f"REASSIGN OWNED BY {other} TO ostiary_admin; DROP OWNED BY {other}; DROP ROLE {other}", database)
        any_server.sql(f"DROP OWNED BY {role}; DROP ROLE {role}", database)


@pytest.mark.asyncio
async def test_a_login_without_rights_or_passwords_is_told_so_without_names(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    database = made_in(postgres_server, SHOP)
    role, vault = f"poor_{database}", new_vault(tmp_path)
    postgres_server.sql(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(Unavailable) as refused:
            await backed_up(vault, postgres_server.dsn(role, database))
        assert refused.value.message == "the login for backups may not read every row of 2 of 2 tables"
        grants = (f"GRANT SELECT ON ALL {things} IN SCHEMA public TO {role}" for things in ("TABLES", "SEQUENCES"))
        postgres_server.sql("; ".join(grants), database)
        kept = await backed_up(vault, postgres_server.dsn(role, database))
        assert kept.manifest.notes == (NO_PASSWORDS,)
    finally:
        postgres_server.sql(f"DROP OWNED BY {role}; DROP ROLE {role}", database)


@pytest.mark.asyncio
async def test_a_password_is_in_no_word_of_a_failure(tmp_path: Path):
    canary = "canary"
    source = Source("shop", Kind.LOGICAL, f"postgresql://somebody:{canary}@127.0.0.1:1/shop")
    with pytest.raises(Unavailable) as refused:
        await backed_up(new_vault(tmp_path), source.dsn)
    assert refused.value.message == "the login for backups gets no connection"
    error: BaseException | None = refused.value
    while error is not None:
        assert canary not in str(error)
        error = error.__cause__ or error.__context__
    assert canary not in repr(source)


@pytest.mark.asyncio
@pytest.mark.slow
async def test_newer_programs_restore_to_an_older_server(
    server_15: PostgresServer, made_in: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """They say a setting that the server does not know; nothing but that is forgiven."""
    monkeypatch.setattr("ostiary_tools.backup.programs._INSTALLED", ())
    database = made_in(server_15, SHOP)
    kept = await backed_up(new_vault(tmp_path), server_15.dsn(database=database))
    name = f"{database}_new"
    try:
        assert await into_server(kept, server_15.dsn(), name, Sought(), quiet) == Restored(name, (CLOSED,))
    finally:
        server_15.drop([name])


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_gigabyte_under_write_load_comes_back_and_one_changed_row_is_found(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path
):
    big = (
        "CREATE TABLE {0} AS SELECT n AS id, md5(n::text) || md5((n + 1)::text) || 'filling' v FROM generate_series(1, 4300000) n;"
    )
    keys = "ALTER TABLE {0} ADD PRIMARY KEY (id);"
    database = made_in(postgres_server, SHOP + "".join(text.format(name) for name in ("big_1", "big_2") for text in (big, keys)))
    dsn, name = postgres_server.dsn(database=database), f"{database}_new"
    over = asyncio.Event()
    writer = asyncio.create_task(writing(dsn, over))
    try:
        kept = await backed_up(new_vault(tmp_path), dsn)
    finally:
        over.set()
        assert await writer > 1
    assert kept.manifest.plain_bytes > 600_000_000
    assert [member.name for member in kept.manifest.members if member.content is Content.DATA] == [
        "data-1.dump.zst.age",
        "data-2.dump.zst.age",
    ]
    try:
        restored = await into_server(kept, postgres_server.dsn(), name, Sought(), quiet)
        assert restored.notes == (CLOSED,)
        postgres_server.sql("UPDATE big_2 SET v = v || '.' WHERE id = 1234567", name)
        assert kept.manifest.fingerprint is not None
        assert [str(one) for one in compared(kept.manifest.fingerprint, await of(postgres_server, name))] == [
            'table "public"."big_2": as many rows as before (4,300,000), and not the same'
        ]
    finally:
        postgres_server.drop([name])


@pytest.fixture
def encrypted_server(tmp_path: Path) -> Iterator[tuple[PostgresServer, int]]:
    """PostgreSQL 15 that takes encrypted connections on a port."""
    if not (POSTGRES_15 / "bin" / "initdb").exists():
        pytest.skip(f"PostgreSQL 15 is not in {POSTGRES_15}")
    root = short_directory()
    with socket.socket() as taken_for_a_moment:
        taken_for_a_moment.bind(("127.0.0.1", 0))
        port = taken_for_a_moment.getsockname()[1]
    server = new_server(
        root, {"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port), "ssl": "on"}, POSTGRES_15 / "bin"
    )
    for name, pem in zip(("server.key", "server.crt"), _certificate(), strict=True):
        (server.data / name).write_bytes(pem)
        (server.data / name).chmod(0o600)
        if server.user:
            shutil.chown(server.data / name, server.user)
    server.start()
    yield server, port
    server.stop("immediate")
    shutil.rmtree(root, ignore_errors=True)


def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return private, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.parametrize("asked", ["?sslmode=require", ""])
async def test_where_a_session_is_encrypted_no_program_goes_without(
    encrypted_server: tuple[PostgresServer, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
):
    """The bundled programs speak no TLS; a row that they dumped would be readable on the wire."""
    _, port = encrypted_server
    dsn = f"postgresql://ostiary_admin@127.0.0.1:{port}/postgres{asked}"
    assert (await backed_up(new_vault(tmp_path / "one"), dsn)).manifest.server_version.startswith("15.")
    monkeypatch.setattr("ostiary_tools.backup.programs._INSTALLED", ())
    vault = new_vault(tmp_path / "two")
    with pytest.raises(Unavailable, match="no program of PostgreSQL 15 or newer on this machine can speak TLS"):
        await backed_up(vault, dsn)
    assert vault.repository.listed() == ()
