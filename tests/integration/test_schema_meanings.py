"""Schema search by meaning behind the gate: nobody waits for it, it follows the schema, and it knows what its caller sees."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from fix_meaning import sql
from fix_postgres import PostgresServer
from fix_server import MakeSite
from fix_waiting import until

from ostiary.app import House, open_house
from ostiary.call import Call
from ostiary_policies.model import Principal

POLICY = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("not-the-bank") forbid (principal in Role::"outsider", action, resource) when { resource in Schema::"kept.bank" };
"""


async def ask(house: House, query: str, *roles: str, **more: str) -> str:
    call = Call("search_schema", {"query": query, **more})
    return (await house.gate.call(Principal("ada", roles or ("reader",)), call)).text


@pytest.mark.asyncio
async def test_the_first_answer_goes_by_letters_and_later_ones_by_meaning_too_after_every_change(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    dsn = postgres_server.dsn(database=await make_database(sql("sales", "bank", "it")))
    site = await make_site({"kept": dsn}, policy=POLICY)
    async with open_house(site.config, lambda _: None) as house:
        assert "sales.credit_notes" not in await ask(house, "refunds")

        async def found() -> bool:
            return "sales.credit_notes" in await ask(house, "refunds")

        await until(found)
        assert "sales.credit_notes" in (await ask(house, "where are refunds kept?", detail="summary"))
        assert "bank.ln_arr" in await ask(house, "which borrowers are late?")
        assert "bank." not in await ask(house, "which borrowers are late?", "reader", "outsider")

        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE it.zz_7 (id int); COMMENT ON TABLE it.zz_7 IS 'Lawsuits and how they ended'")
        await connection.close()
        await house.datasources["kept"].refresh()

        async def changed() -> bool:
            return "it.zz_7" in await ask(house, "litigation")

        await until(changed)
