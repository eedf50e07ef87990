"""A backup of a cluster as a data directory: a full one as it was sent, an incremental one put together with all that it needs.

What is put together gets new sums, which would hold for damage, too. So every file of every backup is compared before that, and the
whole again afterwards; its pages when it has been recovered.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.port import Kept
from ostiary_tools.backup.restoring.folders import given
from ostiary_tools.backup.restoring.unpacking import Unpacked, compare, unpack_base, unpack_log
from ostiary_tools.backup.running import Command, run
from ostiary_tools.backup.scratch import Ground
from ostiary_tools.errors import Damaged, NotWritten, ProgramFailed, Unavailable

_PROGRAM = "pg_combinebackup"
_PARTS = "parts"
_LINKS = 18
"""From this version on it can link files, which costs neither room nor time; what they are linked from is thrown away."""
_REFUSALS = ("full backup", "expected", "system identifier", "backup_label", "manifest", "INCREMENTAL", "incremental")
"""Words of the program where what it was given does not fit together."""

_FULL = "No space left on device"


async def laid_out(kept: Kept, data_dir: Path, ground: Ground, told: Callable[[int], None], stop: Callable[[], None]) -> Unpacked:
    """All of it in a folder that does not exist, in one of ours, with the log up to its point. Raises ToolError and leaves rubbish.

    `told` takes how many bytes more, in a thread; `stop` lets it raise.
    """
    await _base_laid_out(kept, data_dir, ground, told, stop)
    return await called_off(stop, unpack_log, kept, data_dir, ground.account, told)


async def _base_laid_out(kept: Kept, data_dir: Path, ground: Ground, told: Callable[[int], None], stop: Callable[[], None]) -> None:
    """Likewise without the log."""
    links = await asyncio.to_thread(chain, kept)
    if len(links) == 1:
        await called_off(stop, unpack_base, kept, data_dir, ground.account, told)
        return
    program = ground.programs.path(_PROGRAM)
    if not program.exists():
        hint = f"install all of the server of PostgreSQL {ground.programs.major}"
        raise Unavailable(f"there is no `{_PROGRAM}`, which puts incremental backups together, beside `postgres`", hint)
    parts = data_dir.parent / _PARTS
    parts.mkdir(mode=0o700)
    folders = [parts / str(number) for number in range(len(links))]
    for one, folder in zip(links, folders, strict=True):
        await called_off(stop, _unpacked, one, folder, ground, told)
    await _combined(folders, data_dir, ground)
    await called_off(stop, shutil.rmtree, parts)
    await called_off(stop, compare, kept, data_dir, told)


def _unpacked(one: Kept, folder: Path, ground: Ground, told: Callable[[int], None]) -> None:
    try:
        unpack_base(one, folder, ground.account, told)
    except Damaged as damage:
        raise Damaged(damage.what, f"{damage.message} (backup `{one.manifest.id}`)", damage.hint) from damage


async def _combined(folders: Sequence[Path], data_dir: Path, ground: Ground) -> None:
    if ground.account.uid != os.geteuid():
        await asyncio.to_thread(folders[0].parent.chmod, 0o711)
    await asyncio.to_thread(given, data_dir, ground.account)
    links = ("--link",) if ground.programs.major >= _LINKS else ()
    words = ("--no-sync", "--manifest-checksums=SHA256", *links, f"--output={data_dir}", *map(str, folders))
    try:
        await run(Command(ground.programs.path(_PROGRAM), words, account=ground.account))
    except ProgramFailed as error:
        if _FULL in error.message:
            raise NotWritten("the copy could not be written: no space left on device", "see that there is room for it") from error
        if any(word in error.message for word in _REFUSALS):
            raise Damaged("chain", f"the backups do not fit together: {error.message}", "use another backup") from error
        raise
