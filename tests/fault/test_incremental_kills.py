"""Incremental backups, and restores of chains, that are killed in the middle: nothing partial is found, and the next one works."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fix_backup import Vault, copied
from fix_copies import processes_with
from fix_damage import quiet
from fix_disk import small_file_system
from fix_held import COUNTED
from fix_incremental import Chain
from fix_replica import ask
from fix_waiting import until

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.cluster import into_folder
from ostiary_tools.backup.scratch import Ground
from ostiary_tools.backup.verification import verify
from ostiary_tools.errors import NotWritten, ProgramFailed, Unavailable

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]
TESTS = str(Path(__file__).parent.parent)
OPENED = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ostiary_tools.backup.keys import read_identities
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import open_repository
from ostiary_tools.backup.restoring.cluster import into_folder
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.backup.taking import Workshop, take

async def quiet(*_):
    pass

def repository():
    signer = load_signer(Path(sys.argv[2]))
    return open_repository(Folder(Path(sys.argv[3])), signer.seal, signer, read_identities(sys.argv[4]))
"""
TAKING = """
async def main():
    global left
    whole, left = repository(), int(sys.argv[5])
    counted("open", "mkdir", "rename", "fsync", "unlink", "readv")
    source = Source("shop", Kind.INCREMENTAL, sys.argv[6])
    await take(whole, source, sys.argv[5], Workshop(Sought(), Path(sys.argv[7])), quiet)

asyncio.run(main())
"""
RESTORING = """
async def main():
    sought = Sought((Path(sys.argv[7]),))
    await into_folder(repository().load(sys.argv[5]), Path(sys.argv[6]), sought, quiet)

asyncio.run(main())
"""


def _program(vault: Vault, chained: Chain, text: str, *words: str) -> asyncio.Task[asyncio.subprocess.Process]:
    signer = str(chained.vault.root.parent / "signing.key")
    known = (TESTS, signer, str(vault.root), vault.operational.text)
    return asyncio.create_task(asyncio.create_subprocess_exec(sys.executable, "-c", COUNTED + OPENED + text, *known, *words))


async def test_an_incremental_backup_that_is_killed_at_any_step_leaves_nothing_that_is_found(
    chained: Chain, tmp_path: Path, site: Path, sought: Sought
):
    vault, dsn = copied(chained.vault, tmp_path), chained.server.dsn(database="shop")
    before = [one.id for one in vault.repository.listed()]
    step, killed = 1, 0
    while True:
        process = await _program(vault, chained, TAKING, str(step), dsn, str(tmp_path / "spools"))
        code = await process.wait()
        listed = vault.repository.listed()
        assert all(one.damage is None for one in listed)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert [one.id for one in listed] == before or step > 1
        killed, step = killed + 1, step + 1 + step // 3
        await until(lambda: _quiet(chained))
    assert killed >= 10
    last = vault.repository.load(vault.repository.listed()[-1].id)
    assert last.manifest.kind is Kind.INCREMENTAL
    assert chain(last)[0].manifest.id == before[0]
    assert verify(vault.repository, last.manifest.id, lambda _: None).intact
    assert [name for name in os.listdir(vault.root / "staging") if not name.endswith(".lock")] == []  # noqa: PTH208 names alone
    await into_folder(last, site / "copy", sought, quiet)


@asynccontextmanager
async def held(site: Path, ground: Ground, go_on: Path) -> AsyncIterator[tuple[Sought, Path]]:
    """Programs of which the one that puts backups together says that it runs, and waits."""
    folder, reached = site / "programs", site / "reached"
    folder.mkdir()
    for program in ground.programs.folder.iterdir():
        (folder / program.name).symlink_to(program)
    real, script = ground.programs.path("pg_combinebackup"), folder / "pg_combinebackup"
    script.unlink()
    script.write_text(f'#!/bin/sh\n: > {reached}/$$\nwhile [ ! -e {go_on} ]; do sleep 0.05; done\nexec {real} "$@"\n')
    script.chmod(0o755)
    reached.mkdir()
    os.chown(reached, ground.account.uid, ground.account.gid)
    yield Sought((folder,)), reached
    shutil.rmtree(folder)
    shutil.rmtree(reached)


async def test_a_restore_that_is_killed_while_backups_are_put_together_leaves_nothing_to_the_next(
    chained: Chain, site: Path, sought: Sought, ground: Ground
):
    async with held(site, ground, site / "never") as (programs, reached):
        words = (chained.last.manifest.id, str(site / "copy"), str(programs.folders[0]))
        process = await _program(chained.vault, chained, RESTORING, *words)
        await until(lambda: any(reached.iterdir()), 60)
        process.kill()
        await process.wait()
        await until(lambda: not processes_with(str(site)))
    await into_folder(chained.last, site / "copy", sought, quiet)
    assert [path.name for path in _inside(site)] == ["copy"]


async def test_a_program_that_is_killed_while_it_puts_backups_together_is_told(chained: Chain, site: Path, ground: Ground):
    async with held(site, ground, site / "never") as (programs, reached):
        restoring = asyncio.create_task(into_folder(chained.last, site / "copy", programs, quiet))
        await until(lambda: any(reached.iterdir()), 60)
        os.kill(int(_inside(reached)[0].name), signal.SIGKILL)
        with pytest.raises(ProgramFailed, match="pg_combinebackup"):
            await restoring
    assert _inside(site) == []


async def test_a_restore_of_a_chain_that_is_cancelled_leaves_nothing(chained: Chain, site: Path, ground: Ground):
    async with held(site, ground, site / "never") as (programs, reached):
        restoring = asyncio.create_task(into_folder(chained.last, site / "copy", programs, quiet))
        await until(lambda: any(reached.iterdir()), 60)
        restoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await restoring
        assert processes_with(str(site)) == []
    assert _inside(site) == []


@pytest.mark.parametrize("size", ["24m", "40m", "64m"])
async def test_a_disk_that_is_full_while_a_chain_is_restored_is_told(chained: Chain, size: str, sought: Sought):
    with small_file_system(size) as disk:
        disk.chmod(0o711)
        with pytest.raises((NotWritten, Unavailable), match="no space left"):
            await into_folder(chained.last, disk / "copy", sought, quiet)
        assert _inside(disk) == []


async def _quiet(chained: Chain) -> bool:
    """Nothing of the killed one is left in the server."""
    asked = "SELECT (SELECT count(*) FROM pg_stat_replication) + (SELECT count(*) FROM pg_replication_slots)"
    return await ask(chained.server, asked) == 0


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())
