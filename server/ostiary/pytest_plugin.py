"""Fixtures for authors of tools: a real server on an embedded database, and agents that call it.

Loaded by pytest through its entry point in every project that has Ostiary installed, so
it imports nothing heavy until a fixture is used.

- `ostiary_policies`: a folder of policies of your own; override it in your `conftest.py` (session).
- `ostiary_config`: the configuration of a throw-away installation, its PostgreSQL running (session).
- `ostiary_house`: the server's parts, open for one test.
- `agent`: `await agent("analyst")` is a connected MCP client in that role; `era="legacy"` for the 2025 protocol.
- `contract`: `await contract(client)` compares the client's tools with the snapshot file beside the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from ostiary.eras import MODERN

if TYPE_CHECKING:
    from mcp import Client

    from ostiary.app import House
    from ostiary.config import Config

if TYPE_CHECKING:
    from pytest_asyncio import fixture as async_fixture
else:
    try:
        from pytest_asyncio import fixture as async_fixture
    except ModuleNotFoundError:  # without the extra `test` the plugin offers its session fixture only
        async_fixture = pytest.fixture

ERAS = (MODERN, "legacy")
"""Both eras of the protocol, for `@pytest.mark.parametrize("era", ERAS)`."""

_T = TypeVar("_T")

Connect = Callable[..., Awaitable["Client"]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that rewrites contract snapshots."""
    parser.addoption("--ostiary-update-contract", action="store_true", help="rewrite the snapshots of the `contract` fixture")


@pytest.fixture(scope="session")
def ostiary_policies() -> Path | None:
    """A folder of `*.cedar` files in force beside the shipped bundles; override it to permit your own tools."""
    return None


@pytest.fixture(scope="session")
def ostiary_config(ostiary_policies: Path | None) -> Iterator[Config]:
    """A throw-away installation whose PostgreSQL runs until the session ends."""
    from ostiary.config import load
    from ostiary_tools.embedded import attach

    directory = Path(tempfile.mkdtemp(prefix="ostiary-"))
    directory.chmod(0o711)  # as root, the database's own user must reach its part
    try:
        # An explicit file, so that an `ostiary.toml` where pytest was started has no say.
        (directory / "ostiary.toml").write_text("")
        overrides: dict[str, object] = {f"home.{part}": str(directory / part) for part in ("data", "state")}
        overrides["policy.directory"] = str(ostiary_policies) if ostiary_policies else None
        config = load(directory / "ostiary.toml", {"HOME": str(directory)}, overrides)
        cluster = asyncio.run(attach(config.home.data, lambda _: None, runtime_dir=config.home.runtime))
        try:
            yield config
        finally:
            asyncio.run(cluster.detach())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@async_fixture
async def ostiary_house(ostiary_config: Config) -> AsyncIterator[House]:
    """Everything a server is made of, for one test."""
    from ostiary.app import open_house

    async with _kept(open_house(ostiary_config, lambda _: None)) as house:
        yield house


@async_fixture
async def agent(ostiary_house: House) -> AsyncIterator[Connect]:
    """Connects clients to the server in a role; they are closed after the test."""
    from mcp import Client

    from ostiary.mcp_app import McpApp
    from ostiary_policies.model import Principal

    async with contextlib.AsyncExitStack() as stack:

        async def connect(role: str, *, era: str = ERAS[0], name: str = "test-agent") -> Client:
            who = Principal(name, (role,))
            app = McpApp(ostiary_house.gate, lambda _: who)
            return await stack.enter_async_context(_kept(Client(app.server, mode=era)))

        yield connect


@pytest.fixture
def contract(request: pytest.FixtureRequest) -> Callable[[Client], Awaitable[None]]:
    """Compares what a client is offered (names, schemas, annotations, sizes) with `<test module>.contract.json`."""
    path = request.path.with_suffix(".contract.json")
    update = bool(request.config.getoption("--ostiary-update-contract"))

    async def compare(client: Client) -> None:
        offered = await _offered(client)
        known = json.loads(path.read_text()) if path.exists() else {}
        key = request.node.name
        if update:
            path.write_text(json.dumps(known | {key: offered}, indent=1, sort_keys=True) + "\n")
            return
        if known.get(key) != offered:
            pytest.fail(f"the tools differ from {path.name}; look, then accept with --ostiary-update-contract")

    return compare


async def _offered(client: Client) -> dict[str, Any]:
    tools = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in (await client.list_tools()).tools]
    return {"tools": tools, "chars": sum(len(json.dumps(tool)) for tool in tools)}


@contextlib.asynccontextmanager
async def _kept(context: contextlib.AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
    """Hold a context open in a task of its own.

    pytest-asyncio ends a fixture in another task than it began, which cancel scopes (an
    MCP client is full of them) do not survive.
    """
    ready: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def hold() -> None:
        try:
            async with context as value:
                ready.set_result(value)
                await done.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    task = asyncio.create_task(hold())
    try:
        yield await ready
    finally:
        done.set()
        await task
