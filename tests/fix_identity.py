"""An identity provider that signs with real keys and may misbehave, and a server over HTTP that names its caller."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jwt
import mcp.types as t
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fix_audit import AuditLog, audit_log_at
from fix_postgres import PostgresServer
from jwt.algorithms import RSAAlgorithm
from mcp.server import Server
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.config import Config, load
from ostiary.config.callers import OAuth
from ostiary.config.settings import Http
from ostiary.http.application import application
from ostiary.http.streams import Streams
from ostiary.identity.caller import current
from ostiary.identity.guesses import Guesses
from ostiary.identity.peers import proxies
from ostiary.identity.recognition import Recognition, open_recognition
from ostiary_tools.control.migrate import migrate
from ostiary_tools.control.tokens import TokenTable

AUDIENCE = "http://127.0.0.1/mcp"
Answer = Callable[[Request], Awaitable[Response]]


@contextlib.asynccontextmanager
async def listening(app: ASGIApp, host: str = "127.0.0.1", **settings: Any) -> AsyncIterator[str]:
    """The application on a port of its own, and its address. On `::` it is reached by IPv4 too."""
    named = {"http": "h11", "log_config": None, "timeout_graceful_shutdown": 1, "proxy_headers": False, **settings}
    server = uvicorn.Server(uvicorn.Config(app, **named))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=":" in host) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@dataclass
class Provider:
    """Signs tokens, and shows its keys the way it is told to."""

    url: str = ""
    keys: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    answer: Answer | None = None
    asked: int = 0

    def add(self, name: str) -> None:
        """A new key."""
        self.keys[name] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self, name: str) -> dict[str, Any]:
        """The public part of a key, as it is published."""
        public: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(self.keys[name].public_key()))
        return {**public, "kid": name, "use": "sig", "alg": "RS256"}

    def public_pem(self, name: str) -> bytes:
        """What an attacker may use as a shared secret."""
        return self.keys[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Claims that are accepted, but for what is changed; `None` takes a claim out."""
        now = int(time.time())
        sound = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 60, "roles": ["readers"]}
        return {name: value for name, value in {**sound, **changed}.items() if value is not None}

    def token(self, key: str = "k1", headers: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A token that is accepted, but for what is changed."""
        named = {"kid": key, "typ": "at+jwt", **(headers or {})}
        return jwt.encode(self.claims(**changed), self.keys[key], "RS256", headers=named)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] == "http":
            request = Request(scope, receive)
            await (await self._response(request))(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        if "oauth-authorization-server" in request.url.path:
            return Response(status_code=404)
        if "openid-configuration" in request.url.path:
            return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        self.asked += 1
        return await self.answer(request) if self.answer else JSONResponse({"keys": [self.jwk(name) for name in self.keys]})


@contextlib.asynccontextmanager
async def providing() -> AsyncIterator[Provider]:
    """A provider with one key, `k1`."""
    provider = Provider()
    provider.add("k1")
    async with listening(provider) as url:
        provider.url = url
        yield provider


def believing(config: Config, provider: Provider, **changed: Any) -> Config:
    """The configuration of a server that believes the provider."""
    oauth = OAuth(issuer=provider.url, resource=AUDIENCE, roles={"readers": ("analyst",)}, **changed)
    return config.model_copy(update={"oauth": oauth, "http": Http(authentication=("oauth",))})


@contextlib.asynccontextmanager
async def opened(
    log: AuditLog, config: Config, *, clock: Callable[[], float] = lambda: 0.0, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, Recognition]]:
    """A server whose one tool answers with its caller, behind the real application; it records refusals in that log."""
    async with (
        log.recording() as recorder,
        open_recognition(config, TokenTable(log.writer_dsn), Guesses(recorder, str, proxies(config.proxy), clock)) as recognition,
        listening(_application(config, recognition), host) as url,
    ):
        yield url, recognition


class Door(Protocol):
    """`opened` with a log."""

    def __call__(
        self, config: Config, *, clock: Callable[[], float] = ..., host: str = ...
    ) -> AbstractAsyncContextManager[tuple[str, Recognition]]:
        """Open a server."""


@pytest.fixture(scope="session")
def doors_log(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    """The log of every door."""
    postgres_server.sql("CREATE DATABASE doors")
    log = audit_log_at(postgres_server, "doors", tmp_path_factory.mktemp("doors"))
    asyncio.run(migrate(log.place.admin_dsn))
    return log


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a server without databases."""
    return load(None, {"HOME": str(tmp_path)}, {})


@pytest.fixture
def door(doors_log: AuditLog) -> Door:
    """`door(config)` opens a server."""
    return partial(opened, doors_log)


def _naming() -> Server[Any]:
    async def tools(_ctx: Any, _: Any) -> t.ListToolsResult:
        return t.ListToolsResult(tools=[t.Tool(name="whoami", input_schema={"type": "object"})])

    async def call(_ctx: Any, _: Any) -> t.CallToolResult:
        who = current(None)
        return t.CallToolResult(content=[t.TextContent(text=f"{who.agent} {' '.join(who.roles)}")])

    return Server("naming", on_list_tools=tools, on_call_tool=call)


def _application(config: Config, recognition: Recognition) -> ASGIApp:
    async def never() -> None:
        """There is a place for every call: these call no gate."""

    return application(
        _naming(), config.http, recognition, (), streams=Streams(config.http, lambda: current(None).agent), crowded=never
    )
