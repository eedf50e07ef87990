"""Incremental backups of real servers: what they go on from, and what becomes of a chain of them."""

from pathlib import Path

import pytest
from fix_damage import drilled, quiet
from fix_incremental import Chain

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.cluster import into_folder

pytestmark = pytest.mark.asyncio


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
    assert _inside(site) == ["copy"]


@pytest.mark.slow
async def test_a_drill_proves_an_incremental_backup(chained: Chain, site: Path, sought: Sought):
    found = await drilled(chained.vault, chained.last.manifest.id, site, sought)
    assert found.passed, found.checks[-1]
    assert [check.name for check in found.checks] == ["bytes", "restore", "start", "relations", "pages"]


def _inside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
