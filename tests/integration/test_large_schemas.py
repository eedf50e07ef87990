"""A hundred thousand columns under a thousand policies: whoever asks waits, and nobody else does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite

from ostiary.app import open_house
from ostiary.call import Call
from ostiary.errors import CallFailed
from ostiary_policies.model import Principal

TABLES = ";".join(f"CREATE TABLE t{n} ({', '.join(f'c{m} text' for m in range(100))})" for n in range(1000))
POLICY = """
@id("does") permit (principal in Role::"reader", action == Action::"call", resource);
@id("sees") permit (principal in Role::"reader", action == Action::"see", resource);
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.name like "*7*" };
@id("masks") @mask("redact") permit (principal in Role::"reader", action == Action::"read_masked", resource is Column);
@id("small") forbid (principal in Role::"small", action, resource == Datasource::"large");
@id("rows") permit (principal in Role::"reader", action == Action::"read_row", resource is large::public::t5)
when { resource has c1 && resource.c1 == "a" };
"""
SLOW = "".join(
    f'@id("slow-{n}") forbid (principal, action == Action::"read", resource is Column) '
    f'when {{ resource.name like "*a*b*c*{n}*d*e" || resource.tags.contains("pii:x{n}") }};'
    for n in range(1000)
)
PATIENT = 20


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_large_schema_under_many_policies_keeps_only_its_own_callers_waiting(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    sources = {
        "large": postgres_server.dsn(database=await make_database(TABLES)),
        "little": postgres_server.dsn(database=await make_database("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")),
    }
    site = await make_site(sources, policy=POLICY + SLOW)
    async with open_house(site.config, lambda _: None) as house:

        async def ask(datasource: str, sql: str, *roles: str) -> str:
            call = Call("query", {"sql": sql, "datasource": datasource})
            return (await house.gate.call(Principal("ada", roles), call)).text

        async def patiently() -> str:
            for _ in range(PATIENT):
                try:
                    return await ask("large", "select c1, c7 from t5", "reader")
                except CallFailed as told:
                    if "is still being worked out" not in told.message:
                        raise
            raise AssertionError("it never ends")

        await ask("little", "select a from t", "reader", "small")
        waiting = asyncio.create_task(patiently())
        others = 0
        while not waiting.done():
            assert "\n1\n" in await ask("little", "select a from t", "reader", "small")
            others += not waiting.done()
        assert "c1,c7" in await waiting
        assert others > PATIENT
        with pytest.raises(CallFailed, match="unknown datasource `large`"):
            await ask("large", "select c1 from t5", "reader", "small")
