"""What drills found, and looks at the log: kept beside the backups, signed, appended to and never changed.

A backup is proven by its newest drill. Evidence that is not as it was signed, or is of other bytes than those of the backup, proves
nothing.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from ostiary_tools.backup import strict_json
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.manifest_json import encode
from ostiary_tools.backup.remembered import KeptBackup
from ostiary_tools.backup.repository import Repository, read_signed, write_signed
from ostiary_tools.errors import Damaged

FORMAT = 1
DRILLS = "drills"
LOGS = "looked-at-logs"
"""What was found of the kept log that leads on from a backup."""
_STAMP = "%Y%m%dT%H%M%S.%fZ"
"""A name begins with when the drill ended."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a drill looked at."""

    name: str
    words: str
    """What was found, in a sentence without a value of a row."""
    seconds: float
    damage: str = ""
    """What is damaged; empty where nothing is."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one drill found, which ends with the first damage, or one look at the log."""

    backup: str
    manifest_sha256: str
    started_at: datetime
    ended_at: datetime
    by: str
    """The versions of what held it."""
    checks: tuple[Check, ...]

    @property
    def damage(self) -> str:
        """Empty where it passed."""
        return next((check.damage for check in self.checks if check.damage), "")

    @property
    def passed(self) -> bool:
        """Whether the backup was restored and was what it says."""
        return bool(self.checks) and not self.damage


def record(repository: Repository, evidence: Evidence, of: str = DRILLS) -> None:
    """Keep it. Blocking. Raises Unavailable without the key of signatures, and OSError."""
    name = f"{of}/{evidence.backup}/{evidence.ended_at:{_STAMP}}-{secrets.token_hex(4)}"
    write_signed(repository.storage, repository.writer(), name, strict_json.encode(evidence, FORMAT))


def drills(repository: Repository, manifest: Manifest, of: str = DRILLS) -> tuple[Evidence, ...]:
    """All of that backup that count, the oldest first. Blocking."""
    return all_and_newest(repository, manifest, of)[0]


def newest(repository: Repository, manifest: Manifest, of: str = DRILLS) -> Evidence | None:
    """What its newest drill found, or look at its log.

    What cannot be read, or is gone, may have been a failure: no success before it counts. Blocking.
    """
    names = repository.storage.names(f"{of}/{manifest.id}")
    return _newest(_found(repository, manifest, of, names), unread=_is_gone(repository, manifest, of, names))


def all_and_newest(repository: Repository, manifest: Manifest, of: str = DRILLS) -> tuple[tuple[Evidence, ...], Evidence | None]:
    """What `drills` and `newest` give, of one look."""
    names = repository.storage.names(f"{of}/{manifest.id}")
    found = tuple(_found(repository, manifest, of, names))
    every = tuple(one for one in found if one is not None)[::-1]
    return every, _newest(found, unread=_is_gone(repository, manifest, of, names))


def is_there(repository: Repository, known: KeptBackup, of: str = DRILLS) -> bool:
    """Whether what the newest drill, or look, that is remembered found is kept, by its name. Blocking."""
    at = _remembered(known, of)
    return at is None or _is_among(at, repository.storage.names(f"{of}/{known.id}"))


def proven_at(repository: Repository, manifest: Manifest) -> datetime | None:
    """When its newest drill ended, where that passed. Blocking."""
    found = newest(repository, manifest)
    return found.ended_at if found is not None and found.passed else None


def _is_gone(repository: Repository, manifest: Manifest, of: str, names: Sequence[str]) -> bool:
    """Whether a drill, or look, is remembered that none of these names is of."""
    known = repository.remembered.backup(manifest.id) if repository.remembered else None
    at = _remembered(known, of) if known is not None else None
    return at is not None and not _is_among(at, names)


def _remembered(known: KeptBackup, of: str) -> datetime | None:
    return {DRILLS: known.drilled_at, LOGS: known.looked_at}.get(of)


def _is_among(ended_at: datetime, names: Iterable[str]) -> bool:
    began = f"{ended_at:{_STAMP}}-"
    return any(name.startswith(began) and name.endswith(".json") for name in names)


def _newest(newest_first: Iterable[Evidence | None], *, unread: bool) -> Evidence | None:
    for one in newest_first:
        if one is not None:
            return None if unread and one.passed else one
        unread = True
    return None


def _found(repository: Repository, manifest: Manifest, of: str, names: Iterable[str]) -> Iterator[Evidence | None]:
    """The newest first, `None` for what does not count: names begin with the time, and a signature holds for one name alone."""
    folder, held = f"{of}/{manifest.id}", sha256(encode(manifest)).hexdigest()
    for name in sorted(names, reverse=True):
        if name.endswith(".json"):
            found = _read(repository, f"{folder}/{name.removesuffix('.json')}")
            counts = found is not None and (found.backup, found.manifest_sha256) == (manifest.id, held)
            yield found if counts else None


def _read(repository: Repository, name: str) -> Evidence | None:
    try:
        return strict_json.decode(name, read_signed(repository.storage, repository.seal, name), Evidence, FORMAT)
    except Damaged:
        return None
