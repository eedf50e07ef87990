"""A home of its own for commands, in which the demonstration has run once."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.newcomer import OSTIARY, Demonstration


@pytest.fixture(scope="session")
def empty_home() -> Iterator[dict[str, str]]:
    """The environment of a newcomer: a home without anything, and this installation's `ostiary` first on the PATH."""
    home = Path(tempfile.mkdtemp(prefix="ostiary-newcomer-"))
    home.chmod(0o711)  # as root, the database's own user must reach its part
    yield {
        "HOME": str(home),
        # The places of an ordinary user, also where root runs this.
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def demonstration(empty_home: dict[str, str]) -> Demonstration:
    """`ostiary demo`, as a newcomer runs it first."""
    started = time.monotonic()
    done = subprocess.run([OSTIARY, "demo"], env=empty_home, cwd="/", text=True, capture_output=True, timeout=180, check=False)
    return Demonstration(empty_home, done, time.monotonic() - started)


@pytest.fixture(scope="session")
def used_home(demonstration: Demonstration) -> dict[str, str]:
    """The same home afterwards."""
    assert demonstration.done.returncode == 0, demonstration.done.stderr
    return demonstration.environ
