"""Requests as calls of the gate: whose, with which trace, and what they ask besides their arguments."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext

from ostiary.call import Call
from ostiary.errors import UnknownTool
from ostiary.gate import Gate
from ostiary.progress import Tell
from ostiary.shape import Reply
from ostiary.trace import traceparent
from ostiary_policies.model import Principal
from ostiary_tools.api import Client, Surface, Tool

_SLOW_CLIENT_S = 0.2

_Context = ServerRequestContext[Any]


@dataclass(frozen=True, slots=True)
class Calls:
    """What takes requests of one server to the gate. `who` names the caller of a request."""

    gate: Gate
    who: Callable[[_Context | None], Principal]
    transport: str

    async def tools(self, ctx: _Context, surface: Surface) -> list[Tool[Any]]:
        """Those the caller may call."""
        return await self.gate.tools(self.who(ctx), surface)

    async def __call__(
        self,
        ctx: _Context,
        tool: str,
        arguments: dict[str, Any],
        surface: Surface = Surface.TOOL,
        origin: str = "tool",
        *,
        client: Client | None = None,
    ) -> Reply:
        """The reply. Raises CallFailed, and MCPError for a tool that does not exist for the caller."""
        call = Call(tool, arguments, surface, origin, self.transport, trace(ctx), progress(ctx), client=client or Client())
        try:
            return await self.gate.call(self.who(ctx), call)
        except UnknownTool as error:
            raise unknown(error) from None


def unknown(error: UnknownTool) -> MCPError:
    """The same words for a tool that is hidden and for one that is not there."""
    return MCPError(t.INVALID_PARAMS, str(error))


def trace(ctx: _Context) -> str:
    """What the message says its trace is, else what its HTTP request says."""
    headers = ctx.request.headers if ctx.request is not None else {}
    return traceparent((ctx.meta or {}).get("traceparent")) or traceparent(headers.get("traceparent"))


def progress(ctx: _Context) -> Tell | None:
    """What takes progress to the client; `None` for one that gave no token."""
    if "progress_token" not in (ctx.meta or {}):
        return None

    async def tell(done: float, total: float | None, message: str) -> None:
        # A client that reads slowly misses some; the call does not wait for it.
        with anyio.move_on_after(_SLOW_CLIENT_S), suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await ctx.session.report_progress(done, total, message or None)

    return tell
