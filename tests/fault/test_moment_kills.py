"""A restore to a moment that is killed at any step: nothing of it is found, and the next one is exact."""

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest
from fix_copies import processes_with
from fix_held import COUNTED, program, worked
from fix_moments import History, events_in
from fix_waiting import until

from ostiary_tools.backup.moment import Time, written
from ostiary_tools.backup.scratch import Ground

pytestmark = pytest.mark.fault

RESTORING = f"""{COUNTED}
import asyncio, sys
from pathlib import Path
from fix_backup import reopened
from ostiary_tools.backup.keys import read_identities
from ostiary_tools.backup.moment import parsed
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring.bases import Asked
from ostiary_tools.backup.restoring.moments import into_folder
from dataclasses import replace

async def quiet(*_):
    pass

home, key, moment, target, copies = sys.argv[1:]
repository = replace(reopened(Path(home)), identities=read_identities(key))
asked = Asked(repository, "shop", parsed(moment))
do_for_each_line(
    lambda: asyncio.run(into_folder(asked, Path(target), Sought(copies=Path(copies)), quiet)),
    "open", "mkdir", "rename", "fsync", "unlink", "rmdir", "chmod", "ftruncate",
)
"""


def test_a_restore_to_a_moment_that_is_killed_at_any_step_leaves_nothing_to_the_next(
    own_history: History, site: Path, ground: Ground
):
    asyncio.run(own_history.event(4, 5))
    own_history.keep()
    before = [one.id for one in own_history.vault.repository.listed()]
    killed = asyncio.run(_killed_at_each(own_history, site, ground))
    assert killed >= 10
    assert [path.name for path in site.iterdir()] == ["copy"], "what the killed ones left was swept"
    assert [one.id for one in own_history.vault.repository.listed()] == before
    assert asyncio.run(events_in(site / "copy", ground)) == [1, 2, 3, 4]


async def _killed_at_each(history: History, site: Path, ground: Ground) -> int:
    killed, step = 0, 1
    home, moment = history.vault.root.parent, written(Time(history.marks[4].at))
    words = (home, history.vault.operational.text, moment, site / "copy", history.sought.copies)
    async with program(RESTORING, *words) as process:
        while (code := await worked(process, step)) != 0:
            assert code == -signal.SIGKILL
            await until(lambda: len(processes_with(str(site))) == 1, 60)  # the one that counts
            if (site / "copy").exists():  # it had its name, so it was whole; it is made once more
                assert await events_in(site / "copy", ground) == [1, 2, 3, 4]
                shutil.rmtree(site / "copy")
            assert len(os.listdir(site)) <= 1, "the next one sweeps what was left"  # noqa: PTH208 names alone
            killed, step = killed + 1, step + 1 + step // 2
    return killed
