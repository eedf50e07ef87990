"""The part of the table that says where backups are kept, and of what else than datasources they are made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from ostiary.config.callers import Url, https_url
from ostiary.config.secrets import KeyText
from ostiary.config.section import Section, matching, setting
from ostiary_tools import cron
from ostiary_tools.backup.storage.bucket import Address
from ostiary_tools.backup.storage.opening import address

Stanza = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "letters, digits, `.`, `_` and `-`, a letter or digit first")]
Cron = Annotated[str, AfterValidator(cron.checked)]
Region = Annotated[str, matching(r"[a-z0-9-]{1,63}", "lower-case letters, digits and `-`")]
OF_BUCKETS = ("endpoint", "region", "access_key", "secret_key")
"""Settings that say nothing of a folder."""


def _place(value: Path | str) -> Path | str:
    if isinstance(value, str):
        address(value)
    return value


def bucket_at(url: str, environ: Mapping[str, str]) -> Address:
    """Where nothing is configured: as the environment says, of programs for S3. Raises ValueError."""
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
    return replace(address(url), endpoint=https_url(endpoint) if endpoint else "")


Place = Annotated[Path | str, AfterValidator(_place)]
"""A folder, or the address of a bucket."""


class Backup(Section):
    """Backups, and what is restored from them. `ostiary backup init` begins the repository; until then nothing is backed up."""

    repository: Place | None = setting(
        None,
        "Folder that backups are kept in, the server's own; better on another disk, or `s3://bucket/prefix` in object storage.",
        shown="backups in `home.data`",
        example="/srv/backups",
    )
    endpoint: Url | None = setting(
        None, "Of `s3://`: where the store is.", shown="Amazon's, or $AWS_ENDPOINT_URL", example="https://objects.example.com"
    )
    region: Region | None = setting(None, "Of `s3://`: where the bucket is.", shown="$AWS_REGION", example="eu-central-1")
    access_key: KeyText | None = setting(
        None,
        "Of `s3://`: the access key's name; it goes with `secret_key`.",
        shown="$AWS_ACCESS_KEY_ID and its like, or the machine's own role",
        example="env:BACKUP_ACCESS_KEY",
    )
    secret_key: KeyText | None = setting(None, "Of `s3://`: the access key's secret.", example="env:BACKUP_SECRET_KEY")
    identity: KeyText | None = setting(
        None,
        "Key that backups are decrypted with to verify, drill and restore them; to make them it is not needed.",
        shown="backup.identity in `home.state`, made by `ostiary backup init`",
        example="file:/run/secrets/backup-identity",
    )
    restores: Path | None = setting(
        None,
        "Folder that what is restored goes into, under a name of its own.",
        shown="restores in `home.data`",
        example="/srv/restores",
    )
    parallel: int = setting(2, "Programs that read or write a database at once, for one backup.", unit="programs", ge=1, le=64)
    programs: Path | None = setting(
        None,
        "Folder with `pg_dump`, `pg_basebackup` and their like that is looked into before the usual ones.",
        example="/opt/postgresql-18/bin",
    )


class Plan(Section):
    """What is backed up by itself, when, and how long it stays; `<name>` is what backups are of: a datasource, or `control`.

    `ostiary worker` keeps it. Times are cron's, in UTC. Without a plan nothing is backed up that nobody asked for.
    """

    logical: Cron | None = setting(None, "When a logical backup is made.", example="0 1 * * *")
    full: Cron | None = setting(None, "When a full backup is made.", example="0 2 * * 0")
    incremental: Cron | None = setting(None, "When what has changed since the newest full one is backed up.", example="0 2 * * 1-6")
    sqlite: Cron | None = setting(None, "When a SQLite file is backed up.", example="0 3 * * *")
    drill: Cron | None = setting(None, "When the newest backup is restored, looked at and thrown away.", example="0 5 * * *")
    wal: Literal["none", "kept"] = setting(
        "none", "`kept`: the write-ahead log is kept as it comes, so that a restore can come to any moment after a full backup."
    )
    recovery_point_s: float = setting(300, "How much may be lost at most, in seconds of work.", unit="seconds", gt=0)
    recovery_time_s: float = setting(3600, "How long a restore may take at most.", unit="seconds", gt=0)
    keep_last: int = setting(2, "Backups that stay in any case, the newest of each kind.", unit="backups", ge=1, le=100_000)
    keep_days: int = setting(14, "How long backups stay, and the log from the oldest of them on.", unit="days", ge=1, le=36_500)
    keep_weekly: int = setting(
        0, "Of so many weeks the last backup stays longer, of each kind that stands alone.", unit="backups", ge=0, le=10_000
    )
    keep_monthly: int = setting(0, "Likewise of months.", unit="backups", ge=0, le=10_000)
    keep_yearly: int = setting(0, "Likewise of years.", unit="backups", ge=0, le=10_000)
    grace_days: int = setting(
        7, "How long a backup that may go is marked before a person can have it deleted.", unit="days", ge=1, le=36_500
    )


class Sqlite(Section):
    """A SQLite file that is backed up; `<name>` is what its backups call it. Agents cannot query it."""

    path: Path = setting(..., "Where the file is.", example="/srv/app/app.db")


class External(Section):
    """Backups that another tool makes and keeps, to be told of in `ostiary dr report` and drilled; `<name>` is what it calls them.

    Nothing of what the tool keeps is changed.
    """

    tool: Literal["pgbackrest", "barman"] = setting(..., "Which tool keeps them.", example="pgbackrest")
    stanza: Stanza | None = setting(None, "What the tool calls it: its stanza or server.", shown="the name", example="main")
    config: Path | None = setting(None, "The tool's own file.", shown="the tool's", example="/etc/pgbackrest/pgbackrest.conf")
    program: Path | None = setting(None, "The tool itself.", shown="where packages put it", example="/opt/barman/bin/barman")
    user: str | None = setting(
        None, "Whom the tool runs as, where Ostiary runs as root.", shown="whoever runs Ostiary", example="barman"
    )
    superuser: str = setting("postgres", "The role that the cluster was made with, by which a copy is looked through.")
    recovery_point_s: float | None = setting(
        None, "How much may be lost at most, in seconds of work; without it nothing is wanted.", unit="seconds", gt=0, example=900
    )
    recovery_time_s: float | None = setting(
        None, "How long a restore may take at most; without it nothing is wanted.", unit="seconds", gt=0, example=3600
    )
