"""A logical backup in a new instance: a data directory of its own, with the roles of the cluster and the one database."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.backup.login import login
from ostiary_tools.backup.manifest import Content, Manifest
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Kept, Tell
from ostiary_tools.backup.programs import Sought, to_serve
from ostiary_tools.backup.restoring import roles
from ostiary_tools.backup.restoring.archive import Target, created_with, fill, restorer
from ostiary_tools.backup.restoring.database import create, equal, fingerprint_of, lacking_nothing
from ostiary_tools.backup.restoring.feeding import checked, members, text_of
from ostiary_tools.backup.scratch import Ground, Scratch, make, serving
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.identifiers import quoted

SUPERUSER = "postgres"
"""Of new instances; the one that the cluster had comes back beside it."""
_TEMPLATE = "template1"
_TEMPLATES = frozenset({_TEMPLATE, "template0"})
_VERSIONS = 6
"""How much newer than the backup's a server may be."""
_BUILDING = {"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "4GB", "maintenance_work_mem": "256MB"}


@dataclass(frozen=True, slots=True)
class Instance:
    """A data directory, stopped cleanly."""

    data_dir: Path
    superuser: str
    database: str
    notes: tuple[str, ...]
    """What is not as it was, in sentences."""


def ground_for(manifest: Manifest, account: Account, sought: Sought, runtime_dir: Path | None = None) -> Ground:
    """A server of the version that was backed up, or the next newer one that is here. Blocking. Raises Unavailable."""
    oldest = int(manifest.server_version.split(".")[0])
    failures: list[Unavailable] = []
    for major in range(oldest, oldest + _VERSIONS):
        try:
            return Ground(to_serve(major, account, sought), account, runtime_dir)
        except Unavailable as error:
            failures.append(error)
    raise failures[0]


async def into_instance(kept: Kept, data_dir: Path, ground: Ground, sought: Sought, tell: Tell, *, parallel: int = 2) -> Instance:
    """The backup in a new data directory, in a folder that is the ground's user's. Raises ToolError and leaves rubbish."""
    database = fingerprint_of(kept.manifest).database
    if database in _TEMPLATES:
        raise Refused("name", "a template of databases is not restored into an instance, which has one", "restore it to a server")
    kept = await checked(kept)
    await make(data_dir, ground, SUPERUSER, "--encoding=UTF8", "--locale=C")
    async with serving(data_dir, ground, SUPERUSER, _BUILDING) as scratch:
        notes = await _begun(kept, scratch, ground, sought, database)
        target = await _target(scratch, ground, database)
        programs = await restorer(kept, ground.programs.major, tls=False, sought=sought)
        async with telling(tell, "restored", kept.manifest.plain_bytes) as pace:
            await fill(kept, programs, target, pace.add, parallel=parallel)
        inside = await scratch.connect(database)
        try:
            notes += await equal(fingerprint_of(kept.manifest), inside)
        finally:
            await inside.close()
        await scratch.stop()
    return Instance(data_dir, SUPERUSER, database, tuple(notes))


async def _begun(kept: Kept, scratch: Scratch, ground: Ground, sought: Sought, database: str) -> list[str]:
    """Roles, and the empty database."""
    notes: list[str] = []
    connection = await scratch.connect(_TEMPLATE)
    try:
        await lacking_nothing(connection, kept.manifest)
        for member in members(kept.manifest, Content.GLOBALS):
            notes += await roles.restore_all(connection, await asyncio.to_thread(text_of, kept, member))
        options = await created_with(kept, await restorer(kept, ground.programs.major, tls=False, sought=sought))
        await connection.execute(f"DROP DATABASE IF EXISTS {quoted(database)}")  # every instance has a `postgres`
        await create(connection, database, options)
    finally:
        await connection.close()
    return notes


async def _target(scratch: Scratch, ground: Ground, database: str) -> Target:
    who = await asyncio.to_thread(login, scratch.dsn(database))
    return Target(database, who.environment, who.secrets, ground.programs.major)
