"""Honest queries through a real MCP client: none is refused, and each is answered as on a bare connection."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from fix_answers import agrees, answered, connected, read, text_of
from fix_postgres import PostgresServer
from fix_server import MakeSite
from fix_sql import CASES as JUDGE_CASES
from fix_sql import Case, cases, sample_cases
from mcp import Client

from ostiary.app import House, open_house
from ostiary.config import Config
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.embedded import ADMIN, SHOP, attach

_SLOW = {"questions: sixty joins"}
"""Known gap: through the gate this takes PostgreSQL 15 longer than the 30 s of the policy, bare it takes four."""
_LACKING = (asyncpg.PostgresSyntaxError, asyncpg.UndefinedFunctionError, asyncpg.UndefinedObjectError)


@pytest.mark.asyncio
async def test_no_honest_query_over_the_judges_shop_is_refused_or_answered_otherwise(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """The cases the judge alone is tested with, now from end to end."""
    database = await make_database((JUDGE_CASES / "shop.sql").read_text("utf-8"))
    dsn = postgres_server.dsn(database=database)
    site = await make_site({"shop": dsn})
    async with open_house(site.config, lambda _: None) as house:
        wrong = await _wrong(house, "reader", dsn, list(cases("honest")), at_least=400)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.asyncio
async def test_nor_on_the_systems_postgresql_but_for_what_it_lacks(make_site: MakeSite, system_server: PostgresServer):
    await asyncio.to_thread(system_server.sql, "CREATE DATABASE honest")
    await asyncio.to_thread(system_server.sql, (JUDGE_CASES / "shop.sql").read_text("utf-8") + "ANALYZE;", "honest")
    dsn = system_server.dsn(database="honest")
    asked, lacking = [], []
    async with connected(dsn) as bare:
        for case in cases("honest"):
            try:
                await bare.prepare(case.sql)
                if case.title not in _SLOW:
                    asked.append(case)
            except _LACKING:
                lacking.append(case.title)
    site = await make_site({"shop": dsn})
    async with open_house(site.config, lambda _: None) as house:
        wrong = await _wrong(house, "reader", dsn, asked, at_least=390)
    assert wrong == []
    assert len(lacking) <= 20, lacking


@pytest.mark.asyncio
async def test_no_honest_query_of_an_engineer_over_the_sample_is_refused_or_answered_otherwise(ostiary_config: Config):
    """The sample shop under the shipped policy."""
    cluster = await attach(ostiary_config.home.data, lambda _: None, runtime_dir=ostiary_config.home.runtime)
    try:
        async with open_house(ostiary_config, lambda _: None) as house:
            wrong = await _wrong(house, "engineer", cluster.dsn(ADMIN, SHOP), sample_cases(), at_least=40)
    finally:
        await cluster.detach()
    assert wrong == []


async def _wrong(house: House, role: str, dsn: str, asked: list[Case], *, at_least: int) -> list[str]:
    """Whatever was refused or answered otherwise than on the bare connection, in words."""
    wrong: list[str] = []
    compared = 0
    who = Principal("honest", (role,))
    async with connected(dsn) as bare, Client(McpApp(house.gate, lambda _: who).server) as client:
        for case in asked:
            reply = await client.call_tool("query", {"sql": case.sql})
            said = text_of(reply)
            expected = await answered(bare, case.sql)
            if expected is None:
                continue
            compared += 1
            if reply.is_error:
                wrong.append(f"{case.title}: {said}")
            elif not agrees(found := read(said), expected, cut="TRUNCATED" in said):
                wrong.append(f"{case.title}: {found} and not {expected}")
    assert compared >= at_least, f"only {compared} could be compared"
    return wrong
