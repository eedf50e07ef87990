"""How a backup reads a database: settings under which values look the same everywhere, and failures in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from ostiary_tools.datasources.failures import DRIVER_ERRORS
from ostiary_tools.errors import Damaged, LockedOut, ToolError, Unavailable

PINS = {
    "search_path": "pg_catalog",
    "row_security": "off",
    "quote_all_identifiers": "on",  # which words are keywords differs between versions
    "extra_float_digits": "1",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "lc_monetary": "C",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "lock_timeout": "30s",
    "jit": "off",  # no statement of ours gains what it takes to be compiled
    "max_parallel_workers_per_gather": "0",  # how many work at once is the caller's to say
    "parallel_setup_cost": "0",  # where they may, they do
    "restrict_nonsystem_relation_kind": "view, foreign-table",  # a table that is swapped for a view runs nothing of its owner's
}
"""Settings of the transaction, each where the server has it."""
RIGHTS = "let it be a member of `pg_read_all_data`, or the owner of everything; row level security must not hold for it"
"""What a login for backups needs, as a hint."""
_FAILURES: tuple[tuple[tuple[str, ...], type[Unavailable | LockedOut], str, str], ...] = (
    (("42501",), Unavailable, "the login for backups may not read everything", RIGHTS),
    (
        ("55P03", "40P01"),
        LockedOut,
        "a table is being changed, and its lock was not to be had in time",
        "try again when that is done",
    ),
    (("53200",), Unavailable, "the server has no memory for the locks of all tables", "raise `max_locks_per_transaction`"),
    (("42P01", "3F000", "42703"), Unavailable, "tables were dropped or altered while the backup began", "try again in a moment"),
    (("57P", "08", "3D"), Unavailable, "the database ended the session: it was stopped, or dropped", "see that it runs"),
)


async def pin(connection: asyncpg.Connection) -> None:
    """Set what values look like, for the connection's transaction."""
    await connection.execute(
        "SELECT pg_catalog.set_config(s.name, p.value, true)"
        " FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS p(name, value)"
        " JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) p.name",
        list(PINS),
        list(PINS.values()),
    )


@contextmanager
def in_words() -> Iterator[None]:
    """Tell what a server raises while a backup reads it: to people and agents, without a value of a row."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _failure(error) from error
    except UnicodeDecodeError as error:
        raise Unavailable("names in the database are in no known encoding", "rename what is not written in UTF-8") from error
    except TimeoutError as error:
        raise Unavailable("the server does not answer", "see what it waits for") from error
    except DRIVER_ERRORS as error:
        raise Unavailable("the session with the database broke during the backup", "see that the database runs") from error


def _failure(error: asyncpg.PostgresError) -> ToolError:
    sqlstate = str(error.sqlstate)
    if sqlstate.startswith("XX"):
        return Damaged("database", "the database itself is damaged: some of it cannot be read", "look at the server's log")
    for codes, kind, message, hint in _FAILURES:
        if sqlstate.startswith(codes):
            return kind(message, hint)
    return Unavailable(f"the database could not be read ({sqlstate})", "look at the server's log")
