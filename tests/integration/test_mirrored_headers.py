"""Tools whose arguments clients repeat in headers, for whatever routes requests on the way."""

import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fix_agents import http_client
from fix_http import serving
from fix_packs import install

from ostiary.config import Config

PACK = """
from pathlib import Path
from typing import Annotated
from pydantic import Field
from ostiary_policies.model import Intent
from ostiary_tools.api import Args, Hints, Surface, Text

class RoutedArgs(Args):
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]

class BrokenArgs(RoutedArgs):
    @classmethod
    def model_json_schema(cls, *given, **options):
        raise RuntimeError("no schema of this can be written")

class Routed:
    name, title, description = "routed", "Routed", "Says where it ran."
    surface, hints, args = Surface.TOOL, Hints(), RoutedArgs
    def plan(self, args, world):
        return Intent(self.name, args.model_dump(mode="json"))
    async def run(self, permit, session):
        return Text("ran in " + permit.intent.arguments["region"])

class Hidden(Routed):
    name = "hidden"

class Broken(Routed):
    name = "broken"
    args = BrokenArgs

def pack():
    return (Routed(), Hidden(), Broken())
"""
POLICY = """@id("calls")
permit (principal in Role::"analyst", action == Action::"call", resource) unless { resource == Tool::"hidden" };
"""
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
}


async def called(http: httpx2.AsyncClient, url: str, tool: str, argument: str, header: str | None) -> Any:
    """Status and text of a call whose header tells of its argument."""
    params = {"name": tool, "arguments": {"region": argument}, "_meta": META}
    told = {"Mcp-Name": tool} | ({"Mcp-Param-Region": header} if header is not None else {})
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    reply = await http.post(url, json=body, headers=HEADERS | told)
    return reply.status_code, reply.text


@pytest.mark.asyncio
async def test_an_argument_that_differs_from_its_header_is_refused_for_the_callers_own_tools_only(
    ostiary_config: Config, tmp_path: Path
):
    """A mismatch is answered before the call is judged: for a tool that is hidden it would tell that there is one."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/own.cedar").write_text(POLICY)
    path = os.pathsep.join((str(install(tmp_path, "routing", PACK)), os.environ.get("PYTHONPATH", "")))
    own = {"PYTHONPATH": path, "OSTIARY_POLICY__DIRECTORY": str(tmp_path / "policies")}
    async with serving(ostiary_config, **own) as (url, _), http_client() as http:
        true = await called(http, url, "routed", "eu", "eu")
        lies = [await called(http, url, "routed", "eu", header) for header in ("us", None)]
        hidden, unknown = [await called(http, url, tool, "eu", "us") for tool in ("hidden", "nothing")]
        broken = [await called(http, url, "broken", "eu", header) for header in ("us", "eu")]

    assert true[0] == 200
    assert "ran in eu" in true[1]
    assert [(status, "-32020" in text) for status, text in lies] == [(400, True)] * 2
    assert hidden[0] == unknown[0]
    assert hidden[1].replace("hidden", "nothing") == unknown[1]
    # What cannot be compared is not run.
    assert ["ran in" in text or "no schema" in text for _, text in broken] == [False, False]
