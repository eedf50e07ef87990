"""One permitted change on its way: run, looked at, held against policy, compared, and committed or rolled back.

What is about to be committed is written down with the name of its transaction first, so that a process that dies leaves
nothing of which it cannot be found out whether it happened. A call that is cancelled leaves the change as it was or applied.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

import anyio

from ostiary.budgets import Tally
from ostiary.change_body import Body, body_of
from ostiary.comparison import Columns, Difference, agrees, difference, forgiving, named, taken_back
from ostiary.errors import CallFailed
from ostiary.holding import bearable, hold, terms_of_applying
from ostiary.ledger import Ledger, Page
from ostiary.people import wanted
from ostiary.refusal import refusal
from ostiary.sampling import in_words, samples
from ostiary.settling import established
from ostiary_policies.engine import Engine
from ostiary_policies.model import Denial, Permit
from ostiary_tools.catalogs.sight import owned_sequences
from ostiary_tools.change import Changed, State, TableCount, WayBack, Wish, lasting, moved, unknown_change
from ostiary_tools.change_report import told
from ostiary_tools.datasources.port import ChangeLimits, Changer, Datasource
from ostiary_tools.effects import Effects, Via
from ostiary_tools.errors import DatabaseError, OutcomeUnknown, Overtaken, Refused, ToolError
from ostiary_tools.sql import judge_change
from ostiary_tools.view import World
from ostiary_tools.way_back import way_back

T = TypeVar("T")

_PAUSES_S = (0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
"""Before a change that met others is tried again."""
_MET_OTHERS = frozenset(("40001", "40P01"))
"""Serialization failure and deadlock."""
_NAMED = 3
_DICE = secrets.SystemRandom()


@dataclass(slots=True)
class Changing:
    """What the run of one permit may do to its datasource. Remembers what it has written down of it."""

    permit: Permit
    world: World
    engine: Engine
    """The one that gave the permit."""
    call: UUID
    datasource: Datasource
    ledger: Ledger
    limits: ChangeLimits
    tally: Tally
    handle: str = ""
    """Of the change that the call gives."""
    _page: Page | None = field(default=None, init=False)
    _wish: Wish = field(default_factory=Wish, init=False)

    async def propose(self) -> Changed:
        """Look at the change, roll it back and keep it. Raises CallFailed, ToolError."""
        bearable(self.permit, self.engine)
        return await self._retried(self._proposed)

    async def apply(self, wish: Wish) -> Changed:
        """Do exactly what was seen, or nothing. Raises CallFailed, ToolError."""
        bearable(self.permit, self.engine)
        self._wish = wish
        self._page = await self._begun("proposed")
        try:
            return await self._retried(self._applied)
        except OutcomeUnknown:
            raise
        except (ToolError, CallFailed):
            await self._given_up("failed")
            raise

    async def revert(self) -> Changed:
        """Take back exactly what was done, or nothing. Raises CallFailed, ToolError."""
        bearable(self.permit, self.engine)
        self._page = page = await self._begun("applied")
        if why := lasting(page.body.effects, page.body.back):
            raise Refused("undo", f"this change cannot be undone: {why}", "propose a change that does the opposite")
        try:
            return await self._retried(self._defined_back if page.body.effects.defined else self._reverted)
        except OutcomeUnknown:
            raise
        except (ToolError, CallFailed) as error:
            await self._given_up("applied")
            if isinstance(error, Overtaken):
                raise in_words(error, self.permit, self.world, self.engine) from None
            raise

    async def _begun(self, state: State) -> Page:
        page = await self.ledger.page(self.handle, self.permit.principal, self.world)
        if page.stored.state != state:
            raise moved(page.stored.state)
        return page

    async def _proposed(self) -> Changed:
        async with self._open() as changer:
            effects = await self._ran(changer)
            shown = await samples(effects, changer, self.permit, self.world, self.engine)
        who, intent = self.permit.principal, self.permit.intent
        view = self.world.view(intent.datasource)
        back = way_back((one.text for one in intent.changes), effects, view.snapshot)
        seen = replace(self._told("proposed", "", effects, back, self.ledger.lifetimes.proposal_s), samples=shown)
        body = body_of(who, intent.changes, effects, told(seen), back)
        handle = await self.ledger.keep(body, self.call, self.permit, view)
        self.tally.rows = sum(len(one.rows) for sample in shown for one in (sample.before, sample.after) if one is not None)
        self._tell("proposed", self.call, effects)
        verdict = await terms_of_applying(effects, self.permit, self.world, self.engine)
        denied = refusal(verdict, self.world).message if isinstance(verdict, Denial) else ""
        what = None if isinstance(verdict, Denial) else wanted(verdict, self.engine)
        return replace(seen, change=handle, approval=what.approval if what else "", denied=denied)

    async def _applied(self) -> Changed:
        seen = _known(self.world)
        async with self._open() as changer:
            first = await self._ran(changer)
            found = await asyncio.to_thread(difference, seen, first)
            if found.none:
                return await self._committed(changer, first, found)
        given = await asyncio.to_thread(self._given)
        found = forgiving(found, given)
        if found.words:
            raise await self._other(found)
        # Columns differ: only a second run tells whether they would at each.
        async with self._open() as changer:
            second = await self._ran(changer)
            rest = await asyncio.to_thread(agrees, seen, first, second, given)
            if not rest.words:
                return await self._committed(changer, second, rest)
        raise await self._other(rest)

    async def _reverted(self) -> Changed:
        page = _present(self._page)
        applied = page.body.effects
        # What triggers wrote is taken back where that leaves all as it was; else it stays, and they write anew, as at any change.
        for part in (applied, applied.untriggered) if applied.triggered else (applied,):
            async with self._open() as changer:
                with self.tally.clock():
                    await changer.undo(part)
                    undone = await changer.effects()
                await hold(undone, changer, self.permit, self.world, self.engine)
                if not await asyncio.to_thread(taken_back, part, undone, exactly=part is applied):
                    continue
                await _unbroken(self._sent(changer, page.body, "reverting", "reverted"))
            self.tally.rows = undone.rows
            left = () if part is applied else applied.triggered
            return replace(self._told("reverted", self.handle, undone, page.body.back, 0.0), left=tuple(map(".".join, left)))
        message = "this change cannot be undone exactly: triggers or defaults of its tables make other rows of it"
        raise Refused("undo", message, "nothing was changed; propose a change that does the opposite")

    async def _defined_back(self) -> Changed:
        """By the reverse of its definitions, which is what the permit's changes are."""
        page = _present(self._page)
        async with self._open() as changer:
            undone = await self._ran(changer)
            await _unbroken(self._sent(changer, page.body, "reverting", "reverted"))
        await self._refreshed(undone)
        return self._told("reverted", self.handle, undone, page.body.back, 0.0)

    async def _ran(self, changer: Changer) -> Effects:
        """What the statements do, once policy has nothing against it."""
        with self.tally.clock():
            if self._wish.lock_rows:
                await changer.lock(_known(self.world))
            for statement in self.permit.intent.changes:
                await changer.run(statement)
            effects = await changer.effects()
        await hold(effects, changer, self.permit, self.world, self.engine)
        return effects

    async def _committed(self, changer: Changer, effects: Effects, found: Difference) -> Changed:
        body = replace(_present(self._page).body, effects=effects)
        done = self._told("applied", self.handle, effects, body.back, self.ledger.lifetimes.undo_s)
        if not found.none:
            done = replace(done, varying=named(found.columns, self.world.view(done.datasource)))
            shown = await samples(effects, changer, self.permit, self.world, self.engine)
            body = replace(body, shown=told(replace(done, samples=shown)))
        await _unbroken(self._sent(changer, body, "applying", "applied"))
        self.tally.rows = effects.rows
        await self._refreshed(effects)
        return done

    async def _refreshed(self, effects: Effects) -> None:
        """What was defined is there for the next call, or for the one after that."""
        if effects.defined:
            with suppress(ToolError):
                await self.datasource.refresh()

    async def _sent(self, changer: Changer, body: Body, sending: State, sent: State) -> None:
        """Write down what is about to be committed, commit it, and write down that it was."""
        page = _present(self._page)
        name = await changer.name()
        moving = await self.ledger.send(page, self.handle, body, sending, name)
        if moving is None:
            raise moved("applying")
        self._page = moving
        self._tell(sending, page.stored.number, body.effects)
        # Before the commit: who cancels the call has changed these rows all the same.
        self.tally.rows = body.effects.rows
        await self._commit(changer, name, sending)
        self._page = replace(moving, stored=replace(moving.stored, state=sent))
        self._tell(sent, page.stored.number, body.effects)
        await self.ledger.settle(moving, sent)

    async def _commit(self, changer: Changer, name: str, sending: State) -> None:
        """Raises DatabaseError when nothing stays, OutcomeUnknown when that cannot be said yet."""
        try:
            await changer.commit()
        except DatabaseError:
            self.tally.rows = 0
            raise
        except Exception as error:
            fate = await established(self.datasource, name)
            if fate == "aborted":
                self.tally.rows = 0
                message = "the connection broke before the change was committed, and nothing was changed"
                raise DatabaseError("08006", message, "propose it again") from error
            if fate != "committed":
                doing = "applied" if sending == "applying" else "undone"
                message = f"the connection broke while the change was committed, and it is not known yet whether it was {doing}"
                hint = "it is found out and recorded; call the same tool with the same change later, and it says what became of it"
                raise OutcomeUnknown(message, hint) from error

    async def _given_up(self, to: State) -> None:
        """What was to be committed was not: where that is certain, say so."""
        page = self._page
        if page is not None and page.stored.state in ("applying", "reverting"):
            await self.ledger.settle(page, to)
            self._tell(to, page.stored.number, None)

    async def _other(self, found: Difference) -> ToolError:
        """It would not do what was seen. Whether somebody has applied it meanwhile is the first thing to tell."""
        page = await self.ledger.page(self.handle, self.permit.principal, self.world)
        if page.stored.transaction != _present(self._page).stored.transaction:
            return moved(page.stored.state)
        names = named(found.columns, self.world.view(page.stored.datasource))
        where = f" ({', '.join(names[:_NAMED])})" if names else ""
        message = f"the change is not what was proposed any more: {found.words}{where}; nothing was changed"
        return Refused("effects", message, found.hint)

    def _given(self) -> Columns:
        """What its statements themselves give values to."""
        view = self.world.view(self.permit.intent.datasource)
        return frozenset().union(*(judge_change(one.text, view).given for one in self.permit.intent.changes))

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for pause_s in _PAUSES_S:
            try:
                return await attempt()
            except DatabaseError as error:
                if error.sqlstate not in _MET_OTHERS:
                    raise
            await asyncio.sleep(pause_s * _DICE.uniform(0.5, 1.5))
        return await attempt()

    def _open(self) -> AbstractAsyncContextManager[Changer]:
        view = self.world.view(self.permit.intent.datasource)
        relied = view.snapshot.relied_on(access.resource for access in self.permit.intent.accesses)
        return self.datasource.change(replace(self.limits, isolation=self._wish.isolation), relied)

    def _tell(self, state: State, number: UUID, effects: Effects | None) -> None:
        """For the record of how the call ended: numbers only."""
        tables = effects.tables if effects else ()
        rows = {".".join(one.table): [one.inserted, one.updated, one.deleted] for one in tables}
        self.tally.change = {"number": str(number), "state": state, "rows": rows}

    def _told(self, state: State, handle: str, effects: Effects, back: WayBack, good_for_s: float) -> Changed:
        view = self.world.view(self.permit.intent.datasource)
        names = frozenset((relation.schema, relation.name) for relation in view.relations())
        sequences = frozenset((one.schema, one.name) for one in owned_sequences(view))
        return Changed(
            state=state,
            change=handle,
            datasource=view.datasource,
            counts=effects.counts,
            tables=tuple(
                TableCount(
                    ".".join(one.table), one.inserted, one.updated, one.deleted, Via.STATEMENT if state == "reverted" else one.via
                )
                for one in effects.tables
            ),
            triggers=tuple(f"{one.trigger} on {'.'.join(one.table)}" for one in effects.fired if one.table in names),
            sequences=tuple(f"{'.'.join(one.sequence)} {one.drawn}" for one in effects.sequences if one.sequence in sequences),
            locks=tuple(lock for lock in effects.locks if lock.relation in names),
            lasting=lasting(effects, back),
            takes=back.takes,
            good_for_s=good_for_s,
        )


def _known(world: World) -> Effects:
    """What the change that the call gives was seen to do."""
    if world.change is None:
        raise unknown_change()
    return world.change.effects


def _present(page: Page | None) -> Page:
    if page is None:
        raise unknown_change()
    return page


async def _unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, also when whoever waits is cancelled meanwhile; then that is passed on behind it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
