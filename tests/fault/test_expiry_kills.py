"""Whoever is killed while backups are deleted, at any step: what stays is whole, and the next goes on."""

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fix_backup import Vault, new_vault
from fix_held import COUNTED, program, worked
from fix_retention import DAY, SEGMENT_BYTES, dated, kept_log, logged

from ostiary_tools.backup import expiry
from ostiary_tools.backup.expiry import EXPIRY
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.repository import Repository

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

EXPIRING = f"""{COUNTED}
import asyncio, json, sys
from datetime import UTC, datetime
from pathlib import Path
from fix_backup import reopened
from ostiary.config.backup import Plan
from ostiary.expiring import Expiry, due, expire

PLANS = {{"shop": Plan(keep_last=1, keep_days=7, grace_days=3)}}

async def main(record):
    async def note(event, facts):
        with record.open("a") as file:
            file.write(json.dumps([event, facts.get("backup", "")]) + "\\n")
            file.flush()
            os.fsync(file.fileno())
    repository = reopened(Path(sys.argv[1]))
    await expire(repository, PLANS, due(repository, PLANS, datetime.now(UTC)), Expiry("ada", note))

do_for_each_line(
    lambda: asyncio.run(main(Path(sys.argv[1]) / "record")),
    "open", "mkdir", "rename", "unlink", "rmdir", "fsync", "close", "stat",
)
"""


def furnished(repository: Repository) -> tuple[list[Manifest], list[Manifest]]:
    """A chain that may go, with what stays, and a log before and after."""
    root = dated(repository, 30, kind=Kind.FULL, start=2 * SEGMENT_BYTES)
    leaf = dated(repository, 29, kind=Kind.INCREMENTAL, parent=root.id, start=3 * SEGMENT_BYTES)
    full = dated(repository, 1, kind=Kind.FULL, start=5 * SEGMENT_BYTES)
    stays = [full, dated(repository, 0.5, kind=Kind.INCREMENTAL, parent=full.id, start=6 * SEGMENT_BYTES)]
    for one in (root, leaf):
        expiry.mark(repository, one, datetime.now(UTC) - 4 * DAY, 3 * DAY)
    logged(repository, range(2, 7))
    return [root, leaf], stays


def assert_consistent(vault: Vault, stays: list[Manifest]) -> None:
    """Nothing is listed in part, no chain is broken, and of the log nothing is missing after what is there."""
    listed = vault.repository.listed()
    assert [one.id for one in listed if one.kept is None] == []
    there = {one.id for one in listed}
    assert {one.id for one in stays} <= there
    log = kept_log(vault.repository)
    assert log == [f"00000001{0:08X}{number:08X}" for number in range(7 - len(log), 7)]
    assert len(log) >= 2


async def test_whoever_expires_backups_and_is_killed_at_any_step_is_followed_by_one_who_ends_it(tmp_path: Path):
    vault = new_vault(tmp_path)
    record = tmp_path / "record"
    async with program(EXPIRING, tmp_path) as process:
        killed, step = 0, 1
        while True:
            goes, stays = furnished(vault.repository)
            record.unlink(missing_ok=True)
            if (code := await worked(process, step)) == 0:
                break
            assert code == -signal.SIGKILL
            assert_consistent(vault, stays)
            assert await worked(process, 0) == 0
            assert_consistent(vault, stays)
            assert [one.id for one in vault.repository.listed()] == sorted(one.id for one in stays)
            assert (vault.repository.storage.names(EXPIRY), len(kept_log(vault.repository))) == ([], 2)
            vault.repository.storage.sweep()
            assert list((vault.root / "staging").iterdir()) == []
            said = record.read_text()
            for one in goes:
                first = said.index(f'["backup_expiring", "{one.id}"]')
                assert said.index(f'["backup_expired", "{one.id}"]') > first
            for folder in ("backups", "wal"):
                vault.repository.storage.remove(folder)
            killed, step = killed + 1, step + 7
    assert killed > 20
