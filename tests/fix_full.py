"""Full backups of small clusters."""

import asyncio
import itertools
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import asyncpg
import pytest
from fix_backup import Vault, new_vault
from fix_postgres import PostgresServer

from ostiary_tools.backup.engines.full import FullEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import ClusterFacts, Content, Fingerprint, Kind
from ostiary_tools.backup.port import Made, Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup

ORDERS = """
CREATE TABLE orders (id serial PRIMARY KEY, total numeric);
INSERT INTO orders (total) SELECT n FROM generate_series(1, 3000) n;
CREATE UNLOGGED TABLE quick (v int); INSERT INTO quick VALUES (1);
"""


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


async def backed_up(vault: Vault, dsn: str, spool: Path, sought: Sought, job: str = "job") -> StoredBackup:
    """A full backup in the vault."""
    async with making(vault.repository, Kind.FULL, "shop", job) as keeping:
        made = await FullEngine(sought).make(Source("shop", Kind.FULL, dsn), keeping, spool, quiet)
        return await keeping.commit(made)


@dataclass(frozen=True)
class FullBackup:
    """A backup that was taken while rows were written."""

    vault: Vault
    kept: StoredBackup
    database: str

    @property
    def cluster(self) -> ClusterFacts:
        """What it says of its cluster."""
        assert self.kept.manifest.cluster is not None
        return self.kept.manifest.cluster

    @property
    def fingerprint(self) -> Fingerprint:
        """What was in the database."""
        assert self.kept.manifest.fingerprint is not None
        return self.kept.manifest.fingerprint

    def plain(self, content: Content) -> bytes:
        """Of a member."""
        (member,) = [member for member in self.kept.manifest.members if member.content is content]
        with self.kept.plain(member) as stream:
            return stream.read()

    async def remade(self, job: str, *, cluster: ClusterFacts | None = None, **members: bytes) -> StoredBackup:
        """The same with other members, sealed by whoever has the keys."""
        async with making(self.vault.repository, Kind.FULL, "shop", job) as keeping:
            made = [
                await keeping.put(f"{content}.tar", content, BytesIO(members.get(content, self.plain(content))), lambda _: None)
                for content in (Content.BASE, Content.WAL)
            ]
            facts = cluster or self.cluster
            return await keeping.commit(Made(self.kept.manifest.server_version, tuple(made), self.fingerprint, facts))


@asynccontextmanager
async def load(dsn: str, many: int = 2) -> AsyncIterator[None]:
    """Rows are written while the block lasts."""
    over = asyncio.Event()
    writers = [asyncio.create_task(_writing(dsn, over)) for _ in range(many)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*writers)


async def _writing(dsn: str, over: asyncio.Event) -> None:
    connection = await asyncpg.connect(dsn)
    for times in itertools.count(1):
        await connection.execute("INSERT INTO orders (total) VALUES ($1)", times)
        await connection.execute("UPDATE orders SET total = total + 1 WHERE id = $1", 1 + times % 3000)
        if over.is_set():
            break
    await connection.close()


@pytest.fixture(scope="session")
def full_backup(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory, sought: Sought) -> FullBackup:
    """One of the embedded version. It is not to be changed."""
    folder = tmp_path_factory.mktemp("full")
    vault, database = new_vault(folder), f"full_{folder.name}"
    postgres_server.sql(f'CREATE DATABASE "{database}"')
    postgres_server.sql(ORDERS, database)
    dsn = postgres_server.dsn(database=database)

    async def take() -> StoredBackup:
        async with load(dsn):
            return await backed_up(vault, dsn, folder, sought)

    return FullBackup(vault, asyncio.run(take()), database)


def rewritten(tar: bytes, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes] | None]) -> bytes:
    """A tar with other entries; one that is changed into none is left out."""
    sink = BytesIO()
    with tarfile.open(fileobj=BytesIO(tar)) as source, tarfile.open(fileobj=sink, mode="w") as made:
        for entry in source:
            file = source.extractfile(entry) if entry.isreg() else None
            if (changed := change(entry, file.read() if file else b"")) is not None:
                info, data = changed
                info.size = len(data)
                made.addfile(info, BytesIO(data))
    return sink.getvalue()
