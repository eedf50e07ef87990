"""What the driver raises, in words for the model.

A server's message can quote what it stumbled over, so it is passed on only while a
statement is being analysed, when no row has been touched, and only for the SQLSTATEs
that speak of the statement's own names, types and form. Everything else gets our own
sentence for its SQLSTATE. Details, hints and contexts never leave: PostgreSQL's hints
suggest names the agent may not see. The position refers to the printed text; `mending`
finds it in the caller's.
"""

import re
from collections.abc import Collection

import asyncpg

from ostiary_tools.errors import DatabaseError, LockedOut, ReplicaUnavailable, TimedOut, ToolError, Unavailable, Violated
from ostiary_tools.snapshot import Name

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, EOFError)
"""All that asyncpg and the sockets below it raise."""

_NAMELESS = (
    "something the statement names does not exist in the database, or the database role lacks a privilege for it",
    "search_schema shows what exists for you; the owner of the data grants privileges",
)
"""One sentence: apart, they would tell whether a schema exists that a text names (`'hidden.x'::regconfig`)."""
_SENTENCES = {
    "0A000": ("the server does not support something the statement asks for", ""),
    "21000": ("a subquery used as one value returned more than one row", "aggregate it or add LIMIT 1"),
    "22001": ("a value is too long for its type", ""),
    "22003": ("a number is out of the range of its type", "cast to numeric or a wider type"),
    "22004": ("a null value stands where none is allowed", ""),
    "22007": ("a value is no valid date or time", "write dates as 2026-01-31 and times as 2026-01-31T12:00:00Z"),
    "22008": ("a date or time is out of range", ""),
    "22012": ("division by zero", "guard the divisor with NULLIF(divisor, 0)"),
    "22023": ("a function was given a value it does not accept", ""),
    "2201B": ("a regular expression is not valid", ""),
    "2201E": ("the logarithm of this number is not defined", ""),
    "2201F": ("the power of these numbers is not defined", ""),
    "2201W": ("LIMIT must not be negative", ""),
    "2201X": ("OFFSET must not be negative", ""),
    "22021": ("a text is not valid in the database's encoding", ""),
    "22025": ("an escape sequence of a pattern is not valid", ""),
    "2202E": ("the dimensions of an array do not fit", ""),
    "22030": ("a JSON object has a key twice", ""),
    "22032": ("a text is not valid JSON", ""),
    "22P02": ("a value is not valid input for its type", "cast only values that have the form of the type"),
    "22P03": ("a bound value is not valid for its type", ""),
    "25006": ("the statement would write and the transaction is read-only", "ask only for reads"),
    "3F000": _NAMELESS,
    "42501": _NAMELESS,
    "42704": _NAMELESS,
    "53100": ("the database server has no disk space left for the statement", "ask for less data or sort less"),
    "53200": ("the database server has no memory left for the statement", "ask for less data"),
    "53400": ("the statement exceeds a limit the database server is configured with", "ask for less data"),
    "54000": ("the statement exceeds a limit of PostgreSQL", "split it"),
    "54001": ("the statement is nested too deeply", "split it"),
    "55P03": ("a lock was not to be had in time", "try again in a moment"),
    "57014": ("the statement was cancelled in the database server", "try again, or ask its operator"),
    "P0001": ("a function of the database raised an exception", ""),
}
_CLASSES = {
    "21": ("a query returned a number of rows that does not fit", ""),
    "22": ("a value is not valid for its type or function", ""),
    "23": ("a constraint of the database was violated", ""),
    "25": ("the transaction does not allow this statement", "ask only for reads"),
    "38": ("an external function of the database failed", ""),
    "40": ("the statement collided with another transaction", "try again"),
    "42": ("the statement uses a name, type or syntax that does not fit while it runs", ""),
    "53": ("the database server is short of a resource", "ask for less data or try again later"),
    "54": ("the statement exceeds a limit of PostgreSQL", "split it"),
    "55": ("something the statement uses is not in the state it needs", ""),
    "58": ("the database server could not reach a file it needs", ""),
    "F0": ("the database server is misconfigured", ""),
    "HV": ("a foreign server did not answer as it should", ""),
    "P0": ("a function of the database failed", ""),
    "XX": ("the database server met an internal error", ""),
}
_SPEAKS_OF_THE_STATEMENT = frozenset(
    {
        *("0A000", "42601", "42611", "42622", "42701", "42702", "42703", "42712", "42725", "42803", "42804", "42809", "42846"),
        *("42883", "42P01", "42P02", "42P08", "42P09", "42P10", "42P18", "42P19", "42P20", "42P21", "42P22", "42P38"),
    }
)
"""Found in the statement itself. Others of class 42 speak of what lies behind it: the policy or rule of a table, a view's query."""
_INPUT = re.compile(r"invalid input (?:value for enum|syntax for type) ([^:\"]{1,60}):")
_GONE = frozenset({"08", "57"})
_ENDED = frozenset({"25P03", "25P04"})
"""The server ended the session: its transaction stood idle, or lasted, too long."""
_REPLAY = frozenset({"40001", "40P01"})
"""On a standby, what only reads collides with nothing else."""
_IN_THE_WAY = (
    "the replica ended the statement, because it stood in the way of changes that come from the primary",
    "try again, or ask for less at once",
)
_CONNECTING = {
    "28": "it refuses the configured login",
    "3D": "the configured database does not exist",
    "42": "the configured role may not connect",
    "53": "it has no connection left",
    "57": "it is starting up or shutting down",
}


def statement_error(
    error: BaseException, *, analysing: bool, timeout_s: float, elapsed_s: float, standby: bool = False
) -> ToolError:
    """Put the error of a statement in words; `analysing` says that nothing of it has been executed yet."""
    if ended := _ended(error, timeout_s, elapsed_s, standby=standby):
        return ended
    assert isinstance(error, asyncpg.PostgresError)  # noqa: S101 -- for the type checker: every other error ends the connection
    sqlstate = str(error.sqlstate)
    offset = _offset(error) if analysing else None
    if analysing and sqlstate in _SPEAKS_OF_THE_STATEMENT:
        hint = "look the names up with `search_schema` or `describe`"
        return DatabaseError(sqlstate, _one_line(str(error.message)), hint, offset=offset)
    unknown = (f"the database refused the statement with SQLSTATE {sqlstate}", "")
    if standby and sqlstate in _REPLAY:
        return DatabaseError(sqlstate, *_IN_THE_WAY)
    message, hint = _SENTENCES.get(sqlstate, _CLASSES.get(sqlstate[:2], unknown))
    # A constant of the statement: while it is analysed there is no other value.
    if analysing and (constant := _INPUT.match(str(error.message))):
        message = f"a constant is not valid input for the type {constant[1]}"
    return DatabaseError(sqlstate, message, hint, offset=offset)


_VIOLATIONS = {
    "23001": ("rows of other tables still refer to it", ""),
    "23502": ("a column that must have a value was given none", "give it one"),
    "23503": ("a foreign key was violated: the row it refers to is not there, or rows still refer to it", ""),
    "23505": ("a row with such a key is there already", "look for it, or choose another key"),
    "23514": ("a check constraint was violated", ""),
    "23P01": ("an exclusion constraint was violated", ""),
}


def change_error(error: BaseException, targets: Collection[Name], holders: str, *, timeout_s: float, elapsed_s: float) -> ToolError:
    """Put the error of a statement that changes something in words; `targets` are the tables that it names itself.

    What was violated is known where it is of such a table; what a cascade or a trigger met is nobody's to know.
    """
    failure = statement_error(error, analysing=False, timeout_s=timeout_s, elapsed_s=elapsed_s)
    if not isinstance(failure, DatabaseError):
        return failure
    if failure.sqlstate == "55P03":
        return LockedOut("a lock was not to be had in time" + (f": it is held by {holders}" if holders else ""), "try again")
    if failure.sqlstate.startswith("23"):
        words, hint = _VIOLATIONS.get(failure.sqlstate, (failure.message, failure.hint))
        return DatabaseError(failure.sqlstate, words, hint, violated=_violated(error, targets))
    return failure


def _violated(error: BaseException, targets: Collection[Name]) -> Violated | None:
    table = (getattr(error, "schema_name", None) or "", getattr(error, "table_name", None) or "")
    if table not in targets and ("", table[1]) not in targets:
        return None
    return Violated(table, getattr(error, "constraint_name", None) or "", getattr(error, "column_name", None) or "")


def _ended(error: BaseException, timeout_s: float, elapsed_s: float, *, standby: bool) -> ToolError | None:
    """The error in words when it ended the statement from outside: by time, or with its connection."""
    if isinstance(error, TimeoutError):
        return TimedOut(f"the server did not end the statement within {timeout_s:g} s as it was told to", "ask for less at once")
    sqlstate = str(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""
    # The server's clock began before ours, which measures from the last message only.
    if sqlstate == "57014" and elapsed_s >= 0.9 * timeout_s:
        return TimedOut(
            f"the statement ran longer than {timeout_s:g} s and was cancelled", "narrow it, aggregate, or look at its plan"
        )
    if not sqlstate or sqlstate in _ENDED or (sqlstate[:2] in _GONE and sqlstate != "57014"):
        return (ReplicaUnavailable if standby else Unavailable)("the connection to the database was lost", "try again")
    return None


def _offset(error: asyncpg.PostgresError) -> int | None:
    position = str(getattr(error, "position", None) or "")
    return int(position) - 1 if position.isdecimal() else None


def is_lost(error: BaseException) -> bool:
    """Whether the error says that this connection is gone, and another one may do."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in _GONE
    return not isinstance(error, TimeoutError)


def connect_problem(error: BaseException) -> str:
    """Why no connection came about, without user, host or password."""
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate:
        return _CONNECTING.get(str(error.sqlstate)[:2], f"it refuses the connection with SQLSTATE {error.sqlstate}")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "none of its hosts has the wanted target_session_attrs"
    if isinstance(error, asyncpg.ClientConfigurationError):
        return "its DSN is not valid"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError):
        return "nothing answers at its address"
    return "the connection broke while it was made"


def _one_line(message: str) -> str:
    return " ".join(message.split())
