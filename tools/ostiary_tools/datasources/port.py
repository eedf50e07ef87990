"""The contract of a datasource, in words and types. `tests/contract` holds every engine to it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ostiary_policies.model import Statement
from ostiary_tools.plans.plan import Plan
from ostiary_tools.result import ColumnHead, Rows
from ostiary_tools.snapshot import Mark, MarkKey, Snapshot


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Bounds of one read-only transaction, all kept by the server itself."""

    timeout_s: float
    """Seconds a statement may run."""
    max_rows: int
    """Rows fetched at most; one more is asked for, to know that there are more."""
    max_chars: int
    """Characters of the reply these rows are for; a single value is cut in the server so that it cannot exceed it."""


class Prepared(Protocol):
    """A statement that the server has analysed and not run. It lasts until the next statement of its transaction."""

    async def estimate(self) -> Plan:
        """The server's plan for exactly what `rows` would run, with its bound values; nothing of it runs.

        Raises as `Reader.rows`, and Refused when the plan cannot be read. Afterwards `rows` may still be called.
        """
        ...

    async def rows(self) -> Rows:
        """Run it under the transaction's limits. Raises as `Reader.rows`."""
        ...


class RowStream(Protocol):
    """The rows of a statement that runs, read as fast as they are asked for."""

    @property
    def columns(self) -> tuple[ColumnHead, ...]:
        """Names and types of the columns."""
        ...

    async def estimate(self) -> Plan:
        """As `Prepared.estimate`, of what `chunks` would run; before the first of them."""
        ...

    def chunks(self) -> AsyncGenerator[Sequence[tuple[str | None, ...]], None]:
        """The rows in order, some at a time, at most `max_rows` and one more, to know that there are more.

        Raises as `Reader.rows`; TimedOut too when all of it takes longer than the limit, Refused for a value that is
        longer than `max_chars`.
        """
        ...


class Reader(Protocol):
    """An open read-only transaction."""

    async def prepare(self, statement: Statement) -> Prepared:
        """Have the server analyse a judged statement; nothing of it runs. Raises as `rows`, and SchemaChanged."""
        ...

    async def rows(self, statement: Statement) -> Rows:
        """Run a judged statement under the transaction's limits.

        Raises TimedOut, DatabaseError, Unavailable. Cancelling the call cancels the statement in the server.
        """
        ...

    async def stream(self, statement: Statement) -> RowStream:
        """Have the server analyse a judged statement, to be read in memory that does not grow. Raises as `rows`."""
        ...


@dataclass(frozen=True, slots=True)
class PoolState:
    """What a pool looks like now."""

    size: int
    idle: int
    waiting: int
    healthy: bool
    problem: str = ""
    """In words without secrets, empty when healthy."""
    replica: "PoolState | None" = None
    """Of the replica, where there is one."""


class Datasource(Protocol):
    """A database that agents reach."""

    @property
    def replica(self) -> "Datasource | None":
        """Where statements run that must not run on it; `None` without one. Only its `read` and `state` are for callers.

        A transaction of it is opened on a server that has just proven to be a standby, and what it gives was read on one.
        What differs there from the datasource's snapshot, as before a change has come to it, raises SchemaChanged.
        """
        ...

    @property
    def name(self) -> str:
        """As configured."""
        ...

    async def snapshot(self) -> Snapshot:
        """The current dated snapshot; refreshed in the background when it is older than its time to live.

        Raises Unavailable when there is none and the database cannot be reached.
        """
        ...

    async def refresh(self) -> Snapshot:
        """Read the catalog now. Raises Unavailable."""
        ...

    def read(self, limits: ReadLimits, relied: Mapping[MarkKey, Mark] = ...) -> AbstractAsyncContextManager[Reader]:
        """Open a READ ONLY transaction on a pooled session; roll back and reset the session afterwards.

        `relied` are the marks of what the statements were judged by, out of the snapshot: a statement is analysed, which
        locks its relations against redefinition, and not run when a mark is another by then (SchemaChanged).
        Raises Unavailable when no connection is to be had within the acquire timeout.
        """
        ...

    def state(self) -> PoolState:
        """Sizes and health, without I/O."""
        ...

    async def close(self) -> None:
        """Close every connection; idempotent."""
        ...
