"""What one caller knows of backups, and the words for what it does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ostiary_policies.actions import Action
from ostiary_policies.model import Backup
from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.errors import Damaged, Refused, StoreAway

UNPROVEN = "unproven"
"""The label of a backup that no drill has passed."""
_NAMED = 8
"""Listed at most in one sentence."""


@dataclass(frozen=True, slots=True)
class KnownBackup:
    """A backup, with what its caller may do with it: at least one of `back_up`, `verify` and `restore` on its kind."""

    manifest: Manifest
    may: frozenset[Action]
    proven: str = ""
    """When the newest drill passed, ISO 8601; empty where none has, or the newest has failed."""
    failed: str = ""
    """When the newest drill did not pass; empty where it did, or there was none."""
    goes: str = ""
    """The day from which on a person can have it deleted, since no plan keeps it any more; empty where it stays."""

    @property
    def label(self) -> str:
        """What is to be said of it before anything else."""
        state = f"failed its drill {self.failed}" if self.failed else f"proven {self.proven}" if self.proven else UNPROVEN
        return f"{state}, goes after {self.goes}" if self.goes else state


@dataclass(frozen=True, slots=True)
class Backups:
    """All that a caller knows of backups."""

    sources: Mapping[str, tuple[Kind, ...]] = field(default_factory=dict)
    """What can be backed up, by datasource, the usual kind first; only those on which the caller may do something."""
    may: Mapping[Backup, frozenset[Action]] = field(default_factory=dict)
    """What it may do, by datasource and kind; never nothing."""
    backups: tuple[KnownBackup, ...] = ()
    """Newest first."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """By id, of what nobody can say what it is a backup of: told to who may verify all that there could be."""
    gone: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By id datasource and kind of what was kept and is not there, though nobody let go of it."""
    unusable: str = ""
    """Why no backup can be made now, in words; empty where they can."""
    hint: str = ""
    """What to do about that."""
    away: bool = False
    """Whether that is because an object store does not answer: then nobody knows what there is, and may soon."""


def resource(manifest: Manifest) -> Backup:
    """What policies call it."""
    return Backup(manifest.datasource, manifest.kind.value)


def resources(manifest: Manifest) -> tuple[Backup, ...]:
    """All that it is made of: an incremental one is nothing without a full one."""
    own = resource(manifest)
    return (own,) if manifest.kind is not Kind.INCREMENTAL else (own, Backup(own.datasource, Kind.FULL.value))


def known(id_: str, backups: Backups | None) -> KnownBackup:
    """The backup of that id. Raises Refused, in the same words where there is none and where it is hidden; Damaged; StoreAway."""
    _there(backups)
    if backups and id_ in backups.damaged:
        raise Damaged(id_, f"backup `{id_}` is damaged: {backups.damaged[id_]}", "use another backup, and tell the operator")
    if backups and id_ in backups.gone:
        raise Damaged(id_, f"backup `{id_}` is gone, and nobody let go of it", "use another backup, and tell the operator")
    found = next((one for one in backups.backups if one.manifest.id == id_), None) if backups else None
    if found is None:
        raise Refused("unknown_backup", f"unknown backup `{id_}`", "call `list_backups`")
    return found


def source(datasource: str | None, kind: str | None, backups: Backups | None) -> Backup:
    """What is to be backed up. Raises Refused, in the same words for what is not there and what is hidden."""
    sources = backups.sources if backups else {}
    if datasource is None and len(sources) == 1:
        datasource = next(iter(sources))
    if datasource is None:
        raise Refused("datasource", "name the datasource", nearest(backups))
    kinds = sources.get(datasource, ())
    if not kinds:
        raise Refused("unknown_datasource", f"unknown datasource `{datasource}`", nearest(backups))
    chosen = kinds[0].value if kind is None else kind
    if chosen not in kinds:
        hint = f"kinds of backups you may use of it: {', '.join(kinds)}"
        raise Refused("unknown_kind", f"no {chosen} backups are made of `{datasource}`", hint)
    return Backup(datasource, chosen)


def clusters(datasource: str | None, backups: Backups | None) -> tuple[Backup, ...]:
    """What is restored of a datasource that is to come to a moment: its full backups, and incremental ones where the caller may.

    Raises Refused, in the same words for what is not there and what is hidden.
    """
    may = backups.may if backups else {}
    names = sorted({one.datasource for one in may if one.kind == Kind.FULL})
    if datasource is None and len(names) == 1:
        datasource = names[0]
    if datasource is None:
        raise Refused("datasource", "name the datasource", nearest(backups))
    if datasource not in names:
        raise Refused("unknown_datasource", f"unknown datasource `{datasource}`", nearest(backups))
    full, incremental = (Backup(datasource, kind.value) for kind in (Kind.FULL, Kind.INCREMENTAL))
    return (full, incremental) if Action.RESTORE in may.get(incremental, ()) else (full,)


def nearest(backups: Backups | None) -> str:
    """What its caller can name instead."""
    names = sorted(backups.sources) if backups else []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    shown = ", ".join(f"`{name}`" for name in names[:_NAMED])
    return f"datasources whose backups you may use: {shown}{more}" if names else "there is no datasource whose backups you may use"


def usable(backups: Backups | None) -> None:
    """Raises Refused where there is nowhere to keep them, and StoreAway."""
    _there(backups)
    if backups is None or backups.unusable:
        raise Refused("repository", backups.unusable if backups else "backups are not known here", backups.hint if backups else "")


def _there(backups: Backups | None) -> None:
    if backups is not None and backups.away:
        raise StoreAway(backups.unusable, backups.hint)
