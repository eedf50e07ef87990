"""A backup deleted by a person: never by an agent, never the last that is worth something without a second word, and on record."""

import asyncio
from dataclasses import dataclass

from ostiary.audit.recorder import Recorder
from ostiary.vault import Vault
from ostiary_tools.backup.evidence import proven_at
from ostiary_tools.backup.expiry import unmark
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.repository import BACKUPS, Repository, refuse_parent
from ostiary_tools.errors import Refused


@dataclass(frozen=True, slots=True)
class Doomed:
    """A backup that is to go."""

    id: str
    manifest: Manifest | None
    """`None` where it is damaged, so that nobody can say what it is of."""
    proven: bool
    last: bool
    """Whether its datasource has no other one that is worth as much: proven where this is, whole where none is proven."""


def doomed(repository: Repository, id_: str) -> Doomed:
    """What it is. Blocking. Raises Refused where there is none or others need it, and Damaged where the repository is."""
    listed = repository.listed()
    found = next((one for one in listed if one.id == id_), None)
    if found is None:
        raise Refused("backup", "there is no such backup", "`ostiary backup list` shows those there are")
    refuse_parent(id_, listed)
    if found.kept is None:
        return Doomed(id_, None, proven=False, last=False)
    manifest = found.kept.manifest
    others = [
        one.kept.manifest
        for one in listed
        if one.kept is not None and one.id != id_ and one.kept.manifest.datasource == manifest.datasource
    ]
    proven = proven_at(repository, manifest) is not None
    other_proven = any(proven_at(repository, one) is not None for one in others)
    return Doomed(id_, manifest, proven=proven, last=not others or (proven and not other_proven))


async def delete(vault: Vault, one: Doomed, person: str, recorder: Recorder) -> None:
    """On record before it begins, and when it is done. What drills found of it stays."""
    made = one.manifest
    facts = {"backup": one.id, "person": person, "datasource": made.datasource if made else "", "proven": one.proven}
    await recorder.note("backup_deleting", facts)
    repository = await asyncio.to_thread(vault.repository)
    of = (made.datasource, made.kind.value) if made else ("", "")
    await vault.note(lambda register: register.let_go(repository.description.id, one.id, of, "deleted", person))
    await asyncio.to_thread(repository.storage.remove, f"{BACKUPS}/{one.id}")
    await asyncio.to_thread(unmark, repository, one.id)
    await recorder.note("backup_deleted", facts)
