"""One database as `pg_dump` writes it, large tables beside the others, and the cluster's roles.

All is of one snapshot, which one session holds and exports; the fingerprint is taken in it while the dumps run. It needs
neither a superuser nor replication, so that it works wherever a login may read everything.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ostiary_tools.backup.engines.flow import kept
from ostiary_tools.backup.engines.groups import grouped
from ostiary_tools.backup.fingerprints import Table, taken
from ostiary_tools.backup.login import Login, login
from ostiary_tools.backup.manifest import Content, Kind, Member
from ostiary_tools.backup.pace import telling
from ostiary_tools.backup.port import Keeping, Made, Source, Tell
from ostiary_tools.backup.programs import OLDEST, Programs, Sought, for_server_at
from ostiary_tools.backup.running import Command
from ostiary_tools.backup.sequences import positions, spanned
from ostiary_tools.backup.session import Facts, connected, conninfo, environment, facts, held, importing
from ostiary_tools.backup.together import both, together
from ostiary_tools.errors import Unavailable

NO_PASSWORDS = "roles come without their passwords, which the login for backups may not read"
_LOCKS_MS = 30_000


@dataclass(frozen=True, slots=True)
class LogicalEngine:
    """Makes logical backups."""

    sought: Sought
    parallel: int = 2
    """Dumps at once, and sessions at once that read the fingerprint."""

    async def make(self, source: Source, keeping: Keeping, spool: Path, tell: Tell) -> Made:  # noqa: ARG002 nothing is spooled
        """Take one; see `port.Engine`."""
        async with connected(source.dsn) as connection:
            known = await facts(connection)
            who = await asyncio.to_thread(login, source.dsn)
            programs = await asyncio.to_thread(self._programs, known, who)
            async with (
                held(connection, Kind.LOGICAL) as (snapshot, tables),
                importing(source.dsn, snapshot, self.parallel - 1) as beside,
                telling(tell, "dumped", sum(table.bytes for table in tables)) as pace,
            ):
                first = await positions(connection, Kind.LOGICAL)
                dumps = _Dumps(programs, who, known, snapshot)
                puts = [
                    partial(dump, keeping, pace.add)
                    for dump in dumps.of(grouped(tables, self.parallel, utf8=known.encoding == "UTF8"))
                ]
                fingerprint, members = await both(
                    taken(connection, known.database, Kind.LOGICAL, beside=beside), together(puts, at_once=self.parallel)
                )
                last = await positions(connection, Kind.LOGICAL)
        whole = replace(fingerprint, sequences=spanned([first, fingerprint.sequences, last]))
        return Made(known.version, tuple(members), whole, notes=() if known.passwords else (NO_PASSWORDS,))

    def _programs(self, known: Facts, who: Login) -> Programs:
        if known.major < OLDEST:
            raise Unavailable(f"servers older than PostgreSQL {OLDEST} are not backed up", "upgrade the server")
        return for_server_at(known.major, "pg_dumpall", tls=known.tls or who.needs_tls, sought=self.sought)


@dataclass(frozen=True, slots=True)
class _Dumps:
    """What is dumped of one snapshot."""

    programs: Programs
    who: Login
    known: Facts
    snapshot: str

    def of(self, groups: Sequence[Sequence[Table]]) -> Sequence[Callable[[Keeping, Callable[[int], None]], Awaitable[Member]]]:
        """Each as what puts it; the long ones first."""
        return [
            *(partial(self._data, number, tables) for number, tables in enumerate(groups, 1)),
            partial(self._database, [table for tables in groups for table in tables]),
            self._globals,
        ]

    async def _database(self, without: Sequence[Table], keeping: Keeping, told: Callable[[int], None]) -> Member:
        left_out = (f"--exclude-table-data={table.quoted}" for table in without)
        return await kept(keeping, "database.dump", Content.DATABASE, self._dump(*left_out), told)

    async def _data(self, number: int, tables: Sequence[Table], keeping: Keeping, told: Callable[[int], None]) -> Member:
        command = self._dump("--data-only", *(f"--table={table.quoted}" for table in tables))
        return await kept(keeping, f"data-{number}.dump", Content.DATA, command, told)

    async def _globals(self, keeping: Keeping, told: Callable[[int], None]) -> Member:
        words = ["--globals-only", f"--database={conninfo(self.known.database)}"]
        if not self.known.passwords:
            words.append("--no-role-passwords")
        return await kept(keeping, "globals.sql", Content.GLOBALS, self._command("pg_dumpall", *words), told)

    def _dump(self, *arguments: str) -> Command:
        """Between quotes nothing but a quote has a meaning in a pattern, so a quoted name is a pattern of itself."""
        settled = (
            "--format=custom",
            "--compress=0",
            f"--snapshot={self.snapshot}",
            f"--lock-wait-timeout={_LOCKS_MS}",
            f"--encoding={self.known.encoding}",
        )
        return self._command("pg_dump", *settled, *arguments)

    def _command(self, program: str, *arguments: str) -> Command:
        return Command(
            self.programs.path(program),
            ("--no-password", *arguments),
            environment(self.who, self.known),
            self.who.secrets,
            writes=True,
        )
