"""Every byte of a backup looked at, or of the log after it, while progress is told; it can be called off."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from threading import Event
from typing import TypeVar

from ostiary_tools.backup.evidence import LOGS, Check, Evidence, record
from ostiary_tools.backup.making import called_off, not_written
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Tell
from ostiary_tools.backup.repository import Repository, StoredBackup
from ostiary_tools.backup.streams import Stopped
from ostiary_tools.backup.verification import Told, Verified, to_compare, verify
from ostiary_tools.backup.wal_archive.verification import VerifiedLog, verify_log

T = TypeVar("T")
_NAMED = 100
"""Damages that are kept of one look."""


async def check(repository: Repository, kept: StoredBackup, tell: Tell) -> Verified:
    """What was found. Raises Unavailable."""
    total = await asyncio.to_thread(to_compare, kept)
    return await _looked(tell, total, lambda told: verify(repository, kept.manifest.id, told))


async def check_log(repository: Repository, kept: StoredBackup, by: str, tell: Tell) -> VerifiedLog:
    """What was found of the kept log that leads on from it, which is on record then, too. Raises Unavailable and Refused."""
    repository.writer()
    started, began = datetime.now(UTC), time.monotonic()
    found = await _looked(tell, None, lambda told: verify_log(repository, kept.manifest, told))
    seconds = round(time.monotonic() - began, 3)
    named = [Check("log", one.message, 0, one.what) for one in found.damages[:_NAMED]] or [Check("log", found.words, seconds)]
    digest = sha256(encode(kept.manifest)).hexdigest()
    evidence = Evidence(kept.manifest.id, digest, started, datetime.now(UTC), by, tuple(named))
    try:
        await called_off(lambda: None, record, repository, evidence, LOGS)
    except OSError as error:
        raise not_written(error) from None
    return found


async def _looked(tell: Tell, total: int | None, look: Callable[[Told], T]) -> T:
    stop = Event()
    async with telling(tell, "compared", total) as pace:

        def told(count: int) -> None:
            if stop.is_set():
                raise Stopped
            pace.add(count)

        return await called_off(stop.set, look, told)
