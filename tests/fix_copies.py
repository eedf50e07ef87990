"""Where copies of clusters can stand: folders that the user of a copy's server can reach."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostiary_tools.backup.programs import Sought, to_serve
from ostiary_tools.backup.scratch import Ground, make
from ostiary_tools.embedded.account import server_account

EMBEDDED = 18
"""The major version of the bundled PostgreSQL."""


@pytest.fixture(scope="session")
def sought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sought]:
    """Programs of this machine, copied where another user could not reach them."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-programs-"))
    folder.chmod(0o755)
    yield Sought(copies=folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def site() -> Iterator[Path]:
    """An empty folder that the user of a copy's server may pass, and that is ours."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-site-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def ground_of(major: int, sought: Sought) -> Ground:
    """What copies of that version stand on."""
    account = server_account(Path("/nonexistent/cluster"))
    return Ground(to_serve(major, account, sought), account)


@pytest.fixture
def ground(sought: Sought) -> Ground:
    """Of the embedded version."""
    return ground_of(EMBEDDED, sought)


def given(folder: Path, ground: Ground) -> Path:
    """A folder made for the user of the copy's server."""
    folder.mkdir(mode=0o700)
    os.chown(folder, ground.account.uid, ground.account.gid)
    return folder


@pytest.fixture(scope="session")
def pristine(sought: Sought) -> Iterator[Path]:
    """A data directory that no server has run on, to be copied; its superuser is `owner`."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-pristine-"))
    folder.chmod(0o711)
    ground = ground_of(EMBEDDED, sought)
    made = given(folder / "copy", ground) / "data"
    asyncio.run(make(made, ground, "owner", "--no-sync"))
    yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_data(pristine: Path, site: Path, ground: Ground) -> Path:
    """A data directory of this test's own."""
    made = given(site / "copy", ground) / "data"
    subprocess.run(["/bin/cp", "-a", pristine, made], check=True)
    return made


def processes_with(word: str) -> list[int]:
    """Processes that live and have a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
