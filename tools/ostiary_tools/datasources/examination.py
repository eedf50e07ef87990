"""Looks at one database as the doctor does: by a connection of its own, whether the datasource is served or not."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from ostiary_tools.datasources.catalog import build_snapshot, read_catalog
from ostiary_tools.datasources.failures import DRIVER_ERRORS, connect_problem
from ostiary_tools.datasources.opening import SESSION, PostgresSettings, opening
from ostiary_tools.datasources.powers import read_findings
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.datasources.value_logging import ValueLog, value_logs
from ostiary_tools.errors import Unavailable
from ostiary_tools.powers import Finding
from ostiary_tools.snapshot import Snapshot

_QUERIES = load_sections("examination.sql")
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Routine:
    """A function that is closed to PUBLIC, and could be granted."""

    schema: str
    name: str
    arguments: str
    """As SQL writes them, types qualified."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    login: str
    database: str
    standby: bool
    findings: tuple[Finding, ...]
    """Worst first."""
    snapshot: Snapshot
    owners: Mapping[tuple[str, str], str]
    """Each relation that is no extension's, by schema and name, and the role that owns it."""
    routines: tuple[Routine, ...]
    value_logs: tuple[ValueLog, ...]
    """How bound values of its statements come into the server's log."""


async def examine(settings: PostgresSettings) -> Examination:
    """Connect, look, and leave. Raises Unavailable."""
    try:
        connection = await asyncpg.connect(
            settings.dsn, timeout=settings.acquire_timeout_s, statement_cache_size=0, server_settings=SESSION
        )
    except DRIVER_ERRORS as error:
        raise _unavailable(settings.name, connect_problem(error)) from None
    try:
        return await _looked_at(settings, connection)
    except DRIVER_ERRORS as error:
        raise _unavailable(settings.name, f"its catalog cannot be read ({type(error).__name__})") from None
    finally:
        with suppress(*DRIVER_ERRORS):  # a server that hangs or is gone: what is known of it stands
            await connection.close(timeout=settings.acquire_timeout_s)


async def _looked_at(settings: PostgresSettings, connection: asyncpg.Connection) -> Examination:
    await connection.execute(opening(settings, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", _TIMEOUT_S))
    # With nothing else on the path, types of users are printed with their schema.
    await connection.execute("SET LOCAL search_path = pg_catalog")
    [who] = await connection.fetch(_QUERIES["who"].query)
    rows = await read_catalog(connection, "")
    assert rows is not None  # noqa: S101 for the type checker: no stamp is empty
    return Examination(
        login=who["login"],
        database=who["database"],
        standby=who["standby"],
        findings=await read_findings(connection, settings.set_role),
        snapshot=build_snapshot(settings.name, rows, search_path=settings.search_path, tags=settings.tags),
        owners={(row["schema"], row["name"]): row["owner"] for row in await connection.fetch(_QUERIES["relations"].query)},
        value_logs=await value_logs(connection),
        routines=tuple(
            Routine(row["schema"], row["name"], row["arguments"]) for row in await connection.fetch(_QUERIES["functions"].query)
        ),
    )


def _unavailable(name: str, problem: str) -> Unavailable:
    hint = "see that it runs and that `dsn` and `set_role` of the datasource are right"
    return Unavailable(f"datasource `{name}` cannot be reached: {problem}", hint)
