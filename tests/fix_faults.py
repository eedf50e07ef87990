"""Serving processes on real databases, each of which a test may kill, fill or stop."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_postgres import PostgresServer, new_server, short_directory
from fix_waiting import until
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.types import TextContent

from ostiary_tools.control.migrate import migrate
from ostiary_tools.embedded import status

CANARY = "hunter2-canary"
"""The password in every DSN of an installation."""

# The program of the SDK's client is not ours to look at: this shell notes its process id and its exit code.
_NOTED = 'exec 3<&0; notes="$1"; shift; "$@" <&3 3<&- & echo $! > "$notes.pid"; exec 3<&-; wait $!; echo $? > "$notes.code"'
_numbers = count(1)


@dataclass(frozen=True)
class Answer:
    """What the agent read."""

    text: str
    failed: bool

    @property
    def code(self) -> str:
        """Of a failure: the word before the colon. Empty for an answer."""
        return self.text.partition(":")[0] if self.failed else ""


@dataclass(frozen=True)
class Installation:
    """One configuration: its folder, and the secrets in its environment."""

    folder: Path
    home: Path | None = None
    """Of the embedded PostgreSQL."""
    control: PostgresServer | None = None
    """Where the audit table is, when it is not embedded."""
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.folder / "ostiary.toml"

    def command(self, *words: str) -> list[str]:
        """The command line of `ostiary …` with this configuration."""
        return [sys.executable, "-m", "ostiary", *words, "--config", str(self.file)]

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its processes."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environ}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself, with nothing on its stdin."""
        command = self.command(*words)
        return subprocess.run(
            command,
            env=self.variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    @asynccontextmanager
    async def serving(self, *options: str) -> AsyncIterator["Serving"]:
        """A serving process with a client connected to it."""
        notes = self.folder / f"server-{next(_numbers)}"
        server = StdioServerParameters(
            command="/bin/sh",
            args=["-c", _NOTED, "sh", str(notes), *self.command("serve", *options)],
            env=self.variables,
            cwd=self.folder,
        )
        with notes.with_suffix(".log").open("w") as log:
            async with Client(stdio_client(server, errlog=log)) as client:
                yield Serving(self, client, notes)

    async def admin_dsn(self) -> str:
        """Who may look at everything in the control database; the embedded one must run."""
        if self.control is not None:
            return self.control.dsn()
        assert self.home is not None
        return f"postgresql:///control?host={(await status(self.home)).socket_dir}&user=ostiary_admin"

    async def ask(self, question: str) -> list[Any]:
        """Ask the control database."""
        connection = await asyncpg.connect(await self.admin_dsn())
        try:
            return list(await connection.fetch(question))
        finally:
            await connection.close()

    async def records(self) -> list["Record"]:
        """The whole log, by stream and number."""
        rows = await self.ask("SELECT stream, seq, kind, call_id, body FROM audit.log ORDER BY stream, seq")
        return [Record(r["stream"], r["seq"], r["kind"].decode(), str(r["call_id"]), json.loads(r["body"])) for r in rows]

    async def assert_verified(self) -> None:
        """`ostiary audit verify` says that all is as it was written."""
        ended = await asyncio.to_thread(self.run, "audit", "verify")
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def private(self, text: str) -> str:
        """The text, which must say nothing of passwords, addresses, stacks and the places of this machine."""
        told = [CANARY, "postgresql://", "Traceback", 'File "', ".py", "/tmp/", str(self.folder), sys.prefix, "asyncpg", "host="]  # noqa: S108 what must not be said
        assert not [word for word in told if word in text], text
        return text


@dataclass(frozen=True)
class Record:
    """A row of the audit log."""

    stream: int
    seq: int
    kind: str
    call: str
    body: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """The mark in the statement of an intent."""
        found = re.search(r"\bmark_\w+", self.body.get("sql", ""))
        return found[0] if found else ""


@dataclass(frozen=True)
class Serving:
    """A client and the process that serves it."""

    installation: Installation
    client: Client
    notes: Path

    @property
    def pid(self) -> int:
        """Of the server itself."""
        return int(self.notes.with_suffix(".pid").read_text())

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self.notes.with_suffix(".log").read_text()

    async def exit_code(self) -> int:
        """How it ended, once it has; 128 and the signal's number for a killed one."""
        code = self.notes.with_suffix(".code")
        await until(lambda: code.exists() and code.read_text().endswith("\n"))
        return int(code.read_text())

    async def call(self, tool: str, /, **arguments: object) -> Answer:
        """Call a tool; whatever happened around it, the answer is no defect. Raises MCPError when the connection is gone."""
        reply = await self.client.call_tool(tool, arguments)
        text = "\n".join(block.text for block in reply.content if isinstance(block, TextContent))
        assert not text.startswith("internal:"), self.log[-6000:]
        return Answer(self.installation.private(text), bool(reply.is_error))

    async def query(self, sql: str) -> Answer:
        """Call `query`."""
        return await self.call("query", sql=sql)


async def answered(ask: Callable[[], Coroutine[Any, Any, Answer]], seconds: float = 40) -> Answer:
    """Ask until there is an answer and no failure."""
    deadline = time.monotonic() + seconds
    while (answer := await ask()).failed:
        assert time.monotonic() < deadline, f"it still fails: {answer.text}"
        await asyncio.sleep(0.05)
    return answer


async def kept_asking(serving: Serving, agent: str, sql: str, got: set[str]) -> None:
    """Ask one marked statement after the other, noting the marks of answers, until the connection is gone."""
    try:
        for number in count():
            mark = f"mark_{agent}_{number}"
            if not (await serving.query(sql.format(mark=mark))).failed:
                got.add(mark)
    except MCPError:
        return


async def processes(server: PostgresServer, database: str = "") -> list[int]:
    """Of a server, those that serve that database; without one all, the first of them first."""
    connection = await asyncpg.connect(server.dsn())
    try:
        asked = "SELECT pid FROM pg_stat_activity WHERE $1::text IN ('', datname::text) AND pid <> pg_backend_pid()"
        found = [row[0] for row in await connection.fetch(asked, database)]
    finally:
        await connection.close()
    first = int((server.data / "postmaster.pid").read_text().split()[0])
    return found if database else [first, *found]


@contextmanager
def stopped(processes: Sequence[int]) -> Iterator[None]:
    """They stand still while the block lasts; one that has ended since it was found is past that."""
    try:
        _signalled(processes, signal.SIGSTOP)
        yield
    finally:
        _signalled(processes, signal.SIGCONT)


def _signalled(processes: Sequence[int], what: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


async def crash(server: PostgresServer) -> None:
    """Kill a PostgreSQL and everything of it, as `kill -9` and no power cut would; it can be started again on return."""
    await kill_postgres(server.postmaster())
    # Where nobody reaps orphans a dead postmaster keeps its number, and the next would take it for alive.
    for lock in (server.data / "postmaster.pid", server.root / ".s.PGSQL.5432.lock"):
        lock.unlink(missing_ok=True)


async def kill_postgres(postmaster: int) -> None:
    """Kill a postmaster and its backends, and return when they are gone."""
    family = {postmaster, *_children(postmaster)}
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(_lives(pid) for pid in family))


def _children(parent: int) -> list[int]:
    listed = subprocess.run(["/bin/ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def _lives(pid: int) -> bool:
    """False also for a process that is dead and waits for its parent."""
    listed = subprocess.run(["/bin/ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


def executed(server: PostgresServer) -> set[str]:
    """The marks of the statements that a PostgreSQL with `log_statement = all` began to execute."""
    entries = re.split(r"^\d{4}-\d\d-\d\d .*? \[\d+\] (?=[A-Z]+: )", (server.root / "log").read_text(), flags=re.MULTILINE)
    begun = [entry for entry in entries if re.match(r"LOG:  (execute|statement)\b", entry)]
    return set(re.findall(r"\bmark_\w+", "\n".join(begun)))


@pytest.fixture
def own_server() -> Iterator[Callable[..., PostgresServer]]:
    """`own_server()` makes and starts a PostgreSQL that this test may treat badly; it stands in a directory given or of its own."""
    made: list[tuple[PostgresServer, Path | None]] = []

    def make(root: Path | None = None, initdb: Sequence[str] = (), binaries: Path | None = None, **settings: str) -> PostgresServer:
        home = root or short_directory()
        server = new_server(home, settings, binaries, initdb)
        made.append((server, None if root else home))
        server.start()
        return server

    yield make
    for server, home in made:
        server.stop("immediate")
        if home is not None:
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def shop_server(own_server: Callable[..., PostgresServer]) -> PostgresServer:
    """A database to ask, that logs every statement it executes."""
    server = own_server(log_statement="all")
    server.sql("CREATE TABLE fruit (name text, price int); INSERT INTO fruit VALUES ('pear', 3), ('plum', 2)")
    return server


@pytest.fixture
def control_server(own_server: Callable[..., PostgresServer]) -> PostgresServer:
    """A database for the audit table."""
    server = own_server()
    asyncio.run(migrate(server.dsn()))
    return server


@pytest.fixture
def installation(tmp_path: Path, shop_server: PostgresServer, control_server: PostgresServer) -> Installation:
    """Both databases on servers of their own, and the password in every DSN."""
    return external(tmp_path, shop_server, control_server)


def external(folder: Path, shop: PostgresServer, control: PostgresServer) -> Installation:
    """An installation that reaches its databases by DSNs in its environment."""
    environ = {
        "SHOP_DSN": _with_password(shop.dsn()),
        "CONTROL_DSN": _with_password(control.dsn("ostiary_writer")),
        "CONTROL_READER_DSN": _with_password(control.dsn("ostiary_reader")),
    }
    made = Installation(folder, control=control, environ=environ)
    made.file.write_text(
        f'[home]\ndata = "{folder}/data"\nstate = "{folder}/state"\n'
        '[control]\ndsn = "env:CONTROL_DSN"\nreader_dsn = "env:CONTROL_READER_DSN"\n'
        '[datasources.shop]\ndsn = "env:SHOP_DSN"\naccepted_powers = ["superuser"]\n'
    )
    return made


def embedded(home: Path, folder: Path) -> Installation:
    """An installation that has everything in the embedded PostgreSQL."""
    made = Installation(folder, home=home)
    made.file.write_text(f'[home]\ndata = "{home}"\nstate = "{folder}/state"\n')
    return made


def _with_password(dsn: str) -> str:
    return f"{dsn}&password={CANARY}"
