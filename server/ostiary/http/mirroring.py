"""Headers that repeat what stands in the body must repeat it truly, in every era.

Modern clients name method, target and some arguments in headers, for proxies to decide by,
and the SDK compares them. The older transports know no such headers and would let them lie.
"""

import json
from typing import Any

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PARAM_HEADER_PREFIX,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    decode_header_value,
)
from mcp_types import HEADER_MISMATCH
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Scope

from ostiary.eras import MODERN


def mismatch(scope: Scope, message: Message) -> Response | None:
    """The refusal of a whole request whose headers say something else than its body."""
    headers = Headers(scope=scope)
    if scope["method"] != "POST" or not any(name.startswith("mcp-") for name in headers):
        return None
    if scope["path"] == "/mcp" and headers.get(MCP_PROTOCOL_VERSION_HEADER, "") >= MODERN:
        return None  # the SDK compares
    if _true(headers, message.get("body", b"")):
        return None
    error = {"code": HEADER_MISMATCH, "message": "Mcp-Method, Mcp-Name or Mcp-Param differs from the body"}
    return Response(json.dumps({"jsonrpc": "2.0", "id": None, "error": error}), 400, media_type="application/json")


def _true(headers: Headers, body: bytes) -> bool:
    """Whether method and name are those of the body. No argument is declared for a header here, so none can be compared."""
    if any(name.startswith(MCP_PARAM_HEADER_PREFIX.lower()) for name in headers):
        return False
    if MCP_METHOD_HEADER not in headers and MCP_NAME_HEADER not in headers:
        return True
    said = _object(body)
    method, params = said.get("method"), said.get("params")
    if headers.get(MCP_METHOD_HEADER, method) != method:
        return False
    if MCP_NAME_HEADER not in headers:
        return True
    # The key of this very method: what stands under any other is a decoy. A method without one has no name to tell.
    key = NAME_BEARING_METHODS.get(method) if isinstance(method, str) else None
    name = params.get(key) if key is not None and isinstance(params, dict) else None
    return name is not None and decode_header_value(headers[MCP_NAME_HEADER]) == name


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
