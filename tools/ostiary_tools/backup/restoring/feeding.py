"""From a member of a backup into a program's input.

What is kept is compared with its manifest before a program sees a byte of it, since a dump is code that the program runs; and each
piece again as it is read.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO

from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.manifest import Content, Manifest, Member
from ostiary_tools.backup.port import Kept, chunks
from ostiary_tools.backup.running import Command, Running, started
from ostiary_tools.backup.streams import Stopped
from ostiary_tools.backup.together import threaded

_HEAD = 1 << 20
"""As much as a program that wants the beginning alone is given at once; there it may stop listening."""


def members(manifest: Manifest, content: Content) -> list[Member]:
    """Those of that content."""
    return [member for member in manifest.members if member.content is content]


async def checked(kept: Kept) -> Kept:
    """The same, of which nothing is given that was not compared with its manifest. Raises Damaged, naming a member."""
    stop = threading.Event()

    def told(_: int) -> None:
        if stop.is_set():
            raise Stopped

    return await called_off(stop.set, kept.compared, told)


def text_of(kept: Kept, member: Member) -> str:
    """A small member. Blocking. Raises Damaged."""
    with kept.plain(member) as plain:
        return plain.read().decode()


async def fed(
    kept: Kept,
    member: Member,
    command: Command,
    told: Callable[[int], None],
    *,
    whole: bool,
    forgiven: Callable[[str], bool] = lambda _: False,
) -> bytes:
    """Give a program the member, `whole` to its end or as much as it wants; what it says on stdout where that is to be read.

    `forgiven` is asked of what it said on stderr when it ended with an error. Raises ProgramFailed and Damaged.
    """
    async with started(command) as running:
        over = threading.Event()
        feeding = threaded(partial(_feed, whole=whole), kept, member, running.input, told, over)
        listening = threaded(_heard, running) if command.writes else None
        try:
            await asyncio.shield(feeding)
            if await running.code() and not forgiven(running.said):
                await running.ended()
            return await asyncio.shield(listening) if listening else b""
        finally:
            over.set()
            await running.close()  # it frees whoever waits for it
            await asyncio.wait([task for task in (feeding, listening) if task is not None])


def _feed(kept: Kept, member: Member, sink: BinaryIO, told: Callable[[int], None], over: threading.Event, *, whole: bool) -> None:
    """To the end of the member, also where the program has enough of it: only then it is known to be what was put."""
    try:
        with kept.plain(member) as plain:
            wanted = True
            for piece in chunks(plain, _HEAD):
                if over.is_set() or not (wanted or whole):
                    return
                told(len(piece))
                if wanted:
                    wanted = _written(sink, piece)
    finally:
        with suppress(OSError):
            sink.close()


def _written(sink: BinaryIO, piece: bytes) -> bool:
    try:
        sink.write(piece)
    except BrokenPipeError:
        return False
    return True


def _heard(running: Running) -> bytes:
    with suppress(ValueError):
        return b"".join(chunks(running.output))
    return b""
