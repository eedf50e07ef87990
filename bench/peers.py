"""Ostiary beside other MCP servers for PostgreSQL, on the same attacks, the same honest queries and the same cluster.

Each server is started over stdio by a real MCP client, once for each of two shops that
differ in nothing but their secrets, as a superuser and as a role that may only SELECT.
A fingerprint of the whole cluster and random canary values judge what its tool did.
Peers know no forbidden columns or hidden tables, so only attacks count that would be
harm under any policy: those of statements.toml, functions.toml and extensions.toml
that do not name what only our policy forbids.

Install each peer in a folder of its own below PEERS, what is missing is skipped:

    python3.12 -m venv PEERS/pgmcp && PEERS/pgmcp/bin/pip install postgres-mcp==0.3.0 'mcp<2'
    python3.12 -m venv PEERS/mcpg && PEERS/mcpg/bin/pip install mcpg
    npm install --prefix PEERS/dbhub @bytebase/dbhub
    npm install --prefix PEERS/sp @modelcontextprotocol/server-postgres

    python bench/peers.py PEERS [--every 6] [--only NAME ...]
"""

import argparse
import asyncio
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import mcp.types as t
from fix_attacks import HUNG, TWINS, Attack, Outcome, harms
from fix_fortress import READER, TAGS, Fortress, raised
from fix_postgres import ADMIN, PostgresServer, new_server, short_directory
from fix_server import HIDES, site_config
from fix_sql import CASES, cases
from mcp import Client, MCPError, StdioServerParameters
from rich.console import Console
from rich.table import Table

from ostiary import __version__
from ostiary_tools.control.migrate import migrate

HARM_TO_ANY = ("statements: ", "functions: ", "extensions: ")
FORBIDDEN = re.compile(r"vault|payroll|salary|national_id|notes|password_hash|spy|collected|codeword|<<<|hushed|employees|regclass")
BIG = "select g as id, md5(g::text) as name, g * 1.25 as price, 'x' as flag from generate_series(1, 200000) g"
HONEST = "origin_honest"
"""A database that survives when the attacked ones are made anew."""
PATIENCE_S = 8.0


@dataclass(frozen=True)
class Peer:
    """A server with one tool that takes a text of SQL."""

    name: str
    tool: str
    serve: Callable[[str, Path], StdioServerParameters]
    """From a DSN and an empty folder."""


def peers(installed: Path) -> list[Peer]:
    """Those whose program is there, Ostiary first; prints what is skipped."""
    hub = installed / "dbhub/node_modules/.bin/dbhub"
    known = [
        Peer("postgres-mcp --access-mode=restricted", "execute_sql",
             lambda dsn, _: _started(installed / "pgmcp/bin/postgres-mcp", "--access-mode=restricted", dsn)),
        Peer("dbhub (readonly)", "execute_sql",
             lambda dsn, folder: _started(hub, f"--config={_hub_config(dsn, folder)}", "--transport=stdio")),
        Peer("server-postgres", "query", lambda dsn, _: _started(installed / "sp/node_modules/.bin/mcp-server-postgres", dsn)),
        Peer("mcpg (read-only)", "run_select",
             lambda dsn, _: _started(installed / "mcpg/bin/mcpg", MCPG_DATABASE_URL=dsn, MCPG_ACCESS_MODE="read-only")),
    ]  # fmt: skip
    found = []
    for peer in known:
        program = Path(peer.serve("", Path(tempfile.mkdtemp())).args[6])
        if program.exists():
            found.append(peer)
        else:
            print(f"skipped: {peer.name}, nothing at {program}")
    return found


def _started(program: Path, *arguments: str, **environment: str) -> StdioServerParameters:
    # `timeout` ends it, and what it started, even when it no longer listens to its client.
    words = ["-k", "5", "1200", "sh", "-c", 'exec "$0" "$@" 2>/dev/null', str(program), *arguments]
    places = {"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir(), "PGAPPNAME": "bare"}
    return StdioServerParameters(command="timeout", args=words, env={**places, **environment})


def _hub_config(dsn: str, folder: Path) -> Path:
    path = folder / "dbhub.toml"
    path.write_text(f'[[sources]]\nid = "shop"\ndsn = "{dsn}"\n[[tools]]\nname = "execute_sql"\nsource = "shop"\nreadonly = true\n')
    return path


def ostiary(control: PostgresServer, tagged: dict[str, list[str]]) -> Peer:
    """Ourselves with a policy that permits an engineer what is not tagged."""

    def serve(dsn: str, folder: Path) -> StdioServerParameters:
        terms = {"tags": ("hidden",), "tagged": tagged, "limits": {"timeout_s": 5}}
        site_config(folder, control, "control", {"shop": dsn}, policy=HIDES, **terms)  # type: ignore[arg-type]
        program = Path(sys.executable).with_name("ostiary")
        return _started(program, "serve", "--config", str(folder / "ostiary.toml"), OSTIARY_AGENT__ROLE="engineer")

    return Peer(f"Ostiary {__version__}", "query", serve)


@dataclass
class Running:
    """A peer in front of both shops; started anew when it was lost."""

    peer: Peer
    fortress: Fortress
    host: str
    login: str
    databases: tuple[str, ...] = TWINS

    def __post_init__(self) -> None:
        self.stack = AsyncExitStack()
        self.clients: dict[str, Client] = {}

    async def start(self) -> None:
        """Both servers, each asked once so that its connections stand."""
        for twin in self.databases:
            dsn = f"postgresql://{self.login}@{self.host}:5432/{twin}?application_name=bare"
            folder = Path(tempfile.mkdtemp(prefix="ostiary-peer-"))
            self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
            client = Client(self.peer.serve(dsn, folder))
            self.clients[twin] = await self.stack.enter_async_context(client)
            await self.call(twin, "select 1")

    async def stop(self) -> None:
        """End the processes."""
        with suppress(Exception):  # a server that is ended by force complains in many ways
            async with asyncio.timeout(15):  # in the task that opened them
                await self.stack.aclose()
        self.stack, self.clients = AsyncExitStack(), {}

    async def call(self, twin: str, sql: str) -> t.CallToolResult:
        """One call of the tool."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.clients[twin].call_tool(self.peer.tool, {"sql": sql})

    async def do(self, twin: str, attack: Attack) -> Outcome:
        """As `fix_attacks.Do`."""
        try:
            return Outcome(_text(await self.call(twin, str(attack.sql))))
        except TimeoutError:
            return Outcome(HUNG)
        except MCPError as error:
            return Outcome(f"{error}")


@asynccontextmanager
async def running(peer: Peer, fortress: Fortress, host: str) -> AsyncIterator[Running]:
    """The peer in front of an honest shop while the block lasts."""
    one = Running(peer, fortress, host, ADMIN, (HONEST,))
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


def _text(reply: t.CallToolResult) -> str:
    return "\n".join(block.text for block in reply.content if isinstance(block, t.TextContent))


async def attacked(peer: Peer, fortress: Fortress, host: str, login: str, every: int) -> tuple[int, int]:
    """How many attacks came through, of how many."""
    through: list[str] = []
    await fortress.rebuild()
    titles = [a.title for a in fortress.attacks() if _harms_any(a, fortress.offers)][::every]
    one = Running(peer, fortress, host, login)
    await one.start()
    before = await fortress.fingerprint()
    for title in titles:
        attack = next(a for a in fortress.attacks() if a.title == title)
        found, after = await harms(fortress, attack, one.do, before)
        if found:
            through.append(title)
        if after != before or HUNG in found:
            await one.stop()
            await fortress.rebuild()
            await one.start()
            after = await fortress.fingerprint()
        before = after
    await one.stop()
    print(f"{peer.name} as {login}: {len(through)} of {len(titles)} came through: {', '.join(through)}", flush=True)
    return len(through), len(titles)


def _harms_any(attack: Attack, offers: set[str]) -> bool:
    if attack.sql is None or attack.toothless or attack.bare or not attack.needs <= offers:
        return False
    return attack.title.startswith(HARM_TO_ANY) and not FORBIDDEN.search(attack.sql)


async def measured(peer: Peer, fortress: Fortress, host: str, every: int) -> list[str]:
    """Honest queries refused, latency, characters of a large result and of the list of tools."""
    async with running(peer, fortress, host) as one:
        client = one.clients[HONEST]
        honest = list(cases("honest"))[::every]
        bare = await asyncpg.connect(fortress.server.dsn(database=HONEST))
        refused: list[str] = []
        asked = 0
        for case in honest:
            try:
                await bare.fetch(case.sql)
            except asyncpg.PostgresError:
                continue  # this server lacks it
            asked += 1
            try:
                reply = await one.call(HONEST, case.sql)
                if reply.is_error or _text(reply).lower().startswith("error"):
                    refused.append(f"{case.title}: {_text(reply)[:200]}")
            except (MCPError, TimeoutError) as error:
                refused.append(f"{case.title}: {error}")
        await bare.close()
        took = []
        for _ in range(100):
            started = time.perf_counter()
            await one.call(HONEST, "select count(*) from orders")
            took.append(time.perf_counter() - started)
        async with asyncio.timeout(120):
            big = await client.call_tool(peer.tool, {"sql": BIG})
        listed = await client.list_tools()
    print(f"{peer.name}: honest refused: {refused}", flush=True)
    size = sum(len(tool.model_dump_json(exclude_none=True, by_alias=True)) for tool in listed.tools)
    reply_size = len(_text(big)) if not big.is_error else 0
    return [
        f"{len(refused)} of {asked}",
        f"{statistics.median(took) * 1e3:.1f}",
        f"{reply_size:,}" if reply_size else "refused",
        f"{len(listed.tools)} / {size:,}",
    ]


async def main(options: Any) -> None:
    """Everything in throw-away clusters, then the table."""
    host = f"127.{os.getpid() % 250 + 1}.{os.getpid() // 250 % 250}.7"
    with raised(settings={"listen_addresses": host}) as fortress:
        root = short_directory()
        control = new_server(root, {"fsync": "off"})
        control.start()
        try:
            control.sql("CREATE DATABASE control")
            await migrate(control.dsn(database="control"))
            control.sql("GRANT CONNECT ON DATABASE control TO ostiary_writer, ostiary_reader")
            async with fortress.standing():
                await _compare(options, fortress, host, control)
        finally:
            control.stop("immediate")
            shutil.rmtree(root, ignore_errors=True)


async def _compare(options: Any, fortress: Fortress, host: str, control: PostgresServer) -> None:
    judge = await asyncpg.connect(fortress.server.dsn())
    version = await judge.fetchval("SHOW server_version")
    await judge.execute(f"CREATE DATABASE {HONEST}")
    await judge.close()
    fortress.server.sql((CASES / "shop.sql").read_text("utf-8"), HONEST)
    tagged = TAGS | {f"public.t{fortress.secrets[twin]['table']}": ["hidden"] for twin in TWINS}
    title = f"PostgreSQL {version}; every {options.every}th case of both corpora" if options.every > 1 else f"PostgreSQL {version}"
    table = Table("server", "through as superuser", "through as reader", "honest refused", "median ms", "200,000 rows, chars",
                  "tools / chars", title=title)  # fmt: skip
    for peer in [ostiary(control, tagged), *peers(options.installed)]:
        if options.only and not any(word in peer.name for word in options.only):
            continue
        row: list[str] = []
        for login in (ADMIN, READER):
            try:
                row.append("{} of {}".format(*await attacked(peer, fortress, host, login, options.every)))
            except Exception as error:  # noqa: BLE001  a peer may fail in any way; the others are still measured
                row.append(f"failed: {type(error).__name__}")
                print(f"{peer.name} as {login}: {error!r}")
        await fortress.rebuild()
        try:
            row += await measured(peer, fortress, host, options.every)
        except Exception as error:  # noqa: BLE001  as above
            row += [f"failed: {type(error).__name__}", "", "", ""]
            print(f"{peer.name}: {error!r}")
        table.add_row(peer.name, *row)
        Console(width=170).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("installed", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every nth case")
    parser.add_argument("--only", nargs="*", default=[])
    asyncio.run(main(parser.parse_args()))
