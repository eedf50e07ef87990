"""What becomes of a backup: which of its restores makes what is wanted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ostiary_tools.backup.custody import Restored, Target, Wanted, tables_written
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.moment import Latest
from ostiary_tools.backup.port import Kept, Tell
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup
from ostiary_tools.backup.spool import spooled, user_of
from ostiary_tools.errors import Refused, Unavailable

if TYPE_CHECKING:
    from ostiary_tools.backup.restoring.bases import Asked
    from ostiary_tools.backup.restoring.moments import Examine
    from ostiary_tools.backup.restoring.tables import Copy

_NO_LOGIN = "the datasource of this backup has no login for backups any more"
_SPOOLS = ".ostiary-spools"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something new can be made."""

    folder: Path
    """Of instances and files, each under its name."""
    dsn: str
    """A login of the datasource that was backed up; empty where none is configured any more."""
    sought: Sought
    parallel: int = 2
    runtime_dir: Path | None = None
    """A private folder for sockets, where there is one."""
    spools: Path | None = None
    """Where a copy lies that single tables are taken out of; nothing else lies there. Without it, in the folder."""


async def restore(kept: StoredBackup, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    """Make it. Raises ToolError; then there is nothing new."""
    match kept.manifest.kind, wanted.target:
        case Kind.LOGICAL, Target.DATABASE:
            return await _database(kept, wanted, place, tell)
        case Kind.LOGICAL | Kind.FULL | Kind.INCREMENTAL, Target.SCHEMA | Target.FILE:
            return await _tables(kept, wanted, place, tell)
        case Kind.LOGICAL, Target.INSTANCE:
            return await _instance(kept, wanted, place, tell)
        case Kind.FULL | Kind.INCREMENTAL, Target.INSTANCE:
            return await _cluster(kept, wanted, place, tell)
        case Kind.SQLITE, Target.FILE:
            return await _file(kept, wanted, place, tell)
        case kind, target:
            raise Refused("target", f"of a {kind} backup no {target} is made", "choose another target")


async def restore_to(asked: "Asked", name: str, place: Place, tell: Tell, examine: "Examine | None" = None) -> Restored:
    """A new instance that is at a moment, and has been looked at. Raises ToolError; then there is nothing new."""
    from ostiary_tools.backup.restoring.extent import extent
    from ostiary_tools.backup.restoring.moments import into_folder

    path = await _new(place, name)
    made = await into_folder(asked, path, place.sought, tell, runtime_dir=place.runtime_dir, examine=examine)
    told = [f"it begins with the backup `{made.reached.base.manifest.id}`"]
    if isinstance(asked.moment, Latest):
        told.append(await asyncio.to_thread(extent, asked.repository, made.reached))
    return Restored(made.reached.base.manifest, f"the instance `{path}`", 0, (*told, *made.found, *made.steps), made.reached.words)


async def _database(kept: Kept, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    from ostiary_tools.backup.restoring.database import into_server

    if not place.dsn:
        raise Unavailable(_NO_LOGIN, "restore it to an instance")
    await _no_superuser(place.dsn)
    made = await into_server(kept, place.dsn, wanted.name, place.sought, tell, parallel=place.parallel)
    where = f"database `{made.database}` on the server of `{kept.manifest.datasource}`"
    return Restored(kept.manifest, where, _rows(kept), made.notes)


async def _no_superuser(dsn: str) -> None:
    """A restore runs what owners of tables wrote, in checks and indexes: as a superuser they would have the living server."""
    from ostiary_tools.backup.session import connected, facts

    async with connected(dsn) as connection:
        if (await facts(connection)).superuser:
            hint = "restore it to an instance or a file, or give as `backup_dsn` a login that is no superuser and has CREATEDB"
            raise Refused("superuser", "what is in a backup is not run by a superuser of a living server", hint)


async def _file(kept: Kept, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    from ostiary_tools.backup.restoring.file import into_file

    path = await _new(place, wanted.name)
    await into_file(kept, path, tell)
    return Restored(kept.manifest, f"the file `{path}`", _rows(kept))


async def _cluster(kept: Kept, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    from ostiary_tools.backup.restoring.cluster import into_folder

    path = await _new(place, wanted.name)
    made = await into_folder(kept, path, place.sought, tell, runtime_dir=place.runtime_dir)
    return Restored(kept.manifest, f"the instance `{path}`", _rows(kept), made.steps)


async def _instance(kept: Kept, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    from ostiary_tools.backup.restoring.folders import given, hand_over, staged, standing, steps
    from ostiary_tools.backup.restoring.instance import ground_for, into_instance

    path = await _new(place, wanted.name)
    account = await asyncio.to_thread(standing, path)
    ground = await asyncio.to_thread(ground_for, kept.manifest, account, place.sought, place.runtime_dir)
    async with staged(path) as stage:
        data_dir = await asyncio.to_thread(given, stage / "data", account)
        made = await into_instance(kept, data_dir, ground, place.sought, tell, parallel=place.parallel)
        await asyncio.to_thread(hand_over, data_dir, path, account)
    return Restored(kept.manifest, f"the instance `{path}`", _rows(kept), (*made.notes, *steps(path, ground)))


async def _tables(kept: StoredBackup, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    from ostiary_tools.backup.restoring.drafts import refuse_existing
    from ostiary_tools.backup.restoring.tables import into_schema, into_sql, vacant

    if wanted.target is Target.SCHEMA and not place.dsn:
        raise Unavailable(_NO_LOGIN, "restore the tables to a file")
    path, tables = await _new(place, wanted.name), tables_written(wanted.tables)
    # Before all of it is restored for nothing.
    if wanted.target is Target.SCHEMA:
        await _no_superuser(place.dsn)
        await vacant(place.dsn, wanted.name)
    else:
        await asyncio.to_thread(refuse_existing, path)
    async with _running(kept, place, tell) as copy:
        if wanted.target is Target.FILE:
            notes = await into_sql(copy, tables, path, wanted.name, tell)
            where = f"the file `{path}`, which makes a schema `{wanted.name}`"
            return Restored(kept.manifest, where, _rows_of(kept, tables), notes)
        notes = await into_schema(copy, tables, place.dsn, wanted.name, tell)
    where = f"schema `{wanted.name}` in the database of `{kept.manifest.datasource}`"
    return Restored(kept.manifest, where, _rows_of(kept, tables), notes)


@asynccontextmanager
async def _running(kept: StoredBackup, place: Place, tell: Tell) -> AsyncIterator["Copy"]:
    """A server of a copy of all of it; it goes with the block."""
    from ostiary_tools.backup.restoring.copies import Copying
    from ostiary_tools.backup.restoring.tables import Copy
    from ostiary_tools.backup.scratch import serving

    spools = place.spools or (await _new(place, _SPOOLS))
    account = await asyncio.to_thread(user_of, spools)
    fingerprint = kept.manifest.fingerprint
    if fingerprint is None:
        raise Refused("tables", "nobody knows what tables this backup holds", "restore all of it, to an instance")
    async with spooled(spools, account) as folder:
        made = await Copying(place.sought, account, place.runtime_dir, place.parallel)(kept, folder, tell)
        if isinstance(made, str):
            raise Refused("tables", "single tables are not taken out of such a backup", "restore all of it")
        async with serving(made.data_dir, made.ground, made.superuser) as scratch:
            yield Copy(scratch, fingerprint.database, made.ground.programs.major, place.sought)
            await scratch.stop()


def _rows_of(kept: Kept, tables: Sequence[tuple[str, str]]) -> int:
    fingerprint = kept.manifest.fingerprint
    return sum(one.rows for one in fingerprint.tables if (one.schema, one.table) in tables) if fingerprint else 0


def _rows(kept: Kept) -> int:
    return kept.manifest.fingerprint.rows if kept.manifest.fingerprint else 0


async def _new(place: Place, name: str) -> Path:
    """Where it goes, in a folder that is there."""
    # Another user may have to pass it to a data directory of its own; nobody lists it.
    await asyncio.to_thread(place.folder.mkdir, mode=0o711, parents=True, exist_ok=True)
    return place.folder / name
