"""What is said of kept logs, from what their keepers said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ostiary.cli_options import one_line
from ostiary.config.backup import Plan
from ostiary.log_keeping import cluster_folder
from ostiary.log_standing import as_data, lines, log_standings
from ostiary.vault import Vault
from ostiary_tools.backup.wal_archive import standing
from ostiary_tools.backup.wal_archive.slot import Held
from ostiary_tools.backup.wal_archive.standing import Standing

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
SYSTEM = "7300000000000000001"
WELL = Standing(
    "shop",
    SYSTEM,
    "ostiary_log_1",
    NOW - timedelta(seconds=1),
    receiving=True,
    kept_to="0/5000000",
    # The server's clock is an hour behind ours.
    kept_until=NOW - timedelta(hours=1, seconds=5),
    server_at=NOW - timedelta(hours=1, seconds=2),
    held=Held.RESERVED,
    most_bytes=1 << 30,
    safe_bytes=1 << 29,
)
BASE = 0x4000000
PLANS = {"shop": Plan(wal="kept", recovery_point_s=60), "other": Plan()}


def codes(changed: Standing, base: int | None = BASE) -> list[str]:
    return [one.code for one in standing.alarms(changed, 60, base, NOW)]


def test_where_all_is_well_there_is_no_alarm_and_the_lag_is_by_one_clock():
    assert codes(WELL) == []
    assert WELL.lag_s(NOW) == 4.0


@pytest.mark.parametrize(
    ("facts", "base", "expected"),
    [
        ({}, None, ["no_base"]),
        ({"gap_at": NOW, "gap_to": "0/4000001"}, BASE, ["gap"]),
        ({"gap_at": NOW, "gap_to": "0/4000000"}, BASE, []),
        ({"held": Held.LOST}, BASE, ["slot_lost"]),
        ({"held": Held.UNRESERVED}, BASE, ["slot_unreserved"]),
        ({"said_at": NOW - timedelta(seconds=31)}, BASE, ["silent"]),
        ({"said_at": NOW - timedelta(seconds=61)}, BASE, ["silent", "lag"]),
        ({"problem": "no space left on device", "hint": "make room"}, BASE, ["problem"]),
        ({"kept_until": None}, BASE, ["lag"]),
        ({"kept_until": NOW - timedelta(hours=1, seconds=62)}, BASE, ["lag"]),
        ({"most_bytes": None, "safe_bytes": None}, BASE, ["unbounded"]),
        ({"clock": "may not make it"}, BASE, ["clock"]),
    ],
)
def test_each_thing_that_is_wrong_is_told(facts: dict[str, object], base: int | None, expected: list[str]):
    assert codes(replace(WELL, **facts), base) == expected  # type: ignore[arg-type] # names of its fields


def test_what_was_said_is_read_as_it_was_written_and_nothing_else_is(tmp_path: Path):
    standing.write(tmp_path / "there", WELL)
    assert standing.read(tmp_path / "there") == WELL
    assert standing.read(tmp_path / "nowhere") is None
    (tmp_path / "there" / "standing.json").write_text("{}")
    assert standing.read(tmp_path / "there") is None


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "backups", tmp_path / "state", tmp_path / "restores", tmp_path / "spools", {})


def test_a_plan_whose_log_was_never_kept_is_an_alarm_and_one_that_wants_none_is_not(vault: Vault):
    [one] = log_standings(PLANS, vault, NOW, looked_through=False)
    assert (one.plan, one.standing, one.wants_full) == ("shop", None, True)
    assert [alarm.code for alarm in one.alarms] == ["silent"]
    assert next(lines(one, NOW)) == "shop: its log was never kept"
    assert as_data(one)["kept"] is False


def test_what_is_kept_is_told_to_people_and_machines(vault: Vault):
    vault.logs.mkdir()
    (vault.logs / "shop.plan").write_text(SYSTEM)
    standing.write(cluster_folder(vault, SYSTEM), WELL)
    [one] = log_standings(PLANS, vault, NOW, looked_through=False)
    assert [one_line(line) for line in lines(one, NOW)] == [
        "shop: its log comes in",
        "  kept until 2026-05-04 10:59:55Z (0/5000000)",
        "  lag 4 s, 0 bytes; 0 bytes in the spool",
        "  slot ostiary_log_1: reserved, 0 bytes held back, 537 MB until it keeps no more",
    ]
    data = as_data(one)
    assert (data["lag_s"], data["alarms"], data["kept_until"]) == (4.0, [], "2026-05-04T10:59:55+00:00")


def test_where_the_repository_cannot_be_read_that_is_the_alarm_and_no_full_backup_is_wanted(vault: Vault):
    vault.logs.mkdir()
    (vault.logs / "shop.plan").write_text(SYSTEM)
    standing.write(cluster_folder(vault, SYSTEM), WELL)
    [one] = log_standings(PLANS, vault, NOW)
    assert ([alarm.code for alarm in one.alarms], one.wants_full) == (["repository"], False)
