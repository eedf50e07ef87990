"""An installation whose server, worker, programs and database are processes of their own, each of which a test kills."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar
from uuid import UUID

import asyncpg
import pytest
from fix_answers import text_of
from fix_custody import KEEPER, SHOP, Strongroom, begin
from fix_disk import memory
from fix_postgres import PostgresServer, new_server, short_directory
from fix_server import READS_ALL, MakeSite
from fix_waiting import until
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from ostiary.app import open_house
from ostiary_tools.backup.repository import Repository
from ostiary_tools.backup.verification import verify

NOTES = """
CREATE TABLE notes AS SELECT n AS id, md5(n::text) || repeat(md5((-n)::text), 9) AS body FROM generate_series(1, 20000) n;
CREATE INDEX ON notes (body);
"""
"""Enough for programs to be met at work."""
OWN = '[agent]\nrole = "custodian"\n[jobs]\nworker = "own"\n'
_LET_GO = (
    "UPDATE jobs.job SET leased_until = now() - interval '1 s' WHERE state = 'working'",
    "UPDATE jobs.worker SET seen_at = now() - interval '1 hour'",
)
_SUM = "SELECT sum(id * total)::text FROM orders"
_DRAFTS = "SELECT datname::text FROM pg_database WHERE datname ~ '^ostiary_restore_'"
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"


@dataclass(frozen=True)
class Process:
    """One that belongs to the installation."""

    pid: int
    name: str


@dataclass
class Yard:
    """The processes, and what they leave."""

    it: Strongroom
    cluster: PostgresServer
    """What is backed up."""
    server: "Served"
    worker: asyncio.subprocess.Process
    sums: dict[str, str] = field(default_factory=dict)
    """Of orders, by backup."""
    slots: ClassVar[int] = 0
    """That the cluster has for us when nothing is at work."""
    sessions: ClassVar[int] = 0
    """Of the login for backups, at most, then."""

    @property
    def repository(self) -> Repository:
        """As another process sees it."""
        return self.it.house.vault.repository()

    @asynccontextmanager
    async def database(self, name: str = "shop") -> AsyncIterator[asyncpg.Connection]:
        """Its data, as its owner."""
        connection = await asyncpg.connect(self.cluster.dsn(database=name))
        try:
            yield connection
        finally:
            await connection.close()

    async def changed(self) -> str:
        """The sum of orders after one of them was changed."""
        async with self.database() as shop:
            await shop.execute("UPDATE orders SET total = total + 1 WHERE id = (SELECT 1 + (random() * 1999)::integer)")
            return await self.sum_in(shop)

    async def sum_in(self, connection: asyncpg.Connection) -> str:
        """By which one backup is told from the other."""
        return str(await connection.fetchval(_SUM))

    async def jobs(self) -> Mapping[UUID, str]:
        """The state of each."""
        rows = await self.it.site.fetch("SELECT id, state FROM jobs.job", role="ostiary_writer")
        return {row[0]: row[1] for row in rows}

    async def expire(self) -> None:
        """As if leases had run out, which takes half a minute otherwise."""
        for let_go in _LET_GO:
            await self.it.site.fetch(let_go, role="ostiary_writer")

    def programs(self) -> list[Process]:
        """All that runs for the worker: programs of PostgreSQL, those who keep them, copies' servers and encryption."""
        known = {self.worker.pid, *self.server.pids()}
        return [one for one in self._processes() if one.pid not in known and not _lives_in(one.pid, self.cluster.root)]

    def at_work(self) -> list[Process]:
        """Those of them that end with their work."""
        return self.programs()

    def backends(self) -> list[int]:
        """All processes of the cluster."""
        return [pid for pid in _pids() if _lives_in(pid, self.cluster.data)]

    async def kill_database(self) -> None:
        """And start it again, once it is gone."""
        os.kill(self.cluster.postmaster(), signal.SIGKILL)
        await until(lambda: not self.backends(), 60)
        # Where nobody reaps orphans a dead postmaster keeps its number, and the next would take it for alive.
        for lock in (self.cluster.data / "postmaster.pid", self.cluster.root / ".s.PGSQL.5432.lock"):
            lock.unlink(missing_ok=True)
        await asyncio.to_thread(self.cluster.start)

    async def kill_worker(self) -> None:
        """And start another."""
        self.worker.kill()
        await self.worker.wait()
        await until(lambda: not self.programs(), 30)
        await self.expire()
        self.worker = await started_worker(self.it)

    async def kill_server(self) -> None:
        """And start another."""
        await self.server.kill()
        self.server = await Served.start(self.it)

    async def left_over(self) -> list[str]:
        """What is there and nobody's work; each is swept by the next work of its kind."""
        vault = self.it.house.vault
        staged = [one.name for one in (vault.folder / "staging").glob("*") if one.suffix != ".lock"]
        spooled = [one.name for one in vault.spools.glob("*") if one.is_dir()]
        restoring = [one.name for one in (*vault.restores.glob(".*"), *passing(self.it.site.folder).iterdir())]
        async with self.database() as shop:
            drafts = [row[0] for row in await shop.fetch(_DRAFTS)]
        return [*staged, *spooled, *restoring, *drafts]

    async def assert_alone(self) -> None:
        """No program is at work, and no more sessions are open and slots hold the log than when nothing is."""

        async def is_alone() -> bool:
            async with self.database() as shop:
                slots = await shop.fetchval("SELECT count(*) FROM pg_replication_slots")
                sessions = await shop.fetchval(_SESSIONS, KEEPER)
            return not self.at_work() and slots == self.slots and sessions <= self.sessions

        try:
            await until(is_alone, 30)
        except TimeoutError:
            raise AssertionError(f"left behind: {self.programs()}") from None

    def verified(self, *, but: set[str] | None = None) -> set[str]:
        """The ids of all backups, each of which is whole; those that were verified before need not be again."""
        listed = self.repository.listed()
        assert [one.id for one in listed if one.kept is None] == []
        wrong = [one.id for one in listed if one.id not in (but or set()) and not verify(self.repository, one.id, _nothing).intact]
        assert wrong == []
        jobs = [one.kept.manifest.job for one in listed if one.kept]
        assert len(set(jobs)) == len(jobs)
        return {one.id for one in listed}

    def _processes(self) -> list[Process]:
        marks = tuple(str(folder).encode() for folder in (self.it.site.folder, self.cluster.root))
        found = ((pid, _facts(pid)) for pid in _pids() if pid != os.getpid())
        return [Process(pid, _name(pid)) for pid, facts in found if any(mark in facts for mark in marks)]


class Served:
    """`ostiary serve` and a client of it, in a task of its own: the client of a killed server ends with an error."""

    client: Client

    def __init__(self, it: Strongroom) -> None:
        self._it = it
        self._note = it.site.folder / "server.pid"
        self._over = asyncio.Event()
        self._ready = asyncio.Event()
        self._task = asyncio.create_task(self._serve())

    @classmethod
    async def start(cls, it: Strongroom) -> "Served":
        """And wait until it answers."""
        made = cls(it)
        async with asyncio.timeout(60):
            waiting = asyncio.create_task(made._ready.wait())
            await asyncio.wait({waiting, made._task}, return_when=asyncio.FIRST_COMPLETED)
        assert made._ready.is_set(), "the server does not start"
        return made

    def pids(self) -> list[int]:
        """Its own."""
        return [int(self._note.read_text())]

    async def kill(self) -> None:
        """It, and then its client ends."""
        os.kill(self.pids()[0], signal.SIGKILL)
        await self.end()

    async def end(self) -> None:
        """Of both."""
        self._over.set()
        await asyncio.wait({self._task}, timeout=60)
        assert self._task.done()
        if not self._task.cancelled():
            self._task.exception()

    async def _serve(self) -> None:
        words = (sys.executable, "-m", "ostiary", "serve", "--config", str(self._it.site.folder / "ostiary.toml"))
        server = StdioServerParameters(
            command="/bin/sh",
            args=["-c", 'echo $$ > "$0"; exec "$@"', str(self._note), *words],
            env=environment(self._it),
        )
        with (self._it.site.folder / "server.log").open("a") as log:
            async with Client(stdio_client(server, errlog=log), elicitation_callback=self._it._answer) as client:
                self.client = client
                self._ready.set()
                await self._over.wait()


async def started_worker(it: Strongroom) -> asyncio.subprocess.Process:
    """`ostiary worker`."""
    with (it.site.folder / "worker.log").open("a") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ostiary", "worker", "--config", str(it.site.folder / "ostiary.toml")),
            env=environment(it),
            cwd=it.site.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=log,
        )


Y = TypeVar("Y", bound=Yard)
OpenYard = Callable[[], AbstractAsyncContextManager[Y]]
"""`async with yard() as it`."""


@pytest.fixture
def yard(make_site: MakeSite) -> OpenYard[Yard]:
    """An installation with a cluster of its own, which may be killed."""
    return partial(opened, make_site, Yard, SHOP + NOTES, {"autovacuum": "off", "shared_buffers": "16MB"})


@asynccontextmanager
async def opened(
    make_site: MakeSite,
    kind: type[Y],
    tables: str,
    settings: Mapping[str, str],
    *,
    initdb: Sequence[str] = (),
    more: str = OWN,
) -> AsyncIterator[Y]:
    """Such an installation: what its cluster holds, and `more` of its configuration."""
    root = short_directory()
    cluster = new_server(root, settings, initdb=initdb)
    try:
        await asyncio.to_thread(cluster.start)
        cluster.sql(f"CREATE DATABASE shop;\n\\connect shop\n{tables}")
        logins = {"shop": cluster.dsn(KEEPER, "shop")}
        sources = {"shop": cluster.dsn(database="shop")}
        site = await make_site(sources, memory(), policy=READS_ALL, backups=logins, more=more)
        site.folder.chmod(0o711)
        async with open_house(site.config, lambda _: None) as house:
            begin(house.vault)
            it = Strongroom(site, house, "shop")
            made = kind(it, cluster, await Served.start(it), await started_worker(it))
            try:
                yield made
            finally:
                await made.server.end()
                with suppress(ProcessLookupError):
                    made.worker.kill()
                await made.worker.wait()
    finally:
        cluster.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


async def said_of(client: Client, job: UUID) -> str:
    """What the tool `job` says of it."""
    return text_of(await client.call_tool("job", {"id": str(job)}))


async def over(states: Callable[[], Awaitable[Mapping[UUID, str]]], job: UUID, seconds: float) -> None:
    """Wait until it has ended."""

    async def is_over() -> bool:
        return (await states())[job] not in {"queued", "working"}

    await until(is_over, seconds)


def environment(it: Strongroom) -> dict[str, str]:
    """Of its processes."""
    return {"PATH": os.environ["PATH"], "HOME": str(it.site.folder), "TMPDIR": str(passing(it.site.folder))}


def passing(folder: Path) -> Path:
    """Where they put what is of no use to the next."""
    made = folder / "passing"
    made.mkdir(mode=0o711, exist_ok=True)
    return made


def _pids() -> list[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()]


def _facts(pid: int) -> bytes:
    """By which it is known whose it is; nothing of one that has ended."""
    folder = Path(f"/proc/{pid}")
    with suppress(OSError):
        if (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return b""
        return b"\n".join(
            ((folder / "cmdline").read_bytes(), (folder / "environ").read_bytes(), os.fsencode((folder / "cwd").readlink()))
        )
    return b""


def _name(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        scripts = [Path(word).name for word in words[:6] if word.endswith(("leash.py", "cipher.py"))]
        return scripts[0] if scripts else Path(words[0].partition(":")[0]).name
    return ""


def _lives_in(pid: int, folder: Path) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    return False


def _nothing(_: int) -> None:
    """Nobody is told."""
