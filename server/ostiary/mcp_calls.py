"""What a request asks of its call besides its arguments: words on the way, and to go on after its answer."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import anyio
import mcp.types as t
from mcp.server import ServerRequestContext

from ostiary.progress import Tell
from ostiary_tools.api import AsJob, Tool

_SLOW_CLIENT_S = 0.2


def progress(ctx: ServerRequestContext[Any]) -> Tell | None:
    """What takes progress to the client; `None` for one that gave no token."""
    if "progress_token" not in (ctx.meta or {}):
        return None

    async def tell(done: float, total: float | None, message: str) -> None:
        # A client that reads slowly misses some; the call does not wait for it.
        with anyio.move_on_after(_SLOW_CLIENT_S), suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await ctx.session.report_progress(done, total, message or None)

    return tell


def asks_for_job(tools: Iterable[Tool[Any]], params: t.CallToolRequestParams) -> bool:
    """Whether the call is of a tool, out of the caller's, that may go on after its answer, and wants that."""
    given = {name for name, value in (params.arguments or {}).items() if value is True}
    fields = (field for tool in tools if tool.name == params.name for field in tool.args.model_fields.items())
    return any(name in given and any(isinstance(mark, AsJob) for mark in field.metadata) for name, field in fields)
