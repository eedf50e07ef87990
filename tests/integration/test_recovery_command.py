"""`ostiary dr …` as an operator runs it, on a real installation."""

import json

import pytest
from fix_backup import flip
from fix_person import Person

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
