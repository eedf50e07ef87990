"""Agent frameworks with MCP clients of their own, each in an environment of its own, list and call our tools."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from acceptance.pages import ROOT, blocks
from fix_http import serving

from ostiary.config import Config

HOME = Path(__file__).parent / "frameworks"
PAGE = ROOT / "docs/how-to/use-an-agent-framework.md"
ANALYST = ["describe", "explain", "query", "search", "search_schema", "whoami"]

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("framework", ["langchain", "openai_agents", "pydantic_ai"])]


async def said(framework: str, *program: str, **environment: str) -> str:
    """What a program prints where the framework is installed."""
    python = HOME / framework / ".venv" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"not installed: a virtual environment `.venv` with requirements.txt in tests/protocol/frameworks/{framework}")
    process = await asyncio.create_subprocess_exec(
        *(str(python), *program),
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(90):
        out, trouble = await process.communicate()
    assert process.returncode == 0, trouble.decode()[-3000:]
    return out.decode()


async def conversation(framework: str, server: dict[str, Any]) -> Any:
    """What an agent of the framework found and was answered."""
    out = await said(framework, str(HOME / framework / "agent.py"), json.dumps(server))
    return json.loads(out.splitlines()[-1])


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


@pytest.mark.asyncio
async def test_what_the_page_says_is_there(framework: str):
    """Every name, and what is made before a model is asked; a model of the page's is not asked here."""
    [part] = [block.text for block in blocks(PAGE) if block.value == framework]
    await said(framework, "-c", part, OPENAI_API_KEY="none")
