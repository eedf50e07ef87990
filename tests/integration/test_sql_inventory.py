"""The reviewed list of built-ins, held against live servers."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import PostgresServer, new_server, short_directory
from list_functions import Fact, facts, merged

from ostiary_tools.sql.inventory import FUNCTIONS, INVENTORY, REASONS, REFUSED_FUNCTIONS, TYPES, VOLATILE, BuiltIn

_OLD = Path("/usr/lib/postgresql/15/bin")
_FUNCTIONS = """
SELECT p.proname AS name, p.provolatile = 'v' AS volatile,
  coalesce((SELECT array_agg(DISTINCT t.typname::text)
    FROM unnest(p.proargtypes::oid[] || p.prorettype || coalesce(p.proallargtypes, '{}')) AS a(oid)
    JOIN pg_type AS t ON t.oid = a.oid), '{}') AS types
FROM pg_proc AS p WHERE p.pronamespace = 'pg_catalog'::regnamespace
"""
_OPERATORS = """
SELECT p.proname AS name, p.provolatile = 'v' AS volatile
FROM pg_operator AS o JOIN pg_proc AS p ON p.oid = o.oprcode WHERE o.oprnamespace = 'pg_catalog'::regnamespace
"""
_HARMLESS = {"regconfig", "regdictionary"}
# pg_typeof answers a regtype; the judge casts it to text at once.
_REGTYPE = {"pg_typeof"}


@pytest.fixture(scope="module", params=["embedded", "15"])
def server(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    if request.param == "embedded":
        yield postgres_server
        return
    if not _OLD.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    root = short_directory()
    old = new_server(root, {"fsync": "off"})
    shutil.rmtree(old.data)
    old.binaries = _OLD
    old.make()
    old.start()
    try:
        yield old
    finally:
        old.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


def _fetch(server: PostgresServer, statement: str) -> list[asyncpg.Record]:
    async def once() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(server.dsn())
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(once())


def test_every_built_in_function_of_the_server_is_reviewed(server: PostgresServer):
    names = {row["name"] for row in _fetch(server, _FUNCTIONS)}
    assert names - FUNCTIONS - REFUSED_FUNCTIONS.keys() == set()


def test_the_inventory_says_of_every_function_what_the_server_says(server: PostgresServer):
    assert merged(INVENTORY, *asyncio.run(facts(server.dsn()))) == INVENTORY


def test_a_function_of_a_later_version_is_undecided_and_refused():
    later = {**INVENTORY, "pg_read_everything": BuiltIn("undecided", frozenset({99}), "volatile", ("function",))}
    assert merged(INVENTORY, 99, {"pg_read_everything": Fact("volatile", ("function",))}) == later
    assert "undecided" in REASONS


def test_no_allowed_function_is_volatile_but_those_with_a_reason(server: PostgresServer):
    assert {r["name"] for r in _fetch(server, _FUNCTIONS) if r["volatile"]} & FUNCTIONS <= VOLATILE.keys()


def test_no_allowed_function_takes_or_gives_an_internal_value_or_a_name_of_the_catalog(server: PostgresServer):
    found = {
        row["name"]
        for row in _fetch(server, _FUNCTIONS)
        if row["name"] in FUNCTIONS - _REGTYPE
        and any(
            t in ("internal", "cstring", "aclitem", "refcursor", "trigger")
            or (t.lstrip("_").startswith("reg") and t.lstrip("_") not in _HARMLESS)
            for t in row["types"]
        )
    }
    assert found == set()


def test_no_built_in_operator_runs_a_refused_or_volatile_function(server: PostgresServer):
    rows = _fetch(server, _OPERATORS)
    assert {r["name"] for r in rows if r["volatile"]} == set()
    assert {
        r["name"] for r in rows if REFUSED_FUNCTIONS.get(r["name"], "internals of the server") != "internals of the server"
    } <= {"aclcontains", "aclinsert", "aclremove", "aclitemeq"}


def test_every_allowed_type_exists_on_the_server(server: PostgresServer):
    names = {
        r["name"] for r in _fetch(server, "SELECT typname AS name FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace")
    }
    assert names >= TYPES
