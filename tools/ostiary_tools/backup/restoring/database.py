"""A logical backup in a new database of a server.

Until all of it is there and equal to the fingerprint that was taken with it, the database has another name, and nobody but
superusers and its owner may enter it. What a killed restore left behind is dropped by the next.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg

from ostiary_tools.backup.differences import compared
from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.login import login
from ostiary_tools.backup.manifest import Content, Fingerprint, Kind, Manifest
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Kept, Tell
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.restoring import roles
from ostiary_tools.backup.restoring.archive import Target, created_with, fill, restorer
from ostiary_tools.backup.restoring.feeding import checked, members, text_of
from ostiary_tools.backup.session import Facts, connected, environment, facts, looking
from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.errors import Damaged, Refused, Unavailable
from ostiary_tools.identifiers import one_line, quoted

_DRAFT = "ostiary_restore_"
_LEFT_OVER = """
SELECT d.datname::text FROM pg_catalog.pg_database d
WHERE d.datname OPERATOR(pg_catalog.~) '^ostiary_restore_[0-9a-f]{16}$'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid OPERATOR(pg_catalog.=) d.oid
        OR a.pid OPERATOR(pg_catalog.=) ('x' || substr(d.datname::text, 17, 8))::bit(32)::int4)
"""
"""A restore has a session in its draft while it is filled; before and after that its own session, which the name tells, lives."""
_MISSING = """
SELECT wanted FROM pg_catalog.unnest($1::pg_catalog.text[]) AS wanted
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions e WHERE e.name::pg_catalog.text OPERATOR(pg_catalog.=) wanted)
"""
_LONGEST = 63
_NAMED = 5
"""Differences that are told; there may be thousands."""
_DROP_S = 60.0
"""How long a server may take to drop a draft: it waits for a checkpoint, and until all its processes have let go of its files."""
CLOSED = "only superusers and its owner may connect to it: `GRANT CONNECT ON DATABASE` lets others in"
UNOWNED = "all objects belong to the login that restored them, and nobody else has privileges: that login is no superuser"


@dataclass(frozen=True, slots=True)
class Restored:
    """A database that holds what was backed up."""

    database: str
    notes: tuple[str, ...]
    """What is not as it was, or is left to do, in sentences."""


async def into_server(kept: Kept, dsn: str, name: str, sought: Sought, tell: Tell, *, parallel: int = 2) -> Restored:
    """The backup in the new database `name`. Raises ToolError; then there is no such database."""
    fingerprint = fingerprint_of(kept.manifest)
    async with connected(dsn) as connection:
        known, who = await facts(connection), await asyncio.to_thread(login, dsn)
        await _check(connection, kept.manifest, known, name)
        kept = await checked(kept)
        programs = await restorer(kept, known.major, tls=known.tls or who.needs_tls, sought=sought)
        await swept(connection)
        notes = await _owners(connection, kept, known)
        async with _draft(connection, await created_with(kept, programs)) as draft:
            target = Target(draft, environment(who, known), who.secrets, known.major, _words(known))
            # While a session of ours is in it no other restore takes it for left over.
            async with connected(dsn, draft) as inside, telling(tell, "restored", kept.manifest.plain_bytes) as pace:
                await fill(kept, programs, target, pace.add, parallel=parallel)
                notes += await equal(fingerprint, inside)
            await _renamed(connection, draft, name)
    return Restored(name, (*notes, CLOSED))


async def swept(connection: asyncpg.Connection) -> None:
    """Drop the drafts of restores that were killed."""
    for (name,) in await connection.fetch(_LEFT_OVER):
        with suppress(asyncpg.PostgresError):  # somebody else's, or somebody came
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)}")


def fingerprint_of(manifest: Manifest) -> Fingerprint:
    """Of a logical backup. Raises Refused where it is another."""
    if manifest.kind is not Kind.LOGICAL or manifest.fingerprint is None:
        raise Refused("kind", "this is no logical backup", "a full backup is restored into a new folder")
    return manifest.fingerprint


async def _check(connection: asyncpg.Connection, manifest: Manifest, known: Facts, name: str) -> None:
    """Nothing is restored over what there is, or into what cannot hold it."""
    if not name or "\0" in name or len(name.encode()) > _LONGEST:
        raise Refused("name", f"a database's name has 1 to {_LONGEST} bytes", "choose another name")
    if name.startswith(_DRAFT):
        raise Refused("name", f"what begins with `{_DRAFT}` is dropped by the next restore", "choose another name")
    if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname::text = $1)", name):
        raise Refused("exists", f"there is a database `{one_line(name)}` already", "a backup is restored to something new")
    if known.major < int(manifest.server_version.split(".")[0]):
        message = f"the server is PostgreSQL {known.major}, and the backup is of PostgreSQL {manifest.server_version}"
        raise Refused("version", message, "restore it to a server that is as new")
    await lacking_nothing(connection, manifest)


async def lacking_nothing(connection: asyncpg.Connection, manifest: Manifest) -> None:
    """Raises Unavailable where the server has not all extensions of the backup."""
    wanted = list(manifest.fingerprint.extensions) if manifest.fingerprint else []
    if missing := await connection.fetch(_MISSING, wanted):
        names = ", ".join(f"`{one_line(row[0])}`" for row in missing)
        raise Unavailable(f"the server lacks extensions of the backup: {names}", "install their packages on it")


async def _owners(connection: asyncpg.Connection, kept: Kept, known: Facts) -> list[str]:
    """Make roles that are missing; notes."""
    if not known.superuser:
        return [UNOWNED]
    notes: list[str] = []
    for member in members(kept.manifest, Content.GLOBALS):
        notes += await roles.restore_names(connection, await asyncio.to_thread(text_of, kept, member))
    return notes


def _words(known: Facts) -> tuple[str, ...]:
    return () if known.superuser else ("--no-owner", "--no-privileges")


@asynccontextmanager
async def _draft(connection: asyncpg.Connection, options: str) -> AsyncIterator[str]:
    """An empty database under a name of ours, which goes unless it was renamed."""
    name = f"{_DRAFT}{connection.get_server_pid():08x}{secrets.token_hex(4)}"
    try:
        await create(connection, name, options)
        yield name
    finally:
        dropping = asyncio.ensure_future(_dropped(connection, name))
        try:
            await asyncio.shield(dropping)
        except asyncio.CancelledError:
            await asyncio.wait([dropping])
            raise


async def create(connection: asyncpg.Connection, name: str, options: str) -> None:
    """An empty database that nobody but its owner and superusers may enter. Raises Unavailable."""
    try:
        # Closed from its first moment: who got in would stay, and see what comes.
        await connection.execute(f"CREATE DATABASE {quoted(name)} {options} ALLOW_CONNECTIONS = false")
        await connection.execute(f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC")
        await connection.execute(f"ALTER DATABASE {quoted(name)} ALLOW_CONNECTIONS true")
    except asyncpg.InsufficientPrivilegeError as error:
        raise Unavailable("the login may not make databases", "give it CREATEDB, or another login") from error
    except asyncpg.PostgresError as error:
        message = f"the server cannot make a database of that encoding and locale ({error.sqlstate})"
        raise Unavailable(message, "install the locale on the server, or restore into a new instance") from error
    except DRIVER_ERRORS as error:
        raise Unavailable("the session with the server broke", "see that it runs") from error


async def _dropped(connection: asyncpg.Connection, name: str) -> None:
    with suppress(*DRIVER_ERRORS):  # the next restore drops it
        async with asyncio.timeout(_DROP_S):
            await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


async def equal(fingerprint: Fingerprint, connection: asyncpg.Connection) -> list[str]:
    """Compare the session's database with what was backed up; notes of what may differ. Raises Damaged."""
    async with looking(connection):
        now = await taken(connection, fingerprint.database, Kind.LOGICAL)
    found = compared(fingerprint, now)
    versions = [one for one in found if one.name.startswith("extension ")]
    if rest := [one for one in found if one not in versions]:
        named = "; ".join(map(str, rest[:_NAMED]))
        raise Damaged(rest[0].name, f"the restored database is not what was backed up: {named}", "use another backup")
    return [f"{one}: the server has another version" for one in versions]


async def _renamed(connection: asyncpg.Connection, draft: str, name: str) -> None:
    try:
        await connection.execute(f"ALTER DATABASE {quoted(draft)} RENAME TO {quoted(name)}")
    except asyncpg.DuplicateDatabaseError:
        raise Refused("exists", f"there is a database `{one_line(name)}` by now", "restore it under another name") from None
    except DRIVER_ERRORS as error:
        raise Unavailable("the restored database could not be given its name", "try again") from error
