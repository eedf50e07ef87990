"""A small file system, to be filled."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fix_postgres import short_directory

_ROOM = 2 << 30


def memory() -> Path | None:
    """A file system in memory with room, from which programs can be run; `None` where there is none.

    Whoever is killed loses nothing that lies there, and it makes nobody wait until a disk has it.
    """
    found = Path("/dev/shm")  # noqa: S108  what is made there is ours alone
    if not os.access(found, os.W_OK):
        return None
    facts = os.statvfs(found)
    return None if facts.f_flag & os.ST_NOEXEC or facts.f_bavail * facts.f_frsize < _ROOM else found


@contextmanager
def small_file_system(size: str) -> Iterator[Path]:
    """One of that size, in memory: `8m`. Only root may mount one, and not in every container, so elsewhere the test is skipped."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small file system can only be mounted by root")
    directory = short_directory()
    command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(directory)]
    if subprocess.run(command, check=False).returncode:
        directory.rmdir()
        pytest.skip("this machine does not let root mount a file system")
    try:
        yield directory
    finally:
        subprocess.run(["/bin/umount", "--lazy", directory], check=True)
        directory.rmdir()
