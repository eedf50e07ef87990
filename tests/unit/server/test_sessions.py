"""Sessions of the 2025 era, driven by the events of ASGI."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fix_agents import INITIALIZE, JSON
from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings

from ostiary.config.settings import Http
from ostiary.http.sessions import Sessions

Seen = Callable[[dict[str, Any]], Awaitable[None]]


async def unseen(_: dict[str, Any]) -> None:
    """Nothing happens when something is sent."""


async def asked(sessions: Sessions, method: str, body: object = None, *, session: str = "", seen: Seen = unseen) -> list[Any]:
    """What is sent in answer."""
    headers = {**JSON, **({"Mcp-Session-Id": session} if session else {})}
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": json.dumps(body).encode() if body else b"", "more_body": False}]

    async def receive() -> Any:
        if not parts:
            await asyncio.Event().wait()  # the client stays
        return parts.pop()

    async def send(event: Any) -> None:
        sent.append(event)
        await seen(event)

    scope = {"type": "http", "method": method, "path": "/mcp", "query_string": b"", "headers": given}
    await sessions.handle_request(scope, receive, send)
    return sent


@pytest.mark.asyncio
async def test_a_session_that_ends_before_an_answered_notification_is_handed_on_is_no_failure():
    told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    sessions = Sessions(Server("s"), Http(), TransportSecuritySettings(enable_dns_rebinding_protection=False))
    async with sessions.run():
        begun = await asked(sessions, "POST", INITIALIZE)
        session = dict(begun[0]["headers"])[b"mcp-session-id"].decode()

        async def end(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.body":
                await asked(sessions, "DELETE", session=session)

        sent = await asked(sessions, "POST", told, session=session, seen=end)

    assert [event["type"] for event in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 202
