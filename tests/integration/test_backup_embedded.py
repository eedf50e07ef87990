"""Backups of an installation without any configuration: its sample, and the control database beside it."""

import re
from pathlib import Path

import pytest
from fix_answers import text_of
from fix_company import Human
from fix_custody import begin, done, rows
from fix_queue import working
from mcp import Client

from ostiary.app import House, open_house
from ostiary.config import Config, load
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

_ROWS = 50_141
"""Of the sample's tables."""


def embedded(home: Path, folder: Path) -> Config:
    return load(None, {"HOME": str(folder)}, {"home.data": str(home), "home.state": str(folder / "state")})


def custodian(house: House) -> Client:
    """An agent whose user agrees to everything."""
    app = McpApp(house.gate, lambda _: Principal("ada", ("custodian",)), jobs=house.jobs)
    return Client(app.server, elicitation_callback=Human(said=True).answer)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_sample_and_the_control_database_are_backed_up_and_the_sample_restored(embedded_home: Path, tmp_path: Path):
    async with open_house(embedded(embedded_home, tmp_path), lambda _: None) as house, working(house):
        begin(house.vault)
        async with custodian(house) as ada:
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


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_whole_cluster_is_backed_up_drilled_and_restored_to_an_instance(embedded_home: Path, tmp_path: Path):
    async with open_house(embedded(embedded_home, tmp_path), lambda _: None) as house, working(house):
        begin(house.vault)
        async with custodian(house) as ada:
            said = await done(ada, "create_backup", datasource="shop", kind="full")
            [made] = re.findall(r"backup `([0-9TZa-f-]+)`", said)
            drilled = await done(ada, "verify_backup", backup=made, level="drill")
            full = await done(ada, "restore_backup", backup=made, name="full_copy")
            said_of_dump = await done(ada, "create_backup", datasource="shop", kind="logical")
            [dump] = re.findall(r"backup `([0-9TZa-f-]+)`", said_of_dump)
            logical = await done(ada, "restore_backup", backup=dump, name="logical_copy", target="instance")
            again = await done(ada, "restore_backup", backup=dump, name="full_copy", target="instance")
    assert f"of `shop` (full): {_ROWS:,} rows" in said
    assert "proven 20" in drilled
    assert re.search(r"audit log: \d+ records of \d+ streams agree", drilled)
    for name, reply in (("full_copy", full), ("logical_copy", logical)):
        path = house.vault.restores / name
        assert f"restored to the instance `{path}`: {_ROWS:,} rows are as they were backed up" in reply
        assert (path / "PG_VERSION").read_text().strip() == "18"
        assert "start it as the user" in reply
    assert "already" in again
    assert sorted(one.name for one in house.vault.restores.iterdir()) == ["full_copy", "logical_copy"]
