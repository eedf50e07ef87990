"""Agent frameworks with MCP clients of their own, each in an environment of its own, list and call our tools."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fix_http import serving

from ostiary.config import Config

HOME = Path(__file__).parent / "frameworks"
ANALYST = ["describe", "explain", "query", "search_schema", "whoami"]

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("framework", ["langchain", "pydantic_ai"])]


async def conversation(framework: str, server: dict[str, Any]) -> Any:
    """What an agent of the framework found and was answered."""
    python = HOME / framework / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"not installed: a virtual environment `.venv` with requirements.txt in tests/protocol/frameworks/{framework}")
    agent = await asyncio.create_subprocess_exec(
        *(python, HOME / framework / "agent.py", json.dumps(server)),
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        said, trouble = await agent.communicate()
    assert agent.returncode == 0, trouble.decode()[-3000:]
    return json.loads(said.decode().splitlines()[-1])


@pytest.mark.asyncio
async def test_an_agent_lists_and_calls_tools_over_stdio(ostiary_config: Config, framework: str):
    places = {f"OSTIARY_HOME__{part.upper()}": str(getattr(ostiary_config.home, part)) for part in ("data", "state")}
    command = [sys.executable, "-m", "ostiary", "serve"]
    found = await conversation(framework, {"command": command, "env": {"PATH": os.environ["PATH"], **places}})

    assert found["tools"] == ANALYST
    assert "42" in found["reply"]


@pytest.mark.asyncio
async def test_an_agent_lists_and_calls_tools_over_http(ostiary_config: Config, framework: str):
    async with serving(ostiary_config) as (url, _):
        found = await conversation(framework, {"url": url})

    assert found["tools"] == ANALYST
    assert "42" in found["reply"]
