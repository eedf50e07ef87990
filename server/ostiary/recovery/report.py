"""How one would stand if a datasource were lost now: what can be restored, up to when, how long that takes, and what is wrong.

A report is a value. It is made by `judging` from `facts`, and shown by `as_text`, `as_json` and `page`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class State(StrEnum):
    """How an objective stands."""

    MET = "met"
    MISSED = "missed"
    UNMEASURED = "not measured"
    """Nobody knows, and so it counts as missed."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a plan wants, beside what was measured."""

    name: str
    wanted_s: float
    measured_s: float | None
    words: str
    """How it was measured, or why it was not."""

    @property
    def state(self) -> State:
        """Met only where a measurement says so."""
        if self.measured_s is None:
            return State.UNMEASURED
        return State.MET if self.measured_s <= self.wanted_s else State.MISSED


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong, and what to do about it."""

    words: str
    hint: str


@dataclass(frozen=True, slots=True)
class Drilled:
    """What one drill found."""

    backup: str
    ended_at: datetime
    restore_s: float
    """From the first byte that was read until the copy let in; of a drill that failed, until then."""
    damage: str
    """Empty where it passed."""
    words: str
    """Of the check that failed, else of what was compared."""

    @property
    def passed(self) -> bool:
        """Whether the backup was restored and was what it says."""
        return not self.damage


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that is whole as far as its manifest tells."""

    id: str
    kind: str
    started_at: datetime
    ended_at: datetime
    stored_bytes: int
    plain_bytes: int
    rows: int | None
    server_version: str
    parent: str | None
    usable: bool
    """Whether a restore can be made of it: no drill of it has failed, and what it builds on is there."""
    drill: Drilled | None
    """Its newest, where that counts."""
    goes: datetime | None = None
    """From when on a person can have it deleted, since no plan keeps it any more."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """Where the kept log lacks something."""

    span: Span
    segment: str
    """The first that is missing or not whole."""


@dataclass(frozen=True, slots=True)
class Log:
    """What is kept of the write-ahead log."""

    spans: tuple[Span, ...] = ()
    gaps: tuple[Gap, ...] = ()
    segments: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One thing that could be lost: a datasource, the control database, a file."""

    name: str
    uncovered: str
    """Why nothing of it can be backed up, in words; empty where it can."""
    schedules: Mapping[str, str]
    """What the plan has made and drilled, and when; empty without a plan."""
    objectives: tuple[Objective, ...]
    """None without a plan."""
    taken: tuple[Taken, ...] = ()
    """The oldest first."""
    drills: tuple[Drilled, ...] = ()
    """All that were held of these, the oldest first."""
    log: Log = field(default_factory=Log)
    tool: str = ""
    """What keeps its backups, where we do not."""
    keeping: str = ""
    """How the log comes in now, as who keeps it says; empty where nobody does."""
    windows: tuple[Span, ...] = ()
    """Any moment in them can be restored; one that is no longer than a moment is that of a backup without the log after it."""
    alarms: tuple[Alarm, ...] = ()
    changes: tuple[str, ...] = ()
    """Since the beginning of the report's month."""

    @property
    def planned(self) -> bool:
        """Whether somebody has said what is wanted of it."""
        return bool(self.objectives)

    @property
    def newest(self) -> Taken | None:
        """Of its backups."""
        return self.taken[-1] if self.taken else None


@dataclass(frozen=True, slots=True)
class Report:
    """How everything stands at one moment."""

    made_at: datetime
    since: datetime
    """What changed is told from here on."""
    repository: str
    proven_at: datetime | None
    """When the recovery key was last seen to decrypt."""
    sources: tuple[Source, ...]
    alarms: tuple[Alarm, ...]
    """Those of no one source."""
    vanished: int = 0
    """How many of these, the first ones, tell of what was kept and is not there."""

    @property
    def missed(self) -> tuple[tuple[Source, Objective], ...]:
        """Objectives that are not known to be met."""
        return tuple((source, one) for source in self.sources for one in source.objectives if one.state is not State.MET)

    def every_alarm(self) -> Iterator[tuple[str, Alarm]]:
        """With the name of its source, empty for those of none."""
        yield from (("", alarm) for alarm in self.alarms)
        yield from ((source.name, alarm) for source in self.sources for alarm in source.alarms)
