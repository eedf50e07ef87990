"""The facts of a report, as this installation's repository and configuration tell them. Blocking, for threads."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary.backed_up import backed_up
from ostiary.config import Config
from ostiary.config.combinations import CONTROL
from ostiary.externals import Told
from ostiary.recovery.facts import Elsewhere, Facts, Held, Live, Wanted
from ostiary.recovery.report import Alarm
from ostiary.recovery.runbook import Installation
from ostiary.recovery.words import counted
from ostiary.sources import SAMPLE
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.remembered import Remembered, Vanished
from ostiary_tools.errors import Damaged, ToolError

if TYPE_CHECKING:
    from ostiary.vault import Vault
    from ostiary_tools.backup.repository import Repository
    from ostiary_tools.backup.wal_archive.archive import Archive
    from ostiary_tools.backup.wal_archive.segment import Segment
    from ostiary_tools.backup.wal_archive.timelines import Leg

_SCHEDULES = ("logical", "full", "incremental", "sqlite", "drill")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
"""Names that a command takes as they are."""
_NO_LOGIN = "it has no login for backups (`backup_dsn`)"


def gathered(config: Config, vault: "Vault", told: Told, remembered: Remembered | None) -> Facts:
    """What is known now, also by what other tools have told; where the repository cannot be read, without it.

    `remembered` is what was kept, by the control database; `None` where that cannot be asked.
    """
    vault = vault.looking()
    now, plans = datetime.now(UTC), {name: _wanted(config, name) for name in config.plans}
    known = Facts(now, vault.where, dict(_names(config)), plans, live=dict(_live(config, vault, now)))
    known = _with_told(known, config, told)
    try:
        return _read(vault.repository(remembered), known)
    except ToolError as error:
        return replace(known, unusable=error.message, hint=error.hint, vanished=_all_of_it(error, remembered))
    except OSError as error:
        why = f"the repository of backups cannot be read: {(error.strerror or 'failed').lower()}"
        return replace(known, unusable=why, hint="see that it is there, and whose it is")


def _all_of_it(error: ToolError, remembered: Remembered | None) -> tuple[Vanished, ...]:
    """Where the repository itself is gone, or is another one."""
    from ostiary_tools.backup.repository import Gone

    if remembered is None or not remembered.kept or not isinstance(error, Gone | Damaged):
        return ()
    return (Vanished("repository", "backup", f"what was kept is not there: {counted(len(remembered.kept), 'backup')}", error.hint),)


def installation(config: Config, vault: "Vault", file: Path | None, facts: Facts) -> Installation:
    """What a runbook names."""
    try:
        recovery = vault.looking().repository().description.recovery
    except (ToolError, OSError):
        recovery = ""
    newest = {made.datasource: made for made in facts.manifests if made.kind is Kind.LOGICAL and made.fingerprint is not None}
    tables = {name: table for name, made in newest.items() if (table := _plain_table(made)) is not None}
    return Installation(file, vault.where, config.restore_folder, config.home.state, recovery, tables)


def _plain_table(made: Manifest) -> tuple[str, str] | None:
    tables = made.fingerprint.tables if made.fingerprint is not None else ()
    plain = (one for one in tables if _PLAIN.fullmatch(one.schema) and _PLAIN.fullmatch(one.table))
    return next(((one.schema, one.table) for one in plain), None)


def _read(repository: "Repository", known: Facts) -> Facts:
    from ostiary_tools.backup.evidence import DRILLS, LOGS, newest
    from ostiary_tools.backup.expiry import marks
    from ostiary_tools.backup.external.drill import folder
    from ostiary_tools.backup.together import each
    from ostiary_tools.backup.vanished import vanished

    at_once = repository.storage.at_once
    listed = repository.listed()
    manifests = tuple(sorted((one.kept.manifest for one in listed if one.kept is not None), key=lambda made: made.ended_at))
    logs, proven = _logs(repository), repository.proven_at
    ours = each(lambda made: (made.id, _held(repository, made, DRILLS)), manifests, at_once=at_once)
    theirs = each(lambda made: (made.id, _held(repository, made, folder(made.datasource))), known.manifests, at_once=at_once)
    looked = each(lambda made: (made.id, newest(repository, made, LOGS)), manifests, at_once=at_once)
    return replace(
        known,
        manifests=tuple(sorted((*manifests, *known.manifests), key=lambda made: made.ended_at)),
        held=dict([*ours, *theirs]),
        damaged={one.id: one.damage.message for one in listed if one.damage is not None},
        vanished=tuple(vanished(repository)),
        let_go=tuple(one for one in repository.remembered.backups if one.gone) if repository.remembered else (),
        forgotten=_forgotten(repository.remembered, manifests),
        segments={**known.segments, **{system: log.segments for system, log in logs.items()}},
        histories={system: log.histories for system, log in logs.items()},
        unreadable_logs={system: log.damage for system, log in logs.items() if log.damage},
        goes={id_: mark.due for id_, mark in marks(repository, manifests, known.now).items()},
        looked={id_: found for id_, found in looked if found is not None},
        proven_at=proven,
        unusable="" if proven else "the recovery key was never seen to decrypt",
        hint="" if proven else "prove it with `ostiary backup prove`",
    )


def _forgotten(remembered: Remembered | None, manifests: Sequence[Manifest]) -> str:
    if remembered is None:
        return "the control database cannot be asked what was kept, so nobody can say what has vanished"
    if manifests and not remembered.backups:
        return "the control database knows of no backup: it is new, or no worker has run, so nobody can say what has vanished"
    return ""


def _held(repository: "Repository", made: Manifest, of: str) -> Held:
    from ostiary_tools.backup.evidence import all_and_newest

    return Held(*all_and_newest(repository, made, of))


def _with_told(known: Facts, config: Config, told: Told) -> Facts:
    """With what other tools keep."""
    names, plans, elsewhere = dict(known.names), dict(known.plans), {}
    manifests: list[Manifest] = []
    segments: dict[str, tuple[Segment, ...]] = {}
    for name, said in told.items():
        section = config.external[name]
        names[name] = ""
        if section.recovery_point_s is not None or section.recovery_time_s is not None:
            plans[name] = Wanted(section.recovery_point_s, section.recovery_time_s)
        if isinstance(said, ToolError):
            elsewhere[name] = Elsewhere(section.tool, (Alarm(said.message, said.hint),))
            continue
        alarms = tuple(Alarm(words, f"look at what {section.tool} says of it") for words in said.problems)
        elsewhere[name] = Elsewhere(section.tool, alarms)
        manifests += said.backups
        segments |= {said.log[0].system_identifier: said.log} if said.log else {}
    return replace(known, names=names, plans=plans, external=elsewhere, manifests=tuple(manifests), segments=segments)


def _live(config: Config, vault: "Vault", now: datetime) -> Iterator[tuple[str, Live]]:
    """Of each plan that has its log kept, as who keeps it says."""
    from ostiary.log_standing import log_standings
    from ostiary_tools.backup.wal_archive.standing import shown

    for one in log_standings(config.plans, vault, now):
        alarms = tuple(Alarm(alarm.message, alarm.hint) for alarm in one.alarms)
        found = one.standing
        if found is None:
            yield one.plan, Live(alarms=alarms)
            continue
        words = "; ".join(shown(found, now))
        yield one.plan, Live(found.system_identifier, found.kept_to, found.kept_until, one.lag_s, words, alarms)


@dataclass(frozen=True, slots=True)
class _Log:
    """Of one cluster, as far as it can be read."""

    segments: "tuple[Segment, ...]"
    histories: "Mapping[int, Sequence[Leg]]"
    damage: str


def _logs(repository: "Repository") -> Mapping[str, _Log]:
    from ostiary_tools.backup.wal_archive.archive import Archive, clusters

    return {system: _log(Archive(repository, system)) for system in clusters(repository)}


def _log(archive: "Archive") -> _Log:
    from ostiary.recovery.outline import outlined

    segments: list[Segment] = []
    histories: dict[int, Sequence[Leg]] = {}
    damage = ""
    try:
        for timeline in archive.histories():
            histories[timeline] = archive.history(timeline).legs
        for timeline in archive.timelines():
            segments.extend(outlined(archive, timeline))
    except Damaged as error:
        damage = error.message
    return _Log(tuple(segments), histories, damage)


def _names(config: Config) -> Iterator[tuple[str, str]]:
    """All that could be lost. What is embedded has logins for backups by itself."""
    able = {source.name for source in backed_up(config, None)}
    for name in config.datasources or (SAMPLE,):
        yield name, "" if name in able or not config.datasources else _NO_LOGIN
    yield CONTROL, "" if CONTROL in able or config.control.dsn is None else _NO_LOGIN
    yield from ((name, "") for name in config.sqlite)


def _wanted(config: Config, name: str) -> Wanted:
    plan = config.plans[name]
    schedules = {one: when for one in _SCHEDULES if (when := getattr(plan, one)) is not None}
    return Wanted(plan.recovery_point_s, plan.recovery_time_s, plan.wal == "kept", schedules)
