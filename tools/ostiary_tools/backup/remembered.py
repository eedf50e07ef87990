"""What this installation remembers to have kept, apart from the repository: who writes to that one may take something away.

It says nothing of what a backup is, which is signed, but which there were, and how far a log had come.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeptBackup:
    """A backup that was seen, as it was signed."""

    repository: str
    id: str
    datasource: str
    kind: str
    drilled_at: datetime | None = None
    """When the newest drill ended that was held of it."""
    looked_at: datetime | None = None
    """When the newest look at the log ended that leads on from it."""
    marked_at: datetime | None = None
    """When it was said that it may go, as long as that holds."""
    gone_at: datetime | None = None
    """When it was let go of; `None` for what is to be there."""
    gone: str = ""
    """How: `deleted`, `expired` or `given up`."""
    person: str = ""
    """By whom."""


@dataclass(frozen=True, slots=True)
class KeptLog:
    """A timeline's log, as far as it was seen."""

    repository: str
    system_identifier: str
    timeline: int
    datasource: str
    start: int
    """From here on it was kept, and not let go of since."""
    end: int
    """Up to here."""
    at: datetime
    """When it had come so far."""
    history: bool = False
    """Whether how the timeline came about was kept, too."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """All of it, of one repository or of several."""

    backups: tuple[KeptBackup, ...] = ()
    logs: tuple[KeptLog, ...] = ()

    def of(self, repository: str) -> "Remembered":
        """Of one alone."""
        return replace(
            self,
            backups=tuple(one for one in self.backups if one.repository == repository),
            logs=tuple(one for one in self.logs if one.repository == repository),
        )

    def backup(self, id_: str) -> KeptBackup | None:
        """That is to be there."""
        return next((one for one in self.kept if one.id == id_), None)

    def let_go(self, id_: str) -> KeptBackup | None:
        """That is not to be there any more."""
        return next((one for one in self.backups if one.gone and one.id == id_), None)

    def log(self, system_identifier: str, timeline: int) -> KeptLog | None:
        """Of one timeline."""
        return next((one for one in self.logs if (one.system_identifier, one.timeline) == (system_identifier, timeline)), None)

    @property
    def kept(self) -> Sequence[KeptBackup]:
        """What is to be there."""
        return [one for one in self.backups if not one.gone]


@dataclass(frozen=True, slots=True)
class Vanished:
    """One thing that is remembered and is not there, or is and should not be."""

    what: str
    """The id of a backup, or the system identifier of the cluster whose log it is."""
    of: str
    """`backup`, `drill` or `log`."""
    words: str
    hint: str
