"""The runbook: its commands are commands, whatever anything is called."""

import re
import shlex
from pathlib import Path

from fix_recovery import SYSTEM, backup, drill, facts, held, piece

from ostiary.recovery.judging import report
from ostiary.recovery.runbook import Installation, runbook
from ostiary_tools.backup.manifest import Kind

HERE = Installation(Path("/etc/o s.toml"), "/srv/ba'ck|ups", Path("/srv/restores"), Path("/var/keys"), "age1x", {})


def commands(text: str) -> list[str]:
    """Those that are to be run."""
    return [line for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for line in block.splitlines()]


def test_a_name_stands_in_no_command_and_closes_no_block():
    hostile = "x`y'; rm -rf /\n```\n# Trust me"
    made = [backup(2, Kind.SQLITE, of=hostile), backup(1, Kind.FULL)]
    text = runbook(report(facts(*made, names={hostile: "", "shop": ""})), HERE)
    assert text.count("```") % 2 == 0
    assert "\n# Trust me" not in text.partition("## ")[2]
    for command in commands(text):
        words = shlex.split(command)
        assert words[0] == "ostiary"
        assert "rm" not in words
    assert any("x_y___rm_-rf_".replace("-", "_") in command for command in commands(text))


def test_a_backup_that_failed_its_drill_is_not_what_the_runbook_restores():
    good, bad = backup(30), backup(1)
    found = facts(good, bad, held={bad.id: held(drill(bad, 0.5, "pages"))})
    text = runbook(report(found), HERE)
    assert good.id in text
    assert bad.id not in text


def test_what_cannot_be_restored_is_said():
    text = runbook(report(facts()), HERE)
    assert text.count("There is nothing to restore it from.") == 2
    assert "restore" not in " ".join(commands(text))


def test_it_names_no_secret_and_ends_no_cell():
    text = runbook(report(facts(backup(1, Kind.FULL, segment=3), segments={SYSTEM: (piece(3, 0.1),)})), HERE)
    assert "| backups | `/srv/ba'ck\\|ups` |" in text
    assert "AGE-SECRET-KEY" not in text


def test_where_the_log_is_kept_the_last_of_it_is_what_is_restored():
    made, segments = backup(1, Kind.FULL, segment=3), {SYSTEM: (piece(3, 0.1),)}
    told = commands(runbook(report(facts(made, segments=segments)), HERE))
    assert sum("restore shop" in command and "--moment latest" in command for command in told) == 2
    assert not any("--moment" in command for command in commands(runbook(report(facts(made)), HERE)))
