"""The one road. Every tool, resource, prompt and completion passes here and nowhere else.

A call is planned, decided, recorded, judged again, run, shaped and recorded once more,
in that order; a failure at any step is a refusal and stands in the audit log.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
from pydantic import ValidationError
from structlog.contextvars import bound_contextvars

from ostiary.approvals import Answers, Asked, CannotAsk, about
from ostiary.audit.record import Entry, Outcome, Status
from ostiary.audit.recorder import Recorder, RecordingFailed, Ticket
from ostiary.budgets import Budgets, Reservation, used
from ostiary.call import Call, Draft, Passage
from ostiary.consent import Asking, consent, on_record, question, refusals_on_record
from ostiary.crowd import Crowd
from ostiary.cursors import Cursors
from ostiary.errors import (
    Busy,
    CallFailed,
    Internal,
    InvalidArguments,
    NotApproved,
    NotRecorded,
    OverBudget,
    UnknownTool,
    explained,
    failed,
    not_recorded,
    outcome_code,
    wrong_arguments,
)
from ostiary.examples import Examples
from ostiary.ledger import Ledger
from ostiary.marks import given, marked
from ostiary.means import Means, analysed
from ostiary.meter import UNKNOWN, Meter, Stage
from ostiary.paging import shown
from ostiary.people import People, Wanted, wanted
from ostiary.planning import away, judged_again, leaves_something, planned
from ostiary.policy_files import Policies
from ostiary.queue import Queue
from ostiary.redaction import printable, unjudged
from ostiary.refusal import refusal
from ostiary.shape import Reply, continued, outcome_of, shape
from ostiary.shelves import Shelves
from ostiary.taints import Taints
from ostiary.terms import Terms
from ostiary.trace import trace_id
from ostiary.vault import Vault
from ostiary.worlds import Worlds, callable_names
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Denial, Intent, Permit, Principal
from ostiary_policies.model import Tool as ToolResource
from ostiary_tools import api
from ostiary_tools.api import Args, AuditReader, Surface, Tool, World
from ostiary_tools.asking import InputNeeded
from ostiary_tools.control.jobs import JobTable
from ostiary_tools.datasources.port import Datasource
from ostiary_tools.errors import Refused, ToolError, Unavailable
from ostiary_tools.packs import Registry
from ostiary_tools.paging import following
from ostiary_tools.result import Result, Rows
from ostiary_tools.sql import Judged, JudgedChange

_log = logging.getLogger(__name__)


class Gate:
    """Holds what a call needs on its way; keeps nothing of any call."""

    def __init__(
        self,
        *,
        registry: Registry,
        policies: Policies,
        worlds: Worlds,
        datasources: Mapping[str, Datasource],
        recorder: Recorder,
        audit_reader: AuditReader,
        cursors: Cursors,
        examples: Examples,
        approvals: Answers,
        people: People,
        jobs: JobTable,
        queue: Queue,
        budgets: Budgets,
        taints: Taints,
        ledger: Ledger,
        shelves: Shelves,
        vault: Vault,
        terms: Terms,
        meter: Meter,
    ) -> None:
        self._registry = registry
        self._policies = policies
        self._worlds = worlds
        self._recorder = recorder
        self._cursors = cursors
        self._examples = examples
        self._approvals = approvals
        self._people = people
        self._queue = queue
        self._budgets = budgets
        self._taints = taints
        self._ledger = ledger
        self._shelves = shelves
        self._vault = vault
        self._terms = terms
        self._meter = meter
        self.crowd = Crowd(in_all=terms.calls, per_agent=terms.calls_per_agent)
        self._means = Means(datasources, audit_reader, approvals, jobs, budgets, ledger, shelves, vault, terms, self.crowd.lent)

    async def tools(self, who: Principal, surface: Surface) -> list[Tool[Any]]:
        """The tools or prompts this caller may call, by name. Raises CallFailed when that cannot be said."""
        engine = self._policies.engine
        try:
            names = callable_names(engine, await self._taints.known(who, engine), self._registry)
        except Unavailable as error:
            raise failed(error) from error
        return [self._registry[surface, name] for name in names if (surface, name) in self._registry]

    def tool(self, who: Principal, surface: Surface, name: str) -> Tool[Any] | None:
        """The tool of that name; `None` also where there is one that this caller, were it without taints, may not call."""
        return self._known(self._policies.engine, who, surface, name)

    async def crowded(self, who: Principal, transport: str) -> None:
        """For a call that was not read yet: nothing when there is a place for it. Raises Busy, or NotRecorded, and counts it."""
        if self.crowd.full(who.agent):
            unread = Call("", {}, transport=transport)
            with self._meter.call(UNKNOWN, unread.id):
                await self._room(who, unread)

    async def refuse(self, who: Principal, call: Call, why: str) -> None:
        """Record that a call was not even made. Raises RecordingFailed."""
        await self._recorder.refuse(Draft(who, call, self._policies.engine).entry("refused", arguments=call.arguments, reason=why))

    async def call(self, who: Principal, call: Call) -> Reply:
        """Answer one call.

        Raises UnknownTool for a tool that does not exist for the caller, and CallFailed
        for everything the model should read, Asked and CannotAsk when the call needs an
        approval first. Nothing else but cancellation leaves here.
        """
        known = call.tool if (call.surface, call.tool) in self._registry else UNKNOWN
        with bound_contextvars(call_id=str(call.id), trace_id=trace_id(call.trace)), self._meter.call(known, call.id):
            return await self._answered(who, call)

    async def _answered(self, who: Principal, call: Call) -> Reply:
        try:
            await self._room(who, call)
            with self.crowd.place(who.agent):
                return await self._travel(who, call)
        except (UnknownTool, CallFailed, Asked, CannotAsk, InputNeeded):
            raise
        except RecordingFailed as error:
            _log.error("call %s was not recorded: %s", call.id, error)
            raise not_recorded(error) from error
        except Exception as error:
            _log.exception("call %s failed", call.id)
            raise Internal(call.id) from error

    async def _room(self, who: Principal, call: Call) -> None:
        if not (why := self.crowd.full(who.agent)):
            return
        # Recorded without what the caller chose, so that a flood of different calls is one record and a number.
        nameless = Call("", {}, origin=call.origin, transport=call.transport, id=call.id)
        try:
            await self._recorder.refuse(Draft(who, nameless, self._policies.engine).entry("busy", reason=why))
        except RecordingFailed as error:
            raise not_recorded(error) from error
        raise Busy(why)

    async def _travel(self, who: Principal, call: Call) -> Reply:
        record = Draft(who, call, self._policies.engine)
        try:
            with self._meter.stage(Stage.ADMIT):
                passage = await self._admit(record)
        except (UnknownTool, CallFailed, Asked, RecordingFailed, InputNeeded):
            raise
        except Exception:
            # A defect before the decision, perhaps of a third party's plan: a refusal, and on record like any other.
            await self._recorder.refuse(record.entry("error", arguments=unjudged(call.arguments)))
            raise
        with self._meter.stage(Stage.RUN):
            return await self._run(passage)

    async def _admit(self, record: Draft) -> Passage:
        """All that happens before anything runs. Each step records its own refusal."""
        record = await self._known_as(record)
        tool = await self._found(record)
        args = await self._accepted(tool, record)
        permit, world, entry = await self._decided(tool, args, record)
        if record.call.granted and record.call.granted == about(permit, world):
            entry = replace(entry, approval={"by": "whoever granted the call that asked for this job"})
        elif (what := wanted(permit, record.engine)) is not None:
            # Before anything is held for the call: a human may take minutes.
            permit, world, entry = await self._approved((permit, world, entry), what, tool, args, record)
        await self._tainted(permit, record, entry)
        reservation = await self._reserved(permit, world, record, entry)
        return Passage(tool, permit, world, entry, record.engine, record.call, reservation)

    async def _known_as(self, record: Draft) -> Draft:
        """With what earlier calls have left on the caller, as it is now."""
        try:
            return replace(record, who=await self._taints.known(record.who, record.engine))
        except Unavailable as error:
            no = failed(error)
            await self._recorder.refuse(record.entry("refused", arguments=unjudged(record.call.arguments), reason=no.message))
            raise no from error

    async def _tainted(self, permit: Permit, record: Draft, entry: Entry) -> None:
        """Leave on the caller what the permit taints with, before anything of it runs."""
        try:
            await self._taints.leave(permit, record.call.id)
        except CallFailed as no:
            await self._recorder.refuse(replace(entry, decision="refused", reason=no.message))
            raise

    async def _decided(self, tool: Tool[Any], args: Args, record: Draft) -> "_Permitted":
        world = await self._worlds.world(record.engine, record.who)
        world, intent, judged = await self._planned(tool, args, world, record)
        verdict = record.engine.decide(record.who, intent)
        match verdict:
            case Denial():
                no = refusal(verdict, world)
                entry = record.entry("deny", args=args, intent=intent, judged=judged, reason=no.message, rules=no.rules)
                await self._recorder.refuse(entry)
                raise no
            case Permit():
                return verdict, world, record.entry("permit", args=args, intent=intent, judged=judged, permit=verdict, world=world)

    async def _approved(self, decided: "_Permitted", what: Wanted, tool: Tool[Any], args: Args, record: Draft) -> "_Permitted":
        """The same decision, once as many people have said yes to it as are wanted."""
        permit, world, entry = decided
        asked = replace(entry, decision="asked", reason="a human was asked", rules=what.rules)
        asking = Asking(record.call.ask, self._approvals, self._people, lambda: on_record(asked, self._recorder, self.crowd))
        async with refusals_on_record(asked, self._recorder):
            yes = await consent(permit, world, what, asking, question(permit, world, tool.args, what))
        if yes.waited:
            # The call has waited for the answer: it is decided anew, like one that comes again with it.
            anew = await self._known_as(replace(record, engine=self._policies.engine))
            permit, world, entry = await self._decided(tool, args, anew)
            if about(permit, world) != about(decided[0], decided[1]):
                hint = "call it again, and it is asked about anew"
                changed = NotApproved("what was approved has changed meanwhile", hint, what.rules)
                await self._recorder.refuse(replace(entry, decision="deny", reason=changed.message, rules=what.rules))
                raise changed
        return permit, world, replace(entry, approval=yes.told())

    async def _reserved(self, permit: Permit, world: World, record: Draft, entry: Entry) -> Reservation | None:
        """What the call holds of its budgets. The last step before it runs: from here on it is settled however the call ends."""
        if not permit.obligations.budgets:
            return None
        try:
            return await self._budgets.reserve(permit, record.call.id, self._terms.bounds(permit), record.engine, world)
        except OverBudget as no:
            await self._recorder.refuse(replace(entry, decision="deny", reason=no.reason, rules=no.rules))
            raise
        except CallFailed as no:
            await self._recorder.refuse(replace(entry, decision="refused", reason=no.message))
            raise

    async def _found(self, record: Draft) -> Tool[Any]:
        call = record.call
        tool = self._known(record.engine, record.who, call.surface, call.tool)
        if tool is None:
            await self._recorder.refuse(record.entry("unknown", arguments=unjudged(call.arguments)))
            raise UnknownTool(printable(call.tool[:100]))
        return tool

    def _known(self, engine: Engine, who: Principal, surface: Surface, name: str) -> Tool[Any] | None:
        tool = self._registry.get((surface, name))
        return tool if tool is not None and engine.allows(who, Access(Action.CALL, ToolResource(tool.name))).allowed else None

    async def _accepted(self, tool: Tool[Any], record: Draft) -> Args:
        try:
            return tool.args.model_validate(record.call.arguments)
        except ValidationError as error:
            told = InvalidArguments(wrong_arguments(error))
            await self._recorder.refuse(record.entry("invalid", arguments=unjudged(record.call.arguments), reason=told.message))
            raise told from error

    async def _planned(self, tool: Tool[Any], args: Args, world: World, record: Draft) -> "_Planned":
        try:
            if (handle := given(args, api.CursorHandle)) is not None:
                position = await self._cursors.position(handle, record.who, record.engine.policy_hash, world)
                world = replace(world, position=position)
            if (handle := given(args, api.ChangeHandle)) is not None:
                world = replace(world, change=await self._ledger.known(handle, record.who, world))
            if (asked := given(args, api.AskedInWords)) is not None:
                world = replace(world, examples=await self._examples.nearest(asked, record.engine, world))
            if marked(tool.args, api.CollectionName):
                world = replace(world, holdings=await self._shelves.holdings(record.engine, record.who))
            if marked(tool.args, api.AboutBackups):
                world = replace(world, backups=await self._vault.known(record.engine, record.who))
            world = replace(world, client=record.call.client)
            intent = await planned(tool, args, world)
            return world, intent, judged_again(intent, world)
        except InputNeeded as needed:
            await self._recorder.refuse(record.entry("asked", args=args, reason=f"input is needed: {needed}"[:200]))
            raise
        except ToolError as error:
            told = failed(error)
            reason = "" if isinstance(error, Refused) and error.quotes else told.message
            await self._recorder.refuse(record.entry("refused", args=args, reason=reason, rules=told.rules))
            raise told from error

    async def _run(self, passage: Passage) -> Reply:
        permit = passage.permit
        started = time.perf_counter()
        status, reply, error = Status.CANCELLED, None, ""
        result: Result | None = None
        recording = asyncio.create_task(self._intended(passage.entry))
        try:
            # The intent travels to the disk while the transaction opens and the statement is analysed;
            # nothing of the statement runs before it is durable.
            async with self._means.transaction(passage) as reader:
                ahead = await analysed(reader, passage)
                await asyncio.shield(recording)
                session = self._means.session(passage, reader, ahead)
                if passage.call.begin is not None and not permit.intent.to_file:  # a file begins when its statement may run
                    await passage.call.begin()
                ran = await (self._queue.write(passage) if passage.waits else passage.tool.run(permit, session))
                result = shown(ran, session.limits, permit.intent)
            reply = shape(result, self._terms.reply_chars, passage.limit_bytes)
            reply = await self._continued(reply, result, passage)
            status = Status.OK
            return reply
        except ToolError as failure:
            status, error = Status.ERROR, outcome_code(failure)
            raise failed(explained(failure, permit.intent, passage.world)) from failure
        except RecordingFailed:
            raise
        except (Asked, CannotAsk) as end:
            status, error = Status.ERROR, "approval_asked" if isinstance(end, Asked) else "approval_impossible"
            raise
        except Exception:
            status, error = Status.ERROR, "internal"
            raise
        finally:
            duration_us = round((time.perf_counter() - started) * 1e6)
            if passage.reservation is not None:
                self._budgets.settle(passage.reservation, used(permit.intent, result, reply, passage.tally))
            with anyio.CancelScope(shield=True):
                outcome = outcome_of(status, duration_us, reply, error, passage.tally.change)
                await self._concluded(recording, outcome, passage)

    async def _intended(self, entry: Entry) -> Ticket:
        with self._meter.stage(Stage.RECORD):
            return await self._recorder.intend(entry)

    async def _continued(self, reply: Reply, result: Result, passage: Passage) -> Reply:
        """A reply that does not hold all rows, with the cursor of its next page; the page itself is given in any case."""
        if not isinstance(result, Rows) or not reply.truncated or result.position is None or not reply.rows:
            return reply
        permit, world = passage.permit, passage.world
        view = world.view(result.position.datasource)
        position = await away(len(result.position.statement.text), following, result.position, result, reply.rows, view)
        handle = await self._cursors.keep(position, permit.principal, permit.policy_hash, world)
        return continued(reply, handle, by_key=bool(position.after))

    async def _concluded(self, recording: "asyncio.Task[Ticket]", outcome: Outcome, passage: Passage) -> None:
        """Likewise of a change: what was committed, or may have been, is never told as something that did not run."""
        intent, stands = passage.permit.intent, passage.tally.change.get("state", "")
        try:
            await self._conclude(recording, outcome, durable=leaves_something(intent))
        except RecordingFailed as error:
            if stands not in ("applying", "applied", "reverting", "reverted"):
                raise
            _log.error("the end of call %s is not recorded yet, and its change is %s: %s", passage.call.id, stands, error)
            raise NotRecorded(stands) from error

    async def _conclude(self, recording: "asyncio.Task[Ticket]", outcome: Outcome, *, durable: bool) -> None:
        """Record how it ended. An intent that never became durable has no outcome: nothing of it ran, and nothing of it is told."""
        try:
            ticket = await recording
        except RecordingFailed:
            # The server may have analysed and estimated the statement meanwhile; what it said of it is an answer too.
            if outcome.status is Status.CANCELLED:
                return
            raise
        await self._recorder.conclude(ticket, outcome, durable=durable)


_Permitted = tuple[Permit, World, Entry]
_Planned = tuple[World, Intent, tuple[Judged | JudgedChange, ...]]
"""With where the caller's cursor stands, when it gave one."""
