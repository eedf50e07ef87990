"""A tool asks the client's side: answers are input of the call and the caller they were asked of, and none of them is recorded."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp.types as t
import pytest
from fix_agents import http_client
from fix_http import ostiary, serving
from fix_packs import install
from fix_waiting import until
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from ostiary.config import Config

PACK = """
from typing import Annotated
from pydantic import BaseModel
from ostiary_tools.api import Args, AsJob, Form, Hints, Intent, Surface, Text

class PickArgs(Args):
    what: str
    sure: bool = False
    job: Annotated[bool, AsJob()] = False

class Choice(BaseModel):
    size: int
    note: str = ""

class Pick:
    name, title, description, surface, hints, args = "pick", "Pick", "Picks.", Surface.TOOL, Hints(), PickArgs

    def plan(self, args, world):
        answer = world.client.ask({"choice": Form("Which size?", Choice)}, "asked")["choice"]
        size = answer.value.size if answer.value else 0
        return Intent(self.name, args.model_dump(mode="json") | {"size": size})

    async def run(self, permit, session):
        given = permit.intent.arguments
        if given["sure"]:
            await session.approve("Sure?")
        return Text(f"{given['what']} of size {given['size']}")

def pack():
    return (Pick(),)
"""
POLICY = '@id("all-tools") permit (principal in Role::"analyst", action == Action::"call", resource);'
CANARY = "canary of an answer"
REFUSED = "Invalid or expired requestState"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a server with the pack installed, whose callers show tokens."""
    install(tmp_path, "picks", PACK)
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "own.cedar").write_text(POLICY)
    own = {"OSTIARY_HTTP__AUTHENTICATION": "tokens", "OSTIARY_POLICY__DIRECTORY": str(policies)}
    return {"PYTHONPATH": str(tmp_path), **own}


async def never(context: Any, params: Any) -> t.ElicitResult:
    raise AssertionError("the tests answer themselves")


@asynccontextmanager
async def agent(url: str, token: str) -> AsyncIterator[Client]:
    async with (
        http_client(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode="2026-07-28", elicitation_callback=never) as client,
    ):
        yield client


async def pick(client: Client, what: str, state: str | None = None, answer: Any = None, **more: Any) -> Any:
    """The text of the reply, or the question."""
    given = {"choice": answer} if answer else None
    reply = await client.session.call_tool(
        "pick", {"what": what, **more}, input_responses=given, request_state=state, allow_input_required=True
    )
    return reply.content[0].text if isinstance(reply, t.CallToolResult) else reply  # type: ignore[union-attr]  # ours are text


def size(number: Any) -> t.ElicitResult:
    return t.ElicitResult(action="accept", content={"size": number, "note": CANARY})


async def job_came_to(client: Client, begun: str) -> str:
    """What the tool `job` says once it has ended."""
    found = re.search(r'job\(id="([0-9a-f-]+)"\)', begun)
    assert found, begun
    told = [""]

    async def ended() -> bool:
        reply = await client.call_tool("job", {"id": found[1]})
        told[0] = reply.content[0].text  # type: ignore[union-attr]  # our replies are text
        return "is working" not in told[0]

    await until(ended)
    return told[0]


@pytest.mark.asyncio
async def test_answers_count_for_the_call_and_the_caller_they_were_asked_of_and_are_not_recorded(
    ostiary_config: Config, environment: dict[str, str]
):
    tokens = [await ostiary(ostiary_config, "tokens", "create", name, "--role", "analyst") for name in ("asked-ada", "asked-eve")]
    async with serving(ostiary_config, **environment) as (url, _), agent(url, tokens[0]) as ada, agent(url, tokens[1]) as eve:
        question = await pick(ada, "hat")
        assert isinstance(question, t.InputRequiredResult)
        state = question.request_state
        assert state is not None
        for client, what, shown in (
            (eve, "hat", state),
            (ada, "coat", state),
            (ada, "hat", state[:-4]),
            (ada, "hat", '{"tool": "asked"}'),
        ):
            with pytest.raises(MCPError, match=REFUSED):
                await pick(client, what, shown, size(4))
        for wrong in (size("four"), size(None), size(["four"]), size(4.5), t.ListRootsResult(roots=[])):
            assert isinstance(await pick(ada, "hat", state, wrong), t.InputRequiredResult)
        assert await pick(ada, "hat", state, size(4)) == "hat of size 4"
        # An answer is input and no consent, so one that comes again, or unasked, is as good as an argument.
        assert await pick(ada, "hat", state, size(5)) == "hat of size 5"
        assert await pick(eve, "hat", None, size(6)) == "hat of size 6"
        assert await pick(ada, "hat", state, t.ElicitResult(action="decline")) == "hat of size 0"

        asked = await pick(ada, "cap", job=True)
        done = await job_came_to(ada, await pick(ada, "cap", asked.request_state, size(7), job=True))
        unheard = await job_came_to(ada, await pick(ada, "cap", None, size(8), job=True, sure=True))
    records = [await ostiary(ostiary_config, "audit", "show", "--agent", name, "--json") for name in ("asked-ada", "asked-eve")]
    decisions = [record.get("decision") for record in json.loads(records[0])]
    assert done == "pick completed\ncap of size 7"
    assert unheard.startswith("pick failed\nrefused: this call asks for an approval, and a job cannot ask")
    assert set(decisions) == {"asked", "permit", None}
    assert not [text for text in records if CANARY in text]
