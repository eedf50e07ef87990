"""Logs: to stderr alone, because stdout belongs to the protocol, and without secrets.

Our own messages and those of the libraries (through `logging`) take the same way. A
library is heard from warnings on, and tells where something failed without the text of
the exception: below that, and in that, the MCP SDK quotes whole messages of clients.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import structlog

from ostiary.config.secrets import redacted

_SECRET_NAME = re.compile(
    r"(^|[_.-])(dsn|passw(or)?d|passphrase|secret|token|key|credential|authorization|cookie)s?$", re.IGNORECASE
)
_HIDDEN = "***"
_LIBRARIES = (
    *("asyncio", "asyncpg", "chromadb", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "opentelemetry"),
    *("requests", "sse_starlette", "starlette", "urllib3", "uvicorn"),
)
_TOLD_ELSEWHERE = ("mcp.server.sse", "mcp.server.streamable_http_manager", "mcp.server.transport_security", "uvicorn.error")
"""They warn of requests that they refuse, of which `http.refusals` says a line."""
_EVENT_CHARS = 300


def configure(level: Literal["debug", "info", "warning", "error"], style: Literal["auto", "console", "json"]) -> None:
    """Send everything that is logged from now on to stderr. Calling it again replaces what was."""
    before: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_quotes,
                # Tracebacks become text here, so that what they quote is redacted with the rest.
                structlog.processors.format_exc_info,
                redact,
                _renderer(style),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
    for library in _TOLD_ELSEWHERE:
        logging.getLogger(library).setLevel(logging.ERROR)
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _without_quotes(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A library's message on one line, and instead of its exception the type and the place."""
    if str(event.get("logger", "")).split(".")[0] not in _LIBRARIES:
        return event
    event["event"] = "".join(c if c.isprintable() else " " for c in str(event["event"])[:_EVENT_CHARS])
    failure = event.pop("exc_info", None)
    if isinstance(failure, tuple) and failure[1] is not None:
        frames = traceback.extract_tb(failure[2])
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        event["failure"] = f"{type(failure[1]).__name__}{place}"
    return event


def _renderer(style: str) -> structlog.typing.Processor:
    if style == "console" or (style == "auto" and sys.stderr.isatty()):
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: hides values under secret names and passwords in any text; what is not plain becomes its repr."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name) and value is not None:
        return _HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redacted(str(key)): _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    return redacted(value if isinstance(value, str) else repr(value))
