"""Whether a backup is still what was kept: every byte of every member, and that there is nothing else; of those it needs, too.

That is the level `manifest`; what only a restore can tell a drill finds. Each damage is named, and one does not hide the others.
Blocking, for threads.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ostiary_tools.backup.chain import chain
from ostiary_tools.backup.manifest import Manifest, Member
from ostiary_tools.backup.port import chunks
from ostiary_tools.backup.repository import BACKUPS, SIGNED, SUMS, Repository, StoredBackup, sums
from ostiary_tools.errors import Damaged

_ENCRYPTED = "no key that opens it is here: what is stored was compared, and not what it decrypts to"
_HINT = "use another backup"

Told = Callable[[int], None]
"""Takes how many bytes more were compared, in the thread. What it raises ends the work."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of one backup."""

    id: str
    manifest: Manifest | None
    """`None` where it is damaged itself, so that of all else nothing can be said."""
    damages: tuple[Damaged, ...]
    notes: tuple[str, ...] = ()
    """What was not compared, and why."""

    @property
    def intact(self) -> bool:
        """Whether no damage was found."""
        return not self.damages


def verify(repository: Repository, id_: str, told: Told) -> Verified:
    """Look at all of it. Raises Refused where there is none."""
    try:
        kept = repository.load(id_)
    except Damaged as damage:
        return Verified(id_, None, (damage,))
    try:
        links = chain(kept)
    except Damaged as damage:
        return Verified(id_, kept.manifest, (damage, *_found(kept, told)))
    needed = [_needed(one, damage) for one in links[:-1] for damage in _found(one, told)]
    damages = (*_found(kept, told), *needed)
    return Verified(id_, kept.manifest, damages, () if all(one.readable for one in links) else (_ENCRYPTED,))


def to_compare(kept: StoredBackup) -> int:
    """Bytes that `verify` will look at."""
    try:
        links = chain(kept)
    except Damaged:  # which is told when it is looked at
        links = (kept,)
    return sum(one.manifest.plain_bytes if one.readable else one.manifest.stored_bytes for one in links)


def _found(kept: StoredBackup, told: Told) -> list[Damaged]:
    """Of one backup alone."""
    damages = list(_strange(kept))
    for member in kept.manifest.members:
        try:
            _compare(kept, member, told)
        except Damaged as damage:
            damages.append(damage)
    return damages


def _needed(one: StoredBackup, damage: Damaged) -> Damaged:
    id_ = one.manifest.id
    return Damaged(f"{id_}/{damage.what}", f"of `{id_}`, which it needs: {damage.message}", damage.hint)


def _strange(kept: StoredBackup) -> Iterator[Damaged]:
    """What lies there beside the members; names that are none of ours are not repeated."""
    folder = f"{BACKUPS}/{kept.manifest.id}"
    ours = {*SIGNED, SUMS, *(member.name for member in kept.manifest.members)}
    more = sum(name not in ours for name in kept.storage.names(folder))
    if more:
        yield Damaged(folder, f"its folder holds {more} more than its manifest names", "look who put it there")
    try:
        listed = kept.storage.read(f"{folder}/{SUMS}")
    except OSError:
        listed = b""
    if listed != sums(kept.manifest):
        yield Damaged(
            SUMS, f"`{SUMS}` is not what the manifest says", "only people who restore without Ostiary use it: write it anew"
        )


def _compare(kept: StoredBackup, member: Member, told: Told) -> None:
    with kept.stored(member) as stored:
        size = stored.seek(0, 2)
    if size != member.stored_bytes:
        raise Damaged(member.name, f"`{member.name}` has {size} bytes where {member.stored_bytes} were stored", _HINT)
    if not kept.readable:
        _compare_stored(kept, member, told)
        return
    with kept.plain(member) as plain:  # which compares what is stored as well
        for piece in chunks(plain):
            told(len(piece))


def _compare_stored(kept: StoredBackup, member: Member, told: Told) -> None:
    digest = hashlib.sha256()
    with kept.stored(member) as stored:
        for piece in chunks(stored):
            digest.update(piece)
            told(len(piece))
    if digest.hexdigest() != member.stored_sha256:
        raise Damaged(member.name, f"`{member.name}` is damaged: it is not the file that was stored", _HINT)
