"""The part of the table that says where backups are kept, and of what else than datasources they are made."""

from pathlib import Path

from ostiary.config.secrets import KeyText
from ostiary.config.section import Section, setting


class Backup(Section):
    """Backups, and what is restored from them. `ostiary backup init` begins the repository; until then nothing is backed up."""

    repository: Path | None = setting(
        None,
        "Folder that backups are kept in, the server's own; better on another disk.",
        shown="backups in `home.data`",
        example="/srv/backups",
    )
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


class Sqlite(Section):
    """A SQLite file that is backed up; `<name>` is what its backups call it. Agents cannot query it."""

    path: Path = setting(..., "Where the file is.", example="/srv/app/app.db")
