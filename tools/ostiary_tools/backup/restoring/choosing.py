"""What becomes of a backup: which of its restores makes what is wanted."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.backup.custody import Restored, Target, Wanted
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Kept, Tell
from ostiary_tools.backup.programs import Sought
from ostiary_tools.errors import Refused, Unavailable


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


async def restore(kept: Kept, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    """Make it. Raises ToolError; then there is nothing new."""
    match kept.manifest.kind, wanted.target:
        case Kind.LOGICAL, Target.DATABASE:
            return await _database(kept, wanted, place, tell)
        case Kind.LOGICAL, Target.INSTANCE:
            return await _instance(kept, wanted, place, tell)
        case Kind.FULL, Target.INSTANCE:
            return await _cluster(kept, wanted, place, tell)
        case Kind.SQLITE, Target.FILE:
            return await _file(kept, wanted, place, tell)
        case kind, target:
            raise Refused("target", f"of a {kind} backup no {target} is made yet", "choose another target")


async def _database(kept: Kept, wanted: Wanted, place: Place, tell: Tell) -> Restored:
    from ostiary_tools.backup.restoring.database import into_server

    if not place.dsn:
        raise Unavailable("the datasource of this backup has no login for backups any more", "restore it to an instance")
    made = await into_server(kept, place.dsn, wanted.name, place.sought, tell, parallel=place.parallel)
    where = f"database `{made.database}` on the server of `{kept.manifest.datasource}`"
    return Restored(kept.manifest, where, _rows(kept), made.notes)


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


def _rows(kept: Kept) -> int:
    return kept.manifest.fingerprint.rows if kept.manifest.fingerprint else 0


async def _new(place: Place, name: str) -> Path:
    """Where it goes, in a folder that is there."""
    # Another user may have to pass it to a data directory of its own; nobody lists it.
    await asyncio.to_thread(place.folder.mkdir, mode=0o711, parents=True, exist_ok=True)
    return place.folder / name
