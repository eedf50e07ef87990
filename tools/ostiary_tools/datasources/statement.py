"""Runs one judged statement inside an open read-only transaction.

The judged statement is only ever prepared, never sent by the simple protocol. What runs is
our wrapper around it: each value is printed by its type's own output function, cut
to a width, and the rows are bounded, all in the server. As a subselect a statement
can neither write (a data-modifying WITH must stand at the top) nor leave the
transaction. EXPLAIN cannot be wrapped: it stands alone, its lines are our bound.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement

from ostiary_policies.model import Statement
from ostiary_tools.datasources.catalog import function_marks, marks_of, unchanged_relations
from ostiary_tools.datasources.failures import DRIVER_ERRORS, statement_error
from ostiary_tools.datasources.opening import IN_RECOVERY
from ostiary_tools.datasources.planning import plan_of
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.datasources.streaming import SERVER_GRACE_S, StatementStream
from ostiary_tools.datasources.wrapper import bind_text, bounded, check_sendable, wrap
from ostiary_tools.errors import DatabaseError, ReplicaUnavailable, SchemaChanged
from ostiary_tools.plans.plan import NOTHING_RUNS, Plan
from ostiary_tools.result import ColumnHead, Rows
from ostiary_tools.snapshot import Mark, MarkKey

T = TypeVar("T")
_MIN_WIDTH = 64
_NO_LONGER_MEANS = "42"
"""SQLSTATE's class of names and rights: the server took this text before, so something has changed."""
_REMEMBERED = 1000
_REMEMBERED_CHARS = 10_000
_CHANGED = "a table or function of the statement was changed meanwhile, so nothing was run"
_BEHIND = (
    "a table or function of the statement is not on the replica as it was judged, so nothing was run: "
    "the replica has not come so far yet, or it was changed meanwhile"
)
NO_STANDBY = "it is no standby: it was promoted, or it is the primary"
_TYPE_NAMES = """
SELECT oid::int8 AS oid, pg_catalog.format_type(oid, NULL) AS head, pg_catalog.format_type(oid, -1) AS exact
FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS oid
"""

_ALL_TYPES = """
SELECT t.oid::int8 AS oid, t.typname::text AS name, n.nspname::text AS schema
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type item ON item.typarray = t.oid
WHERE t.typtype IN ('c', 'p') OR n.nspname <> 'pg_catalog' OR coalesce(item.typsend, t.typsend) = 0 OR item.typtype IN ('c', 'p')
"""


@dataclass(frozen=True, slots=True)
class TypeName:
    """Two spellings of one type: `exact` never means a length, where `character` would be `character(1)`."""

    head: str
    exact: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What the server said of a statement when it was analysed."""

    heads: tuple[ColumnHead, ...]
    oids: tuple[int, ...]
    """Types of the columns."""
    types: tuple[str, ...]
    """Of its parameters, as SQL."""
    bound: str
    """The text with its parameters cast."""
    alone: bool
    """It cannot be wrapped."""


class Known:
    """What a datasource learned under one snapshot; its readers share it."""

    def __init__(self) -> None:
        self.types: dict[int, TypeName] = {}
        """By OID."""
        self._shapes: dict[str, Shape] = {}

    def shape(self, text: str) -> Shape | None:
        """What was remembered of a statement."""
        return self._shapes.get(text)

    def remember(self, text: str, shape: Shape) -> None:
        """For the next time; the oldest makes room, and a long text is not worth its place."""
        if len(text) <= _REMEMBERED_CHARS:
            self._shapes[text] = shape
            while len(self._shapes) > _REMEMBERED:
                del self._shapes[next(iter(self._shapes))]

    def forget(self, text: str) -> None:
        """It is no longer so."""
        self._shapes.pop(text, None)


@dataclass(frozen=True, slots=True)
class PostgresReader:
    """The `Reader` of one open transaction."""

    connection: PoolConnectionProxy
    limits: ReadLimits
    relied: Mapping[MarkKey, Mark]
    """Marks of what the statements were judged by."""
    known: Known = field(repr=False)
    """Of the snapshot that the statements were judged by."""
    watch: Callable[[Iterable[int]], Awaitable[Mapping[int, str] | None]] = field(repr=False)
    """Marks of relations as they are now, by OID; `None` when they have to be asked for here."""
    standby: bool = False
    """Whether the server is one, and must be as long as statements run."""

    async def prepare(self, statement: Statement) -> "PreparedRows":
        """Have the server analyse the statement and our wrapper around it."""
        # A row is at least one character of the reply.
        return await self._wrapped(statement, self.limits.max_chars, min(self.limits.max_rows, self.limits.max_chars))

    async def stream(self, statement: Statement) -> StatementStream:
        """Likewise, to be read through a portal; here the limit of characters is one of each value."""
        each = await self._wrapped(statement, None, self.limits.max_rows)
        failed = partial(self._failed, analysing=False)
        given = (each.prepared, each.shape.heads, each.statement.values, self.limits)
        return StatementStream(*given, each.estimate, self.prove, failed)

    async def _wrapped(self, statement: Statement, row_chars: int | None, max_rows: int) -> "PreparedRows":
        check_sendable(statement)
        await self.prove()
        known = self.known.shape(statement.runs)
        shape = known or await self._analysed(statement.runs, placed=not statement.fenced)
        self._check_count(shape, statement)
        width = self.limits.max_chars if row_chars is None else max(row_chars // max(len(shape.heads), 1), _MIN_WIDTH)
        query = shape.bound if shape.alone else wrap(shape.bound, shape.oids, width=width, max_rows=max_rows)
        ready = await (self._prepare_again(query, statement.runs) if known else self._prepare(query, placed=False))
        self.known.remember(statement.runs, shape)
        return PreparedRows(self, ready, shape, statement, width, max_rows, query)

    async def bound(self, statement: Statement, ending: str = "") -> PreparedStatement:
        """A statement that is not wrapped, analysed with its values cast and our ending behind it. Raises as `prepare`."""
        check_sendable(statement)
        shape = await self._analysed(statement.runs, placed=not statement.fenced)
        self._check_count(shape, statement)
        return await self._prepare(shape.bound + ending, placed=False)

    async def _analysed(self, text: str, *, placed: bool) -> Shape:
        try:
            prepared = await self._prepare(text, placed=placed)
        except DatabaseError as error:
            # A fence that fits no more is nothing of the caller's, and the server names what it holds. Only the watch can still
            # be asked: the transaction has failed.
            relations = [mark for mark in self.relied.values() if mark.oid]
            if not error.sqlstate.startswith(_NO_LONGER_MEANS) or (placed and not self.standby):
                raise
            # On a replica functions may be missing too, and what is missing there is no mistake of the statement.
            if await self._watched(relations) and not (self.standby and len(relations) < len(self.relied)):
                raise
            raise self._changed() from None
        # The server has locked the statement's relations by now, until the transaction ends.
        await self._confirm()
        attributes, parameters = self.told(prepared.get_attributes), self.told(prepared.get_parameters)
        oids = tuple(attribute.type.oid for attribute in attributes)
        types = await self._type_names({*oids, *(kind.oid for kind in parameters)})
        heads = tuple(ColumnHead(attribute.name, types[attribute.type.oid].head) for attribute in attributes)
        exact = tuple(types[kind.oid].exact for kind in parameters)
        bound, alone = bind_text(text, exact)
        return Shape(heads, oids, exact, bound, alone)

    @staticmethod
    def _check_count(shape: Shape, statement: Statement) -> None:
        if len(shape.types) != len(statement.values):
            message = f"the statement has {len(shape.types)} parameters and {len(statement.values)} values were given"
            raise DatabaseError("08P01", message, "give one value for each of $1, $2, …")

    async def _prepare_again(self, query: str, text: str) -> PreparedStatement:
        """Have the server analyse our wrapper around a text of known shape, which spares a roundtrip."""
        try:
            ready = await self._prepare(query, placed=False)
        except DatabaseError as error:
            if not error.sqlstate.startswith(_NO_LONGER_MEANS):
                raise
            # What is the matter now, the server says when it is asked anew.
            self.known.forget(text)
            raise self._changed() from None
        await self._confirm()
        return ready

    async def rows(self, statement: Statement) -> Rows:
        """Prepare the statement, then run it in the wrapper."""
        return await (await self.prepare(statement)).rows()

    async def _prepare(self, text: str, *, again: bool = True, placed: bool = True) -> PreparedStatement:
        """Have the server analyse a text; `placed` says that it is the judged one, in which a place means something."""
        start = asyncio.get_running_loop().time()
        try:
            # Unnamed, so that no roundtrip has to close it.
            return await self.connection.prepare(text, name="", timeout=self._patience_s)
        except (asyncpg.UnsupportedClientFeatureError, asyncpg.InternalClientError) as error:
            if self.told(self.connection.is_closed):
                raise self._failed(error, start, analysing=True) from None
            if again:
                await self._learn_types()
                return await self._prepare(text, again=False, placed=placed)
            raise DatabaseError("0A000", "a column has a type the driver does not know", "cast it to text") from None
        except DRIVER_ERRORS as error:
            failure = self._failed(error, start, analysing=True)
            if isinstance(failure, DatabaseError) and not placed:
                failure.offset = None
            raise failure from None

    async def _confirm(self) -> None:
        """Raise SchemaChanged when something relied on is no longer what it was."""
        relations = [mark for mark in self.relied.values() if mark.oid]
        functions = {key: mark for key, mark in self.relied.items() if not mark.oid}
        if relations and not await self._unchanged(relations):
            raise self._changed()
        if functions:
            query, wanted = function_marks(key[1:] for key in functions)
            if marks_of("function", await self.fetch(query, *wanted)) != functions:
                raise self._changed()

    def _changed(self) -> SchemaChanged:
        return SchemaChanged(_BEHIND, "try again in a moment") if self.standby else SchemaChanged(_CHANGED, "try again")

    async def prove(self) -> None:
        """On a replica, raise ReplicaUnavailable unless the server is a standby now. Then it was one while anything ran before."""
        if self.standby and not await self._counted(IN_RECOVERY):
            raise ReplicaUnavailable(f"the server cannot be used: {NO_STANDBY}", "try again later")

    async def _unchanged(self, relations: Sequence[Mark]) -> bool:
        told = await self._watched(relations)
        return told if told is not None else await self._counted(unchanged_relations(relations)) == len(relations)

    async def _watched(self, relations: Sequence[Mark]) -> bool | None:
        """Whether they are what they were, as far as the watch can tell."""
        now = await self.watch(mark.oid for mark in relations)
        return None if now is None else all(now.get(mark.oid) == mark.word for mark in relations)

    async def _counted(self, ours: str) -> int:
        """How many rows one of our own statements has. It goes by the simple protocol, whose one roundtrip says no more."""
        start = asyncio.get_running_loop().time()
        try:
            status = await self.connection.execute(ours, timeout=self._patience_s)
        except DRIVER_ERRORS as error:
            raise self._failed(error, start, analysing=True) from None
        return int(status.removeprefix("SELECT "))

    async def _learn_types(self) -> None:
        """Tell the driver of every type that it is text, so that it looks into none.

        It describes types to decode them, which our wrapper spares it, and it fails on
        some: rows that hold a type without a binary form, pseudo-types of pg_statistic.
        """
        settings = self.connection._protocol.get_settings()  # noqa: SLF001  asyncpg's public set_type_codec refuses these kinds
        for row in await self.fetch(_ALL_TYPES):
            settings.add_python_codec(row["oid"], row["name"], row["schema"], [], "scalar", str, str, "text")

    async def run(self, prepared: PreparedStatement, *values: object) -> list[Any]:
        """Every record of a prepared statement. Raises ToolError."""
        start = asyncio.get_running_loop().time()
        try:
            found: list[Any] = await prepared.fetch(*values, timeout=self._patience_s)
        except DRIVER_ERRORS as error:
            # Never chained: the driver's error quotes values.
            raise self._failed(error, start, analysing=False) from None
        return found

    async def own(self, query: str) -> PreparedStatement:
        """Prepare one of our own statements. Raises ToolError."""
        return await self._prepare(query, again=False, placed=False)

    def told(self, ask: Callable[[], T]) -> T:
        """What the driver knows by itself. Raises ToolError: of a connection that was lost meanwhile it says nothing."""
        try:
            return ask()
        except DRIVER_ERRORS as error:
            raise self._failed(error, asyncio.get_running_loop().time(), analysing=True) from None

    async def execute(self, script: str) -> None:
        """Send our own words by the simple protocol. Raises ToolError."""
        start = asyncio.get_running_loop().time()
        try:
            await self.connection.execute(script, timeout=self._patience_s)
        except DRIVER_ERRORS as error:
            raise self._failed(error, start, analysing=False) from None

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """Prepare one of our own statements and run it. Raises ToolError."""
        return await self.run(await self.own(query), *values)

    async def _type_names(self, oids: set[int]) -> Mapping[int, TypeName]:
        # Copied before the wait: a refresh of the snapshot may empty the shared names meanwhile.
        known = {oid: self.known.types[oid] for oid in oids & self.known.types.keys()}
        if len(known) < len(oids):
            rows = await self.fetch(_TYPE_NAMES, sorted(oids - known.keys()))
            met = {row["oid"]: TypeName(row["head"], row["exact"]) for row in rows}
            self.known.types.update(met)
            known |= met
        return known

    @property
    def _patience_s(self) -> float:
        return self.limits.timeout_s + SERVER_GRACE_S

    def _failed(self, error: BaseException, start: float, *, analysing: bool) -> Exception:
        elapsed_s = asyncio.get_running_loop().time() - start
        bounds = {"timeout_s": self.limits.timeout_s, "elapsed_s": elapsed_s}
        return statement_error(error, analysing=analysing, standby=self.standby, **bounds)


@dataclass(frozen=True, slots=True)
class PreparedRows:
    """A statement in its wrapper, analysed and not yet run. Another one prepared on the connection takes its place."""

    reader: PostgresReader
    prepared: PreparedStatement
    shape: Shape
    statement: Statement
    width: int
    max_rows: int
    query: str
    """What `prepared` was prepared from."""

    async def estimate(self) -> Plan:
        """Ask for the plan of what `rows` would run, with the same values: the server plans it for them, as it will then.

        Of a statement that is estimated by another text, the plan of that.
        """
        if self.shape.alone:  # an EXPLAIN runs nothing
            return NOTHING_RUNS
        query = self.query
        if self.statement.estimated:
            bound, _ = bind_text(self.statement.estimated, self.shape.types)
            query = wrap(bound, self.shape.oids, width=self.width, max_rows=self.max_rows)
        return await plan_of(query, self.statement.values, self.reader.fetch)

    async def rows(self) -> Rows:
        """Run it."""
        records = await self.reader.run(self.prepared, *self.statement.values)
        await self.reader.prove()
        return bounded(self.shape.heads, records, width=self.width, max_rows=self.max_rows)
