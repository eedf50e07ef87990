"""Work that stops where a test wants it: a member that is not read yet, and a process that dies at a chosen step."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
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
import os, signal

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
"""
"""The beginning of a program, which sets `left`."""
