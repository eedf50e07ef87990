"""`ostiary audit …` as a person or a script runs it: what it prints and how it ends."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fix_audit import AuditLog, entry


@pytest.fixture
def configuration(audit_log: AuditLog, tmp_path: Path) -> Path:
    """A configuration whose audit log has three calls in it."""
    asyncio.run(audit_log.write(3))
    path = tmp_path / "ostiary.toml"
    path.write_text(
        f'[home]\ndata = "{tmp_path / "data"}"\nstate = "{tmp_path}"\n'
        '[control]\ndsn = "env:AUDIT_WRITER"\nreader_dsn = "env:AUDIT_READER"\nadmin_dsn = "env:AUDIT_ADMIN"\n'
    )
    return path


def ostiary(log: AuditLog, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `ostiary audit`."""
    secrets = {"AUDIT_WRITER": log.writer_dsn, "AUDIT_READER": log.place.reader_dsn, "AUDIT_ADMIN": log.place.admin_dsn}
    command: list[str | Path] = [sys.executable, "-m", "ostiary", "audit", *arguments]
    return subprocess.run(command, env={**os.environ, **secrets}, capture_output=True, text=True, check=False, timeout=60)


def test_verify_ends_with_0_when_good_1_when_tampered_and_2_when_it_cannot_tell(
    audit_log: AuditLog, configuration: Path, tmp_path: Path
) -> None:
    good = ostiary(audit_log, "verify", "--config", configuration, "--json")
    assert (good.returncode, json.loads(good.stdout)["verdict"], json.loads(good.stdout)["records"]) == (0, "good", 8)
    unsure = ostiary(audit_log, "verify", "--config", configuration, "--anchor", tmp_path / "none")
    assert (unsure.returncode, unsure.stdout[:11]) == (2, "cannot tell")
    elsewhere = ostiary(audit_log, "verify", "--config", configuration, "--public-key", tmp_path / "none")
    assert (elsewhere.returncode, "there is no public key at" in elsewhere.stdout) == (2, True)
    asyncio.run(audit_log.tamper("UPDATE audit.log SET body = '{}' WHERE seq = 3"))
    bad = ostiary(audit_log, "verify", "--config", configuration)
    assert bad.returncode == 1
    assert "- stream 0, record 3:" in bad.stdout


def test_an_export_and_a_proof_are_verified_without_configuration(audit_log: AuditLog, configuration: Path, tmp_path: Path) -> None:
    export, key = tmp_path / "log.jsonl", audit_log.place.public_key
    assert ostiary(audit_log, "export", export, "--config", configuration).stdout == f"8 records in {export}\n"
    assert ostiary(audit_log, "export", export, "--config", configuration).returncode == 1
    assert ostiary(audit_log, "verify", "--export", export, "--public-key", key).returncode == 0
    assert ostiary(audit_log, "verify", "--export", export).returncode == 2
    proof = tmp_path / "proof.json"
    proof.write_text(ostiary(audit_log, "prove", "--record", "2", "--config", configuration).stdout)
    assert ostiary(audit_log, "verify", "--proof", proof, "--public-key", key).stdout.startswith("record 2 of ostiary/")
    forged = proof.read_text().replace(r"\"ada\"", r"\"eve\"")  # in the record's body; hashes may have those letters too
    assert forged != proof.read_text()
    proof.write_text(forged)
    assert ostiary(audit_log, "verify", "--proof", proof, "--public-key", key).returncode == 1


def test_show_prints_the_newest_first(audit_log: AuditLog, configuration: Path) -> None:
    shown = ostiary(audit_log, "show", "--config", configuration, "--kind", "outcome", "--limit", "2", "--json")
    assert [(record["seq"], record["status"]) for record in json.loads(shown.stdout)] == [(7, "ok"), (5, "ok")]
    table = ostiary(audit_log, "show", "--config", configuration)
    assert table.returncode == 0
    assert [line.split()[1] for line in table.stdout.splitlines() if line[:2] == "20"] == [f"0/{seq}" for seq in range(8, 0, -1)]


def test_a_record_that_holds_nul_does_not_keep_the_others_from_being_searched(audit_log: AuditLog, configuration: Path) -> None:
    """None is written any more, and logs of earlier versions may hold some."""
    asyncio.run(_refused(audit_log, "a\0", "\\\0\0", r"\u0000"))
    shown = ostiary(audit_log, "show", "--config", configuration, "--agent", "ada", "--tool", "query", "--kind", "denial", "--json")
    assert [record["arguments"]["text"] for record in json.loads(shown.stdout)] == [r"\u0000", "\\\0\0", "a\0"]


async def _refused(log: AuditLog, *texts: str) -> None:
    async with log.recording() as recorder:
        for text in texts:
            await recorder.refuse(entry(decision="refused", arguments={"text": text}))


@pytest.mark.slow
def test_a_person_opens_an_epoch_once_and_is_told_what_was_lost_and_what_to_see_to(
    audit_log: AuditLog, configuration: Path
) -> None:
    then = audit_log.keep()
    asyncio.run(audit_log.write(2))
    audit_log.put_back(then)
    opening = ("open-epoch", "--reason", "the disk failed", "--config", configuration)
    opened = ostiary(audit_log, *opening, "--yes", "--json")
    assert opened.returncode == 0, opened.stderr
    said = json.loads(opened.stdout)
    assert (said["epoch"], said["lost"], said["tampered"]) == (1, {"0": {"after": 8, "up_to": 14}}, [])
    assert any("`ostiary tokens list`" in line for line in said["check"])
    again = ostiary(audit_log, *opening, "--yes")
    assert (again.returncode, "nothing outside of the log says more than it does" in again.stderr) == (1, True)
    verified = ostiary(audit_log, "verify", "--config", configuration, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["verdict"]) == (4, "put back")


@pytest.mark.slow
def test_an_epoch_is_not_opened_by_who_does_not_confirm_it_or_cannot(audit_log: AuditLog, configuration: Path) -> None:
    opening = ("open-epoch", "--reason", "moved", "--unproven", "--config", configuration)
    assert ostiary(audit_log, *opening).returncode == 1
    assert asyncio.run(audit_log.fetch("SELECT FROM audit.epoch")) == []
    assert ostiary(audit_log, "open-epoch", "--reason", " ", "--yes", "--config", configuration).returncode == 2
    opened = ostiary(audit_log, *opening, "--yes")
    assert (opened.returncode, opened.stdout.splitlines()[0][:15]) == (0, "epoch 1 is open")
    told = ostiary(audit_log, "verify", "--config", configuration)
    assert (told.returncode, "what was lost is not known" in told.stdout) == (4, True)
