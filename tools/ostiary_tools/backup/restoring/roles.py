"""The roles of a cluster as `pg_dumpall --globals-only` writes them, in another one.

A role that is there already stays as it is. In a server that lives, one that is missing comes back as a name alone, to own what it
owned: without its login, password, powers and memberships, for it may have been dropped to end just these.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import asyncpg

from ostiary_tools.identifiers import one_line, quoted

_PIECE = re.compile(r"""--[^\n]*|E'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|;|[^-E'";]+|.""", re.DOTALL)
_NAME = r'("(?:[^"]|"")+"|[^\s";]+)'
_ABOUT = re.compile(rf"(CREATE|ALTER) ROLE {_NAME}|GRANT {_NAME} TO {_NAME}|COMMENT ON ROLE {_NAME}", re.DOTALL)

_GRANTOR = re.compile(rf" GRANTED BY {_NAME}$")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement about a role."""

    text: str
    verb: str
    role: str
    """Whom it changes."""


def statements(text: str) -> Sequence[Statement]:
    """Those about roles, in order. Others, as about tablespaces, are left out."""
    found = []
    for statement in _split(text):
        match = _ABOUT.match(statement)
        if match:
            verb = match[1] or statement.split(None, 1)[0]
            found.append(Statement(statement, verb, _plain(match[2] or match[4] or match[5])))
    return found


async def restore_all(connection: asyncpg.Connection, text: str) -> Sequence[str]:
    """Every role as it was, in a cluster that has none but its superuser; notes of what did not go."""
    notes = []
    for statement in statements(text):
        try:
            await _run(connection, statement.text)
        except asyncpg.DuplicateObjectError:
            continue
        except asyncpg.PostgresError as error:
            notes.append(f"{statement.verb} ROLE {quoted(statement.role)} failed ({error.sqlstate})")
    return notes


async def _run(connection: asyncpg.Connection, statement: str) -> None:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        # What the first superuser of a cluster has granted only the first of this one can grant, and that is another.
        shorter = _GRANTOR.sub("", statement)
        if shorter == statement:
            raise
        await connection.execute(shorter)


async def restore_names(connection: asyncpg.Connection, text: str) -> Sequence[str]:
    """Missing roles, as names alone; notes of them."""
    there = {row[0] for row in await connection.fetch("SELECT rolname::text FROM pg_catalog.pg_roles")}
    missing = [one.role for one in statements(text) if one.verb == "CREATE" and one.role not in there]
    notes = []
    for role in missing:
        try:
            await connection.execute(f"CREATE ROLE {quoted(role)} NOLOGIN")
        except asyncpg.PostgresError as error:
            notes.append(f"the role {one_line(quoted(role))} is missing, and could not be made ({error.sqlstate})")
        else:
            notes.append(f"the role {one_line(quoted(role))} was missing: it is back without login, password and memberships")
    return notes


def _split(text: str) -> Iterator[str]:
    """At semicolons outside of quotes. Lines for psql alone begin with a backslash."""
    text = re.sub(r"^\\(?:un)?restrict [^\n]*$", "", text, flags=re.MULTILINE)
    parts: list[str] = []
    for piece in _PIECE.findall(text):
        if piece == ";":
            yield "".join(parts).strip()
            parts = []
        elif not piece.startswith("--"):
            parts.append(piece)


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
