"""The MCP inspector, a client that is not ours, speaks to the server as its users would."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fix_http import serving

from ostiary.config import Config

INSPECTOR = Path(__file__).parent / "inspector" / "node_modules" / ".bin" / "mcp-inspector"

pytestmark = pytest.mark.skipif(
    not INSPECTOR.exists() or shutil.which("node") is None,
    reason="the inspector is not installed: `npm ci` in tests/protocol/inspector",
)


DOORS = {
    "modern": ("/mcp", "--protocol-era", "modern"),
    "legacy": ("/mcp", "--protocol-era", "legacy"),
    "sse": ("/sse", "--transport", "sse"),
}
"""Where each door is, and what makes the inspector take it."""
ANALYST = ["describe", "explain", "query", "search", "search_schema", "whoami"]
ANSWER = ("--method", "tools/call", "--tool-name", "query", "--tool-arg", "sql=select 6 * 7 as answer")


def inspect(*arguments: str) -> Any:
    """What the inspector prints for one request."""
    answer = subprocess.run([str(INSPECTOR), "--cli", *arguments], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(answer.stdout)


def started(config: Config) -> list[str]:
    """Words that let the inspector start a server process and speak to it over stdio."""
    places = {"DATA": config.home.data, "STATE": config.home.state}
    given = [word for name, place in places.items() for word in ("-e", f"OSTIARY_HOME__{name}={place}")]
    return [*given, sys.executable, "-m", "ostiary", "serve"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_the_inspector_lists_the_tools_of_an_analyst(ostiary_config: Config, era: str):
    tools = inspect("--protocol-era", era, *started(ostiary_config), "--method", "tools/list", "--strict")["tools"]

    assert [tool["name"] for tool in tools] == ANALYST


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_the_inspector_gets_an_answer(ostiary_config: Config, era: str):
    reply = inspect("--protocol-era", era, *started(ostiary_config), *ANSWER)

    assert reply["isError"] is False
    assert "\nanswer\n42\n" in reply["content"][0]["text"]


def test_the_inspector_reads_a_resource(ostiary_config: Config):
    reply = inspect(*started(ostiary_config), "--method", "resources/read", "--uri", "schema://shop/public/orders")

    assert "public.orders (table" in reply["contents"][0]["text"]


@pytest.mark.asyncio
async def test_the_inspector_lists_and_calls_through_every_door_of_http(ostiary_config: Config):
    async with serving(ostiary_config) as (url, _):
        for path, *era in DOORS.values():
            door = (url.replace("/mcp", path), *era)
            listed = await asyncio.to_thread(inspect, *door, "--method", "tools/list")
            reply = await asyncio.to_thread(inspect, *door, *ANSWER)

            assert [tool["name"] for tool in listed["tools"]] == ANALYST
            assert "\nanswer\n42\n" in reply["content"][0]["text"]
