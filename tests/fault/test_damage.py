"""Whatever is damaged in a backup, in its files or inside of what was sealed properly, a drill fails and names it."""

import hashlib
import os
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fix_audit import AuditLog
from fix_backup import Vault, copied, flip, signed_anew
from fix_damage import SHOP, Cluster, Dumps, backed_up, drilled, file_in, named, plain, resealed, restated, stating, with_file
from fix_full import rewritten
from fix_postgres import PostgresServer

from ostiary.audit.copied import verified_copy
from ostiary_tools.backup import streams
from ostiary_tools.backup.evidence import newest
from ostiary_tools.backup.keys import new_identity
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import SUMS, StoredBackup, sums
from ostiary_tools.backup.scratch import Scratch
from ostiary_tools.backup.verification import verify
from ostiary_tools.errors import Damaged, Unavailable

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

AGE_CHUNK = 65536 + 16
_HEADER = 40
"""Bytes with which a segment says what it is."""
DUMP, DATA, ROLES = "database.dump.zst.age", "data-1.dump.zst.age", "globals.sql.zst.age"
BASE, WAL, FILE = "base.tar.zst.age", "wal.tar.zst.age", "database.db.zst.age"


@dataclass(frozen=True)
class Backups:
    """All there are for the tests; none of them is to be changed."""

    logical: Dumps
    full: Cluster
    sqlite: Dumps

    def of(self, kind: str) -> tuple[Vault, StoredBackup, StoredBackup]:
        """A vault, the backup that is damaged, and an older one."""
        found: Any = getattr(self, kind)
        return found.vault, found.newer, found.older


@pytest.fixture
def backups(logical_backups: Dumps, cluster_backups: Cluster, sqlite_backup: Dumps) -> Backups:
    return Backups(logical_backups, cluster_backups, sqlite_backup)


# Files of the repository.


def _cut(name: str, kept: float) -> Callable[[Path, Path], object]:
    return lambda folder, _: os.truncate(folder / name, int((folder / name).stat().st_size * kept))


def _cut_at_chunk(folder: Path, older: Path) -> None:
    data = (folder / BASE).read_bytes()
    header = data.index(b"\n--- ") + 5 + 43 + 1 + 16
    assert len(data) > header + 2 * AGE_CHUNK
    os.truncate(folder / BASE, header + 2 * AGE_CHUNK)


def _swap(first: str, second: str) -> Callable[[Path, Path], object]:
    def swapped(folder: Path, _: Path) -> None:
        (folder / first).rename(folder / "x")
        (folder / second).rename(folder / first)
        (folder / "x").rename(folder / second)

    return swapped


def _older(name: str) -> Callable[[Path, Path], object]:
    return lambda folder, older: (folder / name).write_bytes((older / name).read_bytes())


def _flip(name: str) -> Callable[[Path, Path], object]:
    return lambda folder, _: flip(folder / name, 0.6)


FILES: dict[str, tuple[str, Callable[[Path, Path], object], str]] = {
    "a byte of the manifest": ("logical", _flip("manifest.json"), "manifest.json"),
    "a byte of the signature": ("logical", _flip("manifest.sig"), "manifest.json"),
    "a byte of the sums for people": ("logical", _flip("SHA256SUMS"), "SHA256SUMS"),
    "a byte of the dump": ("logical", _flip(DUMP), DUMP),
    "a byte of dumped rows": ("logical", _flip(DATA), DATA),
    "a byte of the roles": ("logical", _flip(ROLES), ROLES),
    "a byte of the base": ("full", _flip(BASE), BASE),
    "a byte of the log": ("full", _flip(WAL), WAL),
    "a byte of a SQLite file": ("sqlite", _flip(FILE), FILE),
    "a dump that is cut": ("logical", _cut(DUMP, 0.7), DUMP),
    "a base that is cut between two pieces of ciphertext": ("full", _cut_at_chunk, BASE),
    "a log that is empty": ("full", _cut(WAL, 0), WAL),
    "no dump": ("logical", lambda folder, _: (folder / DUMP).unlink(), DUMP),
    "no log": ("full", lambda folder, _: (folder / WAL).unlink(), WAL),
    "no manifest": ("full", lambda folder, _: (folder / "manifest.json").unlink(), "manifest.json"),
    "two members swapped": ("logical", _swap(DUMP, ROLES), DUMP),
    "base and log swapped": ("full", _swap(BASE, WAL), BASE),
    "the dump of an older backup": ("logical", _older(DUMP), DUMP),
    "the base of an older backup": ("full", _older(BASE), BASE),
    "the manifest of an older backup": ("full", _older("manifest.json"), "manifest.json"),
    "a file too many": ("logical", lambda folder, _: (folder / "more").touch(), "1 more than its manifest names"),
}


@pytest.mark.parametrize("damage", FILES)
async def test_a_damaged_file_is_named_by_verification_and_by_a_drill(
    backups: Backups, damage: str, tmp_path: Path, site: Path, sought: Sought
):
    kind, work, words = FILES[damage]
    template, kept, older = backups.of(kind)
    vault = copied(template, tmp_path)
    folder = vault.root / "backups"
    work(folder / kept.manifest.id, folder / older.manifest.id)
    first, *_ = verify(vault.repository, kept.manifest.id, lambda _: None).damages
    assert words in f"{first.what}: {first.message}"
    if words == "manifest.json":
        with pytest.raises(Damaged, match=r"manifest\.json|signature"):
            await drilled(vault, kept.manifest.id, site, sought)
        return
    named(await drilled(vault, kept.manifest.id, site, sought), "bytes", words)
    found = newest(vault.repository, kept.manifest)
    assert found is not None
    assert not found.passed


async def test_without_the_right_key_no_drill_is_held_and_nothing_is_said_of_the_backup(
    backups: Backups, tmp_path: Path, site: Path, sought: Sought
):
    vault = copied(backups.logical.vault, tmp_path)
    for keys, words in (((), "no key"), ((new_identity(),), "no key that opens")):
        other = replace(vault, repository=replace(vault.repository, identities=keys))
        with pytest.raises(Unavailable, match=words):
            await drilled(other, backups.logical.newer.manifest.id, site, sought)
    assert newest(vault.repository, backups.logical.newer.manifest) is None


async def test_a_frame_of_zstd_that_was_cut_before_it_was_encrypted_is_named(
    backups: Backups, tmp_path: Path, site: Path, sought: Sought
):
    import pyrage

    vault, kept = copied(backups.logical.vault, tmp_path), backups.logical.newer
    frame = streams.zstd().ZstdCompressor().compress(plain(kept, "database.dump"))
    recipients = [pyrage.x25519.Recipient.from_str(one) for one in kept.manifest.recipients]
    stored = pyrage.encrypt(frame[:-20], recipients)
    (vault.root / "backups" / kept.manifest.id / DUMP).write_bytes(stored)
    index = [member.name for member in kept.manifest.members].index(DUMP)
    stated = {"stored_bytes": len(stored), "stored_sha256": hashlib.sha256(stored).hexdigest()}
    signed_anew(vault, kept.manifest.id, lambda manifest: manifest["members"][index].update(stated))
    kept = vault.repository.load(kept.manifest.id)
    (vault.root / "backups" / kept.manifest.id / SUMS).write_bytes(sums(kept.manifest))
    first, *_ = verify(vault.repository, kept.manifest.id, lambda _: None).damages
    assert first.what == DUMP
    named(await drilled(vault, kept.manifest.id, site, sought), "bytes", DUMP)


# Inside of logical backups: something was lost on the way from the database into the dump.


LOST: dict[str, tuple[str, str]] = {
    "a row changed": ("UPDATE orders SET total = total + 1 WHERE id = 7", 'table "public"."orders": as many rows as before'),
    "a row missing": ("DELETE FROM orders WHERE id = 300", 'table "public"."orders": 301 rows before, 300 now'),
    "a row too many": ("INSERT INTO customers (name) VALUES ('more')", 'table "public"."customers": 50 rows before, 51 now'),
    "a table missing": ("DROP TABLE orders", 'table "public"."orders": is missing'),
    "a column missing": ("ALTER TABLE orders DROP COLUMN customer", 'table "public"."orders": as many rows as before'),
    "an index missing": ("DROP INDEX orders_total", 'index "public"."orders_total": is missing'),
    "a key missing": (
        "ALTER TABLE orders DROP CONSTRAINT of_customer",
        '"of_customer" on "public"."orders": is missing',
    ),
    "a check missing": ("ALTER TABLE orders DROP CONSTRAINT positive", 'constraint "positive" on "public"."orders": is missing'),
    "a trigger missing": ("DROP TRIGGER stamping ON orders", 'trigger "stamping" on "public"."orders": is missing'),
    "a trigger turned off": (
        "ALTER TABLE orders DISABLE TRIGGER stamping",
        'trigger "stamping" on "public"."orders": is not what it was',
    ),
    "a policy missing": ("DROP POLICY own ON customers", 'policy "own" on "public"."customers": is missing'),
    "row security off": ("ALTER TABLE customers DISABLE ROW LEVEL SECURITY", 'table "public"."customers": is not what it was'),
    "a sequence set back": ("SELECT setval('orders_id_seq', 5)", 'sequence "public"."orders_id_seq": stands at 5'),
    "a function missing": ("DROP FUNCTION stamp() CASCADE", 'function "public"."stamp"(): is missing'),
    "a column that may be null": (
        "ALTER TABLE customers ALTER name DROP NOT NULL",
        'table "public"."customers": is not what it was',
    ),
}


@pytest.mark.parametrize("damage", LOST)
async def test_what_a_dump_lost_is_named_by_the_restore(
    backups: Backups,
    damage: str,
    postgres_server: PostgresServer,
    made_in: Callable[..., str],
    tmp_path: Path,
    site: Path,
    sought: Sought,
):
    change, words = LOST[damage]
    database = made_in(postgres_server, SHOP + "INSERT INTO orders (customer, total) VALUES (1, 1);" + change)
    vault = copied(backups.logical.vault, tmp_path)
    kept = await stating(vault, postgres_server.dsn(database=database), backups.logical.fingerprint, "lost")
    assert verify(vault.repository, kept.manifest.id, lambda _: None).intact
    named(await drilled(vault, kept.manifest.id, site, sought), "restore", words)


DUMPS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "a dump that was killed": (
        "database.dump",
        lambda dump: dump[: len(dump) - len(dump) // 4],
        "`pg_restore` ended with an error",
    ),
    "rows of a dump that was killed": ("data-1.dump", lambda dump: dump[:-200], "`pg_restore` ended with an error"),
    "an empty dump": ("database.dump", lambda _: b"", "not known here"),
    "no rows at all": ("data-1.dump", lambda _: b"", "`pg_restore` ended with an error"),
    "a byte of a row": ("data-1.dump", lambda dump: dump.replace(b"customer 17\n", b"customer 71\n"), "as many rows as before"),
}


@pytest.mark.parametrize("damage", DUMPS)
async def test_a_dump_that_is_not_whole_is_named_by_the_restore(
    backups: Backups, damage: str, tmp_path: Path, site: Path, sought: Sought
):
    name, change, words = DUMPS[damage]
    vault = copied(backups.logical.vault, tmp_path)
    kept = backups.logical.newer
    if damage == "a byte of a row" and b"customer 17\n" not in plain(kept, name):
        name = "data-2.dump"
    was = plain(kept, name)
    assert change(was) != was
    made = await resealed(vault, kept, {name: change(was)})
    assert verify(vault.repository, made.manifest.id, lambda _: None).intact
    named(await drilled(vault, made.manifest.id, site, sought), "restore", words)


# Inside of full backups.


def _wal(change: Callable[[list[str], tarfile.TarInfo, bytes], bytes | None]) -> Callable[[Cluster], dict[str, bytes]]:
    def changed(cluster: Cluster) -> dict[str, bytes]:
        names: list[str] = []
        rewritten(cluster.wal(), lambda entry, _: names.append(entry.name))

        def one(entry: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes] | None:
            found = change(sorted(names), entry, data)
            return None if found is None else (entry, found)

        return {"wal.tar": rewritten(cluster.wal(), one)}

    return changed


def _base(change: Callable[[Cluster], bytes]) -> Callable[[Cluster], dict[str, bytes]]:
    return lambda cluster: {"base.tar": change(cluster)}


def _entry(change: Callable[[Cluster, str, bytes], bytes | None]) -> Callable[[Cluster], dict[str, bytes]]:
    """Files of the base, while PostgreSQL's manifest stays as it is."""

    def changed(cluster: Cluster) -> dict[str, bytes]:
        def one(entry: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes] | None:
            found = change(cluster, entry.name, data)
            return None if found is None else (entry, found)

        return {"base.tar": rewritten(cluster.base(), one)}

    return changed


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _last_row(page: bytearray) -> None:
    """A byte of the last value on the page: of the row that its first pointer leads to."""
    page[-8] ^= 1


def _future(page: bytearray) -> None:
    """The row that the first pointer leads to was written by a transaction that never was."""
    offset = int.from_bytes(page[24:28], "little") & 0x7FFF
    page[offset : offset + 4] = (0x7FFFFFF0).to_bytes(4, "little")
    page[offset + 20 : offset + 22] = (int.from_bytes(page[offset + 20 : offset + 22], "little") & ~0x0300).to_bytes(2, "little")


def _any(page: bytearray) -> None:
    page[5000] ^= 1


def _of_another(names: list[str], entry: tarfile.TarInfo, data: bytes) -> bytes:
    """The segment says of which cluster it is."""
    return data[:24] + bytes(8) + data[32:] if entry.name == names[0] else data


def _ended_early(cluster: Cluster) -> dict[str, bytes]:
    """At the end of the base, with zeros to the ends of all segments, as a log has that is still written."""
    facts = cluster.newer.manifest.cluster
    assert facts is not None
    high, low = facts.end_lsn.split("/")
    last, end = f"{facts.timeline:08X}{int(high, 16):08X}{int(low, 16) >> 24:08X}", int(low, 16) & 0xFFFFFF

    def emptied(_: list[str], entry: tarfile.TarInfo, data: bytes) -> bytes:
        kept = end if entry.name == last else len(data) if entry.name < last else _HEADER
        return data[:kept] + bytes(len(data) - kept)

    return _wal(emptied)(cluster)


def _older_index(cluster: Cluster) -> bytes:
    """Each of its pages is whole; it knows nothing of the rows that came since."""
    path = cluster.files["orders_total"]
    return with_file(cluster.base(), path, file_in(plain(cluster.older, "base.tar"), path))


def _older_heap(cluster: Cluster) -> bytes:
    path = cluster.files["orders"]
    return with_file(cluster.base(), path, file_in(plain(cluster.older, "base.tar"), path))


def _without(cluster: Cluster, name: str, data: bytes) -> bytes | None:
    return None if name == cluster.files["orders"] else data


def _extra(cluster: Cluster) -> bytes:
    """A copy of a file under another name."""
    from io import BytesIO

    made = BytesIO(cluster.base())
    with tarfile.open(fileobj=made, mode="a") as tar:
        info = tarfile.TarInfo("base/5/99999")
        info.size = 5
        tar.addfile(info, BytesIO(b"extra"))
    return made.getvalue()


def _edited(cluster: Cluster, name: str, data: bytes) -> bytes:
    return data.replace(b'"Size": 8192', b'"Size": 8191', 1) if name == "backup_manifest" else data


def _resumed(cluster: Cluster, name: str, data: bytes) -> bytes:
    """It sums itself; the file that it speaks of was not changed."""
    return restated(data, cluster.files["orders"], b"other") if name == "backup_manifest" else data


def _heap(cluster: Cluster, name: str, data: bytes) -> bytes:
    return _flipped(data, 5000) if name == cluster.files["orders"] else data


INSIDE: dict[str, tuple[Callable[[Cluster], dict[str, bytes]], str, str]] = {
    "a byte of a table's file": (_entry(_heap), "restore", "base/"),
    "a file missing": (_entry(_without), "restore", "base/"),
    "a file too many": (_base(_extra), "restore", "`base/5/99999` too many"),
    "PostgreSQL's manifest edited": (_entry(_edited), "restore", "`backup_manifest` of the backup is not as it was written"),
    "PostgreSQL's manifest made to fit itself": (_entry(_resumed), "restore", "base/"),
    "no manifest of PostgreSQL": (
        _entry(lambda _, name, data: None if name == "backup_manifest" else data),
        "restore",
        "backup_manifest",
    ),
    "a tar that is cut": (_base(lambda cluster: cluster.base()[:-3_000_000]), "restore", "did not come to its end"),
    "a segment missing": (_wal(lambda names, entry, data: None if entry.name == names[-1] else data), "restore", "0000000"),
    "the first segment missing": (_wal(lambda names, entry, data: None if entry.name == names[0] else data), "restore", "0000000"),
    "a segment cut short": (
        _wal(lambda names, entry, data: data[: len(data) // 2] if entry.name == names[-1] else data),
        "restore",
        "0000000",
    ),
    "a log of zeros": (_wal(lambda _, __, data: data[:_HEADER] + bytes(len(data) - _HEADER)), "restore", "0000000"),
    "a log that ends before the point": (_ended_early, "restore", "0000000"),
    "a log of another cluster": (_wal(_of_another), "restore", "0000000"),
    "a page of a fingerprinted table, its sum made right": (
        _base(lambda cluster: cluster.page("orders", _last_row, right=True)),
        "restore",
        'table "public"."orders"',
    ),
    "a page of a fingerprinted table, its sum left": (
        _base(lambda cluster: cluster.page("orders", _last_row, right=False)),
        "restore",
        'table "public"."orders"',
    ),
    "a table's file of an older backup": (_base(_older_heap), "restore", 'table "public"."orders"'),
    "an index of an older backup": (_base(_older_index), "relations", 'index "public"."orders_total" of database "shop"'),
    "a page of an index, its sum left": (
        _base(lambda cluster: cluster.page("orders_total", _any, block=1, right=False)),
        "relations",
        'index "public"."orders_total" of database "shop"',
    ),
    "a row of another database, its sum made right": (
        _base(lambda cluster: cluster.page("notes", _future, right=True)),
        "relations",
        'table "public"."notes" of database "notes"',
    ),
    "a page of another database, its sum left": (
        _base(lambda cluster: cluster.page("notes", _any, right=False)),
        "relations",
        'table "public"."notes" of database "notes"',
    ),
    "a page where nobody connects to": (
        _base(lambda cluster: cluster.page("base/4/1255", _any, block=3, right=False)),
        "pages",
        "base/4/1255",
    ),
}


@pytest.mark.parametrize("damage", INSIDE)
async def test_what_is_wrong_inside_of_a_full_backup_is_named(
    backups: Backups, damage: str, tmp_path: Path, site: Path, sought: Sought
):
    change, stage, words = INSIDE[damage]
    vault = copied(backups.full.vault, tmp_path)
    made = await resealed(vault, backups.full.newer, change(backups.full))
    assert verify(vault.repository, made.manifest.id, lambda _: None).intact
    named(await drilled(vault, made.manifest.id, site, sought), stage, words)


# Inside of a SQLite file.


def _sqlite(statement: str) -> Callable[[bytes, Path], bytes]:
    def changed(data: bytes, path: Path) -> bytes:
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as file, file:
            file.execute(statement)
        return path.read_bytes()

    return changed


SQLITE: dict[str, tuple[Callable[[bytes, Path], bytes], str]] = {
    "a row changed": (_sqlite("UPDATE notes SET body = 'other' WHERE id = 3"), "notes"),
    "a row missing": (_sqlite("DELETE FROM notes WHERE id = 3"), "notes"),
    "an index missing": (_sqlite("DROP INDEX notes_body"), "notes_body"),
    "a page of zeros": (lambda data, _: data[:4096] + bytes(4096) + data[8192:], "SQLite"),
    "a file that is cut": (lambda data, _: data[: len(data) // 2], "SQLite"),
}


@pytest.mark.parametrize("damage", SQLITE)
async def test_what_is_wrong_inside_of_a_sqlite_file_is_named(
    backups: Backups, damage: str, tmp_path: Path, site: Path, sought: Sought
):
    change, words = SQLITE[damage]
    vault = copied(backups.sqlite.vault, tmp_path)
    changed = change(plain(backups.sqlite.newer, "database.db"), tmp_path / "changed.db")
    made = await resealed(vault, backups.sqlite.newer, {"database.db": changed})
    named(await drilled(vault, made.manifest.id, site, sought), "restore", words)


# The audit log in a backup of its own database.


LOG: dict[str, str] = {
    "its end missing": "DELETE FROM audit.log WHERE seq > 2; DELETE FROM audit.checkpoint WHERE size > 2",
    "a record changed": "UPDATE audit.log SET body = replace(body, 'ada', 'eve') WHERE seq = 2",
    "all of it missing": "DELETE FROM audit.log; DELETE FROM audit.checkpoint",
}


@pytest.mark.parametrize("damage", LOG)
async def test_a_control_log_that_is_not_what_was_anchored_is_named(
    audit_log: AuditLog, damage: str, backups: Backups, tmp_path: Path, site: Path, sought: Sought
):
    await audit_log.write(4)
    await audit_log.tamper(LOG[damage])
    vault = copied(backups.logical.vault, tmp_path)
    dsn = audit_log.server.dsn(database=audit_log.database)
    kept = await backed_up(vault, Source("control", Kind.LOGICAL, dsn), sought, "control")

    later = kept.manifest.started_at + timedelta(minutes=1)  # as if a moment had passed since the last note

    async def examine(scratch: Scratch, kept: StoredBackup) -> str:
        fingerprint = kept.manifest.fingerprint
        assert fingerprint is not None
        return await verified_copy(scratch.dsn(fingerprint.database), audit_log.place, later, expected=True)

    named(await drilled(vault, kept.manifest.id, site, sought, examine), "audit", "audit log")
