"""The processes of a plan killed at random moments of streaming, incremental backups, retention and restores to a moment.

After each the repository is whole: nothing is listed in part, the log has no gap, what stays is still there, a restore to a random
moment has the rows of that moment, and neither a program nor anything half made is left.
"""

import asyncio
import itertools
import os
import random
import secrets
import shutil
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import pytest
from fix_blows import Blows
from fix_copies import EMBEDDED, ground_of
from fix_killing import OpenYard
from fix_planned import LONGEST, Planned, kind_of
from fix_waiting import until

from ostiary_tools.backup.expiry import EXPIRY
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.moment import Time, written
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.retention import log_needed

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

MOMENTS = int(os.environ.get("OSTIARY_MOMENTS", "50"))
EARLIER = 0.85
"""Of a work's time: it may be done sooner than it was at first, and then nothing of it is killed."""


class Work(StrEnum):
    """What goes on when something is killed."""

    STREAMING = "streaming"
    INCREMENTAL = "incremental"
    RETENTION = "retention"
    RESTORE = "restore"


VICTIMS = {
    Work.STREAMING: ("worker", "receiver", "database"),
    Work.INCREMENTAL: ("worker", "program", "cipher.py", "database", "server"),
    Work.RETENTION: ("worker", "person"),
    Work.RESTORE: ("worker", "program", "cipher.py", "pg_combinebackup", "postgres", "database", "server"),
}
"""Whoever has a part in it. Of retention the worker marks, and a person has it deleted."""
FIRST = {"cipher.py", "pg_combinebackup"}
"""They have their part in the beginning of a restore:"""
EARLY = 0.2


class Rounds:
    """One after the other, at one installation."""

    def __init__(self, it: Planned, dice: random.Random, sought: Sought) -> None:
        self.it = it
        self.dice = dice
        self.blows = Blows(it, dice)
        self.lasts: dict[str, float] = {}
        """Seconds that each takes undisturbed."""
        self.killed: Counter[Work] = Counter(dict.fromkeys(Work, 0))
        self._victims = {work: _in_turn(victims, dice) for work, victims in VICTIMS.items()}
        self._ground = ground_of(EMBEDDED, sought)
        self._names = (f"copy_{number}" for number in itertools.count(1))
        self._stays: set[str] = set()
        """Backups that nobody may delete."""

    async def rehearse(self) -> None:
        """Each work undisturbed."""
        await until(lambda: bool(self.it.receivers()), 60)
        await self._taken(Kind.FULL)
        self.lasts[Work.INCREMENTAL] = await _timed(lambda: self._taken(Kind.INCREMENTAL))
        self.lasts[Work.STREAMING] = await _timed(self.it.caught_up)
        self.lasts[Work.RESTORE] = await _timed(self._restored)
        gone = await self.it.aged()
        await self.it.kill_worker()
        self.lasts["worker"] = await _timed(lambda: until(lambda: self.it.marked(gone), 60))
        await self.it.mark(gone)
        self.lasts["person"] = await self._expired(gone)
        await self._settled()

    async def play(self) -> None:
        """One round, of a work in which fewest were killed; where there was nobody to kill it does not count."""
        fewest = min(self.killed.values())
        work = self.dice.choice([one for one, times in self.killed.items() if times == fewest])
        victim = next(self._victims[work])
        died, said = await self._of(work)(victim)
        _tell(f"{sum(self.killed.values()) + 1:3} {work}, {died or 'nobody'} killed: {said[:200]!r}")
        await self._settled()
        self.killed[work] += bool(died)

    async def conclude(self) -> None:
        """All that is listed is whole, and each restores; all commits are in the log; nothing is left over."""
        await self._taken(Kind.INCREMENTAL)
        self.it.verified()
        await self.it.assert_all_commits_are_kept()
        for one in self.it.physical():
            await self._restored(one.manifest.id)
        await self._restored()
        assert await self.it.left_over() == []

    async def _settled(self, doomed: Collection[str] = ()) -> None:
        """What holds whenever nothing but the log is at work."""
        there = self.it.verified(but=self._stays)
        assert self._stays <= there
        self._stays = there
        await self.it.assert_alone()
        await self.it.caught_up()
        await self.it.assert_no_gap(doomed)
        assert set((await self.it.jobs()).values()) <= {"completed", "failed"}
        assert len(list(self.it.log.glob("*/log"))) == 1, "of the log nothing waits but what comes"
        assert not [one for one in self.it.it.house.vault.restores.iterdir() if not one.name.startswith(".")]

    def _of(self, work: Work) -> Callable[[str], Awaitable[tuple[str, str]]]:
        match work:
            case Work.STREAMING:
                return self._streaming
            case Work.INCREMENTAL:
                return self._incremental
            case Work.RETENTION:
                return self._retention
            case Work.RESTORE:
                return self._restore

    async def _streaming(self, victim: str) -> tuple[str, str]:
        await asyncio.sleep(self.dice.random() * self.lasts[Work.STREAMING])  # as in all of these: the moment that the dice choose
        if victim != "receiver":
            return await self.blows.kill(victim, set()), ""
        await until(lambda: bool(self.it.receivers()), 60)
        for one in self.it.receivers():
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        return victim, ""

    async def _incremental(self, victim: str) -> tuple[str, str]:
        before = {one.manifest.id for one in self.it.physical()}
        lasts_s = EARLIER * self.lasts[Work.INCREMENTAL]
        died, state, said = await self.blows.struck(victim, "create_backup", kind_of(Kind.INCREMENTAL), lasts_s)
        self.blows.judge(victim, state, said)
        new = [one.manifest for one in self.it.physical() if one.manifest.id not in before]
        assert [one.kind for one in new] == [Kind.INCREMENTAL] * (state == "completed"), said
        await self.it.assert_alone()
        if await self.it.left_over():
            await self._taken(Kind.INCREMENTAL)
            assert await self.it.left_over() == []
        return died, said

    async def _retention(self, victim: str) -> tuple[str, str]:
        """Marked by workers, of whom one dies, or deleted by a person who does."""
        if len(self.it.newest()) > LONGEST:
            for kind in (Kind.FULL, Kind.INCREMENTAL):
                await self._taken(kind)
        gone = await self.it.aged()
        self._stays = {one.manifest.id for one in self.it.newest()}
        if victim == "worker":
            await self.it.kill_worker()
            await asyncio.sleep(self.dice.random() * self.lasts["worker"])
            await self.it.kill_worker()
            await until(lambda: self.it.marked(gone), 60)
        await self.it.mark(gone)
        if victim == "person":
            victim = await self._left_undone()
            await self._settled(gone)
        await self._expired(gone)
        return victim, ""

    async def _left_undone(self) -> str:
        """A person's deletion, who dies, unless it was done."""
        process = await self.it.expire_begun()
        await asyncio.sleep(self.dice.random() * EARLIER * self.lasts["person"])
        with suppress(ProcessLookupError):
            process.kill()
        return "person" if await process.wait() else ""

    async def _restore(self, victim: str) -> tuple[str, str]:
        name, at = next(self._names), await self._moment(combined=victim == "pg_combinebackup")
        arguments = {"datasource": "shop", "moment": written(Time(at)), "name": name}
        lasts_s = (EARLY if victim in FIRST else EARLIER) * self.lasts[Work.RESTORE]
        died, state, said = await self.blows.struck(victim, "restore_backup", arguments, lasts_s)
        self.blows.judge(victim, state, said)
        folder = self.it.it.house.vault.restores / name
        assert folder.exists() or state != "completed"
        if folder.exists():
            await self._look(folder, at)
        if state != "completed" or await self.it.left_over():
            await self._restored()
        return died, said

    async def _taken(self, kind: Kind) -> None:
        """One more backup, undisturbed."""
        state, said = await self._done("create_backup", kind_of(kind))
        assert (state, self.it.physical()[-1].manifest.kind) == ("completed", kind), said

    async def _restored(self, backup: str = "") -> None:
        """A backup, or some moment, restored undisturbed."""
        name, at = next(self._names), await self._moment()
        of = {"backup": backup} if backup else {"datasource": "shop", "moment": written(Time(at))}
        state, said = await self._done("restore_backup", {**of, "name": name})
        assert state == "completed", said
        folder = self.it.it.house.vault.restores / name
        if backup:
            shutil.rmtree(folder)
        else:
            await self._look(folder, at)

    async def _expired(self, gone: list[str]) -> float:
        """What is due was deleted, and nothing besides; seconds that it took from a person's word on."""
        stays = {one.manifest.id for one in self.it.newest()}
        process = await self.it.expire_begun()
        lasts_s = await _timed(process.communicate)
        assert process.returncode == 0
        there = {one.manifest.id for one in self.it.physical()}
        assert (stays - there, there & set(gone)) == (set(), set())
        self._stays -= set(gone)
        repository = self.it.repository
        assert repository.storage.names(EXPIRY) == []
        [(system, needed)] = log_needed(one.manifest for one in self.it.physical()).items()
        oldest = self.it.archive.oldest(1)
        assert oldest is not None
        assert oldest.start_position <= needed < oldest.start_position + oldest.segment_bytes, system
        return lasts_s

    async def _done(self, tool: str, arguments: dict[str, str]) -> tuple[str, str]:
        before = set(await self.it.jobs())
        said = await self.blows.called(tool, arguments)
        new = set(await self.it.jobs()) - before
        assert new, said
        return await self.blows.ended(*new)

    async def _moment(self, *, combined: bool = False) -> datetime:
        """Some moment that a backup leads to; where it is to be `combined` an incremental one."""
        return await self.it.moment(self.it.newest()[combined].manifest.ended_at, self.dice)

    async def _look(self, folder: Path, at: datetime) -> None:
        await self.it.assert_exact(folder, at, self._ground)
        shutil.rmtree(folder)


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began = asyncio.get_running_loop().time()
    await work()
    return asyncio.get_running_loop().time() - began


def _tell(line: str) -> None:
    """For who looks at a failure."""
    print(line)  # noqa: T201  what pytest shows of one


def _in_turn(victims: tuple[str, ...], dice: random.Random) -> Iterator[str]:
    """All of them again and again, each time in another order."""
    while True:
        yield from dice.sample(victims, len(victims))


async def test_whatever_is_killed_at_fifty_random_moments_the_log_goes_on_and_a_restore_to_a_moment_is_exact(
    planned: OpenYard[Planned], sought: Sought
):
    seed = os.environ.get("OSTIARY_SEED") or secrets.token_hex(4)
    _tell(f"OSTIARY_SEED={seed}")
    dice = random.Random(seed)  # noqa: S311  drawn, not secret
    async with planned() as it, it.load():
        rounds = Rounds(it, dice, sought)
        await rounds.rehearse()
        _tell(", ".join(f"{work} {lasts:.1f} s" for work, lasts in rounds.lasts.items()))
        while sum(rounds.killed.values()) < MOMENTS:
            await rounds.play()
        await rounds.conclude()
        _tell(str(rounds.killed))
