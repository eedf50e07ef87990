"""Asking whoever is at the client's side whether a call may go on, and believing each yes once.

A transport brings an `Ask`: it gives the answer, or ends the call with `Asked` so that the
client comes again with one. The number of an answer that came again is used up in the
control database before the answer counts. What says yes is the client's software: where a
person must be proven this is not enough.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID

from ostiary_policies.attributes import digest
from ostiary_policies.model import Backup, Collection, Permit
from ostiary_tools.api import Refused, Unavailable, World
from ostiary_tools.control.approvals import ApprovalTable
from ostiary_tools.control.connect import JournalError

TTL_S = 600.0
"""How long a question stands."""


class Asked(Exception):
    """The call ended with a question; `state` comes back with the answer, sealed on its way."""

    def __init__(self, question: str, state: str) -> None:
        super().__init__(question)
        self.question = question
        self.state = state


class CannotAsk(Exception):
    """The client has nobody to ask."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    approved: bool
    number: UUID | None = None
    """Of a question asked in an earlier request; `None` for one that was asked and answered in this."""
    counts: Callable[[], None] = lambda: None
    """Called when it is believed, for what may be asked after it."""


Waiting = Callable[[], AbstractAsyncContextManager[None]]
"""Entered around the wait of a call that stays for its answer."""

Ask = Callable[[str, str, Waiting], Awaitable[Answer]]
"""Takes a question and the digest of what it is about. Raises Asked, CannotAsk."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Which were used, and the epoch of the log now: of an answer to a question of one before, nobody knows whether it was."""

    table: ApprovalTable
    epoch: Callable[[], int]


async def answered(permit: Permit, world: World, question: str, ask: Ask, used: Answers, *, waiting: Waiting) -> Answer:
    """The answer, used up. Raises Refused for one that was used, Unavailable when nobody can say whether it was."""
    answer = await ask(question, f"{about(permit, world, question)}.{used.epoch()}", waiting)
    if answer.number is None:
        return answer
    # A no uses the question up too: whoever kept it must not turn that into a yes.
    try:
        first = await used.table.use(answer.number, permit.principal.agent)
    except JournalError as error:
        raise Unavailable("approvals cannot be checked now", "ask for it again later") from error
    if not first:
        raise Refused("approval", "this question was answered already", "ask for it again")
    answer.counts()
    return answer


def about(permit: Permit, world: World, question: str = "") -> str:
    """What a yes is good for: this question about this call and its statements, for this caller, this policy and this schema."""
    who, intent = permit.principal, permit.intent
    view = world.views.get(intent.datasource or "")
    parts = [
        [who.agent, who.roles, digest(who.attributes), sorted(who.taints)],
        [intent.tool, intent.arguments, intent.datasource, intent.to_file, intent.to_collection],
        [
            [access.action, one.name, one.store, _id(one, world)]
            for access in intent.accesses
            if isinstance(one := access.resource, Collection)
        ],
        [
            [[one.text, one.fenced, one.parameters] for one in some]
            for some in (intent.statements, intent.lookups, intent.explained, intent.changes)
        ],
        [[access.action, one.datasource, one.kind] for access in intent.accesses if isinstance(one := access.resource, Backup)],
        [intent.stays, intent.undoes, intent.rows_changed],
        [permit.policy_hash, view.snapshot.version if view is not None else ""],
        question,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _id(one: Collection, world: World) -> str:
    """Of the collection that has the name now: one that is made under it later is another."""
    found = world.holdings.collections.get(one.name) if world.holdings else None
    return str(found.collection.id) if found else ""
