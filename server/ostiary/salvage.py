"""A restore from the files of a repository alone, when the installation that made them is lost.

There is no control database, and so no policy and no audit log: who has the files and a key of theirs has all that is in them
already. The key that the repository was signed by is taken from itself. What is restored is whole; that it is not another
repository than it was, nobody here can tell.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ostiary.cli_options import one_line
from ostiary.config import environment
from ostiary.config.backup import bucket_at
from ostiary.exits import CommandFailed, Exit
from ostiary.founding import read_key
from ostiary.progress import Tell
from ostiary_tools.backup.custody import TARGETS, Restored, Target, Wanted
from ostiary_tools.backup.moment import Moment
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import Repository, StoredBackup, named_seal, open_repository
from ostiary_tools.backup.restoring.bases import Asked
from ostiary_tools.backup.restoring.choosing import Place, restore, restore_to
from ostiary_tools.backup.storage.bucket import Address
from ostiary_tools.backup.storage.opening import SCHEME, open_storage
from ostiary_tools.errors import Refused, Unavailable

_NAMED = 5
BELIEVED = "the key of signatures was taken from the repository itself: that it is the one of your installation is for you to know"


@dataclass(frozen=True, slots=True)
class Files:
    """A repository, and the key that opens it."""

    repository: str
    """A folder, or `s3://bucket/prefix`."""
    identity: Path


def opened(files: Files) -> Repository:
    """Blocking. Raises ToolError and CommandFailed."""
    try:
        storage = open_storage(_place(files.repository), carried=True)
        if "repository.json" not in storage.names(""):
            raise _none(files)
        return open_repository(storage, named_seal(storage), identities=read_key(files.identity))
    except OSError:
        raise _none(files) from None


def _place(written: str) -> Path | Address:
    if not written.startswith(SCHEME):
        return Path(written)
    try:
        return bucket_at(written, environment())
    except ValueError as error:
        raise CommandFailed(f"`{one_line(written)}` {error}", code=Exit.USAGE) from None


def found(repository: Repository, named: str) -> StoredBackup:
    """The backup of that id, or the newest of that datasource. Blocking. Raises Refused and Damaged."""
    whole = [one.kept for one in repository.listed() if one.kept is not None]
    newest = next((one for one in reversed(whole) if one.manifest.datasource == named), None)
    if newest is not None:
        return newest
    if named not in {one.id for one in repository.listed()}:
        there = ", ".join(f"`{one.manifest.id}` of `{one_line(one.manifest.datasource)}`" for one in whole[-_NAMED:])
        raise Refused("backup", "there is no such backup", f"the newest ones: {there}" if there else "there is none at all")
    return repository.load(named)


async def salvage(files: Files, named: str, target: Path, wanted: tuple[Target | None, tuple[str, ...]], tell: Tell) -> Restored:
    """Make the backup anew in that place, where nothing is. Raises ToolError; then there is nothing new."""
    repository = await asyncio.to_thread(opened, files)
    kept = await asyncio.to_thread(found, repository, named)
    chosen, tables = wanted
    what = chosen or (Target.FILE if tables else next(one for one in TARGETS[kept.manifest.kind] if one is not Target.DATABASE))
    if what in (Target.DATABASE, Target.SCHEMA):
        raise Refused("target", f"no {what} can be made from files alone: there is no server", "choose `instance` or `file`")
    if not target.parent.is_dir():
        raise Refused("folder", f"there is no folder that `{target}` could be made in", "name another, or make it")
    with _spools(target.parent) as spools:
        place = Place(target.parent, "", Sought(()), spools=spools)
        return await restore(kept, Wanted(kept.manifest.id, target.name, what, tables), place, tell)


async def salvage_to(files: Files, datasource: str, target: Path, wanted: tuple[Moment, int | None], tell: Tell) -> Restored:
    """The cluster of that datasource as it was at a moment, of that timeline or the newest. Likewise."""
    moment, timeline = wanted
    repository = await asyncio.to_thread(opened, files)
    if not target.parent.is_dir():
        raise Refused("folder", f"there is no folder that `{target}` could be made in", "name another, or make it")
    asked = Asked(repository, datasource, moment, timeline=timeline)
    return await restore_to(asked, target.name, Place(target.parent, "", Sought(())), tell)


@contextmanager
def _spools(folder: Path) -> Iterator[Path]:
    """A folder of our own, since what a killed restore left behind is swept from where it lies: nothing of anybody's may."""
    with TemporaryDirectory(prefix=".ostiary-", dir=folder, ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o711)  # another user may run the copy
        yield Path(made)


def _none(files: Files) -> Unavailable:
    return Unavailable(f"there is no repository of backups in `{files.repository}`", "name the folder that `repository.json` is in")
