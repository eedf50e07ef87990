"""Asking whoever is at the client's side whether a call may go on, and believing each yes once.

A transport brings an `Ask`: it gives the answer, or ends the call with `Asked` so that the
client comes again with one. The number of an answer that came again is used up in the
control database before the answer counts. What says yes is the client's software: where a
person must be proven this is not enough.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from ostiary_policies.attributes import digest
from ostiary_policies.model import Permit
from ostiary_tools.api import Refused, Unavailable
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


Ask = Callable[[str, str], Awaitable[Answer]]
"""Takes a question and the digest of what it is about. Raises Asked, CannotAsk."""


async def approved(permit: Permit, question: str, ask: Ask, table: ApprovalTable) -> bool:
    """Whether the call may go on. Raises Refused for an answer that was used, Unavailable when nobody can say whether it was."""
    answer = await ask(question, _about(permit, question))
    if answer.number is None:
        return answer.approved
    # A no uses the question up too: whoever kept it must not turn that into a yes.
    try:
        first = await table.use(answer.number, permit.principal.agent)
    except JournalError as error:
        raise Unavailable("approvals cannot be checked now", "ask for it again later") from error
    if not first:
        raise Refused("approval", "this question was answered already", "ask for it again")
    return answer.approved


def _about(permit: Permit, question: str) -> str:
    """What a yes is good for: this question about these arguments of this tool, for this caller under this policy."""
    who, intent = permit.principal, permit.intent
    parts = [who.agent, who.roles, digest(who.attributes), intent.tool, intent.arguments, permit.policy_hash, question]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
