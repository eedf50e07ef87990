"""What a call that may run runs with: its transaction, and the session that offers its permit's own statements."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace

from ostiary.approvals import Answers, Waiting
from ostiary.budgets import Budgets
from ostiary.call import Passage
from ostiary.changing import Changing
from ostiary.costs import prepared
from ostiary.custody import PermittedCustody
from ostiary.ledger import Ledger
from ostiary.lending import Hourglass, Lending
from ostiary.paging import reading
from ostiary.replicas import on_replica
from ostiary.session import PermittedSession
from ostiary.shelves import Shelves
from ostiary.terms import Terms
from ostiary.vault import Vault
from ostiary_tools.api import AuditReader
from ostiary_tools.control.jobs import JobTable
from ostiary_tools.datasources.port import Datasource, Prepared, Reader
from ostiary_tools.plans.terms import has_terms


@dataclass(frozen=True, slots=True)
class Means:
    """All that runs of this server are made of."""

    datasources: Mapping[str, Datasource]
    audit_reader: AuditReader
    approvals: Answers
    jobs: JobTable
    budgets: Budgets
    ledger: Ledger
    shelves: Shelves
    vault: Vault
    terms: Terms
    waiting: Waiting
    """Around the wait for an answer."""

    def transaction(self, passage: Passage) -> AbstractAsyncContextManager[Reader | None]:
        """What it reads in, where it reads; a change opens its own."""
        permit, world = passage.permit, passage.world
        intent = permit.intent
        if passage.waits or not (intent.statements or intent.lookups or intent.explained) or intent.datasource is None:
            return nullcontext(None)
        relied = world.view(intent.datasource).snapshot.relied_on(access.resource for access in intent.accesses)
        datasource = self.datasources[intent.datasource]
        limits = reading(self.terms.limits(permit, passage.reservation), intent)
        if permit.obligations.replica is not None:
            return on_replica(datasource, limits, relied, passage.engine.stating(permit, "replica"))
        return datasource.read(limits, relied)

    def session(self, passage: Passage, reader: Reader | None, ahead: Prepared | None) -> PermittedSession:
        """What its tool is given."""
        file, limits = self.terms.file, self.terms.limits(passage.permit, passage.reservation)
        size = min(file.bytes, passage.limit_bytes or file.bytes)
        bounds = replace(file, rows=limits.max_rows, bytes=size)
        permit, world, engine = passage.permit, passage.world, passage.engine
        parts = (permit, world, engine, reader, self.audit_reader, self.terms.exports, bounds, self.approvals, self.jobs)
        changing = self._changing(passage)
        lending = Lending(permit, world, self.shelves, Hourglass(passage.tally, limits.timeout_s))
        call = passage.call
        custody = PermittedCustody(permit, self.vault, call.job or str(call.id), call.tell)
        held = (passage.tally, self.budgets, self.waiting, lending, custody, limits)
        return PermittedSession(*parts, *held, ahead=ahead, changing=changing, tell=call.tell, ask=call.ask, begin=call.begin)

    def _changing(self, passage: Passage) -> Changing | None:
        permit = passage.permit
        if not (permit.intent.changes or permit.intent.undoes) or permit.intent.datasource is None:
            return None
        datasource = self.datasources[permit.intent.datasource]
        limits = self.terms.change_limits(permit, passage.reservation)
        parts = (permit, passage.world, passage.engine, passage.call.id, datasource, self.ledger, limits, passage.tally)
        return Changing(*parts, handle=permit.intent.arguments.get("change", ""))


async def analysed(reader: Reader | None, passage: Passage) -> Prepared | None:
    """The permit's statement, prepared, where it is the only one: a second would take its place.

    Not where its plan is to be estimated: planning may compute what functions that call themselves stable give. And not on a
    replica, which is asked whether it is one right before the statement runs.
    """
    intent, terms = passage.permit.intent, passage.permit.obligations
    if (
        reader is None
        or len(intent.statements) != 1
        or intent.explained
        or intent.to_file
        or intent.to_collection
        or intent.lookups
    ):
        return None
    if has_terms(terms) or terms.replica is not None:
        return None
    return await prepared(reader, intent.statements[0], passage.permit, passage.world, passage.engine)
