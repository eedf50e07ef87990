"""The backups of this installation: their repository and its keys, what is backed up, and what of it one caller knows.

Nothing is kept of what the repository says: it is asked at each call, for other processes write to it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ostiary.audit.place import AuditPlace
from ostiary.backed_up import backed_up
from ostiary.config import Config
from ostiary.config.combinations import CONTROL
from ostiary.own_thread import answered
from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Backup, Principal
from ostiary_tools.api import Backups, KnownBackup
from ostiary_tools.backup.known import UNPROVEN, resource
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.port import Source
from ostiary_tools.backup.remembered import KeptBackup, Remembered
from ostiary_tools.backup.storage.bucket import KEEPING, MAKING, Address, Patience, looking
from ostiary_tools.backup.together import each
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.register import Register
from ostiary_tools.embedded import Cluster
from ostiary_tools.errors import StoreAway, ToolError, Unavailable

if TYPE_CHECKING:
    from ostiary_tools.backup.keys import Identity
    from ostiary_tools.backup.port import Storage
    from ostiary_tools.backup.repository import Listed, Repository
    from ostiary_tools.backup.restoring.choosing import Place
    from ostiary_tools.backup.taking import Workshop

_LONG_S = 2.0
ACTIONS = (Action.BACK_UP, Action.VERIFY, Action.RESTORE)
"""What may be done with backups; of whom it is none of these, for him there are none."""
_INIT = "a person begins it with `ostiary backup init`; no agent can"
_PROVE = "a person proves it with `ostiary backup prove`; no agent can"


@dataclass(frozen=True, slots=True)
class Standing:
    """How backups stand, in words."""

    count: int
    newest: tuple[str, ...]
    """Of each datasource, whether a drill has proven it; and which ones are damaged."""
    wrong: tuple[str, ...]
    """What is missing."""
    vanished: int = 0
    """How much is gone that was kept."""


@dataclass(frozen=True, slots=True)
class Vault:
    """Where backups are, and what they are of."""

    folder: Path
    """Of the repository, unless it is in a bucket."""
    keys: Path
    """The folder of this installation's keys."""
    restores: Path
    spools: Path
    sources: Mapping[Backup, Source]
    audit: AuditPlace | None = None
    """Of this installation: a copy of its log is held against it. Without it no drill is held."""
    identity: SecretStr | None = None
    """As configured; else it is a file among the keys."""
    programs: tuple[Path, ...] = ()
    """Folders that are looked into first."""
    copies: Path | None = None
    """Where the bundled ones are copied to for a user who cannot reach them."""
    parallel: int = 2
    runtime: Path | None = None
    """A private folder for sockets."""
    bucket: Address | None = None
    """Of the repository, where it is in one."""
    patience: Patience = MAKING
    """With which that is asked."""
    register: Register | None = None
    """What is known to have been kept; without it nobody can say what has vanished."""

    @property
    def where(self) -> str:
        """The repository is, as people write it."""
        return str(self.folder) if self.bucket is None else self.bucket.url

    def storage(self) -> "Storage":
        """Of the repository. Nothing is asked of it yet. Raises Unavailable without the extra for buckets."""
        from ostiary_tools.backup.storage.opening import open_storage

        return open_storage(self.bucket or self.folder, self.patience)

    def looking(self) -> "Vault":
        """The same for one look: a store that does not answer is not waited for long."""
        return replace(self, patience=looking()) if self.patience.allowance is None else self

    def keeping(self) -> "Vault":
        """The same for who keeps a log, and comes again."""
        return replace(self, patience=KEEPING)

    @property
    def begun(self) -> bool:
        """Whether a repository was ever begun here. Blocking."""
        return self.signing_key.exists()

    @property
    def signing_key(self) -> Path:
        """What manifests are signed with; the repository is held against its public part."""
        return self.keys / "backup.key"

    @property
    def pin(self) -> Path:
        """Which repository is this installation's: no other one is taken for it, though it was signed by the same key."""
        return self.keys / "backup.repository"

    @property
    def identity_file(self) -> Path:
        """The key that members are decrypted with."""
        return self.keys / "backup.identity"

    @property
    def logs(self) -> Path:
        """Where the log of clusters arrives, before it is kept in the repository."""
        return self.spools.with_name("logs")

    async def known(self, engine: Engine, who: Principal) -> Backups:
        """What this caller knows now."""
        remembered = await self.remembered()
        return await answered("backups-known", lambda: self._known(engine, who, remembered), _LONG_S, lambda: None)

    async def remembered(self) -> Remembered | None:
        """What was kept, whatever the repository says. Raises Unavailable."""
        try:
            return await self.register.recall() if self.register is not None else None
        except JournalError as error:
            raise Unavailable("what was kept of backups cannot be looked up now", "try again later") from error

    async def recalled(self) -> "Repository":
        """The repository, with what is known to have been kept in it. Raises as `repository`, and Unavailable."""
        remembered = await self.remembered()  # before it is looked at: what is noted was there
        return await asyncio.to_thread(self.repository, remembered)

    async def note(self, act: Callable[[Register], Awaitable[None]]) -> None:
        """Have something noted, where that is done. Raises Unavailable."""
        try:
            if self.register is not None:
                await act(self.register)
        except JournalError as error:
            raise Unavailable("what is kept of backups cannot be noted now", "try again later; what was made is there") from error

    def repository(self, remembered: Remembered | None = None) -> "Repository":
        """The repository, with the keys that are here. Blocking. Raises Unavailable where there is none yet, and Damaged."""
        from ostiary_tools.backup.repository import Gone, open_repository
        from ostiary_tools.backup.sealing import load_signer, pinned

        if not self.signing_key.exists():  # it is made with the repository
            raise Unavailable("there is no repository of backups yet", _INIT)
        signer, pin = load_signer(self.signing_key), pinned(self.pin)
        try:
            found = open_repository(self.storage(), signer.seal, signer, self._identities(), pinned=pin)
        except FileNotFoundError:
            if pin is not None:
                raise Gone from None
            raise Unavailable("there is no repository of backups yet", _INIT) from None
        return replace(found, remembered=remembered.of(found.description.id)) if remembered is not None else found

    def standing(self, remembered: Remembered | None = None) -> Standing:
        """How all of them stand, for operators. Blocking."""
        vault = self.looking()
        seen = _seen(vault, remembered)
        listed, drilled = seen.listed, seen.drilled
        newest = {one.kept.manifest.datasource: one.kept.manifest for one in listed if one.kept is not None}
        lines = [f"{name}: {made.id} ({made.kind}), {_label(*drilled[made.id])}" for name, made in sorted(newest.items())]
        lines += [f"{one.id}: damaged" for one in listed if one.damage is not None]
        wrong = [f"{seen.unusable}; {seen.hint}"] if seen.unusable else []
        wrong += [
            f"the newest one of `{name}` {f'failed its drill {failed}' if failed else f'is {UNPROVEN}'}; see `ostiary drill {name}`"
            for name, made in sorted(newest.items())
            for proven, failed, _ in [drilled[made.id]]
            if not proven
        ]
        if listed and CONTROL not in newest:
            wrong.append("there is no backup of the control database yet; make one with `ostiary backup create control`")
        gone = _vanished(vault, remembered) if remembered is not None and not seen.unusable else ()
        return Standing(len(listed), tuple(lines), (*gone, *wrong), len(gone))

    def workshop(self) -> "Workshop":
        """What backups are made with."""
        from ostiary_tools.backup.programs import Sought
        from ostiary_tools.backup.taking import Workshop

        return Workshop(Sought(self.programs, self.copies), self.spools, self.parallel)

    def place(self, backup: Backup) -> "Place":
        """Where what is restored of such backups can be made."""
        from ostiary_tools.backup.restoring.choosing import Place

        source = self.sources.get(backup)
        return Place(
            self.restores, source.restore_dsn if source else "", self.workshop().sought, self.parallel, self.runtime, self.spools
        )

    def _identities(self) -> "tuple[Identity, ...]":
        from ostiary_tools.backup.keys import read_identities
        from ostiary_tools.backup.sealing import read_secret

        if self.identity is not None:
            return read_identities(self.identity.get_secret_value())
        return read_identities(read_secret(self.identity_file)) if self.identity_file.exists() else ()

    def _known(self, engine: Engine, who: Principal, remembered: Remembered | None) -> Backups:
        seen = _seen(self.looking(), remembered)
        listed, drilled = seen.listed, seen.drilled
        manifests = [one.kept.manifest for one in listed if one.kept is not None]
        every = dict.fromkeys((*self.sources, *map(resource, manifests)))
        may = {one: found for one in every if (found := frozenset(_may(engine, who, one)))}
        all_verified = bool(may) and all(Action.VERIFY in may.get(one, ()) for one in every)
        return Backups(
            sources=_by_datasource(one for one in self.sources if one in may),
            may=may,
            backups=tuple(
                KnownBackup(one, may[resource(one)], *drilled[one.id]) for one in reversed(manifests) if resource(one) in may
            ),
            damaged={one.id: one.damage.message for one in listed if one.damage is not None} if all_verified else {},
            gone={one.id: (one.datasource, one.kind) for one in seen.gone if Backup(one.datasource, one.kind) in may},
            unusable=seen.unusable,
            hint=seen.hint,
            away=seen.away,
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is, what its newest drills said and when it may go, and why nothing can be added to it."""

    listed: "Sequence[Listed]" = ()
    drilled: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    unusable: str = ""
    hint: str = ""
    away: bool = False
    gone: Sequence[KeptBackup] = ()
    """What is remembered to be there, and is not."""


def open_vault(config: Config, cluster: Cluster | None, audit: AuditPlace | None = None, register: Register | None = None) -> Vault:
    """As configured. Nothing is looked for before it is asked."""
    backup = config.backup
    return Vault(
        config.backup_folder,
        config.home.state,
        config.restore_folder,
        config.home.data / "spools",
        {Backup(source.name, source.kind.value): source for source in backed_up(config, cluster)},
        audit,
        backup.identity,
        (backup.programs,) if backup.programs is not None else (),
        config.home.data / "postgres" / "programs",
        backup.parallel,
        config.home.runtime,
        config.backup_bucket,
        register=register,
    )


def _seen(vault: Vault, remembered: Remembered | None) -> _Seen:
    try:
        repository = vault.repository(remembered)
        listed = repository.listed()
        manifests = [one.kept.manifest for one in listed if one.kept is not None]
        goes = _goes(repository, manifests)
        proofs = each(lambda made: _drilled(repository, made), manifests, at_once=repository.storage.at_once)
        drilled = {made.id: (*held, goes.get(made.id, "")) for made, held in zip(manifests, proofs, strict=True)}
        there = {one.id for one in listed}
        gone = [one for one in repository.remembered.kept if one.id not in there] if repository.remembered else ()
        if not repository.proven:
            return _Seen(listed, drilled, "the recovery key of the repository was never seen to work", _PROVE, gone=gone)
    except ToolError as error:
        return _Seen(unusable=error.message, hint=error.hint, away=isinstance(error, StoreAway))
    except OSError as error:
        why = f"the repository of backups cannot be read: {(error.strerror or 'failed').lower()}"
        return _Seen(unusable=why, hint="tell the operator")
    return _Seen(listed, drilled, gone=gone)


def _vanished(vault: Vault, remembered: Remembered) -> Sequence[str]:
    from ostiary_tools.backup.vanished import vanished

    try:
        return [f"{one.words}; {one.hint}" for one in vanished(vault.repository(remembered))]
    except (ToolError, OSError):
        return ()  # that it cannot be read is said already


def _drilled(repository: "Repository", manifest: Manifest) -> tuple[str, str]:
    """When its newest drill passed, or did not."""
    from ostiary_tools.backup.evidence import newest

    held = newest(repository, manifest)
    if held is None:
        return "", ""
    when = f"{held.ended_at:%Y-%m-%d %H:%M:%S}Z"
    return (when, "") if held.passed else ("", when)


def _goes(repository: "Repository", manifests: Sequence[Manifest]) -> Mapping[str, str]:
    """By id, from when on those that may go can be deleted."""
    from ostiary_tools.backup.expiry import marks

    return {id_: f"{mark.due:%Y-%m-%d}" for id_, mark in marks(repository, manifests, datetime.now(UTC)).items()}


def _label(proven: str, failed: str, goes: str) -> str:
    state = f"failed its drill {failed}" if failed else f"proven {proven}" if proven else UNPROVEN
    return f"{state}, goes after {goes}" if goes else state


def _by_datasource(resources: Iterable[Backup]) -> Mapping[str, tuple[Kind, ...]]:
    found: dict[str, tuple[Kind, ...]] = {}
    for one in resources:
        found[one.datasource] = (*found.get(one.datasource, ()), Kind(one.kind))
    return found


def _may(engine: Engine, who: Principal, one: Backup) -> Iterator[Action]:
    return (action for action in ACTIONS if engine.allows(who, Access(action, one)).allowed)
