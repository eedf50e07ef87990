"""What an export leaves when the disk is full or its server is killed."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fix_disk import small_file_system
from fix_faults import Installation, Serving, answered
from fix_waiting import until
from mcp import MCPError

from ostiary_tools.control.jobs import LOST_S

pytestmark = pytest.mark.fault

LONG = "select n, md5(n::text) from generate_series(1, 1000000) n"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with small_file_system("8m") as directory:
        yield directory


@pytest.mark.asyncio
async def test_a_full_disk_is_told_and_takes_the_half_file_along(installation: Installation, small_disk: Path) -> None:
    _into(installation, small_disk)
    async with installation.serving("--role", "engineer") as serving:
        full = await serving.client.call_tool("export", {"sql": LONG, "name": "full"})
        assert "not_written: the file could not be written: no space left on device" in str(full.content)
        assert files(small_disk) == []
        await serving.client.call_tool("export", {"sql": f"{LONG} limit 10", "name": "few"})
        [file] = files(small_disk)
        assert len(file.read_text().splitlines()) == 11
        assert not (await serving.query("select 1")).failed
    ends = [r.body["status"] for r in await installation.records() if r.kind == "o"]
    assert ends == ["error", "ok", "ok"]
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_a_killed_server_leaves_a_hidden_half_that_the_next_export_removes(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    _into(installation, folder)
    async with installation.serving("--role", "engineer") as serving:
        exporting = asyncio.create_task(_export(serving))
        await until(lambda: folder.exists() and any(path.stat().st_size for path in folder.iterdir()))
        os.kill(serving.pid, signal.SIGKILL)
        await serving.exit_code()
        await exporting
    [half] = files(folder)
    assert half.name.startswith(".")
    async with installation.serving("--role", "engineer") as serving:
        await answered(lambda: serving.query("select 1"))
        await serving.client.call_tool("export", {"sql": f"{LONG} limit 10", "name": "few"})
    [file] = files(folder)
    assert file.name.startswith("few-")
    ends = [r.body["status"] for r in await installation.records() if r.kind == "o"]
    assert sorted(ends) == ["ok", "ok", "unknown"]
    await installation.assert_verified()


@pytest.mark.asyncio
async def test_a_job_whose_server_is_killed_is_told_as_lost_by_another(installation: Installation, tmp_path: Path) -> None:
    _into(installation, tmp_path / "files")
    async with installation.serving("--role", "engineer") as serving:
        begun = await serving.call("export", sql=f"{LONG}, generate_series(1, 1000) m", name="endless", job=True)
        found = re.search(r'job\(id="([0-9a-f-]+)"\)', begun.text)
        assert found, begun
        assert (await serving.call("job", id=found[1])).text.startswith("export is working")
        os.kill(serving.pid, signal.SIGKILL)
        await serving.exit_code()
    async with installation.serving("--role", "engineer") as serving:
        assert (await serving.call("job", id=found[1])).text.startswith("export is working")

        async def lost() -> bool:
            return (await serving.call("job", id=found[1])).text.startswith("export is lost")

        await until(lost, LOST_S + 30)
    records = await installation.records()
    [export] = [r.call for r in records if r.kind == "i" and r.body["tool"] == "export"]
    assert [r.body["status"] for r in records if r.kind == "o" and r.call == export] == ["unknown"]


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _into(installation: Installation, folder: Path) -> None:
    installation.file.write_text(f'{installation.file.read_text()}[export]\ndirectory = "{folder}"\n')


async def _export(serving: Serving) -> None:
    with suppress(MCPError):
        await serving.client.call_tool("export", {"sql": f"{LONG}, generate_series(1, 1000) m", "name": "endless"})
