"""What a permitted run may touch: what its Permit covers, and nothing else."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from ostiary.approvals import Answers, Ask, CannotAsk, Waiting, answered
from ostiary.budgets import Budgets, Tally
from ostiary.changing import Changing
from ostiary.costs import prepared, streamed
from ostiary.custody import PermittedCustody
from ostiary.explanation import narrowing
from ostiary.export.exporter import Bounds, export
from ostiary.lending import Lending
from ostiary.paging import LOOKUP_ROWS, array, not_looked_up, paged
from ostiary.planning import away
from ostiary.progress import Tell, beating
from ostiary_policies.actions import Action
from ostiary_policies.budgets import Budget
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Obligations, Permit, Statement
from ostiary_tools.api import AuditReader, BudgetLeft, World
from ostiary_tools.change import Changed, Wish
from ostiary_tools.control.budgets import Kind, Standing
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.jobs import JobTable
from ostiary_tools.datasources.port import Prepared, Reader, ReadLimits
from ostiary_tools.errors import DatabaseError, Refused, TimedOut, Unavailable
from ostiary_tools.plans.plan import Plan
from ostiary_tools.result import Exported, ExportFormat, Job, Rows
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql.outputs import declared_types
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Indexed, Managed, Searched
from ostiary_tools.view import SchemaView

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

Begin = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PermittedSession:
    """Implements `ostiary_tools.api.Session` for one call."""

    permit: Permit
    world: World
    engine: Engine
    """The one that gave the permit."""
    reader: Reader | None
    audit_reader: AuditReader
    exports: Path
    """The folder of exports."""
    bounds: Bounds
    """Of one file."""
    approvals: Answers
    jobs: JobTable
    tally: Tally
    budget_book: Budgets
    waiting: Waiting
    """Around the wait for an answer."""
    lending: Lending
    custody: PermittedCustody
    limits: ReadLimits
    """Of a reply."""
    ahead: Prepared | None = None
    """The permit's only statement, analysed while the intent was recorded."""
    changing: Changing | None = None
    """What it may do that changes something."""
    tell: Tell | None = None
    """Takes how far the call is to a client that asked for it."""
    ask: Ask | None = None
    """Asks whoever is at the client's side."""
    begin: Begin | None = None
    """What a file waits for once its statement is prepared and within its terms."""

    @property
    def audit(self) -> AuditReader:
        """The audit log, for those the permit lets read it."""
        if not any(access.action is Action.READ_AUDIT for access in self.permit.intent.accesses):
            raise Refused("permit", "the permit of this call does not cover the audit log", "state `read_audit` in the intent")
        return self.audit_reader

    async def rows(self, statement: Statement) -> Rows:
        """Run one of the statements that were judged."""
        reader = self._covered(statement)
        intent = self.permit.intent
        if intent.to_file or intent.to_collection or intent.lookups:  # its limits are others than those of a reply
            raise Refused("permit", "the permit of this call covers no rows of a statement", "export the statement, or page it")
        with self.tally.clock():
            ready = self.ahead or await prepared(reader, statement, self.permit, self.world, self.engine)
            async with beating(self.tell):
                rows = await ready.rows()
        self.tally.rows += len(rows.rows)
        return rows

    async def export(self, statement: Statement, *, name: str, format_: ExportFormat) -> Exported:
        """Write the rows of one of the statements that were judged to a file."""
        reader = self._covered(statement)
        if not self.permit.intent.to_file:
            raise Refused("permit", "the permit of this call does not cover a file", "state `to_file` in the intent")
        declared = declared_types(statement.text, self.world.view(self.permit.intent.datasource))
        with self.tally.clock():
            stream = await streamed(reader, statement, self.permit, self.world, self.engine)
            if self.begin is not None:
                await self.begin()
            written = await export(
                stream, self.exports, name=name, format_=format_, declared=declared, bounds=self.bounds, tell=self.tell
            )
        self.tally.rows += written.rows
        return written

    async def approve(self, question: str) -> bool:
        """Ask for this call."""
        if self.ask is None:
            raise CannotAsk
        answer = await answered(self.permit, self.world, question, self.ask, self.approvals, waiting=self.waiting)
        return answer.approved

    async def propose(self) -> Changed:
        """Where the intent's changes do not stay."""
        async with beating(self.tell):
            return await self._changes(stays=False, undoes=False).propose()

    async def apply(self, wish: Wish) -> Changed:
        """Where they do."""
        async with beating(self.tell):
            return await self._changes(stays=True, undoes=False).apply(wish)

    async def revert(self) -> Changed:
        """Where the intent undoes."""
        async with beating(self.tell):
            return await self._changes(stays=True, undoes=True).revert()

    def _changes(self, *, stays: bool, undoes: bool) -> Changing:
        intent = self.permit.intent
        if self.changing is None or (intent.stays, intent.undoes) != (stays, undoes):
            raise Refused("permit", "the permit of this call does not cover that change", "state it in the intent")
        return self.changing

    async def job(self, id_: str, *, cancel: bool) -> Job | None:
        """By its owner, who is asked for at each look."""
        owner = self.permit.principal
        try:
            if cancel and not await self.jobs.cancel(UUID(id_), owner):
                raise Refused(
                    "job", "a plan has asked for that job, and no agent ends it", "tell whoever operates this installation"
                )
            return await self.jobs.find(UUID(id_), owner)
        except JournalError as error:
            raise Unavailable("jobs cannot be looked up now", "try again later") from error

    async def lookup(self, statement: Statement, keys: Sequence[str]) -> Rows:
        """One of the permit's lookups, for these keys."""
        if self.reader is None or statement not in self.permit.intent.lookups:
            raise _not_covered()
        if len(keys) > LOOKUP_ROWS:
            raise Refused("keys", f"{LOOKUP_ROWS:,} keys are looked up at once at most", "look them up in parts")
        if self.tally.seconds >= self.limits.timeout_s:
            raise TimedOut(f"its rows were looked up for longer than {self.limits.timeout_s:g} s", "ask for fewer")
        with self.tally.clock():
            bound = replace(statement, parameters=(await away(sum(map(len, keys)), array, keys),))
            try:
                rows = await (await prepared(self.reader, bound, self.permit, self.world, self.engine)).rows()
            except DatabaseError as error:
                raise not_looked_up(error) from None
        self.tally.rows += len(rows.rows)
        return rows

    async def pages(self, statement: Statement, *, rows: int) -> AsyncGenerator[Rows, None]:
        """One of the permit's statements, page by page."""
        reader = self._covered(statement)
        if not self.permit.intent.to_collection:
            raise Refused("permit", "the permit of this call does not cover a collection", "state `to_collection` in the intent")
        with self.tally.clock():
            stream = await streamed(reader, statement, self.permit, self.world, self.engine)
        async with aclosing(paged(stream, rows, self.limits.max_rows)) as pages:
            while (page := await self._next(pages)) is not None:
                self.tally.rows += len(page.rows)
                yield page

    async def _next(self, pages: AsyncGenerator[Rows, None]) -> Rows | None:
        """Only the time that the database takes counts, and not what is done with a page."""
        with self.tally.clock():
            return await anext(pages, None)

    @property
    def most_rows(self) -> int:
        """Of a reply."""
        return self.limits.max_rows

    def search_in(self, collection: str) -> Searched:
        """Where the permit covers `search` on it."""
        return self.lending.search_in(collection)

    async def embed(self, collection: str, text: str) -> "Vector":
        """Likewise, by its embedder."""
        return await self.lending.embed(collection, text)

    def index_in(self, collection: str) -> Indexed:
        """Where the permit covers `index` on it."""
        return self.lending.index_in(collection)

    def manage(self, collection: str, *, store: str = "") -> Managed:
        """Where the permit covers `manage` on it."""
        return self.lending.manage(collection, store)

    async def keep(self, collection: Collection) -> None:
        """Where the permit covers `manage` on it."""
        await self.lending.keep(collection)

    async def drop(self, collection: str) -> None:
        """Where the permit covers `drop` on it."""
        await self.lending.drop(collection)

    async def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """To the client, if it asked."""
        if self.tell is not None:
            await self.tell(done, total, message)

    def _covered(self, statement: Statement) -> Reader:
        if self.reader is None or statement not in self.permit.intent.statements:
            raise _not_covered()
        return self.reader

    async def plan(self, statement: Statement) -> Plan:
        """The server's plan of one of the statements that are explained. Nothing of it runs."""
        if self.reader is None or statement not in self.permit.intent.explained:
            raise _not_covered()
        with self.tally.clock():
            return await (await self.reader.prepare(statement)).estimate()

    def terms(self, tool: str) -> Obligations | None:
        """On what terms another tool might do the same; `None` when it might not."""
        verdict = self.engine.decide(self.permit.principal, replace(self.permit.intent, tool=tool))
        return verdict.obligations if isinstance(verdict, Permit) else None

    def narrowing(self, tool: str) -> Sequence[str]:
        """How policy would narrow what another tool does for this intent."""
        verdict = self.engine.decide(self.permit.principal, replace(self.permit.intent, tool=tool))
        return tuple(narrowing(verdict, self.world, self.engine)) if isinstance(verdict, Permit) else ()

    async def budgets(self) -> Sequence[BudgetLeft]:
        """What is left of the caller's budgets."""
        if not any(policy.obligations.budgets for policy in self.engine.policies.policies.values()):
            return []
        # Away from the event loop: there may be many columns.
        counted = await asyncio.to_thread(self._counted)
        standings = await self.budget_book.standing(self.permit.principal.agent) if counted else {}
        return [_left(budget, counted[budget], standings) for budget in sorted(counted)]

    def _counted(self) -> Mapping[Budget, tuple[list[str], list[str]]]:
        """Each budget with the tools and the tables whose policies state it."""
        counted: dict[Budget, tuple[list[str], list[str]]] = {}
        for tool in self.world.tools:
            terms = self.terms(tool)
            for budget in terms.budgets if terms else ():
                counted.setdefault(budget, ([], []))[0].append(tool)
        for view in self.world.views.values():
            for relation in view.relations():
                for budget in {budget for terms in self._terms_of_reading(view, relation) for budget in terms.budgets}:
                    counted.setdefault(budget, ([], []))[1].append(f"{relation.schema}.{relation.name}")
        return counted

    async def on_replica(self) -> Sequence[str]:
        """Tables that the caller reads, wholly or in part, on a replica only."""
        if not any(policy.obligations.replica for policy in self.engine.policies.policies.values()):
            return []
        return await asyncio.to_thread(self._on_replica)

    def _on_replica(self) -> list[str]:
        return [
            f"{relation.schema}.{relation.name}"
            for view in self.world.views.values()
            for relation in view.relations()
            if any(terms.replica is not None for terms in self._terms_of_reading(view, relation))
        ]

    def _terms_of_reading(self, view: SchemaView, relation: Relation) -> Iterator[Obligations]:
        source = view.snapshot.datasource
        masked = (column for column in relation.columns if view.mask(relation, column))
        reads = [Access(Action.READ, relation.column_resource(source, column)) for column in view.readable_columns(relation)]
        reads += (Access(Action.READ_MASKED, relation.column_resource(source, column)) for column in masked)
        return (self.engine.allows(self.permit.principal, access).obligations for access in reads)


def _left(budget: Budget, counted: tuple[list[str], list[str]], standings: Mapping[Kind, Standing]) -> BudgetLeft:
    standing = standings.get((budget.measure, budget.window), Standing(0, 0, budget.window.seconds))
    left = max(0.0, budget.amount - standing.used - standing.held)
    return BudgetLeft(budget, tuple(counted[0]), tuple(counted[1]), left, standing.ends_in_s)


def _not_covered() -> Refused:
    return Refused("permit", "the permit of this call does not cover that statement", "state it in the intent")
