"""More calls at once than there are places: who is told what, and what is recorded of it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack

import asyncpg
import pytest
from fix_agents import Agent, agent, answer_of
from fix_http import serving
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary.pytest_plugin import ERAS
from ostiary_policies.model import Principal

AS_READER = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
TAKEN = "select count(*) from held"


async def begun(site: Site, count: int) -> bool:
    return [record["kind"] for record in await site.records()].count("i") == count


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ("CALLS_PER_AGENT", "2 calls of yours run already, as many as one agent may have at once"),
        ("CALLS", "2 calls run already, as many as the server takes at once"),
    ],
)
@pytest.mark.asyncio
async def test_a_call_too_many_is_refused_in_each_era_and_the_refusals_are_one_record_and_a_number(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    bound: str,
    said: str,
):
    database = await make_database("CREATE TABLE held (a int)")
    site = await make_site({"shop": postgres_server.dsn(database=database)})
    options = ("--config", str(site.config.home.data.parent / "ostiary.toml"))
    bounds = {f"OSTIARY_LIMITS__{bound}": "2", "OSTIARY_DATASOURCES__SHOP__LOCK_TIMEOUT_S": "60", **AS_READER}
    async with AsyncExitStack() as stack:
        url, _ = await stack.enter_async_context(serving(site.config, *options, **bounds))
        agents = [await stack.enter_async_context(agent(url, era)) for era in (*ERAS, *ERAS)]
        first = await agents[0].query("select 1")
        holder = await asyncpg.connect(postgres_server.dsn(database=database))
        async with holder.transaction():
            await holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
            held = [asyncio.create_task(one.query(TAKEN)) for one in agents[:2]]
            await until(lambda: begun(site, 3))
            modern, legacy = [await refused(one) for one in agents[2:]]
        await holder.close()
        taken = [answer_of(await call)["result"] for call in held]
        page = (await agents[0].http.get("/metrics")).text
        after = [answer_of(await one.query("select 1"))["result"] for one in agents[2:]]

    assert first.status_code == 200
    assert [reply.get("isError", False) for reply in (*taken, *after)] == [False] * 4
    assert {status for status, _, _ in modern} == {429}
    assert {after for _, after, _ in modern} == {"1"}
    assert all("then try again, after 1 s at the earliest" in text for _, _, text in (*modern, *legacy))
    assert {status for status, _, _ in legacy} == {200}
    assert all(f"busy: {said}" in text for _, _, text in (*modern, *legacy))
    counted = dict(re.findall(r'ostiary_calls_total\{outcome="busy",tool="(\w+)"\} (\d+)', page))
    assert counted == {"unknown": str(len(modern)), "query": str(len(legacy))}
    records = await site.records()
    busy = [record for record in records if record["kind"] == "d"]
    folded = [record for record in records if record.get("event") == "denials_folded"]
    assert [(record["decision"], record["reason"]) for record in busy] == [("busy", said)]
    assert sum(record["count"] for record in folded) + len(busy) == len(modern) + len(legacy)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.asyncio
async def test_an_address_that_nobody_had_time_to_look_at_is_not_called_unknown(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer, era: str
):
    site = await make_site({"shop": postgres_server.dsn(database=await make_database("CREATE TABLE held (a int)"))})
    there, nowhere = "schema://shop/public/held", "schema://shop/public/gone"
    async with open_house(site.config, lambda _: None) as house:
        app = McpApp(house.gate, lambda _: Principal("ada", ("reader",)), changes=house.changes)
        with ExitStack() as stack:
            for _ in range(site.config.limits.calls_per_agent):
                stack.enter_context(house.gate.crowd.place("ada"))
            async with Client(app.server, mode=era) as client:
                asked = [client.read_resource(there), client.read_resource(nowhere), client.list_resources()]
                crowded = [await failure(request) for request in asked]
        async with Client(app.server, mode=era) as client:
            unknown = await failure(client.read_resource(nowhere))
            listed = [str(resource.uri) for resource in (await client.list_resources()).resources]

    assert {code for code, _ in crowded} == {-32603}
    assert {text.partition(":")[0] for _, text in crowded} == {"busy"}
    assert unknown == (-32602, "Unknown resource")
    assert listed == [there]


async def failure(request: Awaitable[object]) -> tuple[int, str]:
    with pytest.raises(MCPError) as caught:
        await request
    return caught.value.code, caught.value.message


async def refused(one: Agent) -> list[tuple[int, str, str]]:
    """Status, `Retry-After` and text of three different calls."""
    replies = [await one.query(f"select {n}") for n in range(3)]
    return [(reply.status_code, reply.headers.get("retry-after", ""), text_of(answer_of(reply))) for reply in replies]


def text_of(answer: dict[str, dict[str, object]]) -> str:
    """Of an error of the protocol, or of the tool."""
    if "error" in answer:
        return str(answer["error"]["message"])
    assert answer["result"]["isError"] is True
    return str(answer["result"]["content"])
