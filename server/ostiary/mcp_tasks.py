"""The extension `io.modelcontextprotocol/tasks`: jobs in the words of clients that know it.

Whoever declares it on a request may be answered with a task instead of a result, and asks
for it by `tasks/get`. A task is a job and its number; looking at one, or ending it, is a
call of the tool `job` and walks the one road as that.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.shared.inbound import MCP_NAME_HEADER

from ostiary.eras import MODERN
from ostiary.errors import OF_THE_SERVER, CallFailed
from ostiary.shape import Reply
from ostiary_tools.control.jobs import KEPT_H
from ostiary_tools.result import Job

EXTENSION = "io.modelcontextprotocol/tasks"

_POLL_MS = 1_000
"""As often as a job tells how far it is."""

_Context = ServerRequestContext[Any]


class TaskParams(t.RequestParams):
    """What every request about a task says; answers to questions are ignored, because no task asks any."""

    task_id: str


class Tasks:
    """The handlers of the extension."""

    def __init__(self, job: Callable[[_Context, dict[str, Any]], Awaitable[Reply]]) -> None:
        """`job` calls the tool of that name."""
        self._job = job

    async def get(self, ctx: _Context, params: TaskParams) -> dict[str, Any]:
        """How the caller's task stands, and what it came to."""
        return detailed(await self._asked(ctx, params, "status"))

    async def update(self, ctx: _Context, params: TaskParams) -> dict[str, Any]:
        """Nothing but that there is such a task."""
        await self._asked(ctx, params, "status")
        return {}

    async def cancel(self, ctx: _Context, params: TaskParams) -> dict[str, Any]:
        """Ask for its end."""
        await self._asked(ctx, params, "cancel")
        return {}

    async def _asked(self, ctx: _Context, params: TaskParams, action: str) -> Job:
        _needed(ctx)
        _routed(ctx, params.task_id)
        try:
            job = (await self._job(ctx, {"id": params.task_id, "action": action})).job
        except CallFailed as error:
            if error.code in OF_THE_SERVER:
                raise
            job = None
        except MCPError:  # who may not call `job` has no tasks
            job = None
        if job is None:
            raise MCPError(t.INVALID_PARAMS, "Unknown task")
        return job


def declares(ctx: _Context) -> bool:
    """Whether the client said on this request that it takes a task for an answer."""
    declared = ctx.session.client_capabilities
    return ctx.protocol_version >= MODERN and bool(declared and declared.extensions and EXTENSION in declared.extensions)


def created(job: Job) -> dict[str, Any]:
    """The result of a call that became a task."""
    return {"resultType": "task", **_task(job)}


def detailed(job: Job) -> dict[str, Any]:
    """The task with what it came to. A tool that failed has completed, with an error for its result."""
    match job.state:
        case "completed" | "failed":
            result = t.CallToolResult(content=[t.TextContent(text=job.reply)], is_error=job.state == "failed")
            return _task(job) | {"status": "completed", "result": result.model_dump(by_alias=True, exclude_none=True)}
        case "lost":
            why = "the server that ran it has ended, and nothing of its result is kept"
            return _task(job) | {"status": "failed", "error": {"code": t.INTERNAL_ERROR, "message": why}, "statusMessage": why}
        case _:
            return _task(job)


def _task(job: Job) -> dict[str, Any]:
    told = {
        "taskId": str(job.id),
        "status": "working" if job.state == "queued" else job.state,
        "createdAt": job.created_at.isoformat(),
        "lastUpdatedAt": job.updated_at.isoformat(),
        "ttlMs": KEPT_H * 3_600_000,
        "pollIntervalMs": _POLL_MS,
    }
    return told | ({"statusMessage": job.message} if job.message else {})


def _needed(ctx: _Context) -> None:
    if ctx.protocol_version < MODERN:
        raise MCPError(t.METHOD_NOT_FOUND, "Method not found")
    if not declares(ctx):
        needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(t.MISSING_REQUIRED_CLIENT_CAPABILITY, "Tasks need a client that declares them", needed)


def _routed(ctx: _Context, task_id: str) -> None:
    """Refuse a request over HTTP whose header does not tell proxies which task it is about."""
    if ctx.request is not None and ctx.request.headers.get(MCP_NAME_HEADER) != task_id:
        raise MCPError(t.HEADER_MISMATCH, "Mcp-Name header does not match the request body's 'taskId' parameter")
