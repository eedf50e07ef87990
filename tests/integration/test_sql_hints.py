"""What the server finds wrong, through the gate, in the caller's terms and without anything the caller may not know."""

import tomllib
from collections.abc import Awaitable, Callable

import pytest
from fix_postgres import PostgresServer
from fix_server import HIDES, READS_ALL, MakeSite
from fix_sql import CASES, HIDDEN_COLUMNS, HIDDEN_FUNCTIONS, HIDDEN_TABLES

from ostiary.app import House, open_house
from ostiary.call import Call
from ostiary.errors import CallFailed
from ostiary_policies.model import Principal

SERVER = tomllib.loads((CASES / "hints/server.toml").read_text("utf-8"))["case"]
TAGGED = {**{f"public.{t}.{c}": ["hidden"] for t, c in HIDDEN_COLUMNS}, **{f"public.{t}": ["hidden"] for t in HIDDEN_TABLES}}
NO_FUNCTIONS = '@id("hides-functions") forbid (principal, action, resource) when { resource is Function && ' + " || ".join(
    f'resource.name == "{name}"' for name in HIDDEN_FUNCTIONS
)


@pytest.mark.asyncio
async def test_an_error_of_the_server_says_where_in_the_callers_text_and_what_to_write_instead(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    database = await make_database((CASES / "shop.sql").read_text("utf-8"))
    policy = READS_ALL + HIDES + NO_FUNCTIONS + " };"
    site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=policy, tags=("hidden",), tagged=TAGGED)
    async with open_house(site.config, lambda _: None) as house:
        told = [(case, await _told(house, case)) for case in SERVER]
    assert len(SERVER) >= 40
    assert [(case["sql"], *said) for case, said in told] == [(case["sql"], case["message"], case["hint"]) for case in SERVER]


async def _told(house: House, case: dict[str, str]) -> tuple[str, str]:
    params = ["x"] if "$1" in case["sql"] else []
    with pytest.raises(CallFailed) as failure:
        await house.gate.call(Principal("reader", ("reader",)), Call("query", {"sql": case["sql"], "params": params}))
    return failure.value.message, failure.value.hint
