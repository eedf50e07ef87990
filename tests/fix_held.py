"""Work that stops where a test wants it: a member that is not read yet, and a process that dies at a chosen step."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.port import Keeping


@dataclass
class Held:
    """Keeps members as the one behind it does, one of them not before it is let."""

    keeping: Keeping
    content: Content
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def id(self) -> str:
        """Of the backup."""
        return self.keeping.id

    async def put(self, name: str, content: Content, source: BinaryIO, told: Callable[[int], None]) -> Member:
        """As the one behind it, later."""
        if content is self.content:
            self.reached.set()
            await self.go_on.wait()
        return await self.keeping.put(name, content, source, told)


COUNTED = """
import os, signal, sys

left = 0

def counted(*names):
    "Die of the call of these functions of `os` that is the last of so many."
    for name in names:
        _counted(name)

def _counted(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(os, name, call)

def do_for_each_line(work, *names):
    "Work with the words of a line, up to the call of these functions that the line's last word says; say how that ended."
    global left
    for line in sys.stdin:
        *words, steps = line.split()
        child = os.fork()
        if child == 0:
            left = int(steps)
            counted(*names)
            work(*words)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""The beginning of a program, which says what it does for each line: how `worked` talks to it."""


@asynccontextmanager
async def program(text: str, *words: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program that can import what tests can, while the block lasts. It leads a session, by which its own are found."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text, *map(str, words)),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def worked(process: asyncio.subprocess.Process, *words: object) -> int:
    """How the work ended to which these words were said, the last of them the step at which it dies; 0 for one that it has not."""
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018 both are piped
    process.stdin.write(f"{' '.join(map(str, words))}\n".encode())
    return int(await process.stdout.readline())
