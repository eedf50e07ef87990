"""An agent of openai-agents, whose model follows a script, with the tools of one MCP server.

Takes a JSON object with `url`, or with `command` and `env`; prints the names of the tools and what `query` answered.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage
from agents.mcp import MCPServerStdio, MCPServerStreamableHttp
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText


class Scripted(Model):
    """Calls `query` once, then says what it was offered and what came back."""

    async def get_response(
        self,
        system_instructions: Any,  # noqa: ARG002
        input: Any,  # noqa: A002
        model_settings: Any,  # noqa: ARG002
        tools: Any,
        *_: Any,
        **__: Any,
    ) -> ModelResponse:
        """The next message."""
        answers = [item["output"] for item in input if isinstance(item, dict) and item.get("type") == "function_call_output"]
        if answers:
            said = json.dumps({"tools": sorted(tool.name for tool in tools), "reply": str(answers[0])})
            text = ResponseOutputText(annotations=[], text=said, type="output_text")
            message = ResponseOutputMessage(id="2", content=[text], role="assistant", status="completed", type="message")
            return ModelResponse([message], Usage(), None)
        arguments = json.dumps({"sql": "select 6 * 7 as answer"})
        call = ResponseFunctionToolCall(arguments=arguments, call_id="1", name="query", type="function_call")
        return ModelResponse([call], Usage(), None)

    def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        """Never asked for."""
        raise NotImplementedError


async def main(server: dict[str, Any]) -> None:
    """One conversation."""
    if "url" in server:
        shop: Any = MCPServerStreamableHttp(params={"url": server["url"]})
    else:
        command, *arguments = server["command"]
        shop = MCPServerStdio(
            params={"command": command, "args": arguments, "env": server["env"]}, client_session_timeout_seconds=60
        )
    async with shop:
        agent = Agent(name="analyst", model=Scripted(), mcp_servers=[shop])
        config = RunConfig(tracing_disabled=True)
        print((await Runner.run(agent, "What is six times seven?", run_config=config)).final_output)


asyncio.run(main(json.loads(sys.argv[1])))
