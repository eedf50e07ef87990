"""What a request asks of its call besides its arguments: words on the way, and to go on after its answer."""

from contextlib import suppress
from functools import cache
from typing import Any

import anyio
from mcp.server import ServerRequestContext
from pydantic import BaseModel

from ostiary.progress import Tell
from ostiary_tools.api import AsJob

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


@cache
def job_fields(args: type[BaseModel]) -> frozenset[str]:
    """The arguments by which a call of the tool asks to go on after its answer; none where it may not."""
    fields = args.model_fields.items()
    return frozenset(name for name, field in fields if any(isinstance(mark, AsJob) for mark in field.metadata))
