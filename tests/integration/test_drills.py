"""Drills: what they prove is kept and signed, and a list says it."""

import asyncio
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from fix_answers import text_of
from fix_audit import AuditLog
from fix_backup import Vault, flip, keep, new_vault
from fix_copies import EMBEDDED, ground_of
from fix_custody import ROWS, OpenStrongroom, Strongroom
from fix_damage import Cluster, Dumps, drilled, nothing, quiet
from mcp import Client

from ostiary.audit.copied import verified_copy
from ostiary_tools.backup.drill import Drill, hold
from ostiary_tools.backup.evidence import Check, Evidence, drills, newest, proven_at, record
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.scratch import SERVER, Scratch
from ostiary_tools.errors import Damaged, Unavailable

STEPS = ["bytes", "restore", "start", "relations", "pages"]


async def label(client: Client, backup: str) -> str:
    """What the list says of a backup."""
    listed = text_of(await client.call_tool("list_backups", {}))
    [line] = [line for line in listed.splitlines() if line.startswith(f"{backup},")]
    return line.rpartition(",")[2]


def evidence_of(it: Strongroom, backup: str) -> list[Path]:
    """Its files."""
    return sorted((it.house.vault.folder / "drills" / backup).iterdir())


@pytest.mark.asyncio
async def test_a_backup_is_proven_by_its_drill_until_the_evidence_is_tampered_with(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        made = await it.backed_up(ada)
        said = await it.done(ada, "verify_backup", backup=made, level="drill")
        proven = await label(ada, made)
        manifest = it.house.vault.repository().load(made).manifest
        found = newest(it.house.vault.repository(), manifest)
        files = evidence_of(it, made)
        left = [one for one in it.house.vault.spools.iterdir() if one.is_dir()]
        files[0].chmod(0o600)
        flip(files[0], 0.5)
        tampered = await label(ada, made)
    assert f"backup `{made}` was restored, started and compared: proven 20" in said
    assert f"{ROWS:,} rows of 2 tables are as they were backed up" in said
    assert "canary" not in said
    assert proven.startswith("proven 20")
    assert tampered == "unproven"
    assert [path.suffix for path in files] == [".json", ".sig"]
    assert left == []
    assert found is not None
    assert found.passed
    assert [check.name for check in found.checks] == STEPS
    assert all(check.seconds > 0 for check in found.checks)


@pytest.mark.asyncio
async def test_a_backup_that_does_not_restore_is_told_and_labelled_so(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        made = await it.kept()
        before = await label(ada, made)
        said = await it.done(ada, "verify_backup", backup=made, level="drill")
        after = await label(ada, made)
    assert before == "unproven"
    assert "damaged: the drill failed at `restore`: the dump is in a format that is not known here" in said
    assert after.startswith("failed its drill 20")


@pytest.mark.asyncio
async def test_a_full_backup_is_restored_looked_through_and_gone(cluster_backups: Cluster, site: Path, sought: Sought):
    vault, manifest = cluster_backups.vault, cluster_backups.newer.manifest
    found = await drilled(vault, manifest.id, site, sought)
    assert [(check.name, check.damage) for check in found.checks] == [(name, "") for name in STEPS]
    assert "370 rows of 2 tables" in found.checks[1].words
    assert "of 4 databases are sound" in found.checks[3].words
    assert proven_at(vault.repository, manifest) == found.ended_at
    assert [one for one in (site / "spools").iterdir() if one.is_dir()] == []


@pytest.mark.asyncio
async def test_what_keeps_a_drill_from_being_held_says_nothing_of_the_backup(logical_backups: Dumps, site: Path, sought: Sought):
    if os.geteuid() != 0:
        pytest.skip("only root's server is another user")
    await asyncio.to_thread(site.chmod, 0o700)
    with pytest.raises(Unavailable, match="may not pass"):
        await drilled(logical_backups.vault, logical_backups.newer.manifest.id, site, sought)
    assert drills(logical_backups.vault.repository, logical_backups.newer.manifest) == ()


@pytest.mark.asyncio
@pytest.mark.parametrize("why", ["could not extend file: No space left on device", "could not map memory: Cannot allocate memory"])
async def test_a_machine_that_is_full_is_not_taken_for_damage(logical_backups: Dumps, site: Path, sought: Sought, why: str):
    async def starved(kept: StoredBackup, folder: Path, tell: Tell) -> str:
        raise Damaged(SERVER, f"the copy's server ended: {why}")

    account = ground_of(EMBEDDED, sought).account
    drill = Drill(starved, nothing, site / "spools", account, "test")
    with pytest.raises(Unavailable, match=why):
        await hold(drill, logical_backups.vault.repository, logical_backups.newer.manifest.id, quiet)
    assert drills(logical_backups.vault.repository, logical_backups.newer.manifest) == ()


@pytest.mark.fault
@pytest.mark.asyncio
async def test_what_is_missed_in_a_copy_whose_server_was_killed_is_no_finding(logical_backups: Dumps, site: Path, sought: Sought):
    async def killing(server: Scratch, kept: StoredBackup) -> str:
        connection = await server.connect()
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGKILL)
        connection.terminate()
        raise Damaged("audit", f"what was looked for is not in the copy of {kept.manifest.id}")

    with pytest.raises(Unavailable, match="was killed"):
        await drilled(logical_backups.vault, logical_backups.newer.manifest.id, site, sought, killing)
    assert drills(logical_backups.vault.repository, logical_backups.newer.manifest) == ()


@pytest.mark.asyncio
async def test_a_backup_of_a_sqlite_file_is_drilled(sqlite_backup: Dumps, site: Path, sought: Sought):
    found = await drilled(sqlite_backup.vault, sqlite_backup.newer.manifest.id, site, sought)
    assert [check.name for check in found.checks] == STEPS[:2]
    assert found.passed


def evidence(manifest: Manifest, hours: int, damage: str = "") -> Evidence:
    """Of a drill that was held so many hours ago."""
    ended = datetime.now(UTC) - timedelta(hours=hours)
    stated = sha256(encode(manifest)).hexdigest()
    return Evidence(manifest.id, stated, ended - timedelta(seconds=9), ended, "test", (Check("bytes", "found", 9.0, damage),))


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


@pytest.mark.asyncio
async def test_the_newest_drill_counts_and_only_of_the_backup_it_was_held_on(vault: Vault):
    first, second = [(await keep(vault, [b"rows"], job)).manifest for job in ("first", "second")]
    repository = vault.repository
    held = [evidence(first, 3), evidence(first, 2, "a table"), evidence(first, 1)]
    for one in (held[0], held[2], held[1]):
        record(repository, one)
    assert drills(repository, first) == tuple(held)
    assert proven_at(repository, first) == held[2].ended_at
    assert newest(repository, second) is None
    record(repository, replace(evidence(second, 0), manifest_sha256=held[0].manifest_sha256))
    assert newest(repository, second) is None, "it was of other bytes"
    (vault.root / "drills" / second.id).mkdir(exist_ok=True)
    for file in (vault.root / "drills" / first.id).iterdir():
        (vault.root / "drills" / second.id / file.name).write_bytes(file.read_bytes())
    assert newest(repository, second) is None, "a signature holds in one place"


@pytest.mark.asyncio
async def test_what_was_put_among_the_evidence_proves_nothing(vault: Vault):
    made, repository = (await keep(vault, [b"rows"])).manifest, vault.repository
    record(repository, evidence(made, 1, "a table"))
    folder = vault.root / "drills" / made.id
    [real] = folder.glob("*.json")
    forged = folder / "99990101T000000.000000Z-00000000.json"
    forged.write_bytes(real.read_bytes().replace(b'"a table"', b'""'))
    forged.with_suffix(".sig").write_bytes(real.with_suffix(".sig").read_bytes())
    assert proven_at(repository, made) is None
    assert [one.damage for one in drills(repository, made)] == ["a table"]


@pytest.mark.asyncio
async def test_a_record_that_was_anchored_and_is_not_in_the_copy_fails(audit_log: AuditLog):
    await audit_log.write(3)
    later = datetime.now(UTC) + timedelta(minutes=1)  # as if a moment had passed since the last note
    reader = audit_log.place.reader_dsn
    assert "agree with" in await verified_copy(reader, audit_log.place, later, expected=True)
    await audit_log.tamper("DELETE FROM audit.log WHERE seq > 2; DELETE FROM audit.checkpoint WHERE size > 2")
    with pytest.raises(Damaged, match="tampered with"):
        await verified_copy(reader, audit_log.place, later, expected=True)


@pytest.mark.asyncio
async def test_a_copy_without_the_log_fails_where_one_is_expected(audit_log: AuditLog):
    await audit_log.write(1)
    elsewhere = audit_log.server.dsn()
    now = datetime.now(UTC)
    assert await verified_copy(elsewhere, audit_log.place, now, expected=False) == ""
    with pytest.raises(Damaged, match="is not in the copy"):
        await verified_copy(elsewhere, audit_log.place, now, expected=True)


@pytest.mark.asyncio
async def test_a_failure_that_cannot_be_read_any_more_makes_no_older_drill_count(vault: Vault):
    manifest = (await keep(vault, [b"rows"])).manifest
    record(vault.repository, evidence(manifest, 2))
    record(vault.repository, evidence(manifest, 1, "a table"))
    last = max((vault.root / "drills" / manifest.id).glob("*.json"))
    last.write_bytes(last.read_bytes().replace(b"a table", b"nothing"))
    assert proven_at(vault.repository, manifest) is None
    assert len(drills(vault.repository, manifest)) == 1
