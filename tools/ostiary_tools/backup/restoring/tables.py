"""Single tables out of a restored copy: into a new schema of a database, or as a file of SQL.

In the copy, which is thrown away, the tables are moved into a schema of their own with their indexes, checks and own sequences;
what ties them to what stays behind is taken off and told. What `pg_dump` then says of that schema is run in one transaction, or
written down.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import asyncpg

from ostiary_tools.backup.fingerprints import of_schema
from ostiary_tools.backup.login import login
from ostiary_tools.backup.manifest import TablePrint
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Tell, chunks
from ostiary_tools.backup.programs import Programs, Sought, for_server_at
from ostiary_tools.backup.restoring.drafts import drafted, publish
from ostiary_tools.backup.running import Command, Running, started
from ostiary_tools.backup.scratch import Scratch
from ostiary_tools.backup.session import connected, conninfo, environment, facts, looking
from ostiary_tools.backup.together import threaded
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.errors import Damaged, DatabaseError, ProgramFailed, Refused
from ostiary_tools.identifiers import one_line, quoted

_SQL = load_sections("tables.sql", __package__)
_LONGEST = 63
_OPTIONS = "-c synchronous_commit=local"  # as for `session`: no standby is waited for
CLOSED = "only superusers and the login for backups may use the schema: `GRANT USAGE ON SCHEMA` and rights on tables let others in"
OPEN = (
    "{} other logins may use the schema, for they may use every one: policies, masks and row rules that name the tables they were"
    " taken from do not hold for these"
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A running copy of a backup, which may be changed."""

    scratch: Scratch
    database: str
    major: int
    """The version of its server."""
    sought: Sought


async def into_schema(copy: Copy, tables: Sequence[tuple[str, str]], dsn: str, schema: str, tell: Tell) -> tuple[str, ...]:
    """The tables, by schema and name, in the new schema of that database; notes of what was taken off. Raises ToolError."""
    async with connected(dsn) as connection:
        known, who = await facts(connection), await asyncio.to_thread(login, dsn)
        if known.major < copy.major:
            message = f"the database is of PostgreSQL {known.major}, and the copy of the backup of {copy.major}"
            raise Refused("version", message, "have the tables written into a file of SQL")
        await _vacant(connection, schema)
        notes, prints = await _moved(copy, tables, schema)
        tls = known.tls or who.needs_tls
        programs = await asyncio.to_thread(for_server_at, known.major, "pg_restore", tls=tls, sought=copy.sought)
        words = ("--single-transaction", "--no-owner", "--no-privileges", "--no-password", f"--dbname={conninfo(known.database)}")
        named = {**environment(who, known), "PGOPTIONS": _OPTIONS}
        command = Command(programs.path("pg_restore"), words, named, who.secrets, reads=True)
        async with telling(tell, "restored") as pace:
            await _piped(await _dump(copy, programs, schema, "custom"), command, pace.add)
        await _compared(connection, schema, prints)
        return (*notes, await _reach(connection, schema))


async def vacant(dsn: str, schema: str) -> None:
    """Raises Refused where the database has a schema of that name, before a copy is made for nothing."""
    async with connected(dsn) as connection:
        await _vacant(connection, schema)


async def _vacant(connection: asyncpg.Connection, schema: str) -> None:
    if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname::text = $1)", schema):
        raise Refused("exists", f"there is a schema `{one_line(schema)}` already", "a backup is restored to something new")


async def into_sql(copy: Copy, tables: Sequence[tuple[str, str]], path: Path, schema: str, tell: Tell) -> tuple[str, ...]:
    """The tables as a new file of SQL that makes a schema; likewise."""
    with drafted(path) as (draft, descriptor):
        notes, _ = await _moved(copy, tables, schema)
        programs = await asyncio.to_thread(for_server_at, copy.major, tls=False, sought=copy.sought)
        async with started(await _dump(copy, programs, schema, "plain")) as dump, telling(tell, "written") as pace:
            with open(descriptor, "wb", closefd=False) as file:  # noqa: ASYNC230 opens nothing: it has a descriptor
                await _poured(dump, file, pace.add)
            await dump.ended()
        await asyncio.to_thread(publish, draft, descriptor, path)
    return notes


async def _moved(copy: Copy, tables: Sequence[tuple[str, str]], schema: str) -> tuple[tuple[str, ...], Sequence[TablePrint]]:
    """Move the tables into the schema, within the copy; what was taken off, and what is in it now."""
    if not schema or "\0" in schema or schema.startswith("pg_") or len(schema.encode()) > _LONGEST:
        raise Refused(
            "name", "this is no name for a schema of people", f"choose 1 to {_LONGEST} bytes that do not begin with `pg_`"
        )
    connection = await copy.scratch.connect(copy.database)
    try:
        await connection.execute("SET search_path = pg_catalog; SET row_security = off")
        async with connection.transaction():
            notes = await _move(connection, tables, schema)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return notes, await of_schema(connection, schema)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
        raise Refused("names", "two of these tables, or of their indexes, have one name", "restore them into two schemas") from None
    except asyncpg.PostgresError as error:
        raise DatabaseError(str(error.sqlstate), f"the tables could not be taken out of the copy ({error.sqlstate})") from error
    finally:
        await connection.close()


async def _move(connection: asyncpg.Connection, tables: Sequence[tuple[str, str]], schema: str) -> tuple[str, ...]:
    rows = await connection.fetch(_SQL["chosen"].query, [one for one, _ in tables], [one for _, one in tables])
    if missing := set(range(1, len(tables) + 1)) - {row["number"] for row in rows}:
        name = one_line(".".join(tables[min(missing) - 1]))
        raise Refused("table", f"there is no table `{name}` in the backup", "see `schema.table` in its manifest")
    chosen = {row["oid"]: row for row in rows}
    ties = await connection.fetch(_SQL["ties"].query, list(chosen))
    for tie in ties:
        await connection.execute(tie["statement"])
    if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname::text = $1)", schema):
        await connection.execute(f"ALTER SCHEMA {quoted(schema)} RENAME TO {quoted('was ' + schema[:40])}")
    await connection.execute(f"CREATE SCHEMA {quoted(schema)}")
    for oid in chosen:
        name = await connection.fetchval("SELECT $1::oid::regclass::text", oid)
        await connection.execute(f"ALTER TABLE {name} SET SCHEMA {quoted(schema)}")
    return tuple(f"left out: {one_line(tie['words'])}" for tie in ties)


async def _dump(copy: Copy, programs: Programs, schema: str, form: str) -> Command:
    who = await asyncio.to_thread(login, copy.scratch.dsn(copy.database))
    words = (f"--format={form}", f"--schema={quoted(schema)}", "--no-owner", "--no-privileges", "--no-password")
    return Command(programs.path("pg_dump"), (*words, *_RAW[form]), who.environment, who.secrets, writes=True)


_RAW = {"custom": ("--compress=0",), "plain": ()}


async def _piped(dump: Command, restore: Command, told: Callable[[int], None]) -> None:
    """One program's output is the other's input, which ends only when the first has ended well."""
    async with started(restore) as sink, started(dump) as source:
        try:
            await _poured(source, sink.input, told)
        except BrokenPipeError:
            await sink.ended()
            raise ProgramFailed("`pg_restore` ended before all was read") from None
        await source.ended()
        await asyncio.to_thread(sink.input.close)
        await sink.ended()


async def _poured(source: Running, sink: BinaryIO, told: Callable[[int], None]) -> None:
    pouring = threaded(_pour, source.output, sink, told)
    try:
        await asyncio.shield(pouring)
    except asyncio.CancelledError:
        source.output.close()  # it ends the program, and with it whoever reads it
        await asyncio.wait([pouring])
        pouring.exception()
        raise


def _pour(source: BinaryIO, sink: BinaryIO, told: Callable[[int], None]) -> None:
    for piece in chunks(source):
        sink.write(piece)
        told(len(piece))


async def _reach(connection: asyncpg.Connection, schema: str) -> str:
    """Who can read it besides: what was granted on everything, or will be by default, holds for what is new."""
    others = await connection.fetchval(_SQL["others"].query, schema)
    return OPEN.format(others) if others else CLOSED


async def _compared(connection: asyncpg.Connection, schema: str, prints: Sequence[TablePrint]) -> None:
    """What came has the rows that were sent, or it goes again. Raises Damaged."""
    async with looking(connection):
        now = await of_schema(connection, schema)
    if list(now) != list(prints):
        await connection.execute(f"DROP SCHEMA {quoted(schema)} CASCADE")
        raise Damaged("tables", "the restored tables have not the rows of the backup", "try again; look at the server's log")
