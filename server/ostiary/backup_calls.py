"""What commands ask of backups beside the tools: which one is meant, what it is made of, and what its drills found."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ostiary.cli_options import one_line, say
from ostiary.local_calls import LocalCalls
from ostiary_tools.api import Backups
from ostiary_tools.backup.evidence import LOGS, Evidence, drills, newest
from ostiary_tools.backup.known import KnownBackup, known
from ostiary_tools.errors import Refused

CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Shown:
    """A backup, with what its drills found, the oldest first."""

    known: KnownBackup
    drills: tuple[Evidence, ...]
    log: Evidence | None
    """What the newest look at the log found that leads on from it."""


async def known_to(calls: LocalCalls) -> Backups:
    """What the caller knows."""
    return await calls.house.vault.known(calls.house.policies.engine, calls.who)


def _second(id_: str) -> str:
    """In which a backup began: which of two began first an id does not say within one."""
    return id_.partition("-")[0]


async def meant(calls: LocalCalls, named: str | None) -> str:
    """The id of a backup that is named by it or by its datasource, whose newest it is; unnamed, the newest of all.

    Raises Refused where there is none.
    """
    backups = await known_to(calls)
    if named is not None and named not in {one.manifest.datasource for one in backups.backups}:
        return named
    newest = next((one for one in backups.backups if named in (None, one.manifest.datasource)), None)
    for id_, (datasource, kind) in backups.gone.items():
        if named in (None, datasource) and (newest is None or _second(id_) >= _second(newest.manifest.id)):
            say(f"warning: a newer one is gone, and nobody let go of it: `{id_}` ({kind} of `{one_line(datasource)}`)")
    if newest is None:
        why = (
            (backups.unusable, backups.hint)
            if backups.unusable
            else ("there is no backup", "make one with `ostiary backup create`")
        )
        raise Refused("unknown_backup", *why)
    return newest.manifest.id


async def usual_source(calls: LocalCalls) -> str | None:
    """What is backed up where nothing is named: the only datasource beside the control database."""
    names = [name for name in (await known_to(calls)).sources if name != CONTROL]
    return names[0] if len(names) == 1 else None


async def shown(calls: LocalCalls, id_: str) -> Shown:
    """All of one that the caller knows. Raises Refused, in the same words for what is hidden, and Damaged."""
    one = known(id_, await known_to(calls))
    return Shown(one, await asyncio.to_thread(_drills, calls, one), await asyncio.to_thread(_log, calls, one))


async def drills_of(calls: LocalCalls, id_: str) -> Sequence[Evidence]:
    """What its drills found, the oldest first; none where it is not known."""
    one = next((one for one in (await known_to(calls)).backups if one.manifest.id == id_), None)
    return () if one is None else await asyncio.to_thread(_drills, calls, one)


def described(one: KnownBackup) -> dict[str, Any]:
    """A known backup as data: what it says of itself, without a name of anything in the database but its own."""
    made = one.manifest
    held = made.fingerprint
    return {
        "backup": made.id,
        "datasource": made.datasource,
        "kind": made.kind.value,
        "parent": made.parent,
        "server_version": made.server_version,
        "taken": f"{made.ended_at:%Y-%m-%d %H:%M:%S}Z",
        "state": one.label,
        "goes_after": one.goes or None,
        "database": held.database if held else None,
        "tables": len(held.tables) if held else None,
        "rows": held.rows if held else None,
        "plain_bytes": made.plain_bytes,
        "stored_bytes": made.stored_bytes,
        "members": [
            {"name": each.name, "plain_bytes": each.plain_bytes, "stored_bytes": each.stored_bytes, "sha256": each.stored_sha256}
            for each in made.members
        ],
        "recipients": list(made.recipients),
        "notes": list(made.notes),
    }


def drill_described(one: Evidence) -> Mapping[str, Any]:
    """What a drill found, as data."""
    return {
        "backup": one.backup,
        "started": one.started_at.isoformat(),
        "ended": one.ended_at.isoformat(),
        "by": one.by,
        "passed": one.passed,
        "damage": one.damage or None,
        "checks": [
            {"name": each.name, "found": each.words, "seconds": each.seconds, "damage": each.damage or None} for each in one.checks
        ],
    }


def _drills(calls: LocalCalls, one: KnownBackup) -> tuple[Evidence, ...]:
    return drills(calls.house.vault.looking().repository(), one.manifest)


def _log(calls: LocalCalls, one: KnownBackup) -> Evidence | None:
    return newest(calls.house.vault.looking().repository(), one.manifest, LOGS)
