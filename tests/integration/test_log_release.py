"""A server's slot is dropped once no plan wants its log, and not before that is known."""

import pytest
from fix_custody import OpenStrongroom

from ostiary.config.backup import Plan
from ostiary.log_keeping import LogKeeping
from ostiary_policies.model import Backup
from ostiary_tools.backup.wal_archive import slot


@pytest.mark.asyncio
async def test_a_slot_stays_while_it_is_not_known_of_which_cluster_a_plan_keeps_the_log(strongroom: OpenStrongroom):
    async with strongroom() as it, it.admin() as admin:
        vault = it.house.vault
        name = slot.named(vault.repository().description.id)
        keeping = LogKeeping({"other": Plan(wal="kept")}, vault, it.house.turns, it.house.recorder)
        shop = vault.sources[Backup("shop", "full")]
        await admin.execute("SELECT pg_create_physical_replication_slot($1)", name)
        there = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1"
        await keeping._release_of(shop)
        before = await admin.fetchval(there, name)
        vault.logs.mkdir(parents=True, exist_ok=True)
        (vault.logs / "other.plan").write_text("1")
        await keeping._release_of(shop)
        assert (before, await admin.fetchval(there, name)) == (1, 0)
