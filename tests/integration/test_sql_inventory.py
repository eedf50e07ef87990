"""The reviewed list of built-ins, held against live servers."""

import asyncio

import asyncpg
from fix_postgres import PostgresServer
from list_functions import Fact, facts, merged

from ostiary_tools.sql.inventory import FUNCTIONS, INVENTORY, REASONS, REFUSED_FUNCTIONS, TYPES, VOLATILE, BuiltIn

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


def _fetch(server: PostgresServer, statement: str) -> list[asyncpg.Record]:
    async def once() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(server.dsn())
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(once())


def test_every_built_in_function_of_the_server_is_reviewed(either_server: PostgresServer):
    names = {row["name"] for row in _fetch(either_server, _FUNCTIONS)}
    assert names - FUNCTIONS - REFUSED_FUNCTIONS.keys() == set()


def test_the_inventory_says_of_every_function_what_the_server_says(either_server: PostgresServer):
    assert merged(INVENTORY, *asyncio.run(facts(either_server.dsn()))) == INVENTORY


def test_a_function_of_a_later_version_is_undecided_and_refused():
    later = {**INVENTORY, "pg_read_everything": BuiltIn("undecided", frozenset({99}), "volatile", ("function",))}
    assert merged(INVENTORY, 99, {"pg_read_everything": Fact("volatile", ("function",))}) == later
    assert "undecided" in REASONS


def test_no_allowed_function_is_volatile_but_those_with_a_reason(either_server: PostgresServer):
    assert {r["name"] for r in _fetch(either_server, _FUNCTIONS) if r["volatile"]} & FUNCTIONS <= VOLATILE.keys()


def test_no_allowed_function_takes_or_gives_an_internal_value_or_a_name_of_the_catalog(either_server: PostgresServer):
    found = {
        row["name"]
        for row in _fetch(either_server, _FUNCTIONS)
        if row["name"] in FUNCTIONS - _REGTYPE
        and any(
            t in ("internal", "cstring", "aclitem", "refcursor", "trigger")
            or (t.lstrip("_").startswith("reg") and t.lstrip("_") not in _HARMLESS)
            for t in row["types"]
        )
    }
    assert found == set()


def test_no_built_in_operator_runs_a_refused_or_volatile_function(either_server: PostgresServer):
    rows = _fetch(either_server, _OPERATORS)
    assert {r["name"] for r in rows if r["volatile"]} == set()
    assert {
        r["name"] for r in rows if REFUSED_FUNCTIONS.get(r["name"], "internals of the server") != "internals of the server"
    } <= {"aclcontains", "aclinsert", "aclremove", "aclitemeq"}


def test_every_allowed_type_exists_on_the_server(either_server: PostgresServer):
    names = {
        r["name"]
        for r in _fetch(either_server, "SELECT typname AS name FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace")
    }
    assert names >= TYPES
