"""Writes the SQL that makes a login for agents which may read, or change, what is named, and nothing else. Pure: text from values.

Names come from a catalog and may hold anything, so each stands quoted in a statement
and none in a comment. There is no password in it: psql asks for one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ostiary_tools.datasources.examination import Examination, Routine
from ostiary_tools.identifiers import quoted
from ostiary_tools.powers import PUBLIC, Power

ATTRIBUTES = "NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION"


@dataclass(frozen=True, slots=True)
class Login:
    """The login to make."""

    name: str
    relations: frozenset[tuple[str, str]]
    """What it may read, by schema and name."""
    routines: tuple[Routine, ...]
    """Functions that are closed to PUBLIC and that it may run."""
    connections: int
    timeout_s: float
    lock_timeout_s: float
    idle_timeout_s: float
    written: frozenset[tuple[str, str]] = frozenset()
    """Tables whose rows it may change; they are among what it may read."""
    changes: bool = False
    """Whether it is for changes, and no reader."""


def login_sql(login: Login, found: Examination) -> str:
    """A script for psql, to be run in the database by its owner or a superuser."""
    role = quoted(login.name)
    parts = (
        ("-- For psql, connected to the database as a superuser or as its owner with CREATEROLE.", "BEGIN;"),
        (
            f"CREATE ROLE {role} LOGIN {ATTRIBUTES} CONNECTION LIMIT {login.connections};",
            *((f"ALTER ROLE {role} SET default_transaction_read_only = on;",) if not login.changes else ()),
            f"ALTER ROLE {role} SET statement_timeout = {_milliseconds(login.timeout_s)};",
            f"ALTER ROLE {role} SET lock_timeout = {_milliseconds(login.lock_timeout_s)};",
            f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = {_milliseconds(login.idle_timeout_s)};",
        ),
        _closed_to_public(found),
        (f"GRANT CONNECT ON DATABASE {quoted(found.database)} TO {role};",),
        tuple(_grants(role, login, found)),
        ("COMMIT;", "-- Now give it a password: \\password in psql, followed by its name."),
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _closed_to_public(found: Examination) -> Sequence[str]:
    """What everybody may do, the new login could too. The right to make large objects stays: revoking it takes a superuser."""
    fixes = [
        f"{finding.fix};"
        for finding in found.findings
        if finding.through == PUBLIC and (finding.over_privileged or finding.power is Power.TEMPORARY_TABLES)
    ]
    return ["-- Everybody may do this so far. Grant it back to the roles that need it.", *fixes] if fixes else ()


def _grants(role: str, login: Login, found: Examination) -> Iterator[str]:
    granted = sorted(login.relations & found.owners.keys())
    yield from _on_schemas(role, {schema for schema, _ in granted} | {routine.schema for routine in login.routines})
    if granted:
        yield f"GRANT SELECT ON\n{_listed(f'{quoted(schema)}.{quoted(name)}' for schema, name in granted)}\nTO {role};"
    if written := sorted(login.written & found.owners.keys()):
        names = _listed(f"{quoted(schema)}.{quoted(name)}" for schema, name in written)
        yield f"GRANT INSERT, UPDATE, DELETE ON\n{names}\nTO {role};"
        for schema in sorted({schema for schema, _ in written}):
            yield f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {quoted(schema)} TO {role};"
    for routine in login.routines:
        yield f"GRANT EXECUTE ON FUNCTION {quoted(routine.schema)}.{quoted(routine.name)}({routine.arguments}) TO {role};"
    whole = {schema for schema, _ in granted} - {schema for schema, _ in found.owners.keys() - login.relations}
    owners = sorted({(owner, schema) for (schema, _), owner in found.owners.items() if schema in whole})
    if login.changes:  # what later tables are for, is not known
        return
    if owners:
        yield "-- All tables of these schemas may be read, so later ones may too."
    for owner, schema in owners:
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(owner)} IN SCHEMA {quoted(schema)} GRANT SELECT ON TABLES TO {role};"


def _on_schemas(role: str, schemas: Iterable[str]) -> Iterator[str]:
    for schema in sorted(schemas):
        yield f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {role};"


def _listed(names: Iterable[str]) -> str:
    return ",\n".join(f"    {name}" for name in names)


def _milliseconds(seconds: float) -> str:
    return f"'{max(1, round(seconds * 1000))}ms'"
