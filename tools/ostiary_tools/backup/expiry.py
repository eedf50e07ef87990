"""Marks of backups that may go: signed, seen by everybody who lists them, and taken back when they are to stay after all.

A mark deletes nothing. It says from when on a person can have its backup deleted; whether that may go is asked anew then. Blocking,
for threads.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from ostiary_tools.backup import strict_json
from ostiary_tools.backup.evidence import newest
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.manifest_json import ID, encode
from ostiary_tools.backup.repository import Listed, Repository, read_signed, write_signed
from ostiary_tools.backup.retention import Reasons, Terms, Tried, deletable, staying
from ostiary_tools.errors import Damaged

FORMAT = 1
EXPIRY = "expiry"


@dataclass(frozen=True, slots=True)
class Mark:
    """That a backup may go."""

    backup: str
    manifest_sha256: str
    at: datetime
    due: datetime
    """From then on it can be deleted."""


@dataclass(frozen=True, slots=True)
class Review:
    """What there is, what of it stays, and what is marked."""

    listed: Sequence[Listed]
    backups: Sequence[Tried]
    stays: Reasons
    marks: Mapping[str, Mark]
    """By id of the backup, those that hold."""
    void: Sequence[str]
    """Ids of backups with a mark that does not hold."""
    left: Sequence[str]
    """Ids of backups that are gone, or were let go of by who was killed before they were, and whose marks are still there."""

    @property
    def unmarked(self) -> Sequence[Tried]:
        """That may go, and nobody says so."""
        return [one for one in self.backups if one.id not in self.stays and one.id not in self.marks]

    @property
    def pardoned(self) -> Sequence[Tried]:
        """That are marked, and stay."""
        return [one for one in self.backups if one.id in self.stays and one.id in self.marks]

    @property
    def damaged(self) -> Sequence[str]:
        """Ids of backups of which nobody can say what they are built on."""
        return [one.id for one in self.listed if one.kept is None]

    def due(self, now: datetime) -> Sequence[Tried]:
        """That were marked long enough, none that another one is built on which is not among them; leaf to root."""
        over = {id_ for id_, mark in self.marks.items() if mark.due <= now and id_ not in self.stays}
        found = {one.id: one for one in self.backups}
        return [found[id_] for id_ in deletable(over, self.backups)]


def reviewed(repository: Repository, plans: Mapping[str, Terms], now: datetime) -> Review:
    """All of it, as it is now, but for what was let go of and lies there again. Raises OSError."""
    listed, known = repository.listed(), repository.remembered
    manifests = [one.kept.manifest for one in listed if one.kept is not None]
    backups = [_tried(repository, made) for made in manifests if known is None or known.let_go(made.id) is None]
    found = marks(repository, [one.manifest for one in backups], now)
    there = {one.id for one in listed}
    names = _names(repository)
    void = [one.id for one in backups if one.id in names and one.id not in found]
    left = [name for name in names if name not in there or (known is not None and known.let_go(name) is not None)]
    return Review(listed, backups, staying(backups, plans, now), found, void, left)


def marks(repository: Repository, manifests: Iterable[Manifest], now: datetime) -> Mapping[str, Mark]:
    """Of these backups the marks that hold, by id."""
    names = set(_names(repository))
    return {made.id: mark for made in manifests if made.id in names and (mark := marked(repository, made, now)) is not None}


def marked(repository: Repository, manifest: Manifest, now: datetime) -> Mark | None:
    """Its mark; none where that is not as it was signed, is of other bytes, or was made by a clock that was ahead.

    Nor where it is another one than this installation has in force: one that was taken back may be put there again.
    """
    found = _read(repository, manifest.id)
    sound = found is not None and found.manifest_sha256 == _sha256(manifest) and found.at <= now
    return found if sound and _in_force(repository, found) else None


def _in_force(repository: Repository, found: Mark | None) -> bool:
    if found is None or repository.remembered is None:
        return found is not None
    known = repository.remembered.backup(found.backup)
    return known is not None and known.marked_at == found.at


def was_due(repository: Repository, id_: str, now: datetime) -> bool:
    """Whether it might have been deleted by now, of a backup that is gone. Where somebody remembers, whether it was."""
    if repository.remembered is not None:
        return repository.remembered.let_go(id_) is not None
    found = _read(repository, id_)
    return found is not None and found.due <= now


def mark(repository: Repository, manifest: Manifest, now: datetime, grace: timedelta) -> Mark:
    """Say that it may go after the grace. Raises Unavailable without the key of signatures, NotWritten and OSError."""
    made = Mark(manifest.id, _sha256(manifest), now, now + grace)
    signer = repository.writer()
    unmark(repository, manifest.id)  # what does not hold, or was begun by who was killed
    write_signed(repository.storage, signer, f"{EXPIRY}/{manifest.id}", strict_json.encode(made, FORMAT))
    return made


def unmark(repository: Repository, id_: str) -> None:
    """Take the mark back. Again is harmless. Raises NotWritten and OSError."""
    for ending in (".sig", ".json"):  # without the first it does not hold, and by the second it is found
        if f"{id_}{ending}" in repository.storage.names(EXPIRY):
            repository.storage.remove(f"{EXPIRY}/{id_}{ending}")


def _read(repository: Repository, id_: str) -> Mark | None:
    """As it was signed."""
    name = f"{EXPIRY}/{id_}"
    try:
        found = strict_json.decode(name, read_signed(repository.storage, repository.seal, name), Mark, FORMAT)
    except Damaged:
        return None
    return found if found.backup == id_ else None


def _names(repository: Repository) -> Sequence[str]:
    """Ids of backups that have one, whether it holds or not."""
    found = (name.removesuffix(".json") for name in repository.storage.names(EXPIRY) if name.endswith(".json"))
    return [name for name in found if ID.fullmatch(name)]


def _tried(repository: Repository, manifest: Manifest) -> Tried:
    held = newest(repository, manifest)
    return Tried(manifest, proven=held is not None and held.passed, failed=held is not None and not held.passed)


def _sha256(manifest: Manifest) -> str:
    return sha256(encode(manifest)).hexdigest()
