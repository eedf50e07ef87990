"""Failures in the protocol's words, and the wall that lets none of another kind out.

No exception of ours or of a library crosses it with its text: on connections of the 2025
era the SDK would send that text to the client.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import mcp.types as t
from mcp import MCPError
from mcp.server import ServerRequestContext

from ostiary.errors import OF_THE_SERVER, CallFailed

AGAIN = "ostiary/retry-after"
"""Of the error of a tool, in its `_meta`; of an error of the protocol, in its `data`. Seconds."""

_log = logging.getLogger(__name__)

_Context = ServerRequestContext[Any]
_Params = TypeVar("_Params")
_Answer = TypeVar("_Answer")


def guarded(handler: Callable[[_Context, _Params], Awaitable[_Answer]]) -> Callable[[_Context, _Params], Awaitable[_Answer]]:
    """The handler, but nothing other than MCPError and cancellation leaves it."""

    async def answer(ctx: _Context, params: _Params) -> _Answer:
        try:
            return await handler(ctx, params)
        except MCPError:
            raise
        except CallFailed as error:
            code = t.INTERNAL_ERROR if of_the_server(error) else t.INVALID_PARAMS
            raise MCPError(code, error.text(), data=again(error)) from None
        except Exception:  # noqa: BLE001 - the boundary: the SDK would send its text to clients of the 2025 era
            _log.exception("a request failed outside the gate")
            raise MCPError(t.INTERNAL_ERROR, "Internal server error") from None

    return answer


def again(error: CallFailed) -> dict[str, Any] | None:
    """For programs: the seconds to wait that `Retry-After` says over HTTP, where an answer has a status of its own."""
    return None if error.again_in_s is None else {AGAIN: error.again_in_s}


def of_the_server(error: Exception) -> bool:
    """Whether it tells how the server is, and nothing of what was asked for."""
    return isinstance(error, CallFailed) and error.code in OF_THE_SERVER


def only_page(params: t.PaginatedRequestParams | None) -> None:
    """Refuse a cursor for a list that is never longer than a page, so that none was ever given out."""
    if params is not None and params.cursor is not None:
        raise wrong_cursor()


def wrong_cursor() -> MCPError:
    """The refusal of a cursor that was not given out."""
    return MCPError(t.INVALID_PARAMS, "Unknown cursor")
