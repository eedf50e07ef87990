"""Incremental backups of real servers: what they go on from, what stands against them, and what becomes of a chain."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from fix_backup import Vault, copied, flip, new_vault
from fix_custody import OpenStrongroom, begun
from fix_damage import SHOP, backed_up, drilled, quiet
from fix_full import ORDERS, load
from fix_incremental import SUMMARIZING, Chain, replaced
from fix_postgres import PostgresServer
from fix_replica import ask
from fix_waiting import until

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.engines.full import FullEngine
from ostiary_tools.backup.engines.incremental import _SERVER_SAYS
from ostiary_tools.backup.engines.overheard import Overheard
from ostiary_tools.backup.evidence import Check, Evidence, record
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.restoring.cluster import into_folder
from ostiary_tools.errors import ProgramFailed


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_chain_of_three_becomes_a_data_directory_that_is_what_the_last_snapshot_saw(
    chained: Chain, site: Path, sought: Sought
):
    full, first, second = (kept.manifest for kept in chained.links)
    assert [one.kind for one in (full, first, second)] == [Kind.FULL, Kind.INCREMENTAL, Kind.INCREMENTAL]
    assert (full.parent, first.parent, second.parent) == (None, full.id, first.id)
    assert [one.manifest.id for one in chain(chained.last)] == [full.id, first.id, second.id]
    assert second.members[0].plain_bytes < full.members[0].plain_bytes / 3
    restored = await into_folder(chained.last, site / "copy", sought, quiet)  # which compares every row
    assert restored.data_dir == site / "copy"
    assert [path.name for path in _inside(site)] == ["copy"]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_drill_proves_an_incremental_backup(chained: Chain, site: Path, sought: Sought):
    found = await drilled(chained.vault, chained.last.manifest.id, site, sought)
    assert found.passed, found.checks[-1]
    assert [check.name for check in found.checks] == ["bytes", "restore", "start", "relations", "pages"]
    assert found.checks[0].words.endswith("members of 3 backups are what was kept, byte by byte")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_incremental_backups_under_write_load_hold_every_row_of_their_moment(
    own_server: Callable[..., PostgresServer], tmp_path: Path, site: Path, sought: Sought
):
    server, vault = own_server(**SUMMARIZING), new_vault(tmp_path)
    server.sql(ORDERS)
    source = Source("shop", Kind.INCREMENTAL, server.dsn())
    async with load(server.dsn()):
        kept = [await backed_up(vault, source, sought, f"job {number}") for number in range(4)]
    assert [one.manifest.kind for one in kept] == [Kind.FULL, *[Kind.INCREMENTAL] * 3]
    for number in (1, 3):
        await into_folder(kept[number], site / f"copy{number}", sought, quiet)


async def _reason(vault: Vault, source: Source, sought: Sought, job: str = "again") -> str:
    """Why it became a full one, which it did."""
    kept = await backed_up(vault, source, sought, job)
    assert (kept.manifest.kind, kept.manifest.parent) == (Kind.FULL, None)
    first, *_ = kept.manifest.notes
    assert first.startswith("it is a full one, and not incremental: ")
    return first.partition(": ")[2]


def _failed(vault: Vault, kept: StoredBackup) -> None:
    """As a drill that found damage leaves it."""
    from hashlib import sha256

    from ostiary_tools.backup.manifest_json import encode

    made = kept.manifest
    check = Check("restore", "a table is missing", 1.0, "table")
    record(vault.repository, Evidence(made.id, sha256(encode(made)).hexdigest(), made.started_at, made.ended_at, "test", (check,)))


def _older_version(vault: Vault, kept: StoredBackup) -> None:
    """It kept no list of files."""
    members = [member for member in kept.manifest.members if member.name != "backup-manifest.zst.age"]
    shown = [{name: getattr(one, name) for name in one.__dataclass_fields__} for one in members]
    (vault.root / "backups" / kept.manifest.id / "backup-manifest.zst.age").unlink()
    replaced(vault, kept.manifest.id, {}, members=shown)


def _another_cluster(vault: Vault, kept: StoredBackup) -> None:
    facts = kept.manifest.cluster
    assert facts is not None
    stranger = {name: getattr(facts, name) for name in facts.__dataclass_fields__} | {"system_identifier": "7000000000000000001"}
    point = {"snapshot": facts.point.snapshot, "lsn": facts.point.lsn} if facts.point else None
    replaced(vault, kept.manifest.id, {}, cluster=stranger | {"point": point})


def _put_back(vault: Vault, kept: StoredBackup) -> None:
    """The server was put back to before the backup."""
    facts = kept.manifest.cluster
    assert facts is not None
    assert facts.point is not None
    later = {name: getattr(facts, name) for name in facts.__dataclass_fields__}
    replaced(vault, kept.manifest.id, {}, cluster=later | {"point": {"snapshot": facts.point.snapshot, "lsn": "FF/0"}})


AGAINST: dict[str, tuple[Callable[[Vault, StoredBackup], object], str]] = {
    "damaged list": (lambda vault, kept: flip(_listing(vault, kept), 0.5), "is damaged"),
    "missing list": (lambda vault, kept: _listing(vault, kept).unlink(), "is damaged"),
    "failed drill": (_failed, "failed its drill"),
    "older version": (_older_version, "keeps no list of its files"),
    "another cluster": (_another_cluster, "is of another cluster"),
    "put back": (_put_back, "is of another history"),
    "gone": (lambda vault, kept: vault.repository.delete(kept.manifest.id), "no full backup of it"),
}


def _listing(vault: Vault, kept: StoredBackup) -> Path:
    return vault.root / "backups" / kept.manifest.id / "backup-manifest.zst.age"


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("what", AGAINST)
async def test_without_a_backup_to_go_on_from_a_full_one_is_taken_that_says_why(
    chained: Chain, what: str, tmp_path: Path, sought: Sought
):
    work, words = AGAINST[what]
    vault, full = copied(chained.vault, tmp_path), chained.links[0]
    for kept in reversed(chained.links[1:]):
        vault.repository.delete(kept.manifest.id)
    work(vault, full)
    assert words in await _reason(vault, Source("shop", Kind.INCREMENTAL, chained.server.dsn(database="shop")), sought)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_machine_that_has_public_keys_alone_takes_a_full_one(chained: Chain, tmp_path: Path, sought: Sought):
    vault = copied(chained.vault, tmp_path)
    blind = replace(vault, repository=replace(vault.repository, identities=()))
    source = Source("shop", Kind.INCREMENTAL, chained.server.dsn(database="shop"))
    assert "no key that opens it is here" in await _reason(blind, source, sought)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_of_another_datasource_no_backup_is_gone_on_from(chained: Chain, tmp_path: Path, sought: Sought):
    """Who may restore the one may not read the other."""
    source = Source("crm", Kind.INCREMENTAL, chained.server.dsn(database="shop"))
    assert "no full backup of it" in await _reason(copied(chained.vault, tmp_path), source, sought)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_postgresql_15_is_backed_up_whole_and_says_why(
    server_15: PostgresServer, made_in: Callable[..., str], tmp_path: Path, sought: Sought
):
    source = Source("shop", Kind.INCREMENTAL, server_15.dsn(database=made_in(server_15, ORDERS)))
    assert "PostgreSQL 15" in await _reason(new_vault(tmp_path), source, sought)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_server_that_has_lost_its_summaries_or_makes_none_is_backed_up_whole_and_then_goes_on(
    own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought
):
    server, vault = own_server(**SUMMARIZING), new_vault(tmp_path)
    server.sql(SHOP)
    source = Source("shop", Kind.INCREMENTAL, server.dsn())
    assert "no full backup of it" in await _reason(vault, source, sought, "first")
    server.sql("INSERT INTO customers (name) VALUES ('more'); CHECKPOINT")
    await _noted(server)
    for one in _inside(server.data / "pg_wal" / "summaries"):
        one.unlink()
    assert "are gone" in await _reason(vault, source, sought, "lost")
    kept = await backed_up(vault, source, sought, "next")
    assert kept.manifest.kind is Kind.INCREMENTAL
    server.sql("ALTER SYSTEM SET summarize_wal = off")
    server.settings = {name: value for name, value in server.settings.items() if name != "summarize_wal"}
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    assert "`summarize_wal` is off" in await _reason(vault, source, sought, "off")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_of_two_backups_the_one_that_ended_later_is_gone_on_from_whatever_their_names(
    own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought
):
    """Of two of one second names do not say which that is."""
    server, vault = own_server(**SUMMARIZING), new_vault(tmp_path)
    full = Source("shop", Kind.FULL, server.dsn())
    pair = [(await backed_up(vault, full, sought, job)).manifest for job in ("one", "two")]
    first, second = sorted(pair, key=lambda one: one.id)
    replaced(vault, first.id, {}, ended_at=(second.ended_at + timedelta(seconds=1)).isoformat())
    kept = await backed_up(vault, replace(full, kind=Kind.INCREMENTAL), sought, "next")
    assert kept.manifest.parent == first.id


@pytest.mark.slow
@pytest.mark.asyncio
async def test_what_the_server_says_when_its_summaries_are_gone_is_known(
    own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought
):
    """They can go after they were looked at."""
    server, vault = own_server(**SUMMARIZING), new_vault(tmp_path)
    source = Source("shop", Kind.FULL, server.dsn())
    kept = await backed_up(vault, source, sought)
    listing = tmp_path / "listing"
    with kept.plain(kept.manifest.members[1]) as plain:
        listing.write_bytes(plain.read())
    server.sql("CREATE TABLE t (); CHECKPOINT")
    await _noted(server)
    for one in _inside(server.data / "pg_wal" / "summaries"):
        one.unlink()
    (tmp_path / "spool").mkdir()
    async with making(vault.repository, Kind.INCREMENTAL, "shop", "another") as keeping:
        with pytest.raises(ProgramFailed) as caught:
            await FullEngine(sought, since=listing).make(source, keeping, tmp_path / "spool", quiet)
    assert any(words in caught.value.message for words in _SERVER_SAYS)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_server_whose_disk_was_put_back_to_an_earlier_state_is_backed_up_whole(
    own_server: Callable[..., PostgresServer], tmp_path: Path, site: Path, sought: Sought
):
    """Its identity, its timeline and its place in the log are those of a history in which another backup was taken."""
    server, vault = own_server(**SUMMARIZING), new_vault(tmp_path)
    server.sql(SHOP)
    source = Source("shop", Kind.INCREMENTAL, server.dsn())
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(_duplicated, server.data, server.root / "earlier")
    await asyncio.to_thread(server.start)
    server.sql("INSERT INTO customers (name) SELECT 'lost' FROM generate_series(1, 1000)")
    lost = await backed_up(vault, source, sought, "lost")
    assert lost.manifest.cluster is not None
    assert lost.manifest.cluster.point is not None
    await asyncio.to_thread(server.stop)
    shutil.rmtree(server.data)
    (server.root / "earlier").rename(server.data)
    await asyncio.to_thread(server.start)
    for number in range(4):
        server.sql(f"CREATE TABLE more{number} ()")
        server.sql("SELECT pg_switch_wal()")
    server.sql("CHECKPOINT")
    passed = f"SELECT pg_current_wal_insert_lsn() > '{lost.manifest.cluster.point.lsn}'"
    assert await ask(server, passed), "else it shows by its place alone"
    assert "another history" in await _reason(vault, source, sought)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_after_a_promotion_history_begins_anew(make_replica: Callable[[], PostgresServer], tmp_path: Path, sought: Sought):
    replica = make_replica()
    await ask(replica, "SELECT pg_promote()")
    replica.sql("ALTER SYSTEM SET summarize_wal = on; ")
    replica.sql("SELECT pg_reload_conf()")
    vault, source = new_vault(tmp_path), Source("shop", Kind.INCREMENTAL, replica.dsn())
    assert "no full backup" in await _reason(vault, source, sought, "first")
    kept = await backed_up(vault, source, sought, "second")
    assert kept.manifest.kind is Kind.INCREMENTAL
    assert kept.manifest.cluster is not None
    assert kept.manifest.cluster.timeline == 2


@pytest.mark.asyncio
async def test_who_may_make_no_full_backups_makes_no_incremental_ones(strongroom: OpenStrongroom):
    """They would be full where they cannot be incremental."""
    policy = """
    @id("no-full") forbid (principal in Role::"custodian", action == Action::"back_up", resource == Backup::"shop.full");
    """
    async with strongroom(policy=policy) as it, it.client() as ada:
        with pytest.raises(AssertionError, match="denied"):
            await begun(ada, "create_backup", kind="incremental")


@pytest.mark.parametrize("size", [1, 511, 512, 513, 10_000])
def test_one_file_is_written_down_however_a_tar_comes(size: int):
    import tarfile

    made = BytesIO()
    contents = {"a": b"x" * 700, "backup_manifest": b"{" + b" " * 1500 + b"}", "b/backup_manifest": b"other", "empty": b""}
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    sink, passed = BytesIO(), b""
    heard = Overheard(BytesIO(made.getvalue()), "backup_manifest", sink)
    while piece := heard.read(size):
        passed += piece
    assert passed == made.getvalue()
    assert sink.getvalue() == contents["backup_manifest"]


def test_what_is_no_tar_is_told():
    with pytest.raises(ProgramFailed, match="no tar"):
        Overheard(BytesIO(b"x" * 1024), "backup_manifest", BytesIO()).read()


async def _noted(server: PostgresServer) -> None:
    """Until all is summarised up to the newest checkpoint: what a summary comes for later is not lost with those before."""
    newest = "SELECT max(end_lsn) >= (SELECT redo_lsn FROM pg_control_checkpoint()) FROM pg_available_wal_summaries()"

    async def there() -> bool:
        return bool(await ask(server, newest))

    await until(there)


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _duplicated(data: Path, to: Path) -> None:
    subprocess.run(["/bin/cp", "-a", data, to], check=True)
