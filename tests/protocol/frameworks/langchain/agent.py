"""An agent of LangGraph, whose model follows a script, with the tools of one MCP server through langchain-mcp-adapters.

Takes a JSON object with `url`, or with `command` and `env`; prints the names of the tools and what `query` answered.
"""

import asyncio
import json
import sys
from typing import Any

from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_mcp_adapters.client import MultiServerMCPClient
from langgraph.prebuilt import create_react_agent


class Scripted(FakeMessagesListChatModel):
    """Says what it is told to; the tools it is given change nothing."""

    def bind_tools(self, tools: Any, **_: Any) -> "Scripted":  # noqa: ARG002 - the framework's shape
        """Itself."""
        return self


async def main(server: dict[str, Any]) -> None:
    """One conversation."""
    if "url" in server:
        connection = {"transport": "streamable_http", "url": server["url"]}
    else:
        command, *arguments = server["command"]
        connection = {"transport": "stdio", "command": command, "args": arguments, "env": server["env"]}
    tools = await MultiServerMCPClient({"ostiary": connection}).get_tools()
    call = ToolCall(name="query", args={"sql": "select 6 * 7 as answer"}, id="1")
    model = Scripted(responses=[AIMessage("", tool_calls=[call]), AIMessage("42")])
    said = await create_react_agent(model, tools).ainvoke({"messages": [("user", "What is six times seven?")]})
    replies = [str(message.content) for message in said["messages"] if isinstance(message, ToolMessage)]
    print(json.dumps({"tools": sorted(tool.name for tool in tools), "reply": replies[0]}))


asyncio.run(main(json.loads(sys.argv[1])))
