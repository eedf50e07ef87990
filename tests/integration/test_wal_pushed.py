"""What a server hands over by its `archive_command` is kept before it is told so, and all of it that counts."""

import asyncio
import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_disk import small_file_system
from fix_full import ORDERS, backed_up
from fix_full import load as writing
from fix_postgres import PostgresServer, new_server, short_directory
from fix_waiting import until
from fix_wal import PAGE, SIZE, SYSTEM, WrittenLog, history

from ostiary.cli import main
from ostiary.config import load
from ostiary.founding import begin
from ostiary.vault import open_vault
from ostiary_tools.backup.manifest import ClusterFacts, Kind, Manifest
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.backup.wal import is_segment
from ostiary_tools.backup.wal_archive.archive import Archive, clusters
from ostiary_tools.backup.wal_archive.looking import restore_points
from ostiary_tools.backup.wal_archive.pushed import Pushed
from ostiary_tools.backup.wal_archive.verification import verify_log
from ostiary_tools.errors import Damaged, NotWritten, Refused

LOG = WrittenLog().fill(4)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def pushed(vault: Vault, path: Path) -> bool:
    return Pushed(path, vault.repository, "shop").keep()


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def test_each_kind_of_file_is_kept_as_what_it_is(vault: Vault, tmp_path: Path):
    archive, left = Archive(vault.repository, SYSTEM), 3 * SIZE + 5 * PAGE + 800
    for number in (1, 2):
        assert pushed(vault, LOG.arrived(tmp_path, number).path)
    assert pushed(vault, written(tmp_path, "00000002.history", history((1, left))))
    rest = LOG.segment(3)[: left - 3 * SIZE] + os.urandom(4 * SIZE - left)
    assert pushed(vault, written(tmp_path, f"{LOG.name(3)}.partial", rest))
    assert not pushed(vault, written(tmp_path, f"{LOG.name(2)}.00000028.backup", b"START WAL LOCATION"))
    assert [one.end_position for one in archive.segments(1)] == [2 * SIZE, 3 * SIZE, left]
    assert archive.path(2, 1)[0].end == left
    contents = [one.contents for one in archive.segments(1)]
    assert [one is not None and one.complete for one in contents] == [True] * 3  # the one before was beside each


def test_the_same_again_is_done_and_another_of_that_name_is_refused(vault: Vault, tmp_path: Path):
    path = LOG.arrived(tmp_path, 2).path
    assert [pushed(vault, path), pushed(vault, path)] == [True, True]
    path.write_bytes(WrittenLog().fill(4, seed=9).segment(2))
    with pytest.raises(Damaged, match="another log is kept"):
        pushed(vault, path)


@pytest.mark.parametrize("name", ["postgresql.conf", "000000010000000000000002.tmp", "../000000010000000000000002x", "0.history"])
def test_any_other_file_is_refused(vault: Vault, tmp_path: Path, name: str):
    with pytest.raises(Refused, match="no file of a write-ahead log"):
        pushed(vault, tmp_path / name)


def test_what_is_not_what_its_name_says_is_refused_and_nothing_stays(vault: Vault, tmp_path: Path):
    data = LOG.segment(2)
    wrong = [(LOG.name(3), data), (LOG.name(2), data[:-1]), (LOG.name(2), b"")]
    for name, content in (*wrong, (f"{LOG.name(2)}.partial", data), ("00000002.history", b"x")):
        with pytest.raises(Damaged):
            pushed(vault, written(tmp_path, name, content))
        (tmp_path / name).unlink()
    assert not (vault.root / "wal").exists()


def test_without_a_proven_recovery_key_nothing_is_kept(vault: Vault, tmp_path: Path):
    shutil.rmtree(vault.root / "proofs")
    with pytest.raises(Refused, match="recovery key"):
        pushed(vault, LOG.arrived(tmp_path, 2).path)


@pytest.mark.fault
def test_a_full_disk_is_an_error_that_leaves_nothing_and_there_is_room_again_later(tmp_path: Path):
    log = WrittenLog().fill(30)
    with small_file_system("8m") as disk:
        vault, number = new_vault(disk), 0
        with pytest.raises(NotWritten, match="no space left on device"):  # noqa: PT012 which of them it is does not matter
            for number in range(1, 30):
                pushed(vault, log.arrived(tmp_path, number).path)
        assert list((vault.root / "staging").iterdir()) == []
        archive = Archive(vault.repository, SYSTEM)
        assert len(archive.continuous(1, SIZE)) == number - 1
        shutil.rmtree(vault.root / archive.continuous(1, SIZE)[0].folder)
        assert pushed(vault, log.arrived(tmp_path, number).path)


@pytest.fixture
def pushing() -> Iterator[PostgresServer]:
    """A server with an archive command, whose user has an installation of his own."""
    root = short_directory()
    home = root / "ostiary"
    home.mkdir()
    config = home / "ostiary.toml"
    config.write_text(f'[home]\ndata = "{home}/data"\nstate = "{home}/state"\n[datasources.shop]\ndsn = "postgresql://x/shop"\n')
    program = Path(sys.executable).with_name("ostiary")
    command = f"{program} backup keep-wal --config {config} --datasource control %p"
    server = new_server(root, {"archive_mode": "on", "archive_command": command, "autovacuum": "off", "fsync": "off"})
    begin(open_vault(load(config, {}, {}), None), home / "recovery.key")
    if server.user is not None:
        for path in (home, *home.rglob("*")):
            os.chown(path, pwd.getpwnam(server.user).pw_uid, -1)
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
def test_a_server_hands_over_all_it_writes_through_a_promotion(pushing: PostgresServer):
    asyncio.run(_works(pushing, "first"))
    pushing.stop()
    (pushing.data / "standby.signal").touch()
    pushing.start()
    asyncio.run(_promoted(pushing))
    asyncio.run(_works(pushing, "second"))
    home = pushing.root / "ostiary"
    repository = _carried(home)
    [system] = clusters(repository)
    archive = Archive(repository, system)
    oldest = archive.oldest(1)
    assert oldest is not None
    facts = ClusterFacts(system, 1, f"0/{oldest.start_position + 100:X}", f"0/{oldest.start_position + 100:X}", None)
    made = Manifest("20260101T000000Z-00000000", Kind.FULL, "shop", "job", oldest.kept_at, oldest.kept_at, "18.6", (), None, facts)
    found = verify_log(repository, made, lambda _: None)
    assert (found.damages, found.timelines) == ((), (1, 2))
    assert found.last_commit is not None
    way = archive.continuous(2, oldest.start_position, origin=1)
    assert {one.timeline for one in way} == {1, 2}
    assert [one.name for name in ("first", "second") for one in restore_points(archive, way, name)] == ["first", "second"]


@pytest.mark.slow
def test_a_log_leads_on_from_a_full_backup_that_was_taken_while_rows_were_written(tmp_path: Path, sought: Sought):
    root, vault = short_directory(), new_vault(tmp_path)
    server = new_server(root, {"wal_keep_size": "1GB", "fsync": "off", "autovacuum": "off"})
    server.start()
    try:
        made = asyncio.run(_taken(server, vault, tmp_path, sought))
        for number in range(3):
            server.sql(f"INSERT INTO orders (total) SELECT {number} FROM generate_series(1, 2000);\nSELECT pg_switch_wal();")
        names = asyncio.run(_finished(server))
        for name in names:
            assert pushed(vault, server.data / "pg_wal" / name)
        found = verify_log(vault.repository, made, lambda _: None)
        assert (found.damages, found.timelines, found.last_commit is not None) == ((), (1,), True)
        assert 3 <= found.segments <= len(names)
        assert made.cluster is not None
        kept = Archive(vault.repository, made.cluster.system_identifier).continuous(1, found.start)
        vault.repository.storage.remove(kept[-2].folder)
        assert [one.what for one in verify_log(vault.repository, made, lambda _: None).damages] == [kept[-2].name]
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


async def _taken(server: PostgresServer, vault: Vault, spool: Path, sought: Sought) -> Manifest:
    server.sql(ORDERS)
    async with writing(server.dsn()):
        return (await backed_up(vault, server.dsn(), spool, sought)).manifest


async def _finished(server: PostgresServer) -> list[str]:
    connection = await asyncpg.connect(server.dsn())
    current = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_lsn())")
    await connection.close()
    return sorted(each.name for each in (server.data / "pg_wal").iterdir() if is_segment(each.name) and each.name < current)


def _carried(home: Path) -> Repository:
    """Read by whoever it is."""
    config = load(home / "ostiary.toml", {}, {})
    vault = open_vault(config, None)
    for path in (vault.keys, *vault.keys.iterdir()):
        os.chown(path, os.geteuid(), -1)
    return replace(_opened(vault.folder, home), identities=vault._identities())


def _opened(folder: Path, home: Path) -> Repository:
    from ostiary_tools.backup.repository import open_repository
    from ostiary_tools.backup.sealing import load_signer

    return open_repository(Folder(folder, carried=True), load_signer(home / "state" / "backup.key").seal)


async def _works(server: PostgresServer, point: str) -> None:
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS t (v text); INSERT INTO t SELECT repeat('x', 500) FROM generate_series(1, 3000)"
    )
    await connection.execute("SELECT pg_create_restore_point($1)", point)
    await connection.execute("INSERT INTO t VALUES ('more')")
    last = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")

    async def archived() -> bool:
        return bool(await connection.fetchval("SELECT last_archived_wal >= $1 FROM pg_stat_archiver", last))

    await until(archived, 60)
    assert await connection.fetchval("SELECT failed_count FROM pg_stat_archiver") == 0
    await connection.close()


async def _promoted(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.dsn())
    assert await connection.fetchval("SELECT pg_promote(true, 60)")
    await connection.close()


def test_the_command_says_in_its_code_whether_the_file_is_there_to_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = tmp_path / "ostiary.toml"
    config.write_text(f'[home]\ndata = "{tmp_path}/data"\nstate = "{tmp_path}/state"\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pg_wal").mkdir()
    path = LOG.arrived(tmp_path / "pg_wal", 2).path.relative_to(tmp_path)

    def code() -> int:
        with pytest.raises(SystemExit) as left:
            main(["backup", "keep-wal", "--config", str(config), str(path)])
        return int(left.value.code or 0)

    assert code() == 3  # there is no repository yet
    begin(open_vault(load(config, {}, {}), None), tmp_path / "recovery.key")
    assert [code(), code()] == [0, 0]
    (tmp_path / path).write_bytes(LOG.segment(3))
    assert code() == 1
    (tmp_path / path).unlink()
    assert code() == 2
