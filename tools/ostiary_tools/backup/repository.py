"""A repository of backups: what it says of itself, what it holds, and the road by which a backup comes into it.

It needs nothing else of this installation but keys: whoever has them and these files restores without Ostiary. What is listed is
whole; what is not as it was signed is listed as damaged and never used. Blocking, for threads.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, cast

from ostiary_tools.backup import chain, pieces, strict_json
from ostiary_tools.backup.keys import Identity, NoKey, Probe, answers, make_probe, parsed_recipient, proves
from ostiary_tools.backup.manifest import Manifest, Member
from ostiary_tools.backup.manifest_json import ID, decode
from ostiary_tools.backup.plain import opened
from ostiary_tools.backup.port import Storage
from ostiary_tools.backup.remembered import Remembered
from ostiary_tools.backup.sealing import Seal, Signer
from ostiary_tools.backup.together import each
from ostiary_tools.errors import Damaged, Refused, Unavailable

FORMAT = 1
BACKUPS = "backups"
SIGNED = ("manifest.json", "manifest.sig")
SUMS = "SHA256SUMS"
PROOFS = "proofs"
_DESCRIPTION = "repository.json"
_BEGUN = {"staging", "staging.lock", "repository.sig", "RESTORE.txt"}
"""What an `initialise` may leave that did not come to its end."""


class Gone(Unavailable):
    """There was a repository, and it is not there."""

    def __init__(self) -> None:
        super().__init__(
            "the repository of backups is not where it was", "see that its disk or bucket is there, and who may empty it"
        )


@dataclass(frozen=True, slots=True)
class Description:
    """What a repository is. It is signed, and never changed."""

    id: str
    seal: str
    """The public key of signatures."""
    operational: str
    """The public key of the installation's own age key."""
    recovery: str
    """That of the key which lies elsewhere."""
    probe: Probe

    @property
    def recipients(self) -> tuple[str, ...]:
        """Every member is encrypted to each of them."""
        return (self.operational, self.recovery)


@dataclass(frozen=True, slots=True)
class Proof:
    """That the recovery key read the probe."""

    repository: str
    recovery: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """One backup, as its manifest was signed."""

    manifest: Manifest
    storage: Storage
    seal: Seal
    """That signed it."""
    identities: tuple[Identity, ...]
    sums: Mapping[str, Sequence[bytes]] = field(default_factory=dict, repr=False, compare=False)
    """Of members that were compared: of their pieces, as they lie there."""

    @property
    def readable(self) -> bool:
        """Whether a key that opens it is here."""
        return any(identity.recipient in self.manifest.recipients for identity in self.identities)

    def parent(self) -> "StoredBackup | None":
        """The one that it needs; see `port.Kept`."""
        id_ = self.manifest.parent
        return None if id_ is None else replace(self, manifest=_manifest(self.storage, self.seal, id_), sums={})

    @contextmanager
    def plain(self, member: Member) -> Iterator[BinaryIO]:
        """Its bytes, each read and the whole compared with what was put; see `port.Kept`."""
        if not self.identities:
            hint = "name the operational key in `[backup] identity`, or give the recovery key"
            raise NoKey("there is no key here to decrypt backups with", hint)
        if not self.readable:
            raise NoKey("none of the keys opens this backup", "use the key it was made with, or the recovery key")
        with opened(member, self.stored(member), self.identities) as plain:
            yield plain

    def stored(self, member: Member) -> BinaryIO:
        """Its bytes as they lie there; of what was compared no others."""
        try:
            file = self.storage.open(f"{BACKUPS}/{self.manifest.id}/{member.name}")
        except OSError:
            raise Damaged(member.name, f"`{member.name}` is missing or cannot be read", "use another backup") from None
        return cast("BinaryIO", pieces.Same(file, self.sums[member.name])) if member.name in self.sums else file

    def compared(self, told: Callable[[int], None]) -> "StoredBackup":
        """The same, each member of which is what was stored, and is given as it was at this look or not at all; see `port.Kept`."""
        return replace(self, sums={member.name: self._summed(member, told) for member in self.manifest.members})

    def _summed(self, member: Member, told: Callable[[int], None]) -> Sequence[bytes]:
        with self.stored(member) as stored:
            try:
                whole, sums = pieces.summed(stored, told)
            except OSError:
                whole, sums = "", ()
        if whole != member.stored_sha256:
            raise Damaged(member.name, f"`{member.name}` is damaged: it is not the file that was stored", "use another backup")
        return sums


@dataclass(frozen=True, slots=True)
class Listed:
    """A folder among the backups, and the backup in it unless it is damaged."""

    id: str
    kept: StoredBackup | None
    damage: Damaged | None


@dataclass(frozen=True, slots=True)
class Repository:
    """An open one: its description was checked against the key that the installation pinned."""

    storage: Storage
    description: Description
    signer: Signer | None = None
    """Without it nothing is written."""
    identities: tuple[Identity, ...] = ()
    """Without one nothing is decrypted."""
    remembered: Remembered | None = None
    """What is known to have been kept in it; `None` where nobody can say, since the installation is lost."""

    @property
    def seal(self) -> Seal:
        """Checks what it says."""
        return Seal(self.description.seal)

    def listed(self) -> tuple[Listed, ...]:
        """All, the oldest first. One whose chain is broken is damaged."""
        found = tuple(each(self._listed, self.storage.names(BACKUPS), at_once=self.storage.at_once))
        whole = {one.id: one.kept.manifest for one in found if one.kept is not None}
        return tuple(_chained(one, whole) for one in found)

    def newest_first(self) -> Sequence[StoredBackup]:
        """All that can be read, the one that ended last first: of two of one second names do not say which that is."""
        kept = [one.kept for one in self.listed() if one.kept is not None]
        return sorted(kept, key=lambda one: one.manifest.ended_at, reverse=True)

    def load(self, id_: str) -> StoredBackup:
        """Raises Refused where there is none of that id, and Damaged."""
        self._named(id_)
        return self._kept(id_)

    def delete(self, id_: str) -> None:
        """Take a backup away, also a damaged one; what drills found of it stays. People's act alone.

        Raises Refused without one, and while others need it.
        """
        self._named(id_)
        refuse_parent(id_, self.listed())
        self.storage.remove(f"{BACKUPS}/{id_}")

    def of_job(self, job: str) -> StoredBackup | None:
        """What the job has made already."""
        for id_ in self.storage.names(BACKUPS):
            if id_.endswith(job_mark(job)):
                kept = self._listed(id_).kept
                if kept is not None and kept.manifest.job == job:
                    return kept
        return None

    def prove(self, identities: Sequence[Identity]) -> bool:
        """Record that a recovery key reads the probe; whether it did. Raises Unavailable without the key of signatures."""
        read = proves(self.description.probe, identities)
        if read:
            self._record_proof()
        return read

    def prove_by(self, answer: bytes) -> bool:
        """Likewise, of what the probe held as somebody says who read it where the recovery key lies."""
        right = answers(self.description.probe, answer)
        if right:
            self._record_proof()
        return right

    @property
    def proven(self) -> bool:
        """Whether the recovery key was seen to decrypt; before that nothing is backed up. Raises Damaged."""
        return any(self._proof(name) is not None for name in self.storage.names(PROOFS))

    @property
    def proven_at(self) -> datetime | None:
        """When it was last seen to. Raises Damaged."""
        found = [proof for name in self.storage.names(PROOFS) if (proof := self._proof(name)) is not None]
        return max((proof.at for proof in found), default=None)

    def _record_proof(self) -> None:
        now = datetime.now(UTC)
        proof = Proof(self.description.id, self.description.recovery, now)
        name = f"{PROOFS}/{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        write_signed(self.storage, self.writer(), name, strict_json.encode(proof, FORMAT))

    def _proof(self, name: str) -> Proof | None:
        """Of this repository's recovery key."""
        if not name.endswith(".json"):
            return None
        data = read_signed(self.storage, self.seal, f"{PROOFS}/{name.removesuffix('.json')}")
        proof = strict_json.decode(name, data, Proof, FORMAT)
        return proof if (proof.repository, proof.recovery) == (self.description.id, self.description.recovery) else None

    def writer(self) -> Signer:
        """The key of signatures. Raises Unavailable."""
        if self.signer is None or self.signer.seal != self.seal:
            raise Unavailable("the key that signs this repository is not here", "work with it where it was initialised")
        return self.signer

    def _named(self, id_: str) -> None:
        if not ID.fullmatch(id_) or id_ not in self.storage.names(BACKUPS):
            raise Refused("backup", "there is no such backup", "list_backups shows those there are")

    def _kept(self, id_: str) -> StoredBackup:
        return StoredBackup(_manifest(self.storage, self.seal, id_), self.storage, self.seal, self.identities)

    def _listed(self, id_: str) -> Listed:
        """Of a name that was just listed: to look for each of them again would ask a store as often as there are backups."""
        if not ID.fullmatch(id_):
            return Listed(id_, None, Damaged(id_, "this is no backup of ours", "look who put it there"))
        try:
            return Listed(id_, self._kept(id_), None)
        except Damaged as damage:
            return Listed(id_, None, damage)


def refuse_parent(id_: str, listed: Sequence[Listed]) -> None:
    """Raises Refused where one of these needs that backup."""
    needing = [one.id for one in listed if one.kept is not None and one.kept.manifest.parent == id_]
    if needing:
        raise Refused("parent", f"the backup is needed by `{needing[-1]}`, which holds what changed since", "delete that one first")


def initialise(storage: Storage, signer: Signer, operational: str, recovery: str) -> Description:
    """Begin a repository in an empty storage. Raises Refused where there is one, and LockedOut."""
    operational, recovery = parsed_recipient(operational), parsed_recipient(recovery)
    if operational == recovery:
        raise Refused("keys", "the recovery key is the operational key", "make the recovery key elsewhere, and keep it there")
    _check_vacant(storage)  # before anything is put into a folder of somebody else
    storage.sweep()  # of one that did not come to its end
    stage = storage.stage(BACKUPS, "init")  # one at a time
    try:
        _check_vacant(storage)
        made = Description(secrets.token_hex(8), signer.seal.key, operational, recovery, make_probe(recovery))
        storage.write("RESTORE.txt", Path(__file__).with_name("RESTORE.txt").read_bytes(), new=False)
        storage.write("repository.sig", signer.sign(_DESCRIPTION, data := strict_json.encode(made, FORMAT)), new=False)
        storage.write(_DESCRIPTION, data)
    finally:
        stage.close()
    return made


def open_repository(
    storage: Storage,
    seal: Seal,
    signer: Signer | None = None,
    identities: Sequence[Identity] = (),
    *,
    pinned: str | None = None,
) -> Repository:
    """The repository that was signed by the key, and has the `pinned` id. Raises Unavailable where there is none, and Damaged.

    Of these Gone where there was one.
    """
    if _DESCRIPTION not in storage.names(""):
        if pinned is not None:
            raise Gone
        raise Unavailable("there is no repository of backups", "make one with `ostiary backup init`")
    description = _description(read_signed(storage, seal, "repository"), seal)
    if pinned is not None and description.id != pinned:
        message = "the repository of backups is another one than this installation's"
        raise Damaged(_DESCRIPTION, message, "put back the one that was there, or look who exchanged it")
    return Repository(storage, description, signer, tuple(identities))


def named_seal(storage: Storage) -> Seal:
    """The key of signatures that the repository names itself: for who has lost the pinned one. Raises Unavailable and Damaged.

    What is opened by it is whole, but nothing tells that it is not another repository than it was.
    """
    try:
        data = storage.read(_DESCRIPTION)
    except OSError:
        raise Unavailable("there is no repository of backups", "name the folder that `repository.json` is in") from None
    return Seal(strict_json.decode(_DESCRIPTION, data, Description, FORMAT).seal)


def _manifest(storage: Storage, seal: Seal, id_: str) -> Manifest:
    manifest = decode(read_signed(storage, seal, f"{BACKUPS}/{id_}/manifest"))
    if manifest.id != id_:
        raise Damaged("manifest.json", "the manifest is that of another backup", "do not restore from this backup")
    return manifest


def _chained(one: Listed, whole: Mapping[str, Manifest]) -> Listed:
    try:
        if one.kept is not None:
            chain.stated(one.kept.manifest, whole)
    except Damaged as damage:
        return Listed(one.id, None, damage)
    return one


def _check_vacant(storage: Storage) -> None:
    if not set(storage.names("")) <= _BEGUN:
        raise Refused("repository", "the folder is not empty", "name one that is new")


def sums(manifest: Manifest) -> bytes:
    """For `sha256sum -c`, in the hands of people."""
    return "".join(f"{member.stored_sha256}  {member.name}\n" for member in manifest.members).encode()


def job_mark(job: str) -> str:
    """How an id ends of what the job made."""
    return f"-{sha256(job.encode()).hexdigest()[:8]}"


def read_signed(storage: Storage, seal: Seal, name: str) -> bytes:
    """The bytes of `<name>.json` as they were signed. Raises Damaged."""
    what = f"{name}.json"
    try:
        data, signature = storage.read(what), storage.read(f"{name}.sig")
    except (OSError, ValueError):  # the latter of a name that somebody else gave
        raise Damaged(what, f"`{what}` or its signature is missing", "do not restore from this backup") from None
    seal.check(what, data, signature)
    return data


def write_signed(storage: Storage, signer: Signer, name: str, data: bytes) -> None:
    """Write `<name>.json`, which counts once it is there; its signature is there before."""
    storage.write(f"{name}.sig", signer.sign(f"{name}.json", data))
    storage.write(f"{name}.json", data)


def _description(data: bytes, seal: Seal) -> Description:
    made = strict_json.decode(_DESCRIPTION, data, Description, FORMAT)
    if made.seal != seal.key:
        raise Damaged(_DESCRIPTION, "the repository names another key of signatures", "do not use it")
    return made
