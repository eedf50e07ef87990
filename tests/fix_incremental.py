"""A full backup of a small cluster, and two incremental ones after it."""

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import pytest
from fix_backup import Vault, new_vault, signed_anew
from fix_damage import SHOP, backed_up, file_in
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary_tools.backup import streams
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import SUMS, StoredBackup
from ostiary_tools.backup.repository import sums as summed

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


def replaced(vault: Vault, id_: str, contents: Mapping[str, bytes], **facts: object) -> None:
    """Other members and facts in the place of those of a backup, sealed and signed by who has the keys."""
    folder, stop = vault.root / "backups" / id_, streams.Stop()
    sums: dict[str, dict[str, object]] = {}
    for name, data in contents.items():
        with (folder / f"{name}.zst.age").open("wb") as sink:
            recipients = vault.repository.description.recipients
            sums[f"{name}.zst.age"] = asdict(streams.seal(BytesIO(data), sink, recipients, lambda _: None, stop))
    stop.close()

    def change(manifest: Any) -> None:
        for member in manifest["members"]:
            member.update(sums.get(member["name"], {}))
        manifest.update(facts)

    signed_anew(vault, id_, change)
    (folder / SUMS).write_bytes(summed(vault.repository.load(id_).manifest))


def with_base(tar: bytes) -> dict[str, bytes]:
    """Another base, and the list of its files."""
    return {"base.tar": tar, "backup-manifest": file_in(tar, "backup_manifest")}
