"""What a run may ask for of backups, and what it is told: the part of `api.Session` that is about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from ostiary_tools.backup.manifest import Kind, Manifest
from ostiary_tools.backup.moment import Moment
from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import one_line, relation_written


class Level(StrEnum):
    """How closely a backup is looked at."""

    MANIFEST = "manifest"
    """Every byte of it."""
    WAL = "wal"
    """The kept log that leads on from it."""
    DRILL = "drill"
    """It is restored."""


class Target(StrEnum):
    """What is made of a backup. It is always new."""

    INSTANCE = "instance"
    """A folder that a server can be started on."""
    DATABASE = "database"
    """A database on the datasource's server."""
    SCHEMA = "schema"
    """Tables, in a schema of the datasource's database."""
    FILE = "file"
    """A SQLite file, or tables as a file of SQL."""


TARGETS: Mapping[Kind, tuple[Target, ...]] = {
    Kind.FULL: (Target.INSTANCE, Target.SCHEMA, Target.FILE),
    Kind.INCREMENTAL: (Target.INSTANCE, Target.SCHEMA, Target.FILE),
    Kind.LOGICAL: (Target.DATABASE, Target.INSTANCE, Target.SCHEMA, Target.FILE),
    Kind.SQLITE: (Target.FILE,),
}
"""What can be made of each kind, the usual first."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be restored, and to what."""

    backup: str
    """Its id; empty where a moment is."""
    name: str
    """Of the new thing: `[a-z][a-z0-9_]*`."""
    target: Target
    tables: tuple[str, ...] = ()
    """`schema.table` as SQL writes them; all of it where none is named."""
    datasource: str = ""
    """Whose cluster, with a moment."""
    moment: Moment | None = None
    """What it is to be at: the backup to begin with is chosen for it."""
    timeline: int | None = None
    """With a moment: which history it is of; the newest where none is named."""


def tables_written(tables: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Each by schema and name. Raises Refused."""
    return tuple(map(_table, tables))


def _table(written: str) -> tuple[str, str]:
    schema, name = relation_written(written)
    if schema is None:
        raise Refused("tables", f"`{one_line(written, 80)}` does not say its schema", "write `schema.table`")
    return schema, name


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that is what was kept."""

    manifest: Manifest
    stored_bytes: int
    """That were read."""
    drilled_at: datetime | None = None
    """When a drill passed, where one was held."""
    notes: tuple[str, ...] = ()
    """What a drill found, or what was not looked at and why."""
    log: str = ""
    """What was found of the log that leads on from it, where that was looked at."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Something new that holds what the backup held."""

    manifest: Manifest
    what: str
    """What it is and where, in words."""
    rows: int
    """That were compared with those of the backup; of a backup without a fingerprint none."""
    notes: tuple[str, ...] = ()
    """What is not as it was, or is left for people to do."""
    reached: str = ""
    """Of a moment the proof that it was reached, in words."""

    @property
    def compared(self) -> str:
        """What is known of it, in words."""
        if self.reached:
            return self.reached
        return f"{self.rows:,} rows are as they were backed up" if self.rows else "no rows were compared"


class Custody(Protocol):
    """Each raises Refused unless the permit covers it on backups of that kind and datasource, and ToolError as it fails."""

    async def back_up(self, datasource: str, kind: str) -> Manifest:
        """Take a backup; the one that this very work has made already, where it has."""
        ...

    async def verify(self, backup: str, level: Level) -> Checked:
        """Read every byte of it or of its log, or restore it and compare. Raises Damaged, which names the damage."""
        ...

    async def restore(self, wanted: Wanted) -> Restored:
        """Make something new out of it. What is there already is never touched."""
        ...
