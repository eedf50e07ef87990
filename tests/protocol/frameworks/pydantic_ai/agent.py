"""An agent of pydantic-ai, whose model follows a script, with the tools of one MCP server.

Takes a JSON object with `url`, or with `command` and `env`; prints the names of the tools and what `query` answered.
"""

import asyncio
import json
import sys
from typing import Any

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Calls `query` once, then says what it was offered and what came back."""
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolReturnPart):
                tools = sorted(tool.name for tool in info.function_tools)
                return ModelResponse([TextPart(json.dumps({"tools": tools, "reply": str(part.content)}))])
    return ModelResponse([ToolCallPart("query", {"sql": "select 6 * 7 as answer"})])


async def main(server: dict[str, Any]) -> None:
    """One conversation."""
    if "url" in server:
        tools = MCPToolset(server["url"])
    else:
        command, *arguments = server["command"]
        tools = MCPToolset(StdioTransport(command, arguments, env=server["env"]))
    agent = Agent(FunctionModel(scripted), toolsets=[tools])
    async with agent:
        print((await agent.run("What is six times seven?")).output)


asyncio.run(main(json.loads(sys.argv[1])))
