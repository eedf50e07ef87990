"""A question to whoever is at the client's side, in the words of both eras.

The modern era answers the call with the question, and the client calls again with the
answer and the state it was given, which the SDK seals to the caller, the tool and its
arguments. The 2025 era asks on the stream of the call.
"""

import json
from typing import Any
from uuid import UUID, uuid4

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext

from ostiary.approvals import Answer, Ask, Asked, CannotAsk
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

    async def ask(text: str, about: str) -> Answer:
        declared = ctx.session.client_capabilities
        if declared is None or declared.elicitation is None:
            raise CannotAsk
        if ctx.protocol_version < MODERN:
            return Answer(_yes(await ctx.session.elicit_form(text, _FORM, related_request_id=ctx.request_id)))
        answer = (params.input_responses or {}).get(_KEY)
        number = _number(params.request_state, about)
        if number is None or not isinstance(answer, t.ElicitResult):
            # An answer without the state of this question answers something else.
            raise Asked(text, json.dumps({"number": str(uuid4()), "about": about}))
        return Answer(_yes(answer), number)

    return ask


def question(asked: Asked) -> t.InputRequiredResult:
    """The question as a result."""
    form = t.ElicitRequestFormParams(message=asked.question, requested_schema=_FORM)
    return t.InputRequiredResult(input_requests={_KEY: t.ElicitRequest(params=form)}, request_state=asked.state)


def cannot_ask() -> MCPError:
    """The refusal of a call that needs an answer, for a client that cannot give one."""
    needed: dict[str, Any] = {"requiredCapabilities": {"elicitation": {"form": {}}}}
    return MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "This call needs an approval, which the client cannot ask for", needed)


def _number(state: str | None, about: str) -> UUID | None:
    """The number of the question that the state is of, if it was this one."""
    if state is None:
        return None
    known = json.loads(state)
    return UUID(known["number"]) if known["about"] == about else None


def _yes(answer: t.ElicitResult) -> bool:
    return answer.action == "accept" and (answer.content or {}).get("approve") is True
