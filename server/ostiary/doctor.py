"""What the logins of the datasources could do, against what their configuration accepts, and the login that would do.

It connects to each datasource as the server does, looks, and changes nothing.
"""

import asyncio
from dataclasses import dataclass, replace

from ostiary.config import Config
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.masks import MaskKind
from ostiary_policies.model import Access, Principal, Resource
from ostiary_tools.datasources.examination import Examination, Routine, examine
from ostiary_tools.datasources.least_privilege import Login, login_sql
from ostiary_tools.datasources.postgres import PostgresSettings
from ostiary_tools.datasources.value_logging import ValueLog
from ostiary_tools.errors import Unavailable
from ostiary_tools.powers import Finding, Power, unaccepted

_CLIENTS = 4
"""Servers of this configuration that the new login has room for: desktop clients start one a window."""


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


async def diagnose(config: Config, engine: Engine, settings: PostgresSettings, *, replica: bool = False) -> Diagnosis | Unreachable:
    """Examine one datasource, or its replica, which it must have then."""
    try:
        found = await examine(replace(settings, dsn=settings.replica_dsn or "") if replica else settings)
    except Unavailable as failure:
        return Unreachable(settings.name, f"the replica: {failure.message}" if replica else failure.message, failure.hint)
    login = await asyncio.to_thread(_login, config, engine, settings, found)
    given = (settings.name, found.login, found.database, found.findings, settings.accepted_powers, login_sql(login, found))
    logs = found.value_logs if config.policy.mask_key is not None and _hashes(engine) else ()
    return Diagnosis(*given, logs, replica, found.standby)


def _hashes(engine: Engine) -> bool:
    return any(policy.mask is not None and policy.mask.kind is MaskKind.HASH for policy in engine.policies.policies.values())


def _login(config: Config, engine: Engine, settings: PostgresSettings, found: Examination) -> Login:
    callers = [Principal(config.agent.name, (role,)) for role in config.agent.roles]

    def allowed(action: Action, resource: Resource) -> bool:
        return any(engine.allows(caller, Access(action, resource)).allowed for caller in callers)

    def runnable(routine: Routine) -> bool:
        return allowed(Action.EXECUTE, found.snapshot.function_resource(routine.schema, routine.name))

    name = f"{settings.name[:55]}_agent"
    return Login(
        name=name if name != found.login else f"{name}_2",
        relations=frozenset(
            key for key, relation in found.snapshot.relations.items() if allowed(Action.READ, relation.resource(settings.name))
        ),
        routines=tuple(routine for routine in found.routines if runnable(routine)),
        connections=_CLIENTS * settings.pool_max,
        timeout_s=config.limits.timeout_s,
        lock_timeout_s=settings.lock_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
    )
