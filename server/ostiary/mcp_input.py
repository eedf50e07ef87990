"""Questions of tools to the client's side in the words of both eras, and the answers as plain values.

The modern era answers a request with the questions, and the client repeats it with the
answers. The 2025 era asks forms on the stream of the request, and nothing else.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext

from ostiary.eras import MODERN
from ostiary.errors import CallFailed
from ostiary.mcp_questions import given
from ostiary_tools.asking import Client, Form, InputNeeded, Question, Roots, Sampling

_ROUNDS = 8
"""How often one call of the 2025 era asks at most."""
_CAPABILITY: Mapping[type, str] = {Form: "elicitation", Sampling: "sampling", Roots: "roots"}

_Context = ServerRequestContext[Any]
_Answer = TypeVar("_Answer")


async def answered(
    ctx: _Context, params: t.InputResponseRequestParams, call: Callable[[Client], Awaitable[_Answer]]
) -> _Answer | t.InputRequiredResult:
    """The answer to a call that may ask, or its questions. Raises MCPError for a client that cannot be asked them."""
    client = _client(ctx, params)
    for _ in range(_ROUNDS):
        try:
            return await call(client)
        except InputNeeded as needed:
            lacking = {type(question) for question in needed.questions.values()} - client.kinds
            if lacking:
                raise _cannot_ask(lacking) from None
            if ctx.protocol_version >= MODERN:
                return _questions(needed)
            client = Client(client.kinds, await _elicited(ctx, needed), needed.state)
    raise CallFailed("input", "the answers were not what was asked for", "give each field a value of its type")


def _cannot_ask(kinds: set[type]) -> MCPError:
    data: dict[str, Any] = {"requiredCapabilities": {_CAPABILITY[kind]: {} for kind in kinds}}
    return MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "This call asks what the client cannot answer", data)


def _client(ctx: _Context, params: t.InputResponseRequestParams) -> Client:
    declared = ctx.session.client_capabilities or t.ClientCapabilities()
    modern = ctx.protocol_version >= MODERN
    asked = _CAPABILITY if modern else {Form: _CAPABILITY[Form]}
    kinds = frozenset(kind for kind, name in asked.items() if getattr(declared, name) is not None)
    state = json.loads(params.request_state).get("tool", "") if params.request_state else ""
    return Client(kinds, given(params), state)


async def _elicited(ctx: _Context, needed: InputNeeded) -> dict[str, dict[str, Any]]:
    answers = {}
    for key, question in needed.questions.items():
        if isinstance(question, Form):
            answer = await ctx.session.elicit_form(question.message, _fields(question), related_request_id=ctx.request_id)
            answers[key] = answer.model_dump(mode="json", by_alias=True)
    return answers


def _questions(needed: InputNeeded) -> t.InputRequiredResult:
    # `about` is what tells this state from an approval's.
    state = json.dumps({"about": "", "tool": needed.state}) if needed.state else None
    requests = {key: _request(question) for key, question in needed.questions.items()}
    return t.InputRequiredResult(input_requests=requests, request_state=state)


def _request(question: Question) -> t.InputRequest:
    match question:
        case Form():
            form = t.ElicitRequestFormParams(message=question.message, requested_schema=_fields(question))
            return t.ElicitRequest(params=form)
        case Sampling(prompt=prompt, max_tokens=max_tokens):
            said = t.SamplingMessage(role="user", content=t.TextContent(text=prompt))
            return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[said], max_tokens=max_tokens))
        case Roots():
            return t.ListRootsRequest()


def _fields(form: Form) -> dict[str, Any]:
    schema = form.fields.model_json_schema()
    return {"type": "object", "properties": schema.get("properties", {}), "required": schema.get("required", [])}
