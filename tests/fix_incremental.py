"""A full backup of a small cluster, and two incremental ones after it."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fix_backup import Vault, new_vault
from fix_damage import SHOP, backed_up
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup

SUMMARIZING = {"fsync": "off", "autovacuum": "off", "summarize_wal": "on"}
_CHANGES = (
    "INSERT INTO orders (customer, total) SELECT 7, 1000 + n FROM generate_series(1, 20) n",
    "UPDATE orders SET total = total + 1 WHERE id % 3 = 0; CREATE TABLE notes (body text); INSERT INTO notes VALUES ('new')",
)


@dataclass(frozen=True)
class Chain:
    """Backups of which each goes on from the one before; orders came between them."""

    vault: Vault
    server: PostgresServer
    links: tuple[StoredBackup, ...]
    """The full one first."""

    @property
    def last(self) -> StoredBackup:
        """That needs all the others."""
        return self.links[-1]


@pytest.fixture(scope="session")
def chained(tmp_path_factory: pytest.TempPathFactory, sought: Sought) -> Iterator[Chain]:
    """They are not to be changed."""
    root, home = short_directory(), tmp_path_factory.mktemp("chain")
    server = new_server(root, SUMMARIZING)
    server.start()
    try:
        server.sql("CREATE DATABASE shop")
        server.sql(SHOP, "shop")
        vault, dsn = new_vault(home), server.dsn(database="shop")
        links = [asyncio.run(backed_up(vault, Source("shop", Kind.FULL, dsn), sought, "full"))]
        for number, change in enumerate(_CHANGES):
            server.sql(change, "shop")
            links.append(asyncio.run(backed_up(vault, Source("shop", Kind.INCREMENTAL, dsn), sought, f"incremental {number}")))
        yield Chain(vault, server, tuple(links))
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)
