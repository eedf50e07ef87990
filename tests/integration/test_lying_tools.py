"""Tools that keep backups elsewhere, and tell what is not so: programs of the test's own in their place."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ostiary_tools.backup.external.barman import Barman
from ostiary_tools.backup.external.pgbackrest import PgBackRest
from ostiary_tools.backup.external.port import Tool
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.errors import Damaged, Refused, Unavailable

pytestmark = pytest.mark.asyncio
FROM = datetime(2026, 1, 2, tzinfo=UTC)
ID = "20260102T030405"
LABEL = "20260102-030405F"
BARMAN: dict[str, Any] = {
    "backup_id": ID,
    "status": "DONE",
    "postgresql_version": 150004,
    "systemid": "7300000000000000001",
    "base_backup_information": {
        "begin_time_timestamp": "1767322000",
        "end_time_timestamp": "1767322100",
        "begin_lsn": "0/2000028",
        "end_lsn": "0/2000100",
        "begin_wal": "000000010000000000000002",
        "disk_usage_bytes": 1000,
    },
}
STANZA: dict[str, Any] = {
    "name": "shop",
    "status": {"code": 0, "message": "ok"},
    "db": [{"id": 1, "version": "15", "system-id": 7300000000000000001}],
    "archive": [],
    "backup": [
        {
            "label": LABEL,
            "type": "full",
            "prior": None,
            "error": False,
            "timestamp": {"start": 1767322000, "stop": 1767322100},
            "lsn": {"start": "0/2000028", "stop": "0/2000100"},
            "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000002"},
            "database": {"id": 1},
            "info": {"size": 1000, "repository": {"delta": 500}},
        }
    ],
}


def tool(folder: Path, said: dict[str, Any]) -> Tool:
    """A program that notes each of its words, and says what was said for the first of them that is a key."""
    for name, value in said.items():
        (folder / name).write_text(json.dumps(value))
    program = folder / "tool"
    program.write_text(
        f'#!/bin/sh\ncd {folder}\nprintf "%s\\n" "$@" >> words\nfor word; do [ -f "./$word" ] && exec cat "./$word"; done\n'
    )
    program.chmod(0o755)
    return Tool("main", program, "shop")


def changed(of: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """With something else there: `a.b.0`."""
    copy: dict[str, Any] = json.loads(json.dumps(of))
    *way, last = path.split(".")
    at: Any = copy
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    at[last] = value
    return copy


async def test_an_id_that_is_an_option_never_comes_to_barman(tmp_path: Path):
    strange = ["--foo", "-c/tmp/evil", "last", f"{ID}\n", "../x", 7, None]
    listed = [{"backup_id": one, "status": "DONE"} for one in strange]
    said = {"list-backups": {"shop": [*listed, BARMAN]}, "show-backup": {"shop": BARMAN}, "list-files": {"_INFO": []}}
    held = await Barman(tool(tmp_path, said)).holding()
    assert [one.id for one in held.backups] == [ID]
    assert [one.startswith("Barman has a backup of a strange name, `") for one in held.problems] == [True] * len(strange)
    words = set((tmp_path / "words").read_text().splitlines())
    assert words == {"-f", "json", "list-backups", "show-backup", "list-files", "--target", "wal", "shop", ID}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("base_backup_information.begin_time_timestamp", "1e300"),
        ("base_backup_information.begin_time_timestamp", "nan"),
        ("base_backup_information.begin_lsn", "-1/-1"),
        ("base_backup_information.begin_lsn", 7),
        ("base_backup_information.end_lsn", "0/5 or so"),
        ("base_backup_information.begin_wal", "--option"),
        ("base_backup_information", []),
        ("postgresql_version", "fifteen"),
        ("backup_id", "20270102T030405"),
    ],
)
async def test_what_barman_cannot_mean_is_not_understood(tmp_path: Path, path: str, value: object):
    said = {"list-backups": {"shop": [BARMAN]}, "show-backup": {"shop": changed(BARMAN, path, value)}, "list-files": {"_INFO": []}}
    with pytest.raises(Unavailable, match="is not understood"):
        await Barman(tool(tmp_path, said)).holding()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("backup.0.timestamp.start", 1e300),
        ("backup.0.timestamp.stop", float("nan")),
        ("backup.0.label", 7),
        ("backup.0.type", "--full"),
        ("backup.0.lsn.start", "0/ 2000028"),
        ("backup.0.archive.start", "x"),
        ("db.0.version", "../15"),
        ("db", 7),
        ("backup", "full"),
    ],
)
async def test_what_pgbackrest_cannot_mean_is_not_understood(tmp_path: Path, path: str, value: object):
    with pytest.raises(Unavailable, match="is not understood"):
        await PgBackRest(tool(tmp_path, {"info": [changed(STANZA, path, value)]})).holding()


async def test_a_backup_is_asked_for_by_no_words_that_a_tool_chose(tmp_path: Path):
    """Nor for a log without end."""
    [made] = (await PgBackRest(tool(tmp_path, {"info": [STANZA]})).holding()).backups
    data = tmp_path / "copy" / "data"
    for path, value in (("archive.stop", "00000001FFFFFFFFFFFFFFFF"), ("archive.stop", "--option"), ("archive", 7)):
        lying = PgBackRest(tool(tmp_path, {"info": [changed(STANZA, f"backup.0.{path}", value)]}))
        with pytest.raises(Unavailable, match="is not understood"):
            await lying.restore(made, data)
    assert "restore" not in (tmp_path / "words").read_text()


@pytest.mark.parametrize("shown", [{}, [], {"tablespaces": ["/srv/fast"]}])
async def test_barman_restores_nothing_of_which_it_does_not_say_that_it_stays_inside(tmp_path: Path, shown: object):
    barman = Barman(tool(tmp_path, {"show-backup": {"shop": shown}}))
    made = Manifest(ID, Kind.FULL, "main", "", FROM, FROM, "15.4", (), None)
    with pytest.raises(Refused, match="tablespaces"):
        await barman.restore(made, tmp_path / "copy" / "data")
    with pytest.raises(Damaged, match="has no backup"):
        await barman.restore(replace(made, id="--target-action=shutdown"), tmp_path)
    assert "recover" not in (tmp_path / "words").read_text()
