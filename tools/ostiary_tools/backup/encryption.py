"""Our own program of encryption while it runs: it is given keys and bytes, and is gone at the end."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

from ostiary_tools.backup import cipher

_PIPE = 1 << 20


@contextmanager
def encryption(what: str, keys: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Our own program of encryption; it is gone at the end."""
    read, write = os.pipe()
    with open(write, "wb") as lines:  # noqa: PTH123 -- a descriptor
        try:
            program = subprocess.Popen(
                [sys.executable, "-P", str(Path(cipher.__file__)), what, str(read)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=(read,),
            )
        finally:
            os.close(read)
        lines.write("\n".join(keys).encode())
    for pipe in (program.stdin, program.stdout):
        widen(cast("BinaryIO", pipe).fileno())
    try:
        yield program
    finally:
        program.kill()
        closed(program.stdin)
        closed(program.stdout)
        program.wait()


def widen(pipe: int) -> None:
    """Let a pipe hold some pieces, where the system can; a file stays as it is."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def closed(pipe: IO[bytes] | None) -> None:
    """Unless it is closed; whoever is at its other end may be gone."""
    if pipe is not None:
        with suppress(OSError):
            pipe.close()
