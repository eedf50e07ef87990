"""Backups that pgBackRest and Barman keep: read as they tell, drilled on real copies, and left as they are."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fix_backup import Vault, new_vault
from fix_copies import ground_of
from fix_external import KeptElsewhere
from fix_person import Person
from fix_postgres import ADMIN, POSTGRES_15

from ostiary_tools.backup.evidence import Evidence, newest
from ostiary_tools.backup.external.barman import Barman, completed
from ostiary_tools.backup.external.drill import Place, folder, hold
from ostiary_tools.backup.external.pgbackrest import PgBackRest
from ostiary_tools.backup.external.port import contained
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.programs import Sought
from ostiary_tools.errors import Damaged, Unavailable

pytestmark = pytest.mark.slow
STEPS = ["restore", "start", "relations", "pages"]


async def drilled(kept: KeptElsewhere, vault: Vault, site: Path, sought: Sought, at: int = -1) -> Evidence:
    """What a drill of one of them found."""

    async def quiet(done: float, total: float | None, words: str) -> None:
        """Nobody is told."""

    backup = (await kept.external.holding()).backups[at]
    place = Place(site / "spools", ground_of(15, sought).account, sought, ADMIN, "test")
    return await hold(kept.external, backup, place, vault.repository, quiet)


@pytest.mark.asyncio
async def test_what_a_tool_tells_is_read_and_nothing_of_it_is_changed(kept_elsewhere: KeptElsewhere):
    before = await asyncio.to_thread(kept_elsewhere.files)
    held = await kept_elsewhere.external.holding()
    assert await asyncio.to_thread(kept_elsewhere.files) == before
    first, second = held.backups
    incremental = kept_elsewhere.kind == "pgbackrest"
    assert [first.kind, second.kind] == [Kind.FULL, Kind.INCREMENTAL if incremental else Kind.FULL]
    assert second.parent == (first.id if incremental else None)
    assert first.started_at <= first.ended_at <= second.started_at
    assert first.server_version.startswith("15")
    assert held.problems == ()
    names = [int(segment.name, 16) for segment in held.log]
    assert names == list(range(names[0], names[-1] + 1)), "without a gap"
    assert second.cluster is not None
    assert held.log[-1].end_position > int(second.cluster.end_lsn.split("/")[1], 16), "the log goes on after the backup"


@pytest.mark.asyncio
async def test_each_of_its_backups_is_restored_started_and_looked_through(
    kept_elsewhere: KeptElsewhere, tmp_path: Path, site: Path, sought: Sought
):
    vault, before = new_vault(tmp_path), kept_elsewhere.files()
    drills = [await drilled(kept_elsewhere, vault, site, sought, at) for at in (0, 1)]
    for held in drills:
        assert [(check.name, check.damage) for check in held.checks] == [(name, "") for name in STEPS]
        assert "of 2 databases are sound" in held.checks[2].words
        assert "pages agree with their checksums" in held.checks[3].words
    backup = (await kept_elsewhere.external.holding()).backups[-1]
    assert newest(vault.repository, backup, folder("main")) == drills[-1]
    assert newest(vault.repository, backup) is None, "it is evidence of nothing that is ours"
    assert await asyncio.to_thread(kept_elsewhere.files) == before
    assert [one for one in (site / "spools").iterdir() if one.is_dir()] == []


@pytest.fixture
def changed(kept_elsewhere: KeptElsewhere) -> Callable[[Callable[[Path], None]], None]:
    """Does something to the largest file of the first backup, or what stands for it."""

    def change(act: Callable[[Path], None]) -> None:
        kept = [Path(name) for name in kept_elsewhere.files() if "/base/1/1255" in name]
        act(min(kept))

    return change


@pytest.mark.asyncio
async def test_a_damaged_file_fails_the_drill_and_is_named(
    kept_elsewhere: KeptElsewhere, changed: Callable[[Callable[[Path], None]], None], tmp_path: Path, site: Path, sought: Sought
):
    found: list[tuple[Path, bytes]] = []

    def damage(file: Path) -> None:
        data = file.read_bytes()
        found.append((file, data))
        file.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])

    changed(damage)
    try:
        held = await drilled(kept_elsewhere, new_vault(tmp_path), site, sought, 0)
    finally:
        for file, data in found:
            file.write_bytes(data)
    assert held.damage
    assert "base/1/1255" in held.checks[-1].words


@pytest.mark.asyncio
async def test_what_a_tool_does_not_know_is_no_empty_list(kept_elsewhere: KeptElsewhere):
    tool = replace(kept_elsewhere.external.tool, stanza="another")
    if kept_elsewhere.kind == "pgbackrest":
        assert (await PgBackRest(tool).holding()).problems == ("pgBackRest says of it: missing stanza path",)
    else:
        with pytest.raises(Unavailable, match="`barman` ended with an error"):
            await Barman(tool).holding()


def test_a_copy_that_leads_out_of_its_folder_is_never_started(tmp_path: Path):
    copy, living = tmp_path / "copy", tmp_path / "living"
    for path in (copy / "data" / "pg_tblspc", copy / "tablespaces" / "1", living):
        path.mkdir(parents=True)
    (copy / "data" / "pg_tblspc" / "1").symlink_to(copy / "tablespaces" / "1")
    contained(copy)
    (copy / "data" / "pg_tblspc" / "2").symlink_to(living)
    with pytest.raises(Damaged, match="data/pg_tblspc/2"):
        contained(copy)


@pytest.fixture
def installation(request: pytest.FixtureRequest, kept_elsewhere: KeptElsewhere, person: Person) -> Person:
    """Which has it among its own."""
    file = person.site.folder / "ostiary.toml"
    file.write_text(file.read_text() + "\n" + kept_elsewhere.section)
    return person


def test_the_report_holds_it_against_its_objectives_and_a_drill_is_on_record(installation: Person):
    if not POSTGRES_15.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    installation.begins()
    before = installation.runs("dr", "report", "--json")
    [main] = [one for one in json.loads(before.out)["sources"] if one["name"] == "main"]
    assert before.code == 1
    assert [(one["name"], one["state"]) for one in main["objectives"]] == [
        ("recovery point", "met"),
        ("recovery time", "not measured"),
    ]
    assert main["windows"][-1]["end"] > main["windows"][-1]["start"], "the log leads on"
    assert any("ostiary dr drill main" in alarm["hint"] for alarm in main["alarms"])
    assert "is proven" in installation.does("dr", "drill", "main")
    assert installation.runs("dr", "report").code == 0
    told = [event for event, _ in installation.events() if event.startswith("external")]
    assert told == ["external_drill_beginning", "external_drill_held"]
    text = installation.does("dr", "runbook")
    assert "`main` is lost or damaged" in text
    assert "restore" not in text.partition("`main` is lost")[2].partition("```")[0].replace("restores it", "").replace(
        "restored", ""
    )


@pytest.mark.parametrize("linked", ["barman_wal", "pg_wal"])
def test_no_link_in_what_barman_copied_has_the_log_of_a_living_server_moved(tmp_path: Path, linked: str):
    """A copy by rsync has whatever the owner of the data directory laid there."""
    segment, copy, living = "0" * 23 + "1", tmp_path / "data", tmp_path / "living"
    for path in (copy, living, copy / ("pg_wal" if linked == "barman_wal" else "barman_wal")):
        path.mkdir()
    (living / segment).write_bytes(b"of the living")
    if linked == "pg_wal":
        (copy / "barman_wal" / segment).write_bytes(b"of the copy")
    (copy / linked).symlink_to(living)
    with pytest.raises(Damaged, match="leads out of it"):
        completed(copy)
    assert (living / segment).read_bytes() == b"of the living"
