"""Every byte of a backup looked at while its progress is told; it can be called off."""

import asyncio
from threading import Event

from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.streams import Stopped
from ostiary_tools.backup.verification import Verified, to_compare, verify


async def check(repository: Repository, kept: StoredBackup, tell: Tell) -> Verified:
    """What was found. Raises Unavailable."""
    stop = Event()
    total = await asyncio.to_thread(to_compare, kept)
    async with telling(tell, "compared", total) as pace:

        def told(count: int) -> None:
            if stop.is_set():
                raise Stopped
            pace.add(count)

        return await called_off(stop.set, verify, repository, kept.manifest.id, told)
