"""Extensions under the shipped bundle for analysts: what computes is answered, what reaches further is refused."""

import re
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite

from ostiary.app import House, open_house
from ostiary.call import Call
from ostiary.errors import CallFailed
from ostiary_policies.model import Principal

_CASES = Path(__file__).parent.parent / "cases" / "extensions"
_SHARED = Path("/usr/share/postgresql/15/extension")
_ANALYST = Principal("analyst", ("analyst",))
_CONTRIB = """
CREATE TABLE people (id integer PRIMARY KEY, name text, nick citext, age integer, extra hstore, place ltree, marks integer[]);
INSERT INTO people VALUES (1, 'Anna', 'Anna', 30, 'color=>red, size=>L', 'no.oslo.east', '{1,3}'),
    (2, 'Bo', 'BO', 40, 'color=>blue', 'no.oslo', '{5,3,2}'), (3, 'Cy', 'cy', 50, '', 'se', '{7}');
"""
_POSTGIS = """
CREATE EXTENSION postgis;
CREATE TABLE places (name text, spot geometry(Point, 4326));
INSERT INTO places VALUES ('Oslo', 'SRID=4326;POINT(10.75 59.91)'), ('Bergen', 'SRID=4326;POINT(5.32 60.39)');
"""
_VECTOR = """
CREATE EXTENSION vector; CREATE EXTENSION pg_trgm; CREATE EXTENSION amcheck; CREATE EXTENSION pg_stat_statements;
CREATE TABLE items (id integer PRIMARY KEY, embedding vector(3));
INSERT INTO items VALUES (1, '[1, 1, 1]'), (2, '[2, 0, 0]');
"""
_HOW_TO = Path(__file__).parent.parent.parent / "docs/how-to/use-an-extension.md"
_OWN = """
CREATE EXTENSION intagg; CREATE EXTENSION tablefunc;
CREATE ROLE app_owner;
CREATE FUNCTION seven() RETURNS integer STABLE LANGUAGE sql AS 'SELECT 7';
CREATE FUNCTION seven_in_plpgsql() RETURNS integer STABLE LANGUAGE plpgsql AS 'BEGIN RETURN 7; END';
CREATE FUNCTION seven_of_another() RETURNS integer STABLE LANGUAGE sql AS 'SELECT 7';
ALTER FUNCTION seven() OWNER TO app_owner;
ALTER FUNCTION seven_in_plpgsql() OWNER TO app_owner;
"""
_OWN_CALLS = ("int_array_enum(array[7])", "seven()", "seven_in_plpgsql()", "seven_of_another()", "crosstab('select 1, 2, 7')")
_WITHOUT_A_NAME = {"adminpack", "lo", "tsm_system_rows"}
"""Refused before a name of theirs is looked up: functions in `pg_catalog`, a cast from `oid`, a sampling method."""


@pytest.mark.asyncio
async def test_contrib_computes_for_an_analyst_and_does_nothing_else(server_15: PostgresServer, make_site: MakeSite):
    """Every extension of contrib in one database, so that none stands in another's way."""
    cases = _cases("contrib")
    extensions = sorted({case["extension"] for case in cases})
    server_15.sql("CREATE DATABASE contrib")
    server_15.sql("".join(f'CREATE EXTENSION "{name}" CASCADE;' for name in extensions if name != "earthdistance"), "contrib")
    server_15.sql("CREATE EXTENSION earthdistance;" + _CONTRIB, "contrib")
    async with _house(make_site, server_15, "contrib") as house:
        wrong = await _wrong(house, cases, at_least=60)
    assert wrong == [], "\n".join(wrong)


@pytest.mark.asyncio
async def test_an_operator_opens_an_extension_and_the_house_by_the_lines_of_the_how_to(
    server_15: PostgresServer, make_site: MakeSite
):
    """The policies of docs/how-to/use-an-extension.md, word for word."""
    policy = "\n".join(re.findall(r"```cedar\n(.*?)```", _HOW_TO.read_text("utf-8"), re.DOTALL))
    server_15.sql("CREATE DATABASE own")
    server_15.sql(_OWN, "own")
    async with _house(make_site, server_15, "own", policy=policy) as house:
        told = [await _answer(house, f"select * from {call}") for call in _OWN_CALLS]
    assert ["\n7\n" in answer if isinstance(answer, str) else answer.code for answer in told] == [
        True,
        True,
        "denied",
        "denied",
        "denied",
    ]


@pytest.mark.asyncio
async def test_postgis_computes_for_an_analyst_and_reads_nothing_by_name(server_15: PostgresServer, make_site: MakeSite):
    if not (_SHARED / "postgis.control").exists():
        pytest.skip("PostGIS is not installed")
    server_15.sql("CREATE DATABASE gis")
    server_15.sql(_POSTGIS, "gis")
    async with _house(make_site, server_15, "gis") as house:
        wrong = await _wrong(house, _cases("postgis"), at_least=15)
    assert wrong == [], "\n".join(wrong)


@pytest.mark.asyncio
async def test_pgvector_orders_by_distance_for_an_analyst(postgres_server: PostgresServer, make_site: MakeSite):
    postgres_server.sql("CREATE DATABASE vectors")
    try:
        postgres_server.sql(_VECTOR, "vectors")
        async with _house(make_site, postgres_server, "vectors") as house:
            wrong = await _wrong(house, _cases("vector"), at_least=7)
        assert wrong == [], "\n".join(wrong)
    finally:
        postgres_server.sql("DROP DATABASE vectors WITH (FORCE)")


def _cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((_CASES / f"{name}.toml").read_text("utf-8"))["case"]
    return found


@asynccontextmanager
async def _house(make_site: MakeSite, server: PostgresServer, database: str, policy: str = "") -> AsyncIterator[House]:
    site = await make_site({"shop": server.dsn(database=database)}, policy=policy)
    async with open_house(site.config, lambda _: None) as house:
        yield house


async def _wrong(house: House, cases: Sequence[dict[str, Any]], *, at_least: int) -> list[str]:
    """Whatever was answered otherwise than the cases say, in words."""
    assert len(cases) >= at_least
    told = [(case, await _answer(house, case["sql"])) for case in cases]
    return [f"{case['sql']}: {answer}" for case, answer in told if not _as_said(case, answer)]


def _as_said(case: dict[str, Any], answer: str | CallFailed) -> bool:
    if "gives" in case:
        return isinstance(answer, str) and f"\n{case['gives']}\n" in answer
    if not isinstance(answer, CallFailed):
        return False
    named = "may not execute" in answer.message
    return answer.code == "denied" and named if case["extension"] not in _WITHOUT_A_NAME else answer.code in ("refused", "denied")


async def _answer(house: House, sql: str) -> str | CallFailed:
    try:
        return (await house.gate.call(_ANALYST, Call("query", {"sql": sql}))).text
    except CallFailed as error:
        return error
