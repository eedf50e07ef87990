"""Malformed and hostile requests: a seeded generator of the bytes an attacker would send.

A request is made of its seed and number alone, so each can be made again. What only a
running server knows stands in it as a mark: `{session}`, `{stream}` and `{token}`.
None holds a name or a value that is hidden from its sender.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SESSION, STREAM, TOKEN = "{session}", "{stream}", "{token}"  # marks, no credentials
MARK = "canaryparameter7f3a"
"""Stands in values of arguments: no log holds it."""
_ACCEPT = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True, slots=True)
class Offered:
    """What the server offers: tools with the names of their arguments, prompts likewise."""

    tools: Mapping[str, tuple[str, ...]]
    prompts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes for a connection, sent part by part; `line` is its message as a line of stdio, if it has one."""

    kind: str
    parts: tuple[bytes, ...]
    line: bytes = b""
    half: bool = False
    """The rest never comes: the client leaves."""


def request(seed: int, number: int, offered: Offered) -> Request:
    """One of them."""
    rng = Random(f"{seed}:{number}")  # noqa: S311  reproducible on purpose
    kind, make = rng.choice(_KINDS)
    made = make(rng, offered)
    return Request(kind, made.parts, made.line, made.half)


# HTTP


def _broken_http(rng: Random, offered: Offered) -> Request:
    whole = bytearray(b"".join(_posted(rng, _call(rng, offered), rng.choice(_DOORS)).parts))
    head = bytes(whole).split(b"\r\n\r\n", 1)[0]
    if rng.random() < 0.5:
        return _broken_head(rng, head, bytes(whole))
    match rng.randrange(6):
        case 0:  # anywhere, anything
            for _ in range(rng.randint(1, 6)):
                whole[rng.randrange(len(whole))] = rng.randrange(256)
        case 1:
            return _raw(bytes(whole[: rng.randrange(len(whole))]), half=True)
        case 2:
            return _raw(_without_length(head) + b"\r\nContent-Length: " + rng.choice(_LENGTHS) + b"\r\n\r\n{}", half=True)
        case 3:
            return _raw(_without_length(head) + b"\r\nTransfer-Encoding: " + rng.choice(_CODINGS), half=True)
        case 4:  # several at once, none waiting for its answer
            return _raw(bytes(whole).replace(b"Connection: close\r\n", b"") * rng.randint(2, 5) + bytes(whole))
        case _:
            return _raw(rng.randbytes(rng.randint(1, 3000)), half=True)
    return _raw(bytes(whole), half=True)


def _broken_head(rng: Random, head: bytes, whole: bytes) -> Request:
    match rng.randrange(6):
        case 0:  # headers that two readers read differently
            return _raw(head + b"\r\n" + rng.choice(_ODD_HEADERS) + b"\r\n\r\n{}")
        case 1:
            return _raw(head + b"\r\n" + b"X-Many: y\r\n" * rng.choice((101, 500, 5000)) + b"\r\n")
        case 2:
            size = rng.choice((9_000, 40_000, 300_000))
            return _raw(head + b"\r\n" + rng.choice(_NAMES) + b": " + b"A" * size + b"\r\n\r\n")
        case 3:
            return _raw(whole.replace(b"HTTP/1.1", rng.choice(_VERSIONS), 1))
        case 4:
            return _raw(rng.choice(_METHODS) + whole[4:])
        case _:
            return _raw(whole.replace(b" HTTP/1.1", rng.choice(_TARGETS) + b" HTTP/1.1", 1))


_ODD_HEADERS = (
    *(b"X: a\r\n b", b"X: a\r\n\tb", b" X: a", b"X : a", b"X\0: a", b"X: a\0b", b"X: a\rb", b"X: a\nY: b", b": empty", b"X"),
    *(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2", b"Content-Length: +2", b"Content-Length: 2, 2"),
    *(b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked"),
    *(b"Mcp-Method: a\r\nMcp-Method: b", b"Mcp-Name: =?base64?/w==?=", b"Mcp-Name: caf\xe9", b"Mcp-Name: \xff\xfe"),
    *(b"Mcp-Method: tools/call\r\n\ttools/list", b"Mcp-Session-Id: \xe9", b"MCP-Protocol-Version: \xe9"),
    *(b"Authorization: Bearer \xff", b"Authorization: Basic \r\n x", b"Authorization: " + b"Bearer " * 500),
    *(b"Last-Event-ID: ../../x", b"Traceparent: 00-zz-zz-zz", b"Expect: 100-continue", b"Expect: 200-ok"),
    *(b"Upgrade: websocket\r\nConnection: Upgrade", b"Upgrade: h2c\r\nHTTP2-Settings: AAA", b"Content-Encoding: gzip"),
    *(b"Content-Type: text/plain", b"Accept: \xff", b"Accept: */*;q=nan", b"Host: evil.example", b"Origin: null"),
    *(b"X-Forwarded-For: 127.0.0.1", b"Forwarded: for=\xff", b"Cookie: a=\x01", b"Range: bytes=0-0,-1"),
)
_NAMES = (b"X", b"Authorization", b"Mcp-Method", b"Mcp-Session-Id", b"Host", b"Cookie", b"Traceparent", b"Accept")
_VERSIONS = (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.10", b"HTTP/11", b"http/1.1", b"HTTP/\xff", b"", b"RTSP/1.0")
_METHODS = (b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD", b"TRACE", b"CONNECT", b"PRI", b"GET", b"get", b"G\0T", b"A" * 3000)
_TARGETS = (b"/../../etc/passwd", b"?a=%00", b"%2e%2e/", b"//", b"#x", b"?" + b"a=b&" * 2000, b"\xff", b" x", b";x", b"/\\..")
_LENGTHS = (b"-1", b"0", b"1", b"3", b"99999999999999999999", b"0x2", b"2.0", b"\xb2", b"4194305", b"1e3", b"")
_CODINGS = (
    *(
        b"chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
        b"chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        b"chunked\r\n\r\n2;x=\0\r\n{}\r\n0\r\n\r\n",
    ),
    *(b"chunked\r\n\r\n2\n{}\n0\n\n", b"chunked\r\n\r\nffffffffffffffffff\r\n{}", b"chunked\r\n\r\n2\r\n{}0\r\n\r\n"),
    *(b"chunked\r\n\r\n0\r\nHost: evil.example\r\nX\0: y\r\n\r\n", b"chunked\r\n\r\n" + b"1;" + b"x" * 40_000 + b"\r\n{\r\n"),
    *(b"chunked, chunked\r\n\r\n0\r\n\r\n", b"xchunked\r\n\r\n0\r\n\r\n", b"\r\n\r\n"),
)


def _without_length(head: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length"))


def _pages(rng: Random, _: Offered) -> Request:
    method = rng.choice(("GET", "GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT"))
    page = rng.choice(_PATHS) + rng.choice(("", "", "?" + rng.choice(("a", "session_id=%FF", "token=x", "=&&=", "%", "a=\xff"))))
    more = rng.choice(("", "", "X-Forwarded-For: ::1\r\n", "Accept: text/event-stream\r\n", "Range: bytes=9-1\r\n"))
    return _raw(_head(method, page, rng) + (more + "\r\n").encode("latin-1"))


_PATHS = (
    *("/", "/healthz", "/readyz", "/metrics", "/mcp", "/sse", "/messages/", "/messages", "/mcp/", "/metrics/"),
    *("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"),
    *(
        "/.well-known/oauth-authorization-server",
        "/.env",
        "/docs",
        "/openapi.json",
        "/server-status",
        "/..",
        "/%00",
        "/favicon.ico",
    ),
    *(
        f"/messages/?session_id={STREAM}",
        "/messages/?session_id=" + "0" * 32,
        "/messages/x/y",
        "/mcp;x",
        "*",
        "http://127.0.0.1/metrics",
    ),
)


def _head(method: str, page: str, rng: Random) -> bytes:
    token = rng.choice((TOKEN,) * 8 + ("", "wrong"))
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"{method} {page} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{shown}".encode("latin-1")


def _raw(data: bytes | bytearray, line: bytes = b"", *, half: bool = False) -> Request:
    return Request("", (bytes(data),), line, half)


# Doors


def _modern(rng: Random, message: Any) -> str:
    method = message.get("method") if isinstance(message, dict) else None
    params = message.get("params") if isinstance(message, dict) else None
    name = (params.get("name") or params.get("uri")) if isinstance(params, dict) else None
    lines = [f"MCP-Protocol-Version: {MODERN}"]
    lines += [f"Mcp-Method: {method}"] if isinstance(method, str) and _plain(method) else []
    lines += [f"Mcp-Name: {name}"] if isinstance(name, str) and _plain(name) else []
    return "".join(f"{line}\r\n" for line in lines)


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) < 500


_DOORS: tuple[tuple[str, Callable[[Random, Any], str]], ...] = (
    ("/mcp", _modern),
    ("/mcp", _modern),
    ("/mcp", lambda _, __: f"Mcp-Session-Id: {SESSION}\r\nMCP-Protocol-Version: {LEGACY}\r\n"),
    ("/mcp", lambda _, __: f"Mcp-Session-Id: {SESSION}\r\n"),
    ("/mcp", lambda _, __: ""),
    (f"/messages/?session_id={STREAM}", lambda _, __: ""),
)
_Door = tuple[str, Callable[[Random, Any], str]]


def _posted(rng: Random, message: Any, door: _Door, body: bytes | None = None, headers: str = "") -> Request:
    page, more = door
    # As strict writers write it: lone surrogates and the like stay escapes.
    data = json.dumps(message).encode() if body is None else body
    chosen = headers or more(rng, message)
    head = _head("POST", page, rng) + (_ACCEPT + chosen + f"Content-Length: {len(data)}\r\n\r\n").encode("latin-1", "replace")
    line = data.replace(b"\n", b" ").replace(b"\r", b" ")
    # In two parts now and then, so that the second comes while the first is read.
    return Request("", (head, data) if rng.random() < 0.2 else (head + data,), line)


# JSON


def _broken_json(rng: Random, offered: Offered) -> Request:
    message = _call(rng, offered)
    text = json.dumps(message)
    door = rng.choice(_DOORS)
    if rng.random() < 0.2:
        return _posted(rng, rng.choice((_odd(rng), {}, [], "x", None, 7)), door)
    return _posted(rng, message, door, _broken_text(rng, message, text))


def _broken_text(rng: Random, message: Any, text: str) -> bytes:
    match rng.randrange(9):
        case 0:
            return text[: rng.randrange(len(text))].encode()
        case 1:
            data = bytearray(text.encode())
            for _ in range(rng.randint(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data)
        case 2:
            depth = rng.choice((90, 500, 5_000, 100_000))
            opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
            nested = opened * depth + ("1" if opened != "[" else "") + closed * depth
            return rng.choice((nested, text.replace("{}", nested, 1))).encode()
        case 3:
            return text.replace(f": {message['id']}", f": {rng.choice(_NUMBERS)}", 1).encode()
        case 4:
            twice = text[:-1] + rng.choice((', "method": "tools/list"}', ', "id": 9}', ', "params": {}}', ', "jsonrpc": "1.0"}'))
            return twice.encode()
        case 5:
            batch = rng.choice(([], [message], [message] * 20, [1, None], [[message]]))
            return json.dumps(batch).encode()
        case 6:
            return rng.choice(_TEXTS)
        case 7:
            return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")))
        case _:
            return text.replace("1.0", "NaN").replace("2.0", rng.choice(("NaN", "Infinity"))).encode()


_NUMBERS = ("1" * 5000, "1e999", "-0", "0x1", "01", "1.", "-1", str(2**63), str(2**64), "1.5", "NaN", "-Infinity", "1e-999", ".5")
_TEXTS = (
    *(b"", b" ", b"\0", b"null", b"\xff\xfe", b'"\\ud800"', b'{"a":"\\ud800"}', b'{"\\u0000":1}', b"{'a':1}", b"//\n{}"),
    *(b'{"jsonrpc":"2.0"}', b'{"jsonrpc":2.0,"id":1,"method":"ping"}', b'{"jsonrpc":"2.0","id":1}', b'{"id":1,"method":"ping"}'),
    *(b'{"jsonrpc":"2.0","id":1,"result":{}}', b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}', b"[1e400]"),
    *(b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":"x"}}', b"{}{}", b'{"jsonrpc":"2.0","id":null,"method":"ping"}'),
)


# MCP


def _wrong_mcp(rng: Random, offered: Offered) -> Request:
    message = _call(rng, offered)
    params = message["params"]
    meta = params["_meta"]
    match rng.randrange(9):
        case 0:
            message["id"] = _odd(rng)
        case 1:
            message["method"] = rng.choice(_UNKNOWN)
        case 2:
            del message["id"]
        case 3:
            message["params"] = _odd(rng)
        case 4:
            params["_meta"] = _odd(rng)
        case 5:
            for name in rng.sample(_META, rng.randint(1, 4)):
                meta[name] = _odd(rng)
        case 6:
            message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _greeting(rng)}
        case 7:
            message["method"], more = rng.choice(_LISTS)
            params.clear()
            params.update({"_meta": meta, **more, rng.choice(_FIELDS): _odd(rng)})
        case _:
            params[rng.choice(_FIELDS)] = _odd(rng)
    return _posted(rng, message, rng.choice(_DOORS))


def _greeting(rng: Random) -> dict[str, Any]:
    greeting: dict[str, Any] = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    greeting[rng.choice(tuple(greeting))] = _odd(rng)
    if rng.random() < 0.3:
        greeting["capabilities"] = {name: _odd(rng) for name in ("elicitation", "sampling", "roots", "experimental", "extensions")}
    return greeting


_UNKNOWN = (
    *("", "tools/nothing", "rpc.discover", "tools/call\0", "__class__", "logging/setLevel", "sampling/createMessage", "roots/list"),
    *("notifications/initialized", "notifications/cancelled", "notifications/progress", "elicitation/create", "x" * 3000, "größe"),
    *(
        "server/discover",
        "initialize",
        "ping",
        "subscriptions/listen",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
    ),
    *(
        "tasks/get",
        "tasks/list",
        "tasks/cancel",
        "tasks/result",
        "tasks/update",
        "resources/templates/list",
        "notifications/roots/list_changed",
    ),
)
_META = (
    *("progressToken", "traceparent", "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientInfo"),
    *(
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/logLevel",
        "io.modelcontextprotocol/subscriptionId",
        "tracestate",
    ),
)
_LISTS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(
        (name, {})
        for name in ("tools/list", "resources/list", "prompts/list", "resources/templates/list", "server/discover", "ping")
    ),
    ("resources/read", {"uri": "schema://shop/public/notes"}),
    ("resources/subscribe", {"uri": "schema://shop/public/notes"}),
    ("resources/unsubscribe", {"uri": "schema://shop/public/notes"}),
    ("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["schema://shop/public/notes"]}}),
    ("tasks/get", {"taskId": "00000000-0000-0000-0000-000000000000"}),
    ("tasks/cancel", {"taskId": "x"}),
    ("tasks/result", {"taskId": "../x"}),
    ("notifications/cancelled", {"requestId": 1}),
    ("notifications/progress", {"progressToken": 1, "progress": 1}),
    ("logging/setLevel", {"level": "debug"}),
)
_FIELDS = (
    *("cursor", "uri", "requestState", "inputResponses", "taskId", "name", "arguments", "task", "notifications", "ref", "argument"),
    *("context", "requestId", "progressToken", "level", "protocolVersion", "capabilities", "unknown"),
)


def _odd(rng: Random, depth: int = 0) -> Any:
    """A value that is seldom the one that is wanted."""
    if depth < 3 and rng.random() < 0.3:
        items = [_odd(rng, depth + 1) for _ in range(rng.randint(0, 4))]
        return items if rng.random() < 0.4 else {rng.choice(_KEYS): item for item in items}
    return rng.choice(_VALUES)


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 1.5, 1e308, float("inf"), float("nan"), 2**31, 2**53 + 1, 2**63, -(2**200), 10**400),
    *("", " ", "0", "null", "true", "a\0b", "\ud800", "\udfff\ud800", "\u202e", "é", "日本", "\x1b[31m", "\r\nX: y", "x" * 5000),
    *(
        "../../../etc/passwd",
        "file:///etc/passwd",
        "schema://shop/public/notes",
        "schema://",
        "schema://shop/public/%00",
        "%",
        "%ff%fe",
    ),
    *(
        "schema://shop/..%2f..%2fpublic/notes",
        "schema://shop/public/o'\"`;--",
        "http://[::1",
        "http://169.254.169.254/",
        "://",
        "x:" * 400,
    ),
    *("'; drop table notes; --", '"', "${jndi:ldap://x}", "{{7*7}}", "{0.__class__}", "%s%s%n", "$(id)", "`id`", "<script>", MARK),
    *(
        "00000000-0000-0000-0000-000000000000",
        "eyJhbGciOiJub25lIn0.e30.",
        "AAAA" * 30,
        "2026-07-28",
        "1999-01-01",
        "9999-99-99",
        LEGACY,
    ),
    *(
        [],
        {},
        [None],
        [[]],
        {"": ""},
        {"a": {"b": {"c": []}}},
        ["x"] * 300,
        {"type": "ref/prompt"},
        {"type": "ref/resource", "uri": "x"},
    ),
    *({"type": "ref/prompt", "name": "question_to_sql"}, {"name": "table", "value": "\ud800"}, {"arguments": {"schema": 7}}),
    *({"approve": {"action": "accept", "content": {"approve": True}}}, {"x": {"roots": [{"uri": "file:///etc"}]}}, {"x": 1}),
)
_KEYS = (
    "",
    "a",
    "__proto__",
    "__class__",
    "\0",
    "\ud800",
    "name",
    "uri",
    "sql",
    "elicitation",
    "form",
    "x" * 300,
    "é",
    "content",
    "action",
)


# Arguments


def _hostile_arguments(rng: Random, offered: Offered) -> Request:
    kind = rng.random()
    if kind < 0.65:
        name = rng.choice((*offered.tools, *("query",) * 6, "explain"))
        message = well_made("tools/call", name=name, arguments=_arguments(rng, offered.tools.get(name, ())))
    elif kind < 0.75:
        name = rng.choice(tuple(offered.prompts) or ("x",))
        message = well_made("prompts/get", name=name, arguments=_arguments(rng, offered.prompts.get(name, ())))
    elif kind < 0.88:
        message = well_made("completion/complete", **_completion(rng))
    else:
        message = well_made(rng.choice(("resources/read", "resources/subscribe")), uri=_address(rng))
    return _posted(rng, message, rng.choice(_DOORS))


def _arguments(rng: Random, names: tuple[str, ...]) -> dict[str, Any]:
    given = {name: _argument(rng, name) for name in names if rng.random() < (0.9 if name == "sql" else 0.25)}
    if rng.random() < 0.1:
        given[rng.choice(_KEYS)] = _odd(rng)
    return given


def _argument(rng: Random, name: str) -> Any:
    if rng.random() < 0.2:
        return _odd(rng)
    match name:
        case "sql":
            text = rng.choice(_SQL)
            return text if rng.random() < 0.8 else _cut(rng, text)
        case "params" | "parameters":
            return [rng.choice(_VALUES) for _ in range(rng.randint(0, 4))]
        case "tables":
            return [rng.choice(_TABLES) for _ in range(rng.randint(0, 5))]
        case "datasource":
            return rng.choice(("shop", "shop", "SHOP", "nowhere", "", "shop'--", "../shop", "shop\0"))
        case "limit" | "max_rows" | "depth":
            return rng.choice((0, 1, -1, 10**9, 2**63, 1.5, "1", None))
        case _:
            return rng.choice((*_TABLES, *_VALUES))


def _cut(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return (
        text[:at]
        + rng.choice(("", "'", '"', "(", ")", ";", "--", "/*", "$$", "\0", "\\", "\ud800", "::", "%s", "$1"))
        + text[at:][1:]
    )


def _completion(rng: Random) -> dict[str, Any]:
    ref = rng.choice(
        ({"type": "ref/resource", "uri": "schema://{datasource}/{schema}/{table}"}, {"type": "ref/prompt", "name": "x"}, _odd(rng))
    )
    argument = {"name": rng.choice(("datasource", "schema", "table", "x")), "value": rng.choice((*_TABLES, *_VALUES))}
    context = {"arguments": {"datasource": rng.choice(("shop", *_VALUES)), "schema": rng.choice(("public", *_VALUES))}}
    return {"ref": ref, "argument": argument, **({"context": context} if rng.random() < 0.6 else {})}


def _address(rng: Random) -> Any:
    if rng.random() < 0.3:
        return _odd(rng)
    parts = [
        rng.choice(("shop", "public", "notes", "..", "%2e%2e", "%00", "%ff", "o%22%27", "", "*", "x" * 3000))
        for _ in range(rng.randint(1, 5))
    ]
    return rng.choice(("schema://", "schema:", "SCHEMA://", "file://")) + "/".join(parts) + rng.choice(("", "?x=1", "#x"))


_TABLES = (
    *(
        "notes",
        "public.notes",
        '"public"."notes"',
        "pg_authid",
        "pg_catalog.pg_shadow",
        "information_schema.tables",
        "canary",
        "can%",
        "%",
        "*",
    ),
    *(
        "no'tes",
        'no"tes',
        "notes; drop",
        "a.b.c.d",
        "",
        ".",
        "..",
        "\0",
        "\ud800",
        "x" * 3000,
        "public.",
        '"',
        "NOTES",
        "vault",
        "canaryvaul",
    ),
)
_SQL = (
    *(Path(__file__).parent / "cases" / "hostile" / "statements.txt").read_text().splitlines(),
    *("", "select " + "(" * 300 + "1" + ")" * 300, "select " + "(" * 20_000, "select 1" + " + 1" * 5000),
    *("select " + ", ".join(["1"] * 2000), "select 1 -- " + "x" * 99_000, "select 1 -- " + "x" * 200_000),
    *("select '" + "x" * 90_000 + "'", 'select 1 as "a\nb"', 'select 1 as "' + "x" * 200 + '"'),
)


# Headers


def _mismatched(rng: Random, offered: Offered) -> Request:
    """The headers name one thing and the body another."""
    message = _call(rng, offered)
    version = rng.choice(
        (MODERN, MODERN, LEGACY, "2025-03-26", "2024-11-05", "1999-01-01", "", "x", "\xe9", "2026-07-28, 2025-11-25")
    )
    lines = [f"MCP-Protocol-Version: {version}"]
    if rng.random() < 0.8:
        lines.append(
            f"Mcp-Method: {rng.choice(('tools/list', 'tools/call', 'ping', '', 'é', 'TOOLS/CALL', 'initialize', 'resources/read'))}"
        )
    if rng.random() < 0.8:
        lines.append(
            f"Mcp-Name: {rng.choice(('whoami', 'query', 'nothing', '', '=?base64?cXVlcnk=?=', '=?base64?%?=', 'é', ' query'))}"
        )
    if rng.random() < 0.3:
        lines.append(f"Mcp-Session-Id: {rng.choice((SESSION, STREAM, '0' * 32, '', 'é', '../x', 'x' * 500))}")
    if rng.random() < 0.2:
        lines.append(f"Mcp-Param-{rng.choice(('Sql', 'Datasource', 'X'))}: {rng.choice(('x', '', 'é', '=?base64?/w==?='))}")
    rng.shuffle(lines)
    return _posted(rng, message, ("/mcp", _modern), headers="".join(f"{line}\r\n" for line in lines))


# Messages that are well made, to be spoiled


def _call(rng: Random, offered: Offered) -> dict[str, Any]:
    name = rng.choice(tuple(offered.tools))
    return rng.choice(
        (
            well_made("tools/call", name="query", arguments={"sql": "select 1.0 + 2.0"}),
            well_made("tools/call", name=name, arguments={}),
            well_made("tools/list"),
            well_made("resources/read", uri="schema://shop/public/notes"),
            well_made("prompts/get", name=next(iter(offered.prompts), "x"), arguments={}),
        )
    )


def well_made(method: str, **params: Any) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}


_KINDS: tuple[tuple[str, Callable[[Random, Offered], Request]], ...] = (
    ("http", _broken_http),
    ("http", _broken_http),
    ("pages", _pages),
    ("json", _broken_json),
    ("json", _broken_json),
    ("mcp", _wrong_mcp),
    ("mcp", _wrong_mcp),
    ("headers", _mismatched),
    *(("arguments", _hostile_arguments),) * 4,
)
