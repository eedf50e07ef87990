"""A repository of backups in a folder, with keys of its own, whose recovery key is proven."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

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


def copied(vault: Vault, home: Path) -> Vault:
    """The same in another place."""
    root = shutil.copytree(vault.root, home / "backups")
    return replace(vault, root=root, repository=replace(vault.repository, storage=Folder(root)))


async def keep(vault: Vault, contents: Sequence[bytes], job: str = "job") -> StoredBackup:
    """A backup whose members hold these bytes."""
    async with making(vault.repository, Kind.SQLITE, "shop", job) as made:
        members = [
            await made.put(f"part-{n}.db", Content.SQLITE, BytesIO(data), lambda _: None) for n, data in enumerate(contents, 1)
        ]
        return await made.commit(Made("3.45", tuple(members), None))


def signed_anew(vault: Vault, id_: str, change: Callable[[Any], object]) -> None:
    """Change a manifest and sign it with the right key, as a fault of ours would."""
    folder = vault.root / "backups" / id_
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    data = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(data)
    signature = vault.repository.writer().sign(f"backups/{id_}/manifest.json", data)
    (folder / "manifest.sig").write_bytes(signature)


def flip(file: Path, where: float) -> None:
    """One bit, at the beginning (0), the end (1) or between."""
    data = bytearray(file.read_bytes())
    data[round(where * (len(data) - 1))] ^= 1
    file.write_bytes(data)


def reopened(home: Path) -> Repository:
    """The repository of `new_vault(home)`, to write to, in another process."""
    signer = load_signer(home / "signing.key")
    return open_repository(Folder(home / "backups"), signer.seal, signer)
