"""Whoever is killed while a log is kept leaves what is whole, and the next one keeps the rest."""

import signal
from pathlib import Path

import pytest
from fix_backup import Vault, new_vault
from fix_held import COUNTED, program, worked
from fix_wal import SIZE, SYSTEM, WrittenLog, history

from ostiary_tools.backup.wal_archive.archive import Archive

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]
LOG = WrittenLog().fill(3)

KILLED_AT = f"""
import asyncio, os, sys
from pathlib import Path
from fix_backup import reopened
from ostiary_tools.backup.wal_archive.pushed import Pushed
{COUNTED}
do_for_each_line(
    lambda name: Pushed(Path(sys.argv[1]) / name, reopened(Path(sys.argv[1])), "shop").keep(),
    "open", "mkdir", "rename", "unlink", "rmdir", "fsync", "close",
)
"""


async def test_a_process_killed_at_each_step_of_keeping_is_followed_by_one_that_keeps_it(tmp_path: Path):
    vault = new_vault(tmp_path)
    names = [LOG.arrived(tmp_path, number).path.name for number in (1, 2)]
    (tmp_path / "00000002.history").write_bytes(history((1, 2 * SIZE + 500)))
    killed = 0
    async with program(KILLED_AT, tmp_path) as process:
        for name in (names[1], "00000002.history"):
            step = 1
            while (code := await worked(process, name, step)) != 0:
                assert code == -signal.SIGKILL
                assert_whole(vault)
                assert await worked(process, name, 0) == 0
                assert_whole(vault)
                forget(vault, name)
                killed, step = killed + 1, step + 1
    assert killed > 40


def assert_whole(vault: Vault) -> None:
    """All that is listed can be read to its end, and nothing is left over but what the next one sweeps."""
    archive = Archive(vault.repository, SYSTEM)
    for segment in archive.segments(1):
        with archive.plain(segment) as stream:
            assert stream.read() == LOG.segment(segment.start_position // SIZE)
    assert [archive.history(timeline).timeline for timeline in archive.histories()] in ([], [2])
    vault.repository.storage.sweep()
    assert list((vault.root / "staging").iterdir()) == []


def forget(vault: Vault, name: str) -> None:
    """So that it comes again."""
    lies = f"wal/{SYSTEM}/histories/00000002" if name.endswith("history") else f"wal/{SYSTEM}/{name[:16]}/{name}"
    assert (vault.root / lies).is_dir()
    vault.repository.storage.remove(lies)
