"""The contract of a datasource, in words and types. `tests/contract` holds every engine to it."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from ostiary_policies.model import Statement
from ostiary_tools.effects import Effects, Isolation
from ostiary_tools.plans.plan import Plan
from ostiary_tools.result import ColumnHead, Rows
from ostiary_tools.snapshot import Mark, MarkKey, Name, Snapshot


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
class ChangeLimits:
    """Bounds of one transaction that changes something, kept by the server where it can."""

    timeout_s: float
    """Seconds a statement may run."""
    lock_timeout_s: float
    """Seconds a statement waits for a lock."""
    max_rows: int
    """Rows in all tables that may be changed; with one more the change is refused."""
    isolation: Isolation = Isolation.READ_COMMITTED


Fate = Literal["committed", "aborted", "running", "unknown"]
"""What became of a transaction; `unknown` when the server that ran it cannot be asked any more."""


class Changer(Protocol):
    """An open transaction that changes something. Unless `commit` returns, nothing of it stays."""

    async def run(self, statement: Statement) -> int:
        """Run a judged statement; the rows it reports. Raises TimedOut, DatabaseError, Unavailable, SchemaChanged, LockedOut."""
        ...

    async def effects(self) -> Effects:
        """What was done so far, by statements, foreign keys and triggers. Raises as `run`, and Refused above `max_rows`."""
        ...

    async def outside(self, table: Name, predicate: str, *, before: bool) -> int:
        """Of the rows of a table in the last `effects`, how many are not TRUE under a predicate over its bare column names.

        `before` asks the rows as they were (changed and deleted ones), else as they are (changed and inserted ones).
        """
        ...

    async def sample(
        self, table: Name, columns: Sequence[str], predicate: str, keys: Sequence[str], *, before: bool, limit: int
    ) -> Rows:
        """Some of these rows through expressions over its bare column names, `expression AS name`, with `keys` as $1 and $2."""
        ...

    async def lock(self, effects: Effects) -> None:
        """Lock the rows that another look at the same change saw, in the order of their keys. Raises as `run`."""
        ...

    async def undo(self, effects: Effects) -> None:
        """Take back what another transaction did. Raises as `run`, Refused, and Overtaken when rows are others since."""
        ...

    async def name(self) -> str:
        """What `Datasource.fate` knows this transaction by; it is written down before `commit`."""
        ...

    async def commit(self) -> None:
        """Make it last. Raises DatabaseError when the server refuses: then nothing stays; OutcomeUnknown when that is not known."""
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

    @property
    def changeable(self) -> bool:
        """Whether a login for changes is configured."""
        ...

    def change(self, limits: ChangeLimits, relied: Mapping[MarkKey, Mark] = ...) -> AbstractAsyncContextManager[Changer]:
        """Open a transaction of the login for changes, and a session beside it that sees rows as they were; roll back afterwards.

        Raises Unavailable, and Refused (rule `read_only`) where no such login is configured.
        """
        ...

    async def fate(self, transaction: str) -> Fate:
        """What became of a transaction that a `Changer` named. Raises Unavailable when the database cannot be asked now."""
        ...

    def listening(self, channels: frozenset[str], hear: Callable[[str], None]) -> AbstractAsyncContextManager[None]:
        """Hear `NOTIFY` on these channels while the block lasts; `hear` takes one, and all whenever some may have been missed."""
        ...

    def state(self) -> PoolState:
        """Sizes and health, without I/O."""
        ...

    async def close(self) -> None:
        """Close every connection; idempotent."""
        ...
