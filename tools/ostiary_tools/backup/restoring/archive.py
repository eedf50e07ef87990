"""What `pg_dump` wrote, given to `pg_restore`: section by section, into one database."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ostiary_tools.backup.manifest import Content, Member
from ostiary_tools.backup.port import Kept
from ostiary_tools.backup.programs import Programs, Sought, for_server_at
from ostiary_tools.backup.restoring.feeding import fed, members
from ostiary_tools.backup.running import Command
from ostiary_tools.backup.session import conninfo
from ostiary_tools.backup.together import together
from ostiary_tools.errors import Damaged

_MAGIC = b"PGDMP\x01"
_READ_BY = {13: 14, 14: 14, 15: 16, 16: 17}
"""By the minor number of an archive's format, the first major version of PostgreSQL that we use and that reads it."""
_OPTIONS = "-c statement_timeout=0 -c lock_timeout=0 -c maintenance_work_mem=256MB -c synchronous_commit=off -c row_security=off"
_OPTION = r"(?:ENCODING|LOCALE_PROVIDER|LOCALE|LC_COLLATE|LC_CTYPE|ICU_LOCALE|ICU_RULES|BUILTIN_LOCALE|COLLATION_VERSION)"
_CREATE = re.compile(rf"^.* WITH TEMPLATE = template0((?: {_OPTION} = (?:\w+|'(?:[^']|'')*'))*);$", re.MULTILINE)
"""What is matched is run, so it is nothing but how text is kept; the name before it is anybody's to choose, lines and all."""
_LEFT_OUT = ("--no-tablespaces", "--no-subscriptions")
"""They are places on another machine, and ways to another server."""
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_UNKNOWN_SETTING = "Command was: SET transaction_timeout = 0;"
"""What a `pg_restore` since 17 says to every server; one before 17 does not know it."""
_KNOWN_SINCE = 17


@dataclass(frozen=True, slots=True)
class Target:
    """The database that is filled."""

    database: str
    environment: Mapping[str, str]
    """Of programs: whose login, at which server."""
    secrets: tuple[str, ...]
    server: int
    """Its major version."""
    words: tuple[str, ...] = ()
    """For `pg_restore`, of owners and privileges."""


async def restorer(kept: Kept, server: int, tls: bool, sought: Sought) -> Programs:
    """Programs that read what was dumped, and suit the server. Raises Unavailable and Damaged."""
    head = await asyncio.to_thread(_head, kept, _database(kept))
    if head[:6] != _MAGIC or head[6] not in _READ_BY:
        raise Damaged(_database(kept).name, "the dump is in a format that is not known here", "restore it by a newer version")
    return await asyncio.to_thread(for_server_at, max(server, _READ_BY[head[6]]), "pg_restore", tls=tls, sought=sought)


async def created_with(kept: Kept, programs: Programs) -> str:
    """The options of CREATE DATABASE with which the database was made: encoding and locale."""
    words = ("--create", "--section=pre-data", *_LEFT_OUT, "--file=-")
    command = Command(programs.path("pg_restore"), words, reads=True, writes=True)
    text = (await fed(kept, _database(kept), command, lambda _: None, whole=False)).decode()
    found = _CREATE.search(text)
    if found is None:
        raise Damaged(_database(kept).name, "the dump does not say how its database was made")
    return f"TEMPLATE = template0{found[1]}"


async def fill(kept: Kept, programs: Programs, target: Target, told: Callable[[int], None], *, parallel: int) -> None:
    """All of the backup into an empty database: definitions, then rows, then what is built over rows. Raises ToolError."""
    database = _database(kept)

    async def section(name: str, member: Member) -> None:
        await fed(
            kept, member, _command(programs, target, name), told, whole=name == "data", forgiven=lambda said: _known(said, target)
        )

    await section("pre-data", database)
    rows = [*members(kept.manifest, Content.DATA), database]
    await together([partial(section, "data", member) for member in rows], at_once=parallel)
    await section("post-data", database)


def _command(programs: Programs, target: Target, section: str) -> Command:
    # What is not known to an older server is counted as an error, and nothing else is.
    strict = () if _is_newer(programs, target) else ("--exit-on-error",)
    words = (f"--section={section}", f"--dbname={conninfo(target.database)}", "--no-password", *_LEFT_OUT, *strict, *target.words)
    environment = {**target.environment, "PGOPTIONS": _OPTIONS}
    return Command(programs.path("pg_restore"), words, environment, target.secrets, reads=True)


def _is_newer(programs: Programs, target: Target) -> bool:
    return programs.major >= _KNOWN_SINCE > target.server


def _known(said: str, target: Target) -> bool:
    """Whether nothing failed but the setting that is too new."""
    counted = _IGNORED.search(said)
    return target.server < _KNOWN_SINCE and counted is not None and int(counted[1]) == said.count(_UNKNOWN_SETTING)


def _database(kept: Kept) -> Member:
    [member] = members(kept.manifest, Content.DATABASE)
    return member


def _head(kept: Kept, member: Member) -> bytes:
    with kept.plain(member) as plain:
        return plain.read(16)
