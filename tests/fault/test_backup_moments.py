"""The server, the worker, its programs and the database killed at random moments of backups, verifications, drills and restores.

After each the repository is whole: what is listed verifies and restores, a job that was taken over made one backup, and neither a
program nor anything half made is left.
"""

import asyncio
import itertools
import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from fix_blows import Blows
from fix_killing import OpenYard, Yard

from ostiary_tools.backup.manifest import Kind

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

MOMENTS = int(os.environ.get("OSTIARY_MOMENTS", "50"))
EARLIER = 0.85
"""Of an act's time: it may be done sooner than it was at first, and then nothing of it is killed."""
KEPT = 2
"""Backups of each kind that stay for the next rounds."""


@dataclass(frozen=True)
class Act:
    """What is at work when something is killed."""

    tool: str
    kind: Kind
    level: str = ""
    target: str = ""

    def __str__(self) -> str:
        return " ".join((self.tool, self.kind, self.level or self.target)).rstrip()

    @property
    def more(self) -> dict[str, str]:
        """Of its arguments."""
        return {name: value for name, value in (("level", self.level), ("target", self.target)) if value}


ALL = ("server", "worker", "program", "database")
WORKING = ("worker", "program")
SCENES = {
    Act("create_backup", Kind.LOGICAL): ALL,
    Act("create_backup", Kind.FULL): ALL,
    Act("verify_backup", Kind.LOGICAL, "manifest"): WORKING,
    Act("verify_backup", Kind.LOGICAL, "drill"): WORKING,
    Act("verify_backup", Kind.FULL, "drill"): WORKING,
    Act("restore_backup", Kind.LOGICAL, target="database"): ALL,
    Act("restore_backup", Kind.LOGICAL, target="instance"): WORKING,
    Act("restore_backup", Kind.FULL, target="instance"): WORKING,
}
"""Who is killed during each: whoever has a part in it."""


class Rounds:
    """One after the other, at one installation."""

    def __init__(self, yard: Yard, dice: random.Random) -> None:
        self.yard = yard
        self.dice = dice
        self.blows = Blows(yard, dice)
        self.lasts: dict[Act, float] = {}
        """Seconds that each takes undisturbed."""
        self.killed: Counter[str] = Counter()
        self._names = (f"copy_{number}" for number in itertools.count(1))
        self._verified: set[str] = set()

    async def rehearse(self) -> None:
        """Each act undisturbed."""
        for act in SCENES:
            before = set(await self.yard.jobs())
            done = asyncio.create_task(self._done(act))
            await self.blows.begun(before)
            began = asyncio.get_running_loop().time()
            state, said = await done
            self.lasts[act] = asyncio.get_running_loop().time() - began
            assert state == "completed", said
            await self._clean()

    async def play(self, act: Act, victim: str) -> bool:
        """One round; whether there was something to kill."""
        arguments, value = await self._arguments(act)
        backups = self.yard.verified(but=self._verified)
        died, state, said = await self.blows.struck(victim, act.tool, arguments, EARLIER * self.lasts[act])
        self._report(f"{act}, {died or 'nobody'} killed", state, said)
        self.blows.judge(victim, state, said)
        await self.yard.assert_alone()
        await self._look(act, arguments, value, backups, state)
        if await self.yard.left_over():
            assert (await self._done(act))[0] == "completed"
        await self._clean()
        self.killed[died] += bool(died)
        return bool(died)

    async def conclude(self) -> None:
        """All that is listed is whole, and each restores."""
        for id_ in self.yard.verified():
            kept = self.yard.repository.load(id_)
            for act in SCENES:
                if act.tool == "restore_backup" and act.kind is kept.manifest.kind:
                    state, said = await self._done(act, id_)
                    assert state == "completed", said

    async def _done(self, act: Act, backup: str = "") -> tuple[str, str]:
        """An act to its end, and what it made looked at."""
        arguments, value = await self._arguments(act, backup)
        before, backups = set(await self.yard.jobs()), self.yard.verified(but=self._verified)
        said = await self.blows.called(act.tool, arguments)
        new = set(await self.yard.jobs()) - before
        assert new, said
        state, said = await self.blows.ended(*new)
        await self._look(act, arguments, value, backups, state)
        return state, said

    async def _arguments(self, act: Act, backup: str = "") -> tuple[dict[str, Any], str]:
        """Of the call; and what a new backup will hold."""
        if act.tool == "create_backup":
            return {"datasource": "shop", "kind": act.kind.value}, await self.yard.changed()
        chosen = backup or self.dice.choice(self._of(act.kind))
        named = {"name": next(self._names)} if act.tool == "restore_backup" else {}
        return {"backup": chosen, **named, **act.more}, self.yard.sums[chosen]

    async def _look(self, act: Act, arguments: Mapping[str, Any], value: str, backups: set[str], state: str) -> None:
        """What there is, and that it is what was asked for."""
        self._verified = self.yard.verified(but=self._verified)
        new = self._verified - backups
        if act.tool == "create_backup":
            assert len(new) == (state == "completed")
            self.yard.sums |= dict.fromkeys(new, value)
            for old in self._of(act.kind)[:-KEPT]:
                self.yard.repository.delete(old)
            return
        assert not new
        if act.tool == "restore_backup":
            await self._restored(arguments, value, state)
        async with self.yard.it.client(agent="local") as ada:
            assert "failed its drill" not in str(await ada.call_tool("list_backups", {})), "nothing is wrong with any backup"

    async def _restored(self, arguments: Mapping[str, Any], value: str, state: str) -> None:
        """All of it is there, or nothing."""
        name = arguments["name"]
        async with self.yard.database() as shop:
            made = await shop.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)
        folder = self.yard.it.house.vault.restores / name
        assert (made or folder.exists()) or state != "completed"
        if made:
            async with self.yard.database(name) as copy:
                assert await self.yard.sum_in(copy) == value
            async with self.yard.database() as shop:
                await shop.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        if folder.exists():
            assert (folder / "PG_VERSION").exists()
            shutil.rmtree(folder)

    def _of(self, kind: Kind) -> list[str]:
        """Backups of that kind, the oldest first."""
        listed = self.yard.repository.listed()
        return [one.id for one in listed if one.kept is not None and one.kept.manifest.kind is kind]

    async def _clean(self) -> None:
        assert await self.yard.left_over() == []

    def _report(self, what: str, state: str, said: str) -> None:
        _tell(f"{sum(self.killed.values()) + 1:3} {what}: {state or 'no job'}: {said[:200]!r}")


def _tell(line: str) -> None:
    """For who looks at a failure."""
    print(line)  # noqa: T201  what pytest shows of one


def _scenes(dice: random.Random) -> Iterator[tuple[Act, str]]:
    """All of them again and again, each time in another order."""
    while True:
        every = [(act, victim) for act, victims in SCENES.items() for victim in victims]
        yield from dice.sample(every, len(every))


async def test_whatever_is_killed_at_fifty_random_moments_every_listed_backup_is_whole_and_restores(yard: OpenYard[Yard]):
    seed = os.environ.get("OSTIARY_SEED") or secrets.token_hex(4)
    _tell(f"OSTIARY_SEED={seed}")
    dice = random.Random(seed)  # noqa: S311  drawn, not secret
    async with yard() as it:
        rounds = Rounds(it, dice)
        await rounds.rehearse()
        _tell(", ".join(f"{act} {lasts:.1f} s" for act, lasts in rounds.lasts.items()))
        for act, victim in _scenes(dice):
            await rounds.play(act, victim)
            if sum(rounds.killed.values()) >= MOMENTS:
                break
        await rounds.conclude()
        _tell(str(rounds.killed))
