"""The log that leads on from a backup, verified by an agent and by a command; what was found is on record."""

import shutil
from io import BytesIO
from pathlib import Path

import pytest
from fix_custody import OpenStrongroom, Strongroom
from fix_wal import SIZE, SYSTEM, WrittenLog

from ostiary_tools.backup import wal
from ostiary_tools.backup.evidence import LOGS, newest
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import ClusterFacts, Content, Kind, Manifest
from ostiary_tools.backup.port import Made
from ostiary_tools.backup.wal_archive.archive import Archive

pytestmark = pytest.mark.asyncio
LOG = WrittenLog().fill(3)


async def kept(it: Strongroom, folder: Path) -> Manifest:
    """A full backup, made without any database, and the log from it on."""
    facts = ClusterFacts(SYSTEM, 1, wal.shown(SIZE + 100), wal.shown(SIZE + 5000), None)
    async with making(it.house.vault.repository(), Kind.FULL, "shop", "a job") as begun:
        members = [await begun.put("base.tar", Content.BASE, BytesIO(b"base"), lambda _: None)]
        made = (await begun.commit(Made("18.6", tuple(members), None, facts))).manifest
    for number in (1, 2, 3):
        Archive(it.house.vault.repository(), SYSTEM).keep(LOG.arrived(folder, number), "shop")
    return made


async def test_an_agent_is_told_how_far_the_log_reaches_and_what_of_it_is_damaged(strongroom: OpenStrongroom, tmp_path: Path):
    async with strongroom() as it, it.client() as ada, it.working():
        made = await kept(it, tmp_path)
        repository = it.house.vault.repository()
        said = await it.done(ada, "verify_backup", backup=made.id, level="wal")
        assert f"to {wal.shown(4 * SIZE)}, 3 segments, is as it was kept and has no gap" in said
        found = newest(repository, made, LOGS)
        assert found is not None
        assert found.passed
        shutil.rmtree(it.house.vault.folder / "wal" / SYSTEM / LOG.name(2)[:16] / LOG.name(2))
        said = await it.done(ada, "verify_backup", backup=made.id, level="wal")
        assert f"`{LOG.name(2)}` is missing" in said
        found = newest(repository, made, LOGS)
        assert found is not None
        assert found.damage == LOG.name(2)
        assert newest(repository, made) is None  # it is no drill
        logical = await it.kept("another job")
        assert "no log leads on" in await it.done(ada, "verify_backup", backup=logical, level="wal")
