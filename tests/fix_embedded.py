"""Homes for the embedded PostgreSQL, and processes that hold it."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fix_waiting import ending

from ostiary_tools.embedded import stop

_HOLDER = """
import asyncio, sys
from pathlib import Path
from ostiary_tools.embedded import attach

async def hold() -> None:
    cluster = await attach(Path(sys.argv[1]), lambda words: None)
    print(cluster.socket_dir, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await cluster.detach()
    print("detached", flush=True)

asyncio.run(hold())
"""


@pytest.fixture
def embedded_home() -> Iterator[Path]:
    """A home that does not exist yet, where also the stand-in of root can go; whatever runs there is stopped."""
    parent = Path(tempfile.mkdtemp(prefix="ostiary-home-"))
    if os.geteuid() == 0:
        parent.chmod(0o711)
    home = parent / "home"
    yield home
    if home.exists():
        asyncio.run(stop(home, force=True))
    shutil.rmtree(parent)


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`holder(home)` starts a process that attaches, and returns when it holds the server; a line of input lets it detach.

    The first line of its output, the socket's directory, has been read.
    """
    started: list[subprocess.Popen[str]] = []

    def start(home: Path, user: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _HOLDER, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=user,
            group=None if user is None else "nogroup",
            extra_groups=None if user is None else [],
            cwd="/",
        )
        started.append(process)
        assert process.stdout is not None
        with ending(process):
            assert process.stdout.readline().startswith("/"), "the holder did not attach"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
