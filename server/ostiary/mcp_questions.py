"""A question to whoever is at the client's side, in the words of both eras.

The modern era answers the call with the question, and the client calls again with the
answer and the state it was given, which the SDK seals to the caller, the tool and its
arguments. The 2025 era asks on the stream of the call.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID, uuid4

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext

from ostiary.approvals import TTL_S, Answer, Ask, Asked, CannotAsk, Waiting
from ostiary.eras import MODERN

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Approve?"}},
    "required": ["approve"],
}
_KEY = "approve"

_Context = ServerRequestContext[Any]


def asking(ctx: _Context, params: t.CallToolRequestParams) -> Ask:
    """What asks for a call."""
    earlier = Earlier.of(params)
    approved: dict[str, float] = {}

    async def ask(text: str, about: str, waiting: Waiting) -> Answer:
        declared = ctx.session.client_capabilities
        if declared is None or declared.elicitation is None or (declared.elicitation.url and not declared.elicitation.form):
            raise CannotAsk
        if ctx.protocol_version < MODERN:
            async with waiting():
                return Answer(await _elicited(ctx, text))
        found = earlier.answer(about, time.time())
        if found is None:
            # An answer without the state of this question answers something else.
            raise Asked(text, earlier.state(about, approved))
        answer, since = found
        return replace(answer, counts=lambda: approved.update({about: since})) if answer.approved else answer

    return ask


def question(asked: Asked) -> t.InputRequiredResult:
    """The question as a result."""
    form = t.ElicitRequestFormParams(message=asked.question, requested_schema=_FORM)
    return t.InputRequiredResult(input_requests={_KEY: t.ElicitRequest(params=form)}, request_state=asked.state)


def cannot_ask() -> MCPError:
    """The refusal of a call that needs an answer, for a client that cannot give one."""
    needed: dict[str, Any] = {"requiredCapabilities": {"elicitation": {"form": {}}}}
    return MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "This call needs an approval, which the client cannot ask for", needed)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a request of the modern era brings back of those before it."""

    known: Mapping[str, Any]
    """The state that was given with the last question; it came back sealed."""
    said: t.ElicitResult | None
    """The answer to that question."""
    given: Mapping[str, Any]
    """Answers to questions that a tool asked before it stated its intent. They come with one request and count for all after it."""

    @classmethod
    def of(cls, params: t.CallToolRequestParams) -> Self:
        """Of this request."""
        known = json.loads(params.request_state) if params.request_state else {}
        said = (params.input_responses or {}).get(_KEY)
        return cls(known, said if isinstance(said, t.ElicitResult) else None, given(params))

    def answer(self, about: str, now: float) -> tuple[Answer, float] | None:
        """The one to this question and when it came first; `None` while there is none."""
        if self.said is None:
            # Nor is there an earlier one: it lets a call come as far as the question that was asked last, for the answer to that.
            return None
        if self.known.get("about") == about:
            return Answer(_yes(self.said), UUID(self.known["number"])), now
        # Another question of the call was answered with yes before this one: each time under a new number, and not for ever.
        number, since = self.known.get("approved", {}).get(about, ("", -TTL_S))
        return (Answer(approved=True, number=UUID(number)), since) if now < since + TTL_S else None

    def state(self, about: str, approved: Mapping[str, float]) -> str:
        """What is given with the question; `approved` are those answered with yes, and when each was first."""
        numbered = {one: (str(uuid4()), since) for one, since in approved.items()}
        kept = {"given": self.given, "tool": self.known.get("tool", ""), "approved": numbered}
        return json.dumps({"number": str(uuid4()), "about": about, **{name: value for name, value in kept.items() if value}})


def given(params: t.InputResponseRequestParams) -> dict[str, Any]:
    """The answers to questions of a tool, of this request and of those before an approval was asked for."""
    kept = json.loads(params.request_state).get("given", {}) if params.request_state else {}
    now = {key: answer.model_dump(mode="json", by_alias=True) for key, answer in (params.input_responses or {}).items()}
    return {**now, **kept}


async def _elicited(ctx: _Context, text: str) -> bool:
    try:
        return _yes(await ctx.session.elicit_form(text, _FORM, related_request_id=ctx.request_id))
    except MCPError:
        # It says it can ask and does not, or there is no way back to it.
        raise CannotAsk from None


def _yes(answer: t.ElicitResult) -> bool:
    return answer.action == "accept" and (answer.content or {}).get("approve") is True
