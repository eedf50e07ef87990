"""What a report is made from: what the repository, the configuration and the log say at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ostiary.recovery.report import Alarm
from ostiary_tools.backup.evidence import Evidence
from ostiary_tools.backup.manifest import Manifest
from ostiary_tools.backup.remembered import KeptBackup, Vanished
from ostiary_tools.backup.wal_archive.segment import Segment
from ostiary_tools.backup.wal_archive.timelines import Leg


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a plan says."""

    recovery_point_s: float | None
    recovery_time_s: float | None
    """`None` for what nothing is wanted of."""
    keeps_log: bool = False
    schedules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """The drills of one backup."""

    all: tuple[Evidence, ...] = ()
    """The oldest first."""
    counts: Evidence | None = None
    """The newest, unless something that cannot be read may be newer."""


@dataclass(frozen=True, slots=True)
class Live:
    """What who keeps a log says of it now; the repository says whether it is so."""

    system_identifier: str = ""
    kept_to: str = "0/0"
    kept_until: datetime | None = None
    """By the server's clock."""
    lag_s: float | None = None
    """Seconds of commits that would be lost now."""
    words: str = ""
    """How it stands."""
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What another tool keeps."""

    tool: str
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it."""

    now: datetime
    repository: str
    names: Mapping[str, str]
    """What there is to lose, and why nothing of it can be backed up; empty where it can."""
    plans: Mapping[str, Wanted] = field(default_factory=dict)
    manifests: tuple[Manifest, ...] = ()
    """The oldest first."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """By backup."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Words by backup."""
    vanished: tuple[Vanished, ...] = ()
    """What this installation remembers to have kept, and is not there."""
    let_go: tuple[KeptBackup, ...] = ()
    """What people had deleted."""
    forgotten: str = ""
    """Why nobody can say what has vanished; empty where it can be said."""
    segments: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)
    """The kept log by cluster, in order of timelines and places."""
    histories: Mapping[str, Mapping[int, Sequence[Leg]]] = field(default_factory=dict)
    """How its timelines came about, by cluster and timeline."""
    unreadable_logs: Mapping[str, str] = field(default_factory=dict)
    """By cluster, of which the log could not be read to its end."""
    live: Mapping[str, Live] = field(default_factory=dict)
    """By plan that has its log kept."""
    goes: Mapping[str, datetime] = field(default_factory=dict)
    """By backup that no plan keeps, from when on a person can have it deleted."""
    looked: Mapping[str, Evidence] = field(default_factory=dict)
    """By backup, the last look at the log that leads on from it."""
    external: Mapping[str, Elsewhere] = field(default_factory=dict)
    """By name, of what is among the rest like our own."""
    proven_at: datetime | None = None
    unusable: str = ""
    """Why no backup can be made now."""
    hint: str = ""
