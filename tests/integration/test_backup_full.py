"""Full backups of real servers, kept in a real repository, recovered to the moment that was fingerprinted."""

import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from fix_backup import new_vault
from fix_copies import processes_with
from fix_full import ORDERS, FullBackup, backed_up, load, quiet, rewritten
from fix_postgres import PostgresServer
from fix_replica import ask

from ostiary_tools.backup import file_sums, wal
from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.engines.full import NO_FINGERPRINT
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.manifest import Content, Kind, Point, Way
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.cluster import halted, into_folder, recovered
from ostiary_tools.backup.restoring.folders import settle
from ostiary_tools.backup.restoring.unpacking import unpack
from ostiary_tools.backup.scratch import Ground, serving
from ostiary_tools.embedded import attached, names
from ostiary_tools.errors import Damaged, Refused, ToolError, Unavailable


@pytest.mark.asyncio
async def test_a_backup_under_write_load_becomes_a_data_directory_that_is_what_the_snapshot_saw(
    full_backup: FullBackup, site: Path, sought: Sought, ground: Ground
):
    restored = await into_folder(full_backup.kept, site / "copy", sought, quiet)
    assert restored.data_dir == site / "copy"
    assert _inside(site) == ["copy"]
    assert processes_with(str(site)) == []
    settings = (site / "copy" / "postgresql.auto.conf").read_text()
    assert "archive_mode = off\n" in settings
    assert "listen_addresses = ''\n" in settings
    async with serving(site / "copy", ground, full_backup.cluster.superuser) as server:
        connection = await server.connect(full_backup.database)
        try:
            assert await connection.fetchval("SELECT count(*) FROM public.orders") == full_backup.fingerprint.rows
            assert await connection.fetchval("SELECT count(*) FROM public.quick") == 0, "it has no rows of unlogged tables"
        finally:
            await connection.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_row_changed_by_one_is_found(full_backup: FullBackup, site: Path, ground: Ground):
    async with recovered(full_backup.kept, site / "data", ground, quiet, durable=False) as server:
        connection = await server.connect(full_backup.database)
        try:
            await connection.execute("UPDATE public.orders SET total = total + 1 WHERE id = 1234")
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                now = await taken(connection, full_backup.database, Kind.FULL)
        finally:
            await connection.close()
    assert [one.name for one in compared(full_backup.fingerprint, now)] == ['table "public"."orders"']


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_backup_of_before_there_were_two_ways_is_compared_by_its_own(full_backup: FullBackup, site: Path, ground: Ground):
    async with recovered(full_backup.kept, site / "data", ground, quiet, durable=False) as server:
        connection = await server.connect(full_backup.database)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                text = await taken(connection, full_backup.database, Kind.FULL, way=Way.TEXT)
        finally:
            await connection.close()
    assert (full_backup.fingerprint.way, text.way) == (Way.BINARY, Way.TEXT)
    older = replace(full_backup.kept, manifest=replace(full_backup.kept.manifest, fingerprint=text))
    async with recovered(older, site / "older", ground, quiet, durable=False):
        pass
    tables = tuple(replace(one, sum="1") if one.table == "orders" else one for one in text.tables)
    lying = replace(older, manifest=replace(older.manifest, fingerprint=replace(text, tables=tables)))
    with pytest.raises(Damaged, match=r'table "public"."orders": as many rows as before'):
        async with recovered(lying, site / "lying", ground, quiet, durable=False):
            pass


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_systems_postgresql_15_is_backed_up_and_recovered_likewise(
    server_15: PostgresServer, made_in: Callable[..., str], tmp_path: Path, site: Path, sought: Sought
):
    dsn = server_15.dsn(database=made_in(server_15, ORDERS))
    async with load(dsn):
        kept = await backed_up(new_vault(tmp_path), dsn, tmp_path, sought)
    restored = await into_folder(kept, site / "copy", sought, quiet)
    assert (restored.data_dir / "PG_VERSION").read_text() == "15\n"


@pytest.mark.asyncio
async def test_what_exists_is_never_restored_over(full_backup: FullBackup, site: Path, sought: Sought):
    (site / "file").touch()
    (site / "folder").mkdir()
    (site / "link").symlink_to("/nowhere")
    for made in (site / "file", site / "folder", site / "link"):
        with pytest.raises(Refused, match="already"):
            await into_folder(full_backup.kept, made, sought, quiet)
    with pytest.raises(Refused, match="no folder"):
        await into_folder(full_backup.kept, site / "missing" / "copy", sought, quiet)
    assert _inside(site) == ["file", "folder", "link"]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_copy_is_not_made_where_its_server_could_not_be(full_backup: FullBackup, site: Path, sought: Sought):
    if os.geteuid() != 0:
        pytest.skip("only root's server is another user")
    (site / "closed").mkdir(mode=0o700)
    with pytest.raises(Unavailable, match="may not pass"):
        await into_folder(full_backup.kept, site / "closed" / "copy", sought, quiet)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_missing_segment_is_named_and_nothing_is_left(full_backup: FullBackup, site: Path, sought: Sought):
    """A server would recover up to the gap, and say nothing."""
    names = _names(full_backup.plain(Content.WAL))
    gone = rewritten(full_backup.plain(Content.WAL), lambda entry, data: None if entry.name == names[-1] else (entry, data))
    kept = await full_backup.remade("gap", wal=gone)
    with pytest.raises(Damaged) as caught:
        await into_folder(kept, site / "copy", sought, quiet)
    assert caught.value.what in {names[-1], "wal"}
    assert _inside(site) == []


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_log_that_ends_before_the_point_is_told(full_backup: FullBackup, site: Path, sought: Sought):
    """Its segments are all there."""
    end = wal.position(full_backup.cluster.end_lsn) % (16 << 20)
    names = _names(full_backup.plain(Content.WAL))

    def emptied(entry: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
        kept = 8192 if entry.name != names[0] else end // 8192 * 8192 + 8192
        return entry, data[:kept] + bytes(len(data) - kept)

    kept = await full_backup.remade("short", wal=rewritten(full_backup.plain(Content.WAL), emptied))
    with pytest.raises(Damaged) as caught:
        await into_folder(kept, site / "copy", sought, quiet)
    assert caught.value.what in {"wal", *names}, "where it breaks off within a record, that is its segment"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_recovery_that_ends_early_is_no_success(full_backup: FullBackup, site: Path, ground: Ground):
    """A server lets in before it is there."""
    data = site / "data"
    copy = unpack(full_backup.kept, data, ground.account, lambda _: None)
    settle(data, ground.account)
    settings = {"recovery_target_lsn": wal.shown(copy.stretch.end + (64 << 20)), "recovery_target_action": "pause"}
    async with serving(data, ground, full_backup.cluster.superuser, settings) as server:
        with pytest.raises(Damaged, match="ended early"):
            await halted(server, full_backup.database, 0, _silent, ("it ended early", "use another backup"))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_snapshot_that_belongs_to_no_one_place_is_told(full_backup: FullBackup, site: Path, sought: Sought):
    point = full_backup.cluster.point
    assert point is not None
    end = int(point.snapshot.split(":")[1])
    # The newest commit that it saw is made one that it did not see, and all after it are seen.
    moved = Point(f"{end - 2}:{end + 1000}:{end - 2}", point.lsn)
    kept = await full_backup.remade("order", cluster=replace(full_backup.cluster, point=moved))
    with pytest.raises(Damaged, match="no one place"):
        await into_folder(kept, site / "copy", sought, quiet)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "attack",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/nonexistent/outside"),
        tarfile.TarInfo("base/../../outside"),
        tarfile.TarInfo("pg_tblspc/16384/outside"),
        tarfile.TarInfo("PG_VERSION"),
        "symlink",
        "hard link",
        "device",
    ],
    ids=lambda attack: getattr(attack, "name", attack),
)
async def test_a_base_that_leads_elsewhere_is_refused(full_backup: FullBackup, site: Path, ground: Ground, attack: object):
    """Whoever sent it may be anybody who answered as the server."""
    entry = attack if isinstance(attack, tarfile.TarInfo) else tarfile.TarInfo("odd")
    kind = {"symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE}.get(str(attack))
    if kind:
        entry.type, entry.linkname = kind, "/etc/passwd"
    sink = BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as made:
        made.addfile(tarfile.TarInfo("PG_VERSION"), BytesIO())
        made.addfile(entry, BytesIO())
    kept = await full_backup.remade(f"tar {attack}", base=sink.getvalue())
    with pytest.raises(Damaged):
        unpack(kept, site / "data", ground.account, lambda _: None)
    assert not (site / "outside").exists()


def test_every_file_is_held_against_the_manifest_of_the_base(full_backup: FullBackup, site: Path, ground: Ground):
    data = site / "data"
    unpack(full_backup.kept, data, ground.account, lambda _: None)
    assert file_sums.verify(data).files > 900
    heap = next(path for path in sorted((data / "base" / "1").iterdir()) if path.stat().st_size > 8192)
    inside = str(heap.relative_to(data))
    for damage, what in (
        (lambda content: content[:9000] + bytes([content[9000] ^ 1]) + content[9001:], inside),
        (lambda content: content[:-1], inside),
        (lambda content: content + b"\0", inside),
        (lambda _: None, inside),
    ):
        _damaged(data, heap, damage, what)
    manifest = data / "backup_manifest"
    for damage in (lambda _: None, lambda raw: raw.replace(b'"Size": 3,', b'"Size": 4,'), lambda raw: raw[: len(raw) // 2]):
        _damaged(data, manifest, damage, "backup_manifest")
    (data / "base" / "extra").touch()
    with pytest.raises(Damaged) as caught:
        file_sums.verify(data)
    assert caught.value.what == "base/extra"


@pytest.mark.parametrize(
    ("snapshot", "seen", "unseen"),
    [
        ("100:100:", [3, 99], [100, 101]),
        ("100:110:100,105", [99, 101, 109], [100, 105, 110, 4000]),
        (f"{(1 << 32) + 5}:{(1 << 32) + 9}:{(1 << 32) + 6}", [4294967295, 3, 5, 7], [6, 9, 10]),
        ("4294967290:4294967295:", [4294967289], [4294967295, 0, 7]),
    ],
)
def test_what_a_snapshot_sees_also_where_numbers_begin_anew(snapshot: str, seen: list[int], unseen: list[int]):
    found = wal.Snapshot.read(snapshot)
    assert [number for number in (*seen, *unseen) if found.sees(number)] == seen


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_log_of_another_cluster_is_refused(full_backup: FullBackup, site: Path, ground: Ground):
    kept = await full_backup.remade("other", cluster=replace(full_backup.cluster, system_identifier="7000000000000000001"))
    with pytest.raises(Damaged):
        unpack(kept, site / "data", ground.account, lambda _: None)


def test_names_of_segments_are_those_of_the_server():
    stretch = wal.Stretch("", 2, wal.position("1/FF000028"), wal.position("2/1000001"), 16 << 20)
    assert list(stretch.names) == ["0000000200000001000000FF", "000000020000000200000000", "000000020000000200000001"]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_login_that_may_not_read_rows_makes_a_backup_without_a_fingerprint(
    postgres_server: PostgresServer, made_in: Callable[..., str], tmp_path: Path, site: Path, sought: Sought
):
    database = made_in(postgres_server, ORDERS)
    postgres_server.sql("DROP ROLE IF EXISTS copier; CREATE ROLE copier LOGIN REPLICATION")
    kept = await backed_up(new_vault(tmp_path), postgres_server.dsn("copier", database), tmp_path, sought)
    assert kept.manifest.fingerprint is None
    assert kept.manifest.notes == (NO_FINGERPRINT,)
    assert (await into_folder(kept, site / "copy", sought, quiet)).data_dir.is_dir()


@pytest.mark.asyncio
async def test_a_login_that_may_not_replicate_is_told(postgres_server: PostgresServer, tmp_path: Path, sought: Sought):
    postgres_server.sql("DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN")
    assert await _refusal(postgres_server.dsn("plain"), tmp_path, sought) == "the login for backups may not replicate"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_what_cannot_be_backed_up_whole_is_told(
    own_server: Callable[..., PostgresServer], tmp_path: Path, sought: Sought, site: Path
):
    server = own_server(max_wal_senders="1", archive_mode="on", archive_command="false")
    assert await _refusal(server.dsn(), tmp_path, sought) == "0 of the server's 1 WAL senders are in use, and a backup takes 2"
    server.settings = {"max_wal_senders": "10", "archive_mode": "on", "archive_command": ""}
    server.stop()
    server.start()
    assert await _refusal(server.dsn(), tmp_path, sought) == "the server fails to archive its log, so that no backup would end"
    (server.root / "space").mkdir()
    if server.user:
        os.chown(server.root / "space", server.data.stat().st_uid, -1)
    server.sql(f"CREATE TABLESPACE far LOCATION '{server.root}/space'")
    assert await _refusal(server.dsn(), tmp_path, sought) == "a cluster with tablespaces of its own is not backed up whole"
    server.sql("DROP TABLESPACE far")
    server.settings = {}
    server.stop()
    (server.data / "pg_hba.conf").write_text("local all all trust\n")
    server.start()
    assert await _refusal(server.dsn(), tmp_path, sought) == "the server lets the login for backups in, but not to replicate"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_standby_is_refused_and_a_promoted_one_on_timeline_two_backed_up(
    make_replica: Callable[[], PostgresServer], tmp_path: Path, site: Path, sought: Sought
):
    replica = make_replica()
    assert await _refusal(replica.dsn(), tmp_path, sought) == "a standby is not backed up whole"
    await ask(replica, "SELECT pg_promote()")
    replica.sql(ORDERS)
    async with load(replica.dsn()):
        kept = await backed_up(new_vault(tmp_path / "vault"), replica.dsn(), _made(tmp_path / "spool"), sought)
    assert kept.manifest.cluster is not None
    assert kept.manifest.cluster.timeline == 2
    assert (await into_folder(kept, site / "copy", sought, quiet)).data_dir.is_dir()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_embedded_cluster_is_backed_up_by_its_owner(
    embedded_home: Path, tmp_path: Path, site: Path, sought: Sought, ground: Ground
):
    """Nobody else may replicate."""
    async with attached(embedded_home, lambda _: None) as cluster:
        kept = await backed_up(new_vault(tmp_path), cluster.dsn(names.ADMIN, names.SHOP), tmp_path, sought)
        assert await _refusal(cluster.dsn(names.AGENT, names.SHOP), tmp_path, sought) == "the login for backups may not replicate"
    async with recovered(kept, site / "data", ground, quiet, durable=False) as server:
        connection = await server.connect(names.CONTROL)
        await connection.close()
    assert kept.manifest.fingerprint is not None
    assert kept.manifest.fingerprint.rows > 1000


async def _silent(_words: str) -> None:
    """Nobody is told."""


async def _refusal(dsn: str, folder: Path, sought: Sought) -> str:
    vault = new_vault(_made(folder / os.urandom(4).hex()))
    with pytest.raises(ToolError) as caught:
        await backed_up(vault, dsn, _made(folder / os.urandom(4).hex()), sought)
    assert caught.value.hint
    assert vault.repository.storage.names("backups") == []
    return caught.value.message


def _inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _names(tar: bytes) -> list[str]:
    with tarfile.open(fileobj=BytesIO(tar)) as archive:
        return archive.getnames()


def _damaged(data: Path, path: Path, damage: Callable[[bytes], bytes | None], what: str) -> None:
    before = path.read_bytes()
    changed = damage(before)
    assert changed != before
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)
    with pytest.raises(Damaged) as caught:
        file_sums.verify(data)
    assert caught.value.what == what
    path.write_bytes(before)
