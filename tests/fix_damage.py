"""Small backups of each kind, and hands that damage them: as files, or inside, sealed anew by who has the keys."""

import asyncio
import hashlib
import json
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_copies import ground_of
from fix_full import rewritten
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary_tools.backup.drill import Drill, Examine, hold
from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.evidence import Evidence
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Fingerprint, Kind
from ostiary_tools.backup.port import Made, Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.copies import Copying
from ostiary_tools.backup.scratch import Scratch
from ostiary_tools.backup.taking import Workshop, take

BLOCK = 8192
SHOP = """
CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer integer CONSTRAINT of_customer REFERENCES customers,
    total integer CONSTRAINT positive CHECK (total >= 0));
CREATE INDEX orders_total ON orders (total);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamping BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON customers USING (name = current_user);
INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 50) n;
INSERT INTO orders (customer, total) SELECT 1 + n % 50, n FROM generate_series(1, 300) n;
"""


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


async def nothing(scratch: Scratch, kept: StoredBackup) -> str:
    """There is no audit log in it."""
    return ""


async def drilled(vault: Vault, id_: str, site: Path, sought: Sought, examine: Examine = nothing) -> Evidence:
    """What a drill finds, held in a folder that servers of copies may pass."""
    account = ground_of(18, sought).account
    return await hold(Drill(Copying(sought, account), examine, site / "spools", account, "test"), vault.repository, id_, quiet)


def named(found: Evidence, stage: str, words: str) -> None:
    """The drill ended at that stage, and says what is damaged."""
    last = found.checks[-1]
    assert (found.passed, last.name) == (False, stage), last
    assert words in f"{last.damage}: {last.words}", last
    assert all(not check.damage for check in found.checks[:-1])


async def backed_up(vault: Vault, source: Source, sought: Sought, job: str = "job") -> StoredBackup:
    """A backup, as it is taken everywhere."""
    made = await take(vault.repository, source, job, Workshop(sought, vault.root.parent / "spools"), quiet)
    return vault.repository.load(made.id)


async def stating(vault: Vault, dsn: str, fingerprint: Fingerprint, job: str) -> StoredBackup:
    """A logical backup that says it were of another database, as if something had been lost on its way."""
    async with making(vault.repository, Kind.LOGICAL, "shop", job) as keeping:
        made = await LogicalEngine(Sought()).make(Source("shop", Kind.LOGICAL, dsn), keeping, vault.root, quiet)
        return await keeping.commit(replace(made, fingerprint=fingerprint))


def plain(kept: StoredBackup, name: str) -> bytes:
    """What was put into the member of that name."""
    [member] = [member for member in kept.manifest.members if member.name == f"{name}.zst.age"]
    with kept.plain(member) as stream:
        return stream.read()


async def resealed(vault: Vault, kept: StoredBackup, changed: Mapping[str, bytes], job: str = "resealed") -> StoredBackup:
    """The same with other members, properly sealed; what lists the files of a base is that of the new one."""
    was = kept.manifest
    changed = {**_listing(changed.get("base.tar", b"")), **changed}
    async with making(vault.repository, was.kind, was.datasource, job) as keeping:
        members = []
        for member in was.members:
            name = member.name.removesuffix(".zst.age")
            data = changed.get(name) if name in changed else plain(kept, name)
            members.append(await keeping.put(name, member.content, BytesIO(data or b""), lambda _: None))
        return await keeping.commit(Made(was.server_version, tuple(members), was.fingerprint, was.cluster))


@dataclass(frozen=True)
class Cluster:
    """A small cluster's two backups, between which orders came."""

    vault: Vault
    older: StoredBackup
    newer: StoredBackup
    files: Mapping[str, str]
    """Of relations by name."""
    server: PostgresServer

    def base(self) -> bytes:
        """The tar of the newer one."""
        return plain(self.newer, "base.tar")

    def wal(self) -> bytes:
        """Its log."""
        return plain(self.newer, "wal.tar")

    def page(self, relation: str, change: Callable[[bytearray], object], *, block: int = 0, right: bool) -> bytes:
        """The base with a page of a relation changed, whose sum is made right or left."""
        return self.file(self.files.get(relation, relation), lambda data: self._paged(data, change, block, right=right))

    def file(self, path: str, change: Callable[[bytes], bytes]) -> bytes:
        """The base with another file, and the manifest of PostgreSQL made right."""
        return with_file(self.base(), path, change(file_in(self.base(), path)))

    def _paged(self, data: bytes, change: Callable[[bytearray], object], block: int, *, right: bool) -> bytes:
        page = bytearray(data[block * BLOCK : (block + 1) * BLOCK])
        change(page)
        if right:
            page[8:10] = self._sum(bytes(page), block).to_bytes(2, "little")
        return data[: block * BLOCK] + bytes(page) + data[(block + 1) * BLOCK :]

    def _sum(self, page: bytes, block: int) -> int:
        """As PostgreSQL itself sums it."""
        asked = f"SELECT page_checksum('\\x{page.hex()}'::bytea, {block})"
        done = self.server.run("psql", "-XqAt", "-h", str(self.server.root), "-U", "ostiary_admin", "-d", "postgres", text_in=asked)
        return int(done.stdout) & 0xFFFF


@pytest.fixture(scope="session")
def cluster_backups(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, sought: Sought) -> Iterator[Cluster]:
    """Of a cluster with the databases `shop`, which is fingerprinted, and `notes`."""
    root, home = short_directory(), tmp_path_factory.mktemp("cluster")
    server = new_server(root, {"fsync": "off", "autovacuum": "off"})
    server.start()
    postgres_server.sql("CREATE EXTENSION IF NOT EXISTS pageinspect")
    try:
        server.sql("CREATE DATABASE shop; CREATE DATABASE notes;")
        server.sql(SHOP, "shop")
        server.sql(
            "CREATE TABLE notes (id int, body text); INSERT INTO notes SELECT n, 'note' FROM generate_series(1, 50) n;", "notes"
        )
        files = asyncio.run(_files(server, {"orders": "shop", "orders_total": "shop", "customers": "shop", "notes": "notes"}))
        vault, source = new_vault(home), Source("shop", Kind.FULL, server.dsn(database="shop"))
        older = asyncio.run(backed_up(vault, source, sought, "older"))
        server.sql("INSERT INTO orders (customer, total) SELECT 7, 1000 + n FROM generate_series(1, 20) n; CHECKPOINT;", "shop")
        newer = asyncio.run(backed_up(vault, source, sought, "newer"))
        yield Cluster(vault, older, newer, files, postgres_server)
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


async def _files(server: PostgresServer, relations: Mapping[str, str]) -> Mapping[str, str]:
    found = {}
    for name, database in relations.items():
        connection = await asyncpg.connect(server.dsn(database=database))
        found[name] = await connection.fetchval("SELECT pg_relation_filepath($1::text::regclass)", name)
        await connection.close()
    return found


@dataclass(frozen=True)
class Dumps:
    """Two logical backups of one database, between which a row came."""

    vault: Vault
    older: StoredBackup
    newer: StoredBackup

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the newer one."""
        assert self.newer.manifest.fingerprint is not None
        return self.newer.manifest.fingerprint


@pytest.fixture(scope="session")
def logical_backups(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, sought: Sought) -> Dumps:
    """Tables are dumped by name, so that there is a member of each kind."""
    home = tmp_path_factory.mktemp("logical")
    vault, name = new_vault(home), f"damage_{home.name}"
    source = Source("shop", Kind.LOGICAL, postgres_server.dsn(database=name))
    postgres_server.sql(f'CREATE DATABASE "{name}"')
    postgres_server.sql(SHOP, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostiary_tools.backup.engines.groups.LARGE", 0)
        older = asyncio.run(backed_up(vault, source, sought, "older"))
        postgres_server.sql("INSERT INTO orders (customer, total) VALUES (1, 1)", name)
        newer = asyncio.run(backed_up(vault, source, sought, "newer"))
    postgres_server.drop([name])
    return Dumps(vault, older, newer)


@pytest.fixture(scope="session")
def sqlite_backup(tmp_path_factory: pytest.TempPathFactory) -> Dumps:
    """Of a file with one table."""
    home = tmp_path_factory.mktemp("sqlite")
    with closing(sqlite3.connect(home / "app.db")) as file, file:
        file.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
        file.execute("CREATE INDEX notes_body ON notes (body)")
        file.executemany("INSERT INTO notes (body) VALUES (?)", [(f"note {n}" * 20,) for n in range(300)])
    vault = new_vault(home)
    kept = asyncio.run(backed_up(vault, Source("app", Kind.SQLITE, path=home / "app.db"), Sought()))
    return Dumps(vault, kept, kept)


def _listing(base: bytes) -> Mapping[str, bytes]:
    """The member that the manifest inside a base is once more; nothing of what is no base."""
    with suppress(tarfile.TarError, ValueError):
        return {"backup-manifest": file_in(base, "backup_manifest")}
    return {}


def file_in(tar: bytes, path: str) -> bytes:
    """One file of a tar."""
    found: list[bytes] = []
    rewritten(tar, lambda entry, data: found.append(data) if entry.name == path else None)
    [data] = found
    return data


def with_file(tar: bytes, path: str, data: bytes) -> bytes:
    """Another file in its place, and the manifest inside says so."""
    stated = restated(file_in(tar, "backup_manifest"), path, data)
    new = {path: data, "backup_manifest": stated}
    return rewritten(tar, lambda entry, was: (entry, new.get(entry.name, was)))


def restated(manifest: bytes, path: str, data: bytes) -> bytes:
    """PostgreSQL's manifest with the size and the sum of another file, and its own sum made right."""
    digest, named = hashlib.sha256(data).hexdigest(), f'"Path": "{path}"'
    lines = [
        re.sub(r'"Size": \d+', f'"Size": {len(data)}', re.sub(r'"Checksum": "\w+"', f'"Checksum": "{digest}"', line))
        if named in line
        else line
        for line in manifest.decode().split("\n")
    ]
    before = "\n".join(lines).rpartition('"Manifest-Checksum"')[0]
    made = before + f'"Manifest-Checksum": "{hashlib.sha256(before.encode()).hexdigest()}"}}\n'
    assert json.loads(made)
    return made.encode()
