"""Errors of the tools, for the model to read.

ToolError                code, message, hint
├── Refused              a statement or argument that is not run, under which rule
│   └── Overtaken        a change that is not undone, since rows of it are others by now
├── Unavailable          the database cannot be reached, or gave no connection in time
│   ├── ReplicaUnavailable   its replica
│   └── StoreAway            the object store of backups does not answer, and may again soon
├── SchemaChanged        what the statement was judged by is no longer what the database holds
├── TimedOut             the statement ran past its limit and was cancelled in the server
├── NotWritten           the file of an export could not be written; nothing of it is left
├── TooCostly            the estimated cost is above a term of the permit, so it was not run
│   └── ScansTooMuch     the estimated rows are
├── NotOnReplica         it runs on a replica only, and there is none now
├── LockedOut            a lock was not to be had in time; nothing stays
├── OutcomeUnknown       the session broke while a change was committed; what became of it is found out and recorded
├── NoCollection         a store no longer holds it, or never did
├── EmbeddingFailed      an embedder gave what cannot be used
├── Damaged              a backup is not what was kept
├── ProgramFailed        a program of PostgreSQL ended with an error
└── DatabaseError        the server's own error, with its SQLSTATE
"""

from dataclasses import dataclass


class ToolError(Exception):
    """Something the model can react to.

    `message` is one sentence in lower case without a secret or a value of a row in
    it; `hint` says the next step.
    """

    code = "tool_error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(ToolError):
    """Not run. `rule` names the rule of the grammar or the inventory that refused it.

    `quotes`: the message repeats part of the statement, which may be a value; it is told and not recorded.
    """

    code = "refused"

    def __init__(self, rule: str, message: str, hint: str = "", *, quotes: bool = False) -> None:
        super().__init__(message, hint)
        self.rule = rule
        self.quotes = quotes


class Overtaken(Refused):
    """Rows are no longer as a change left them. Which ones is data, not words: whoever tells it knows what its caller may read."""

    def __init__(self, table: tuple[str, str], key: tuple[str, ...], rows: tuple[tuple[str | None, ...], ...], count: int) -> None:
        """Of the `count` rows `rows` are the keys of some."""
        message = "rows are no longer as the change left them"
        super().__init__("undo", message, "look at these rows; what was changed since is not taken back")
        self.table = table
        self.key = key
        self.rows = rows
        self.count = count


class Unavailable(ToolError):
    """The datasource gave no usable connection; nothing was executed, or what was is rolled back."""

    code = "unavailable"


class ReplicaUnavailable(Unavailable):
    """Likewise of the datasource's replica, or it is no standby any more."""


class StoreAway(Unavailable):
    """Likewise of an object store that does not answer as it should: what it holds is not damaged, and it may answer soon."""


class SchemaChanged(ToolError):
    """Something the statement names was redefined after it was judged; nothing of it ran."""

    code = "schema_changed"


class TimedOut(ToolError):
    """Cancelled in the server after its statement timeout."""

    code = "timeout"


class NotWritten(ToolError):
    """The export folder did not take the file."""

    code = "not_written"


class TooCostly(ToolError):
    """Not run: the estimate of its plan is above the term that `code` names. `rules` are the policies that state it."""

    code = "max_cost"

    def __init__(self, message: str, hint: str, rules: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.rules = rules


class ScansTooMuch(TooCostly):
    """Not run: it would touch more rows than a term allows."""

    code = "max_rows_scanned"


class NotOnReplica(ToolError):
    """Not run: the policies in `rules` let it run on a replica only, and none is configured or can be used."""

    code = "replica"

    def __init__(self, message: str, hint: str, rules: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.rules = rules


class NoCollection(ToolError):
    """The store does not hold the collection: it was dropped meanwhile."""

    code = "no_collection"


class EmbeddingFailed(ToolError):
    """Another number of vectors than asked for, another dimension, or what is no finite number."""

    code = "embedding"


class Damaged(ToolError):
    """A backup, or a copy that was made of it, is not what was kept. `what` names the damage: a member, a file, a table."""

    code = "damaged"

    def __init__(self, what: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.what = what


class ProgramFailed(ToolError):
    """A program of PostgreSQL ended with an error. The message is its last complaint, without secrets."""

    code = "program"


class LockedOut(ToolError):
    """A lock was not to be had in time. The message says what is locked and by whom, in words without values."""

    code = "locked"


class OutcomeUnknown(ToolError):
    """The session broke while its transaction was committed: it may have happened or not."""

    code = "outcome_unknown"


@dataclass(frozen=True, slots=True)
class Violated:
    """What stood against a row: a constraint or index of that name, or a column that must have a value."""

    table: tuple[str, str]
    constraint: str
    column: str


class DatabaseError(ToolError):
    """The server's error, mapped. `sqlstate` is PostgreSQL's five-character code.

    `offset` is where in the statement's printed text the server stumbled while it analysed it, in characters from 0. What was
    `violated` is no part of the message: whoever tells it knows what its caller may see.
    """

    code = "database_error"

    def __init__(
        self, sqlstate: str, message: str, hint: str = "", *, offset: int | None = None, violated: Violated | None = None
    ) -> None:
        super().__init__(message, hint)
        self.sqlstate = sqlstate
        self.offset = offset
        self.violated = violated
