"""What a backup says of itself: what it is of, its members, and what the data was when it was taken.

A manifest is the last thing that is written of a backup, and is never changed. It is signed (see `repository`), and says enough to
restore the backup without anything else of this installation but a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

FORMAT = 1
"""Of manifests; another one is refused."""


class Kind(StrEnum):
    """How a backup is made."""

    LOGICAL = "logical"
    """One database as `pg_dump` writes it."""
    FULL = "full"
    """A whole cluster, its files, as `pg_basebackup` sends them."""
    INCREMENTAL = "incremental"
    """Of a whole cluster what has changed since another backup, its `parent`; restored together with it."""
    SQLITE = "sqlite"
    """One SQLite file through SQLite's own backup."""

    @property
    def physical(self) -> bool:
        """Whether it is of a whole cluster."""
        return self in {Kind.FULL, Kind.INCREMENTAL}


class Content(StrEnum):
    """What a member is; it says how it is restored by standard commands."""

    DATABASE = "database"
    """`pg_dump -Fc`: all of it but the rows of tables that have members of their own."""
    DATA = "data"
    """`pg_dump -Fc --data-only`: rows of some tables."""
    GLOBALS = "globals"
    """`pg_dumpall --globals-only`: SQL."""
    BASE = "base"
    """`pg_basebackup -Ft`: a tar of the data directory, with `backup_manifest` in it."""
    FILES = "files"
    """That `backup_manifest` once more: an incremental backup is taken by it, and the base need not be decrypted for it."""
    WAL = "wal"
    """A tar of the segments from the start of a base to its point."""
    SQLITE = "sqlite"
    """A SQLite database file."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup: compressed with zstd, then encrypted to all recipients with age."""

    name: str
    """Such as `base.tar.zst.age`; no name of anything in the database is in it."""
    content: Content
    plain_bytes: int
    plain_sha256: str
    stored_bytes: int
    stored_sha256: str


class Way(StrEnum):
    """How a row becomes a number."""

    TEXT = "text"
    """`hashtextextended` of the row as text, which is the same in all versions and whatever order the columns have."""
    BINARY = "binary"
    """Hashes of its values as they are stored or sent, each begun with the one before; see `row_digests`. It is the same on servers
    of one major version."""


@dataclass(frozen=True, slots=True)
class TablePrint:
    """Of a table's rows, their number and a sum of their hashes. It finds damage, and proves nothing to an attacker."""

    schema: str
    table: str
    rows: int
    sum: str
    """Of the rows' numbers, decimal."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a database held at one moment."""

    database: str
    tables: tuple[TablePrint, ...]
    """Sorted."""
    sequences: Mapping[str, str] = field(default_factory=dict)
    """By quoted name the last value that was given out, or `low..high` where it went on during the backup."""
    objects: Mapping[str, str] = field(default_factory=dict)
    """Tables, indexes, constraints, triggers, policies, functions and so on, as `index "public"."orders_pkey"`, and what of each
    must be as it was."""
    extensions: Mapping[str, str] = field(default_factory=dict)
    """Versions by name."""
    way: Way = Way.TEXT
    """Of all tables. A copy is compared by the way of its backup, and by none before there were two."""

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables)


@dataclass(frozen=True, slots=True)
class Point:
    """The moment in a cluster's history at which a full backup's fingerprint was taken.

    A copy that is recovered to the last commit which `snapshot` sees holds exactly what was fingerprinted.
    """

    snapshot: str
    """As `pg_current_snapshot()` gives it."""
    lsn: str
    """At or after every commit that the snapshot sees."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What a full or incremental backup is of."""

    system_identifier: str
    timeline: int
    start_lsn: str
    end_lsn: str
    """From here on a copy is consistent."""
    point: Point | None
    """`None` where the login may not read rows, so that there is no fingerprint."""
    superuser: str = ""
    """The role that the cluster was made with: who may look at all of a copy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup as it describes itself."""

    id: str
    """`YYYYMMDDTHHMMSSZ-` and eight hexadecimal digits."""
    kind: Kind
    datasource: str
    """As this installation calls what was backed up."""
    job: str
    """Of whose work it is: work that is done again finds what it has done already."""
    started_at: datetime
    ended_at: datetime
    server_version: str
    """Such as `18.6`, or SQLite's."""
    members: tuple[Member, ...]
    fingerprint: Fingerprint | None
    cluster: ClusterFacts | None = None
    recipients: tuple[str, ...] = ()
    """Public keys that every member is encrypted to."""
    notes: tuple[str, ...] = ()
    """What it lacks, in sentences: roles without passwords, a fingerprint that could not be taken."""
    parent: str | None = None
    """The backup that an incremental one needs, which may be incremental itself; see `chain`."""

    @property
    def stored_bytes(self) -> int:
        """Of all members."""
        return sum(member.stored_bytes for member in self.members)

    @property
    def plain_bytes(self) -> int:
        """Of all members."""
        return sum(member.plain_bytes for member in self.members)
