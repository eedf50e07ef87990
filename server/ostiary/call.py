"""A call at each stage: as it came, as it is recorded, and as it may run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

from ostiary.approvals import Ask
from ostiary.audit.record import Entry, attributes_told
from ostiary.budgets import Reservation, Tally
from ostiary.explanation import deciding
from ostiary.progress import Tell
from ostiary.redaction import printable, redacted
from ostiary.session import Begin
from ostiary_policies import obligations
from ostiary_policies.engine import Engine
from ostiary_policies.entities import resource_id
from ostiary_policies.model import Access, Backup, Collection, Intent, Permit, Principal
from ostiary_tools.api import Args, Surface, Tool, World
from ostiary_tools.asking import Client
from ostiary_tools.sql import Judged, JudgedChange

Named = TypeVar("Named", Collection, Backup)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the transport hands it over, decoded and not yet believed."""

    tool: str
    arguments: Mapping[str, Any]
    surface: Surface = Surface.TOOL
    origin: str = "tool"
    transport: str = "stdio"
    trace: str = ""
    """As `trace.traceparent` gave it."""
    tell: Tell | None = None
    """For a client that asked how far the call is."""
    ask: Ask | None = None
    """For a tool that wants an approval."""
    client: Client = field(default_factory=Client)
    """Whom the tool may ask, with the answers it was given."""
    begin: Begin | None = None
    """Awaited when nothing stands in the way of the call any more and nothing of its result exists. Raises ToolError."""
    by_worker: bool = False
    """A worker makes it: what is durable runs now."""
    job: str = ""
    """The job's id, where a worker makes it: every worker's call of one job has the same. Else the id that its job is to have."""
    granted: str = ""
    """What a human has said yes to when it was asked for, as `approvals.about` puts it; of a worker's call alone."""
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class Draft:
    """What every record of one call shares: the engine is the one that decides it, even if policies are loaded meanwhile."""

    who: Principal
    call: Call
    engine: Engine

    def entry(
        self,
        decision: str,
        *,
        args: Args | None = None,
        arguments: Mapping[str, Any] | None = None,
        intent: Intent | None = None,
        judged: tuple[Judged | JudgedChange, ...] = (),
        permit: Permit | None = None,
        world: World | None = None,
        approval: Mapping[str, str] | None = None,
        reason: str = "",
        rules: tuple[str, ...] = (),
    ) -> Entry:
        """The record of one step, with as much as is known by then."""
        datasource = intent.datasource if intent else None
        terms = permit.obligations if permit else None
        return Entry(
            call_id=self.call.id,
            agent=self.who.agent,
            roles=self.who.roles,
            transport=self.call.transport,
            origin=self.call.origin,
            tool=printable(self.call.tool[:100]),
            arguments=redacted(args) if args is not None else arguments or {},
            decision=decision,
            rules=deciding(permit, world) if permit and world else permit.rules if permit else rules,
            policy_hash=self.engine.policy_hash,
            datasource=datasource,
            sql="; ".join(j.redacted for j in judged) or None,
            fingerprint=" ".join(j.fingerprint for j in judged) or None,
            attributes=attributes_told(self.who.attributes),
            taints=tuple(sorted(self.who.taints)),
            obligations=obligations.stated(terms) if terms else {},
            reason=printable(reason),
            approval=approval or {},
            trace=self.call.trace,
            change=str(world.change.number) if world and world.change else "",
            collections=tuple(f"{access.action} {one.name}" for access, one in _on(Collection, intent)),
            backups=tuple(f"{access.action} {resource_id(one)}" for access, one in _on(Backup, intent)),
            schema_version=world.views[datasource].snapshot.version if world and datasource else "",
        )


def _on(kind: type[Named], intent: Intent | None) -> Iterator[tuple[Access, Named]]:
    for access in intent.accesses if intent else ():
        if isinstance(access.resource, kind):
            yield access, access.resource


@dataclass(frozen=True, slots=True)
class Passage:
    """A call that may run, and what is recorded of it."""

    tool: Tool[Any]
    permit: Permit
    world: World
    entry: Entry
    engine: Engine
    call: Call
    reservation: Reservation | None
    """What it holds of its budgets; `None` when no policy states one."""
    tally: Tally = field(default_factory=Tally)

    @property
    def waits(self) -> bool:
        """It is written down instead of run; a worker runs it."""
        return bool(self.permit.intent.durable) and not self.call.by_worker

    @property
    def limit_bytes(self) -> int | None:
        """The permit's, or what is held of a budget, which is never more."""
        return self.reservation.bounds.bytes if self.reservation else self.permit.obligations.limit_bytes
