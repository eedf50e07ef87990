"""Agents over HTTP that hold one connection each, so that it is known which requests reach the same process."""

import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

JSON = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
_OWN = "io.modelcontextprotocol/"
META = {
    f"{_OWN}protocolVersion": "2026-07-28",
    f"{_OWN}clientInfo": {"name": "t", "version": "1"},
    f"{_OWN}clientCapabilities": {},
}


def message(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A request as it is sent."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


INITIALIZE = message(
    "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
)
"""Begins a session of the 2025 era."""


_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def http_client(**given: Any) -> httpx2.AsyncClient:
    """A client with patience for a busy machine, that trusts nobody over TLS: to read the authorities takes longer than to ask."""
    return httpx2.AsyncClient(**{"timeout": 60, "verify": _NO_CERTIFICATES, **given})


@dataclass(frozen=True)
class Agent:
    """One agent."""

    http: httpx2.AsyncClient
    era: str

    async def query(self, sql: str) -> httpx2.Response:
        """Call the tool of that name."""
        call = {"name": "query", "arguments": {"sql": sql}}
        if self.era == "legacy":
            return await self.http.post("/mcp", json=message("tools/call", call))
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "query"}
        return await self.http.post("/mcp", json=message("tools/call", {**call, "_meta": META}), headers=headers)

    async def worker(self) -> str:
        """The number of the process at the other end."""
        workers: set[str] = set(re.findall(r'worker="(\d+)"', (await self.http.get("/metrics")).text))
        assert len(workers) == 1
        return workers.pop()


@asynccontextmanager
async def agent(url: str, era: str = "2026-07-28") -> AsyncIterator[Agent]:
    """An agent of protocol 2026-07-28, or with a session in the 2025 era."""
    limits = httpx2.Limits(max_connections=1, keepalive_expiry=60)
    async with http_client(base_url=url.removesuffix("/mcp"), headers=JSON, limits=limits) as http:
        if era == "legacy":
            opened = await http.post("/mcp", json=INITIALIZE)
            http.headers["Mcp-Session-Id"] = opened.headers["Mcp-Session-Id"]
            await http.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield Agent(http, era)


def answer_of(reply: httpx2.Response) -> dict[str, Any]:
    """The message that answers, from a plain body or from the last event of a stream."""
    events = [line.removeprefix("data:") for line in reply.text.splitlines() if line.startswith("data:") and line != "data: "]
    answer: dict[str, Any] = json.loads(events[-1] if events else reply.text)
    return answer
