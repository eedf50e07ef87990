"""From a program's output into a member of a backup."""

import asyncio
from collections.abc import Callable
from typing import BinaryIO

from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.port import Keeping
from ostiary_tools.backup.running import Command, Running, started


async def kept(keeping: Keeping, name: str, content: Content, command: Command, told: Callable[[int], None]) -> Member:
    """All that the program writes. Raises ProgramFailed where it ended with an error, whatever it had written by then."""
    async with started(command) as running:
        return await written(keeping, name, content, running, told)


async def written(
    keeping: Keeping,
    name: str,
    content: Content,
    running: Running,
    told: Callable[[int], None],
    *,
    through: Callable[[BinaryIO], BinaryIO] = lambda output: output,
) -> Member:
    """Likewise of a program that runs already, `through` what reads its output on the way."""
    putting = asyncio.ensure_future(keeping.put(name, content, through(running.output), told))
    try:
        member = await asyncio.shield(putting)
    except asyncio.CancelledError:
        running.output.close()  # it ends the program, and with it whoever waits for what that says
        putting.cancel()
        await asyncio.wait([putting])
        raise
    await running.ended()
    return member
