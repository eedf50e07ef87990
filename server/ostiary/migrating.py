"""Migrations of one datasource: what the folder holds against what was run, and running them so that all of it is on record."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ostiary.audit.recorder import Recorder
from ostiary.exits import CommandFailed
from ostiary.migration_files import MigrationFile
from ostiary_tools.control.migrated import Begun, Migrated, MigrationTable
from ostiary_tools.datasources.migrating import Interrupted, Migrator
from ostiary_tools.evolution import Advice, Change, Reverse, Verdict, advise, lint, read, reverse
from ostiary_tools.snapshot import Snapshot

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Planned:
    """A migration looked at before it runs."""

    title: str
    changes: tuple[Change, ...]
    verdicts: tuple[Verdict, ...]
    advice: tuple[tuple[Advice, ...], ...]
    """For each verdict."""
    back: Reverse

    @property
    def dangers(self) -> int:
        """How many findings are more than notes."""
        return sum(finding.weight == "danger" for verdict in self.verdicts for finding in verdict.findings)


def planned(title: str, text: str, back: str | None, snapshot: Snapshot) -> Planned:
    """Look at a migration; `back` is its own way back. Raises Refused."""
    changes = read(text, snapshot)
    verdicts = tuple(lint(step, snapshot, batched=change.batched) for change in changes for step in change.steps)
    found = reverse(changes, snapshot) if back is None else Reverse(tuple(change.text for change in read(back, snapshot)))
    return Planned(title, changes, verdicts, tuple(advise(verdict, snapshot) for verdict in verdicts), found)


@dataclass(frozen=True, slots=True)
class Standing:
    """One number, in the folder or run or both."""

    number: int
    title: str
    state: str
    """`applied`, `begun`, `pending`, `changed` since it was applied, or `missing` in the folder."""
    run: Migrated | None = None
    file: MigrationFile | None = None


def standings(files: Sequence[MigrationFile], run: Sequence[Migrated]) -> tuple[Standing, ...]:
    """How the folder stands to what was run, by number."""
    by_number = {one.number: one for one in files}
    done = {one.number: one for one in run}
    return tuple(_standing(number, by_number.get(number), done.get(number)) for number in sorted(by_number.keys() | done.keys()))


def _standing(number: int, file: MigrationFile | None, run: Migrated | None) -> Standing:
    if file is None:
        name = run.name if run is not None else ""
        return Standing(number, f"{number:04}_{name}", "missing", run)
    if run is None:
        return Standing(number, file.title, "pending", None, file)
    state = "changed" if run.checksum != file.checksum else run.state
    return Standing(number, file.title, state, run, file)


def pending(found: Sequence[Standing], up_to: int | None) -> tuple[MigrationFile, ...]:
    """What is to be run, in order. Raises CommandFailed where the folder does not go on from what was run."""
    last = max((one.number for one in found if one.run is not None), default=0)
    for one in found:
        if one.state == "begun":
            raise CommandFailed(
                f"`{one.title}` was broken off, and how much of it holds is not known",
                "look at the schema, then say so with `ostiary migrate settle`",
            )
        if one.state == "changed":
            raise CommandFailed(f"`{one.title}` is no longer what was applied", "restore the file, and write a new migration")
        if one.state == "pending" and one.number < last:
            raise CommandFailed(f"`{one.title}` comes before one that was applied", "give it a number that follows")
    return tuple(one.file for one in found if one.file is not None and one.run is None and (up_to is None or one.number <= up_to))


@dataclass(frozen=True, slots=True)
class Ground:
    """Where migrations are run and written down."""

    datasource: str
    migrator: Migrator
    table: MigrationTable
    recorder: Recorder
    person: str

    def facts(self, number: int, name: str) -> dict[str, object]:
        """What every record of a migration says."""
        return {"datasource": self.datasource, "migration": f"{number:04}_{name}", "person": self.person}


async def run(file: MigrationFile, plan: Planned, ground: Ground, told: Told) -> None:
    """Run it, on record before it begins and when it ended. Raises CommandFailed, JournalError and RecordingFailed."""
    facts = ground.facts(file.number, file.name)
    # On record before anything of it runs: a log that does not answer must not hide that somebody did it.
    await ground.recorder.note("migration_begun", {**facts, "checksum": file.checksum, "statements": len(plan.changes)})
    back = plan.back.statements, plan.back.reasons
    if not await ground.table.begin(Begun(ground.datasource, file.number, file.name, file.checksum, *back, ground.person)):
        raise CommandFailed(f"`{file.title}` was begun by somebody else meanwhile", "see `ostiary migrate list`")
    await _run(plan.changes, ground, facts, told, clean=lambda: ground.table.take(ground.datasource, file.number))
    await ground.table.settle(ground.datasource, file.number)
    await ground.recorder.note("migration_applied", facts)


async def take_back(one: Migrated, ground: Ground, told: Told) -> None:
    """Run its reverse. Raises CommandFailed, JournalError and RecordingFailed."""
    facts = ground.facts(one.number, one.name)
    if one.no_reverse:
        raise CommandFailed(
            f"`{one.number:04}_{one.name}` has no way back: {'; '.join(one.no_reverse)}", "write a migration that goes on from it"
        )
    snapshot = await ground.migrator.snapshot()
    changes = tuple(change for statement in one.reverse for change in read(statement, snapshot))
    digest = hashlib.sha256("\n".join(one.reverse).encode()).hexdigest()
    await ground.recorder.note("migration_reverting", {**facts, "checksum": digest, "statements": len(changes)})
    await ground.table.unsettle(ground.datasource, one.number)
    await _run(changes, ground, facts, told, clean=lambda: ground.table.settle(ground.datasource, one.number))
    await ground.table.take(ground.datasource, one.number)
    await ground.recorder.note("migration_reverted", facts)


async def _run(
    changes: Sequence[Change], ground: Ground, facts: dict[str, object], told: Told, *, clean: Callable[[], Awaitable[None]]
) -> None:
    try:
        await ground.migrator.run(changes, told)
    except Interrupted as failure:
        await ground.recorder.note("migration_failed", {**facts, "statements_that_hold": failure.done})
        if failure.done == 0 and not changes[0].alone:
            # Nothing of it holds, so it is as before.
            await clean()
        raise CommandFailed(failure.message, failure.hint) from failure


async def settle(one: Migrated, ground: Ground, *, applied: bool) -> None:
    """A person has looked how a migration that was broken off stands."""
    facts = ground.facts(one.number, one.name)
    await ground.recorder.note("migration_settled", {**facts, "applied": applied})
    if applied:
        await ground.table.settle(ground.datasource, one.number)
    else:
        await ground.table.take(ground.datasource, one.number)
