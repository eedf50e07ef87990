"""The MCP inspector, a client that is not ours, speaks to the server as its users would."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ostiary.config import Config

INSPECTOR = Path(__file__).parent / "inspector" / "node_modules" / ".bin" / "mcp-inspector"

pytestmark = pytest.mark.skipif(
    not INSPECTOR.exists() or shutil.which("node") is None,
    reason="the inspector is not installed: `npm ci` in tests/protocol/inspector",
)


def inspect(config: Config, *arguments: str) -> Any:
    """What the inspector prints for one request to a new server process."""
    places = {"DATA": config.home.data, "STATE": config.home.state}
    given = [word for name, place in places.items() for word in ("-e", f"OSTIARY_HOME__{name}={place}")]
    command = [str(INSPECTOR), "--cli", *given, sys.executable, "-m", "ostiary", "serve", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(answer.stdout)


def test_the_inspector_lists_the_tools_of_an_analyst(ostiary_config: Config):
    tools = inspect(ostiary_config, "--method", "tools/list")["tools"]

    assert [tool["name"] for tool in tools] == ["describe", "explain", "query", "search_schema", "whoami"]


def test_the_inspector_gets_an_answer(ostiary_config: Config):
    arguments = ("--method", "tools/call", "--tool-name", "query", "--tool-arg", "sql=select 6 * 7 as answer")
    reply = inspect(ostiary_config, *arguments)

    assert reply["isError"] is False
    assert "\nanswer\n42\n" in reply["content"][0]["text"]


def test_the_inspector_reads_a_resource(ostiary_config: Config):
    reply = inspect(ostiary_config, "--method", "resources/read", "--uri", "schema://shop/public/orders")

    assert "public.orders (table" in reply["contents"][0]["text"]
