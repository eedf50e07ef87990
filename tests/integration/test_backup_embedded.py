"""Backups of an installation without any configuration: its sample, and the control database beside it."""

import re
from pathlib import Path

import pytest
from fix_answers import text_of
from fix_custody import begin, done, rows
from fix_queue import working
from mcp import Client

from ostiary.app import open_house
from ostiary.config import load
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

_ROWS = 50_141
"""Of the sample's tables."""


@pytest.mark.asyncio
async def test_the_sample_and_the_control_database_are_backed_up_and_the_sample_restored(embedded_home: Path, tmp_path: Path):
    overrides = {"home.data": str(embedded_home), "home.state": str(tmp_path / "state"), "agent.role": "custodian"}
    config = load(None, {"HOME": str(tmp_path)}, overrides)
    async with open_house(config, lambda _: None) as house, working(house):
        begin(house.vault)
        who = Principal("ada", ("custodian",))
        async with Client(McpApp(house.gate, lambda _: who, jobs=house.jobs).server) as ada:
            said = [
                await done(ada, "create_backup", datasource=name, kind=kind)
                for name, kind in (("shop", "logical"), ("control", "logical"))
            ]
            [made] = re.findall(r"backup `([0-9TZa-f-]+)`", said[1])
            drilled = await done(ada, "verify_backup", backup=made, level="drill")
            listed = text_of(await ada.call_tool("list_backups", {}))
            unnamed = text_of(await ada.call_tool("create_backup", {}))
    assert f"of `shop` (logical): {_ROWS:,} rows" in said[0]
    assert "of `control` (logical)" in said[1]
    assert f"backup `{made}` was restored, started and compared: proven 20" in drilled
    assert re.search(r"audit log: \d+ records of \d+ streams agree", drilled)
    assert [line.rpartition(",")[2].partition(" ")[0] for line in rows(listed)] == ["proven", "unproven"]
    assert "datasources whose backups you may use: `control`, `shop`" in unnamed
