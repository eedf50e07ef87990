"""Whatever is killed while it writes backups: all that is listed is whole, and what is left over goes."""

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from fix_backup import Vault, keep, new_vault
from fix_disk import small_file_system
from fix_held import COUNTED, program, worked
from fix_waiting import until

from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.verification import verify
from ostiary_tools.errors import NotWritten

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

BEGINNING = """
import asyncio, itertools, os, signal, sys
from io import BytesIO
from pathlib import Path
from fix_backup import reopened
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made

async def back_up(repository, job, told):
    async with making(repository, Kind.SQLITE, "shop", job) as made:
        if made.done is None:
            puts = (made.put(f"part-{n}.db", Content.SQLITE, BytesIO(os.urandom(2_000_000)), told) for n in (1, 2))
            await made.commit(Made("3.45", tuple(await asyncio.gather(*puts)), None))
"""

ENDLESS = f"""{BEGINNING}
async def main():
    repository = reopened(Path(sys.argv[1]))
    for n in itertools.count():
        print("begun", flush=True)
        repository.storage.sweep()
        await back_up(repository, f"job-{{sys.argv[2]}}-{{n}}", lambda _: print("told", flush=True))
        print("committed", flush=True)
asyncio.run(main())
"""

KILLED_AT = f"""{BEGINNING}{COUNTED}
do_for_each_line(
    lambda job: asyncio.run(back_up(reopened(Path(sys.argv[1])), job, lambda _: None)),
    "open", "mkdir", "rename", "unlink", "rmdir", "fsync", "close",
)
"""


def of_session(leader: int) -> Sequence[int]:
    """Processes that still run of it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:  # it has ended meanwhile
                continue
            if int(session) == leader and state != "Z":
                found.append(int(folder.name))
    return found


def assert_consistent(vault: Vault) -> None:
    vault.repository.storage.sweep()
    assert list((vault.root / "staging").iterdir()) == []
    listed = vault.repository.listed()
    assert [one.id for one in listed if not verify(vault.repository, one.id, lambda _: None).intact] == []
    jobs = [one.kept.manifest.job for one in listed if one.kept]
    assert len(set(jobs)) == len(jobs) == len(listed)
    assert all(len(one.kept.manifest.members) == 2 for one in listed if one.kept)


async def test_a_process_killed_at_any_moment_leaves_only_whole_backups_and_none_of_its_programs(tmp_path: Path):
    vault = new_vault(tmp_path)
    for moment in (1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 16, 19):
        async with program(ENDLESS, tmp_path, moment) as process:
            assert process.stdout is not None
            for _ in range(moment):
                assert await process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            await until(lambda leader=process.pid: not of_session(leader))  # type: ignore[misc] # mypy knows no default of a lambda
        assert_consistent(vault)
    assert vault.repository.listed()


async def test_a_process_killed_at_each_step_of_its_way_is_followed_by_one_that_makes_the_backup_once(tmp_path: Path):
    vault = new_vault(tmp_path)
    async with program(KILLED_AT, tmp_path) as process:
        killed, step = 0, 1
        while (code := await worked(process, "job", step)) != 0:
            assert code == -signal.SIGKILL
            assert await worked(process, "job", 0) == 0
            assert_consistent(vault)
            [listed] = vault.repository.listed()
            vault.repository.delete(listed.id)
            killed, step = killed + 1, step + 3
    assert killed > 20


async def test_two_processes_write_to_one_repository_and_neither_sweeps_what_the_other_makes(tmp_path: Path):
    vault = new_vault(tmp_path)
    async with program(ENDLESS, tmp_path, "one") as one, program(ENDLESS, tmp_path, "two") as two:
        for process in (one, two):
            assert process.stdout is not None
            committed = 0
            while committed < 5:
                line = await process.stdout.readline()
                assert line
                committed += line == b"committed\n"
    assert_consistent(vault)
    assert len(vault.repository.listed()) >= 10


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path):
    with small_file_system("8m") as disk:
        vault = new_vault(disk)
        await keep(vault, [os.urandom(1_000_000)], "small")
        with pytest.raises(NotWritten, match="no space left on device") as told:
            await keep(vault, [os.urandom(1_000_000), os.urandom(20_000_000)], "large")
        assert "room" in told.value.hint
        assert_folders(vault, backups=1)
        await keep(vault, [os.urandom(1_000_000)], "again")
        assert_folders(vault, backups=2)


def assert_folders(vault: Vault, *, backups: int) -> None:
    assert list((vault.root / "staging").iterdir()) == []
    assert len(list((vault.root / "backups").iterdir())) == backups
    assert all(verify(vault.repository, one.id, lambda _: None).intact for one in vault.repository.listed())


async def test_an_encryption_that_is_killed_is_a_failure_and_no_short_member(tmp_path: Path):
    vault = new_vault(tmp_path)
    read, write = os.pipe()
    before = children()
    with pytest.raises(Exception, match="encryption of a backup ended with an error"):  # noqa: PT012 the kill is a part of it
        async with making(vault.repository, Kind.SQLITE, "shop", "job") as made:
            putting = asyncio.create_task(made.put("part.db", Content.SQLITE, os.fdopen(read, "rb"), lambda _: None))
            await until(lambda: bool(children() - before))
            for child in children() - before:
                os.kill(child, signal.SIGKILL)
            os.write(write, os.urandom(1000))
            os.close(write)
            await putting
    assert vault.repository.listed() == ()


def children() -> set[int]:
    """Of this process, by all its threads."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}
