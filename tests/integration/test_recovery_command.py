"""`ostiary dr …` as an operator runs it, on a real installation."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fix_backup import flip
from fix_moments import keep_log
from fix_person import Person
from fix_postgres import PostgresServer

from ostiary.vault import open_vault

PLAN = "[plans.shop]\nrecovery_point_s = 3600\n"


@pytest.mark.parametrize("person", [PLAN], indirect=True)
def test_a_report_says_what_is_missed_until_a_drill_has_measured_it(person: Person):
    before = person.runs("dr", "report")
    assert before.code == 1
    assert "ALARM: there is no repository of backups yet" in before.out
    person.begins()
    id_ = person.backs_up()
    unproven = person.runs("dr", "report", "--json")
    told = json.loads(unproven.out)
    assert (unproven.code, told["missed"]) == (1, [{"source": "shop", "objective": "recovery time"}])
    person.does("drill")
    proven = person.runs("dr", "report")
    assert (proven.code, "no objective is missed" in proven.out) == (0, True), proven.out
    assert "control: not covered" in proven.out
    flip(person.backups / id_ / "manifest.json", 0.5)
    damaged = person.runs("dr", "report")
    assert (damaged.code, f"the backup `{id_}` is damaged" in damaged.out) == (1, True)
    assert [call for call in person.calls() if call[0] not in {"create_backup", "verify_backup"}] == [], "it only looks"


def test_a_page_is_written_whole_and_for_its_owner_alone(person: Person):
    person.begins()
    file = person.site.folder / "report.html"
    file.write_text("an older one")
    done = person.runs("dr", "report", "--html", str(file))
    assert (done.code, done.out) == (0, "")
    assert file.read_text().startswith("<!doctype html>\n<html lang=")
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(file.parent.glob(".report.html*"))
    refused = person.runs("dr", "report", "--html", str(person.site.folder / "nowhere" / "x.html"))
    assert (refused.code, "cannot be written: no such file or directory" in refused.err) == (2, True)


@pytest.mark.slow
def test_every_command_of_a_runbook_runs_as_it_stands(person: Person, postgres_server: PostgresServer):
    person.begins()
    person.backs_up()
    person.does("backup", "create", "shop", "--kind", "full")
    postgres_server.sql("INSERT INTO customers VALUES (9001, 'the last')", person.database)
    keep_log(open_vault(person.site.config, None).repository(), postgres_server, "shop")
    file = person.site.folder / "runbook.md"
    assert person.runs("dr", "runbook", "--output", str(file)).code == 0
    blocks = re.findall(r"^```console\n(.*?)^```$", file.read_text(), re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    told = " ".join(commands)
    for wanted in (
        "dr report",
        "backup list",
        "--to database",
        "--to schema",
        "--to instance",
        "--moment latest",
        "--repository",
        "drill",
        "prove",
    ):
        assert wanted in told
    home = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(person.site.folder),
        "RECOVERY_KEY": str(person.stick / "recovery.key"),
    }
    elsewhere = person.site.folder / "elsewhere"
    elsewhere.mkdir(mode=0o711)
    try:
        for command in commands:
            done = subprocess.run(
                ["/bin/sh", "-c", command], env=home, cwd=elsewhere, text=True, capture_output=True, timeout=240, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    finally:
        postgres_server.drop(["shop_restored"])
