"""A repository of backups in a folder, with keys of its own, whose recovery key is proven."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from ostiary_tools.backup.keys import Identity, new_identity
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made
from ostiary_tools.backup.repository import Repository, StoredBackup, initialise, open_repository
from ostiary_tools.backup.sealing import load_signer
from ostiary_tools.backup.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class Vault:
    """A repository and all that opens it."""

    root: Path
    repository: Repository
    operational: Identity
    recovery: Identity

    def with_keys(self, *identities: Identity) -> Repository:
        """The same repository for who has these keys."""
        return open_repository(self.repository.storage, self.repository.seal, identities=identities)


def new_vault(home: Path) -> Vault:
    """In `home/backups`, ready for backups."""
    storage, signer = Folder(home / "backups"), load_signer(home / "signing.key")
    operational, recovery = new_identity(), new_identity()
    initialise(storage, signer, operational.recipient, recovery.recipient)
    repository = open_repository(storage, signer.seal, signer, (operational,))
    assert repository.prove((recovery,))
    return Vault(home / "backups", repository, operational, recovery)


async def keep(vault: Vault, contents: Sequence[bytes], job: str = "job") -> StoredBackup:
    """A backup whose members hold these bytes."""
    async with making(vault.repository, Kind.SQLITE, "shop", job) as made:
        members = [
            await made.put(f"part-{n}.db", Content.SQLITE, BytesIO(data), lambda _: None) for n, data in enumerate(contents, 1)
        ]
        return await made.commit(Made("3.45", tuple(members), None))
