"""Backups as agents keep them: who may, what they are told, and what stands in the audit log."""

import pytest
from fix_answers import text_of
from fix_custody import ROWS, OpenStrongroom

UNKNOWN = "refused: unknown backup `{id}`\nrule: unknown_backup\nhint: call `list_backups`"


@pytest.mark.asyncio
async def test_a_custodian_backs_up_and_finds_the_backup_unproven(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as ada, it.working():
        said = await it.done(ada, "create_backup", kind="logical")
        assert f"(logical): {ROWS:,} rows" in said
        assert "unproven" in said
        listed = text_of(await ada.call_tool("list_backups", {}))
    lines = [line for line in listed.splitlines() if ",shop,logical," in line]
    assert len(lines) == 1
    assert lines[0].endswith(",unproven")
    assert f",{ROWS}," in lines[0]
    assert "canary" not in said + listed
