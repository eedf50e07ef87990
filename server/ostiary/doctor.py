"""What the logins of the datasources could do, against what their configuration accepts, and the login that would do.

It connects to each datasource as the server does, looks, and changes nothing.
"""

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum

from ostiary.config import Config
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.masks import MaskKind
from ostiary_policies.model import Access, Principal, Resource
from ostiary_tools.datasources.examination import Examination, Routine, examine
from ostiary_tools.datasources.least_privilege import Login, login_sql
from ostiary_tools.datasources.postgres import PostgresSettings
from ostiary_tools.datasources.value_logging import ValueLog
from ostiary_tools.datasources.writer import WRITES, sessions_for_changes
from ostiary_tools.errors import Unavailable
from ostiary_tools.powers import Finding, Power, unaccepted
from ostiary_tools.snapshot import RelationKind

_CLIENTS = 4
"""Servers of this configuration that the new login has room for: desktop clients start one a window."""
_TABLES = (RelationKind.TABLE, RelationKind.PARTITIONED_TABLE)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One datasource."""

    datasource: str
    login: str
    database: str
    findings: tuple[Finding, ...]
    """Worst first."""
    accepted: frozenset[Power]
    sql: str
    """Makes a login that may read what some role may, and nothing else."""
    value_logs: tuple[ValueLog, ...] = ()
    """How the key of `hash` masks comes into the server's log; empty where none is used."""
    replica: bool = False
    """Whether it is the datasource's replica."""
    standby: bool = False
    writer: bool = False
    """Whether it is the datasource's login for changes."""

    @property
    def served(self) -> bool:
        """Whether statements run there."""
        return not self.unaccepted and (self.standby or not self.replica)

    @property
    def unaccepted(self) -> tuple[Power, ...]:
        """Why it is not served, worst first; empty when it is."""
        return unaccepted(frozenset(finding.power for finding in self.findings), self.accepted)

    @property
    def idle(self) -> tuple[Power, ...]:
        """Powers that are accepted and not there."""
        return tuple(sorted(self.accepted - {finding.power for finding in self.findings}))


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A datasource nothing is known of."""

    datasource: str
    message: str
    hint: str


class Part(StrEnum):
    """Which login of a datasource; the value is what it is called in words."""

    ITSELF = ""
    REPLICA = "the replica"
    WRITER = "the login for changes"


async def diagnose(config: Config, engine: Engine, settings: PostgresSettings, part: Part = Part.ITSELF) -> Diagnosis | Unreachable:
    """Examine one login of a datasource. Where there is none for changes yet, the one that would do is found out by the reader."""
    dsns = {Part.ITSELF: settings.dsn, Part.REPLICA: settings.replica_dsn or "", Part.WRITER: settings.writer_dsn or settings.dsn}
    writer = part is Part.WRITER
    try:
        found = await examine(replace(settings, dsn=dsns[part]))
    except Unavailable as failure:
        return Unreachable(settings.name, f"{part}: {failure.message}" if part else failure.message, failure.hint)
    login = await asyncio.to_thread(_login, config, engine, settings, found, changes=writer)
    accepted = settings.writer_powers if writer else settings.accepted_powers
    findings = tuple(each for each in found.findings if not writer or each.power not in WRITES)
    given = (settings.name, found.login, found.database, findings, accepted, login_sql(login, found))
    logs = found.value_logs if config.policy.mask_key is not None and _hashes(engine) else ()
    return Diagnosis(*given, logs, part is Part.REPLICA, found.standby, writer)


def _hashes(engine: Engine) -> bool:
    return any(policy.mask is not None and policy.mask.kind is MaskKind.HASH for policy in engine.policies.policies.values())


def _login(config: Config, engine: Engine, settings: PostgresSettings, found: Examination, *, changes: bool) -> Login:
    callers = [Principal(config.agent.name, (role,)) for role in config.agent.roles]

    def allowed(action: Action, resource: Resource) -> bool:
        return any(engine.allows(caller, Access(action, resource)).allowed for caller in callers)

    def runnable(routine: Routine) -> bool:
        return allowed(Action.EXECUTE, found.snapshot.function_resource(routine.schema, routine.name))

    def tables(*actions: Action) -> frozenset[tuple[str, str]]:
        relations = found.snapshot.relations.items()
        return frozenset(key for key, each in relations if any(allowed(action, each.resource(settings.name)) for action in actions))

    writable = tables(Action.INSERT, Action.UPDATE, Action.DELETE) if changes else frozenset()
    written = frozenset(key for key in writable if found.snapshot.relations[key].kind in _TABLES)
    name = f"{settings.name[:53]}_{'changer' if changes else 'agent'}"
    return Login(
        name=name if name != found.login else f"{name}_2",
        relations=tables(Action.READ) | written,
        written=written,
        changes=changes,
        routines=tuple(routine for routine in found.routines if runnable(routine)),
        connections=_CLIENTS * (sessions_for_changes(settings) if changes else settings.pool_max),
        timeout_s=config.limits.timeout_s,
        lock_timeout_s=settings.lock_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )
