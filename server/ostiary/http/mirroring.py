"""Headers that repeat what stands in the body must repeat it truly, in every era.

Clients of 2026-07-28 name method and target in headers, for proxies to decide by, and the
SDK compares them. The older transports know no such headers and would let them lie.
"""

import json
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Scope

_MODERN = "2026-07-28"
_HEADER_MISMATCH = -32020


def mismatch(scope: Scope, message: Message) -> Response | None:
    """The refusal of a whole request whose headers say something else than its body."""
    headers = Headers(scope=scope)
    method, name = headers.get("mcp-method"), headers.get("mcp-name")
    if (method is None and name is None) or scope["method"] != "POST":
        return None
    if scope["path"] == "/mcp" and headers.get("mcp-protocol-version", "") >= _MODERN:
        return None  # the SDK compares
    body = _object(message.get("body", b""))
    params = body.get("params")
    target = params.get("uri", params.get("name")) if isinstance(params, dict) else None
    if method in (None, body.get("method")) and name in (None, target):
        return None
    error = {"code": _HEADER_MISMATCH, "message": "Mcp-Method or Mcp-Name differs from the body"}
    return Response(json.dumps({"jsonrpc": "2.0", "id": None, "error": error}), 400, media_type="application/json")


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
