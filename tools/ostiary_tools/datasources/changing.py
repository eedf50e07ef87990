"""One open transaction that changes something.

Statements run as they were judged, with their values cast as those of a reader are. What they did is read from the rows themselves:
what this session sees and the onlooker does not is new, and the other way round. The server's counts say which tables to look at.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from ostiary_policies.model import Statement
from ostiary_tools.datasources.failures import DRIVER_ERRORS, change_error
from ostiary_tools.datasources.images import Images, Place, among, split
from ostiary_tools.datasources.looking import Beginning, Look, Looking, beginning, check_rows, layouts_of, named, references
from ostiary_tools.datasources.onlooker import Onlooker
from ostiary_tools.datasources.opening import milliseconds
from ostiary_tools.datasources.port import ChangeLimits
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.datasources.statement import Known, PostgresReader
from ostiary_tools.datasources.streaming import SERVER_GRACE_S
from ostiary_tools.datasources.targets import Direct, direct
from ostiary_tools.datasources.undoing import ATTEMPTS, Taken, check, lock, taken, undo
from ostiary_tools.datasources.written import Written, ending
from ostiary_tools.effects import Effects, Isolation
from ostiary_tools.errors import DatabaseError, LockedOut, OutcomeUnknown, Refused, TimedOut, Unavailable
from ostiary_tools.result import Rows
from ostiary_tools.snapshot import Name

_QUERIES = load_sections("changing.sql")
_VIOLATED = "23"
"""SQLSTATE's class of constraints."""
_NO_LOCK = "55P03"


@dataclass(slots=True)
class PostgresChanger:
    """The `Changer` of PostgreSQL."""

    reader: PostgresReader
    """Of the session that writes."""
    onlooker: Onlooker
    limits: ChangeLimits
    begun_with: Beginning
    pid: int
    """Of the server's process that writes."""
    counts: list[int] = field(default_factory=list)
    done: list[Direct] = field(default_factory=list)
    written: Written = field(default_factory=Written)
    seen: Look | None = None
    started: float = 0.0
    """When the first statement was, by the clock of the event loop."""
    tries: int = 1
    """How often rows may have been written that were then taken back to a savepoint of ours."""

    @classmethod
    async def begun(cls, reader: PostgresReader, onlooker: Onlooker, limits: ChangeLimits) -> "PostgresChanger":
        """Note how things stand. Both sessions have just begun a transaction; that of the onlooker ends."""
        start = await beginning(reader, onlooker.reader)
        if limits.isolation is not Isolation.READ_COMMITTED:
            [row] = await reader.fetch("SELECT pg_catalog.pg_export_snapshot()")
            onlooker.snapshot = row[0]
        await reader_done(onlooker)
        return cls(reader, onlooker, limits, start, reader.told(reader.connection.get_server_pid))

    async def run(self, statement: Statement) -> int:
        """Run it to its end; of its rows no value is fetched."""
        doing = direct(statement.runs)
        timeout_s = await self._shared()
        returning = ending(doing, self.reader.told(self.reader.connection.get_server_version).major)
        prepared = await self.reader.bound(statement, returning)
        values = statement.values
        running = self._run_returning(prepared, values, doing) if returning else self._run(prepared, values)
        count: int = await self._waiting(running, doing, timeout_s)
        self.counts.append(count)
        self.done.append(doing)
        return count

    async def _shared(self) -> float:
        """What this statement may take: all of a change have the time of one between them. Raises TimedOut when it is used up."""
        now = asyncio.get_running_loop().time()
        if not self.counts:
            self.started = now
            return self.limits.timeout_s
        left_s = round(self.limits.timeout_s - (now - self.started), 1)
        if left_s <= 0:
            raise TimedOut(f"the statements together ran longer than {self.limits.timeout_s:g} s", "change less at once")
        await self.reader.execute(f"SET LOCAL statement_timeout = {milliseconds(left_s)}")
        return left_s

    async def _run(self, prepared: PreparedStatement, values: Sequence[Any]) -> int:
        await prepared.fetch(*values, timeout=self.limits.timeout_s + SERVER_GRACE_S)
        last = (prepared.get_statusmsg() or "").rpartition(" ")[2]
        return int(last) if last.isdecimal() else 0

    async def _run_returning(self, prepared: PreparedStatement, values: Sequence[Any], doing: Direct) -> int:
        """The server runs it to its end before it gives the first place; more of them than may be changed are not asked for."""
        patience_s = self.limits.timeout_s + SERVER_GRACE_S
        portal = await prepared.cursor(*values, timeout=patience_s)
        rows = await portal.fetch(self.limits.max_rows + 1, timeout=patience_s)
        check_rows(len(rows), self.limits)
        self.written.note(doing, rows)
        return len(rows)

    async def _immediately(self) -> None:
        await self.reader.connection.execute("SET CONSTRAINTS ALL IMMEDIATE", timeout=self.limits.timeout_s + SERVER_GRACE_S)

    async def _waiting(self, running: Any, doing: Direct, timeout_s: float | None = None) -> Any:
        """What it gives; its failure in words, with who was in the way where that was a lock."""
        start = asyncio.get_running_loop().time()
        found, holders = await self.onlooker.watched(self.pid, running)
        if not isinstance(found, Exception):
            return found
        if not isinstance(found, DRIVER_ERRORS):
            raise found
        elapsed_s = asyncio.get_running_loop().time() - start
        raise change_error(
            found, doing.targets, holders, timeout_s=timeout_s or self.limits.timeout_s, elapsed_s=elapsed_s
        ) from None

    async def effects(self) -> Effects:
        """Look at everything anew, once what was deferred to the commit is done: nothing is to happen after this look."""
        targets = frozenset(name for each in self.done for name in each.targets)
        # Looking has a time of its own: what is shared is what the change asks for.
        await self.reader.execute(f"SET LOCAL statement_timeout = {milliseconds(self.limits.timeout_s)}")
        await self._waiting(self._immediately(), Direct(targets))
        looking = Looking(self.reader, self.onlooker, self.limits, self.begun_with, self.done, self.tries, self.written)
        try:
            self.seen = await looking.look()
        except DatabaseError as error:
            if error.sqlstate != _NO_LOCK:
                raise
            # Somebody waits for a lock that the change holds, and the onlooker behind them.
            raise LockedOut(
                "what it changed could not be looked at: another session waits to lock a table of it", "try again"
            ) from None
        return await self.seen.effects(tuple(self.counts))

    async def outside(self, table: Name, predicate: str, *, before: bool) -> int:
        """Ask of the versions that the last look found, where they are seen."""
        images, found = self._versions(table, before=before)
        if not found:
            return 0
        query = f"""SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE ({predicate}) IS NOT TRUE) AS outside
            FROM {images.layout.sql} AS t WHERE {among("$1::pg_catalog.oid[]", "$2::text[]::pg_catalog.tid[]")}"""  # noqa: S608  judged
        async with self._seeing(before=before) as reader:
            [row] = await reader.fetch(query, *split(found))
        if row["rows"] != len(found):
            raise Refused("effects", "what it changed was changed again meanwhile", "try again")
        return int(row["outside"])

    async def sample(
        self, table: Name, columns: Sequence[str], predicate: str, keys: Sequence[str], *, before: bool, limit: int
    ) -> Rows:
        """Likewise; the places stand in the text, which leaves the parameters to the expressions."""
        images, found = self._versions(table, before=before)
        oids, tids = split(found)
        where = among(f"'{{{','.join(map(str, oids))}}}'::pg_catalog.oid[]", f"""'{{"{'","'.join(tids)}"}}'::pg_catalog.tid[]""")
        if not found:
            where = "false"
        query = f"""SELECT {", ".join(columns)} FROM {images.layout.sql} AS t WHERE {where} AND ({predicate})
            ORDER BY t.tableoid, t.ctid LIMIT {int(limit) + 1}"""  # noqa: S608  judged
        async with self._seeing(before=before) as reader:
            bounds = replace(reader.limits, max_rows=limit)
            return await replace(reader, limits=bounds, relied={}, known=Known()).rows(Statement(query, tuple(keys)))

    def _versions(self, table: Name, *, before: bool) -> tuple[Images, Sequence[Place]]:
        assert self.seen is not None, "effects() comes first"  # noqa: S101
        images = self.seen.images[table]
        return images, tuple(images.before if before else images.after)

    @asynccontextmanager
    async def _seeing(self, *, before: bool) -> AsyncIterator[PostgresReader]:
        if not before:
            yield self.reader
            return
        async with self.onlooker.look() as reader:
            yield reader

    async def lock(self, effects: Effects) -> None:
        """Lock by table and key; where the login may not lock, as in tables that only a cascade reaches, the change itself will."""
        names = await named(self.reader, [effect.table for effect in effects.tables if effect.key])
        layouts = {layout.oid: layout for layout in await layouts_of(self.reader, [oid for oid, _ in names.values()])}
        for effect in effects.tables:
            oid, lockable = names.get(effect.table, (0, False))
            rows = [row.before for row in effect.rows if row.before is not None]
            if lockable and rows and len(layouts[oid].columns) == len(effect.columns):
                await lock(self._ask, layouts[oid], rows)

    async def undo(self, effects: Effects) -> None:
        """Look first, then take back, in one order or another."""
        await self.reader.execute("SET LOCAL TimeZone = 'UTC'; SET CONSTRAINTS ALL DEFERRED")
        names = await named(self.reader, [effect.table for effect in effects.tables])
        layouts = {layout.name: layout for layout in await layouts_of(self.reader, [oid for oid, _ in names.values()])}
        tables = taken(effects, layouts)
        for table in tables:
            await check(self._ask, table)
        keys = [(row["child"], row["parent"]) for row in await references(self.reader, [table.layout.oid for table in tables])]
        await self._undo(tables, keys)
        await self.reader.execute("SET LOCAL TimeZone TO DEFAULT")

    async def _undo(self, tables: Sequence[Taken], keys: Sequence[tuple[int, int]]) -> None:
        failure = DatabaseError("", "")
        for order in ATTEMPTS:
            await self.reader.execute("SAVEPOINT ostiary_undo")
            try:
                await undo(self._write, tables, keys, order)
                await self._ask("SET CONSTRAINTS ALL IMMEDIATE")
            except DatabaseError as error:
                if not error.sqlstate.startswith(_VIOLATED):
                    raise
                failure = error
                self.tries += 1
                self.written = Written()
                await self.reader.execute("ROLLBACK TO SAVEPOINT ostiary_undo")
            else:
                return
        message = f"the rows cannot be put back: {failure.message}"
        raise Refused("undo", message, "look at what stands in the way")

    async def _write(self, query: str, word: str, *values: Any) -> None:
        doing = Direct(word=word, alias="t")
        prepared = await self.reader.own(query + ending(doing, self.reader.told(self.reader.connection.get_server_version).major))
        await self._waiting(self._run_returning(prepared, values, doing), doing)

    async def _ask(self, query: str, *values: Any) -> Sequence[Any]:
        """One of our own statements, which may wait for a lock."""
        prepared = await self.reader.own(query)
        found: Sequence[Any] = await self._waiting(
            prepared.fetch(*values, timeout=self.limits.timeout_s + SERVER_GRACE_S), Direct()
        )
        return found

    async def name(self) -> str:
        """Cluster, timeline and number; what was written so far is on the disk then."""
        # Last of all, so that nothing that ran can have turned it off: what is told as applied is on the disk.
        await self.reader.fetch(_QUERIES["durable"].query)
        [row] = await self.reader.fetch(_QUERIES["name"].query)
        async with self.onlooker.look() as beside:
            await beside.execute("SET LOCAL synchronous_commit = local")
            await beside.fetch(_QUERIES["flush"].query)
            await self.onlooker.end("COMMIT")
        return str(row["name"])

    async def commit(self) -> None:
        """Make it last; a call that is cancelled meanwhile waits for the end."""
        ending = asyncio.ensure_future(self._commit())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await asyncio.wait({ending})
            raise

    async def _commit(self) -> None:
        start = asyncio.get_running_loop().time()
        try:
            status = await self.reader.connection.execute("COMMIT", timeout=self.limits.timeout_s + SERVER_GRACE_S)
        except DRIVER_ERRORS as error:
            elapsed_s = asyncio.get_running_loop().time() - start
            targets = frozenset(name for each in self.done for name in each.targets)
            failure = change_error(error, targets, "", timeout_s=self.limits.timeout_s, elapsed_s=elapsed_s)
            # Whoever ended the session may have ended it when the commit was on the disk already.
            if isinstance(failure, Unavailable) or not isinstance(error, asyncpg.PostgresError):
                message = "the connection was lost while the change was committed"
                raise OutcomeUnknown(message, "what became of it is found out") from None
            raise failure from None
        if status != "COMMIT":
            raise DatabaseError("25P02", "the transaction had failed, so it was rolled back", "propose the change again")


async def reader_done(onlooker: Onlooker) -> None:
    """End the transaction that the onlooker was given with."""
    await onlooker.end("ROLLBACK")
