"""`ostiary demo` and what it tells a newcomer to do next, in a home of its own."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from acceptance.newcomer import OSTIARY, Demonstration
from fix_waiting import ending

ROOT = Path(__file__).parents[2]

PROMISES = {
    "what each sees": r"observer +describe, search_schema, whoami +sees 12, reads 0",
    "what an analyst sees": r"analyst +describe, explain, query, search, search_schema, whoami +sees 12, reads 12",
    "an answer": r"category,orders,turnover\n.*\d+,\d+\.\d\d\n",
    "how it ends": r"5 rows. types: text,bigint,numeric",
    "masks": r"full_name,email,segment\n *,\w\*\*\*@example\.org,\w+\n",
    "values": r"full_name,email,segment\n *\w+ \w+,[\w.]+@example\.org,\w+\n",
    "a refusal": r"denied: you may not execute function `public.net_amount`",
    "its rule": r"rule: default-deny",
    "its hint": r"hint: built-in functions that only compute need no permission",
    "a hidden tool": r"Unknown tool: query",
    "an attack on files": r"refused: the function `pg_read_file` is not run",
    "a stacked statement": r"rule: one_statement",
    "a write within a read": r"refused: `DELETE` writes",
    "records of a permit": r"analyst-\w+ +intent permit",
    "records of masks": r"\n +analyst-masks-pii +\n",
    "records of a denial": r"analyst-\w+ +denial deny +default-deny",
    "records of an attack": r"analyst-\w+ +denial refused +one_statement",
    "a verified chain": r"\d+ records of \d+ streams? are as they were written, and agree with \d+ checkpoints",
    "a tampered copy": r"the audit log was tampered with",
    "its record": r"stream \d+, record \d+: the record is not what was written",
    "how to connect": r'"command": "[^"]+ostiary"',
    "how to connect others": r"ostiary config --client claude-desktop\n",
}


@pytest.mark.parametrize("promise", PROMISES)
def test_the_demonstration_shows(promise: str, demonstration: Demonstration):
    shown = demonstration.done.stdout.replace("│ ", "")
    assert re.search(PROMISES[promise], shown), shown + demonstration.done.stderr


def test_the_demonstration_ends_well_in_an_empty_home(demonstration: Demonstration):
    assert demonstration.done.returncode == 0, demonstration.done.stderr
    assert "loading the sample shop" in demonstration.done.stderr


def test_without_a_terminal_there_are_no_control_characters(demonstration: Demonstration):
    assert "\x1b" not in demonstration.done.stdout + demonstration.done.stderr
    assert "\r" not in demonstration.done.stdout + demonstration.done.stderr


def test_lines_to_read_fit_into_100_columns(demonstration: Demonstration):
    """Those to copy are never broken, whatever their length."""
    long = [line for line in demonstration.done.stdout.splitlines() if len(line) > 100]
    assert [line for line in long if "/" not in line] == []


@pytest.mark.slow
def test_on_a_terminal_it_is_coloured_and_works_again(used_home: dict[str, str]):
    shown = on_a_terminal([OSTIARY, "demo"], {**used_home, "TERM": "xterm-256color"})
    assert "\x1b[" in shown
    assert "all of this was checked while it ran" in shown


def test_it_leaves_nothing_running(used_home: dict[str, str]):
    assert subprocess.run([OSTIARY, "status"], env=used_home, capture_output=True, check=False).returncode == 1


@pytest.mark.slow
def test_a_log_that_does_not_verify_ends_it_with_an_error(used_home: dict[str, str]):
    """The public key of another installation is put in place of its own."""
    key = Path(used_home["XDG_STATE_HOME"]) / "ostiary/audit.pub"
    own = key.read_text()
    key.write_text("other+5c34dfc7+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh\n")
    try:
        done = subprocess.run([OSTIARY, "demo"], env=used_home, text=True, capture_output=True, timeout=120, check=False)
    finally:
        key.write_text(own)
    assert done.returncode == 1
    assert "error: the demonstration did not hold: the audit log verifies" in done.stderr
    assert "Traceback" not in done.stderr
    assert "all of this was checked" not in done.stdout


def test_a_home_that_cannot_be_made_is_told_without_a_traceback(used_home: dict[str, str], tmp_path: Path):
    (tmp_path / "file").write_text("")
    blocked = {**used_home, "XDG_DATA_HOME": str(tmp_path / "file")}
    done = subprocess.run([OSTIARY, "demo"], env=blocked, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 3
    assert re.search(r"^error: .+\n(hint: .+\n)?\Z", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_server_that_ends_early_is_told_with_its_last_words(used_home: dict[str, str]):
    """The signing key can be read by others, which the servers refuse."""
    key = Path(used_home["XDG_STATE_HOME"]) / "ostiary/audit.key"
    key.chmod(0o644)
    try:
        done = subprocess.run([OSTIARY, "demo"], env=used_home, text=True, capture_output=True, timeout=120, check=False)
    finally:
        key.chmod(0o600)
    assert done.returncode == 1
    assert re.search(r"^error: a server of the demonstration ended early\nhint: it said: \S.+\n\Z", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_fault(used_home: dict[str, str]):
    command = f"'{OSTIARY}' demo | head -n 3"
    done = subprocess.run(["/bin/sh", "-c", command], env=used_home, text=True, capture_output=True, timeout=120, check=False)
    assert len(done.stdout.splitlines()) == 3
    assert "Traceback" not in done.stderr
    assert "error: " not in done.stderr


@pytest.mark.slow
def test_configured_datasources_are_left_alone(used_home: dict[str, str], tmp_path: Path):
    """A configuration in force, whose database does not exist, changes nothing of the demonstration."""
    file = tmp_path / "ostiary.toml"
    file.write_text(
        '[datasources.other]\ndsn = "postgresql://nobody@db.invalid/other"\n[agent]\nroles = ["chief"]\nrole = "chief"\n'
    )
    done = subprocess.run(
        [OSTIARY, "demo", "--config", str(file)], env=used_home, text=True, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_of_mcp_json_starts_a_server(used_home: dict[str, str]):
    """As a client does it: the bare command, on the PATH."""
    server = json.loads((ROOT / "mcp.json").read_text())["mcpServers"]["ostiary"]
    hello: dict[str, Any] = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
    }  # fmt: skip
    process = subprocess.Popen(
        ["/usr/bin/env", server["command"], *server["args"]],
        env=used_home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(hello) + "\n")
    process.stdin.flush()
    with ending(process):
        answer = json.loads(process.stdout.readline())
    process.communicate(timeout=60)
    assert answer["result"]["serverInfo"]["name"] == "ostiary"
    assert process.returncode == 0


def on_a_terminal(command: list[str], environ: dict[str, str]) -> str:
    """Run it on a terminal of 100 columns; all that is shown."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    process = subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        with ending(process, 120):
            while piece := os.read(ours, 65536):
                shown += piece
    except OSError:  # Linux's way to say that the other end was closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0, shown.decode()
    return shown.decode()
