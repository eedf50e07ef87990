"""Budgets through real clients, real processes and a real control database."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from fix_agents import agent
from fix_answers import text_of
from fix_http import serving
from fix_postgres import ADMIN, PostgresServer
from fix_server import LONG, MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

SHOP = """
CREATE TABLE orders (id integer PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 50) n;
"""
POLICY = """
@id("looks") permit (principal in Role::"reader", action in [Action::"see", Action::"read"], resource);
@id("free-tools") permit (principal in Role::"reader", action == Action::"call", resource)
unless { resource == Tool::"query" || resource == Tool::"export" };
@id("counted") {budgets}
permit (principal in Role::"reader", action == Action::"call", resource)
when { resource == Tool::"query" || resource == Tool::"export" };
"""

OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(budgets: str, **wishes: Any) -> AsyncIterator[tuple[Client, Site, House]]:
        dsn = postgres_server.dsn(database=await make_database(SHOP))
        site = await make_site({"shop": dsn}, policy=POLICY.replace("{budgets}", budgets), **wishes)
        async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
            yield client, site, house

    return opened


def client_of(house: House) -> Client:
    return Client(McpApp(house.gate, lambda _: Principal("ada", ("reader",))).server)


async def query(client: Client, sql: str) -> str:
    return text_of(await client.call_tool("query", {"sql": sql}))


async def spent(site: Site) -> dict[tuple[str, int], tuple[float, int]]:
    """(measure, window) → used, and how many calls hold something."""
    rows = await site.fetch("SELECT measure, window_s, used, held FROM budgets.spent", role=ADMIN)
    return {(row["measure"], row["window_s"]): (row["used"], row["held"].count(":")) for row in rows}


async def settled(site: Site) -> dict[tuple[str, int], float]:
    """What is used once no call holds anything."""

    async def none_holds() -> bool:
        return not any(holding for _, holding in (await spent(site)).values())

    await until(none_holds)
    return {kind: used for kind, (used, _) in (await spent(site)).items()}


async def turn(site: Site, window_s: int) -> None:
    """Have the windows of that length begin so long ago that they have passed."""
    await site.fetch(
        "UPDATE budgets.spent SET began_at = began_at - make_interval(secs => window_s) WHERE window_s = $1",
        window_s,
        role=ADMIN,
    )


@pytest.mark.asyncio
async def test_a_call_over_its_budget_is_refused_recorded_and_served_again_when_the_window_has_turned(shop: OpenShop):
    async with shop('@budget_calls("2/hour, 3/day")') as (client, site, house):
        served = [await query(client, "select 1") for _ in range(2)]
        refused = [await query(client, f"select {n}") for n in range(2)]
        told = (await client.call_tool("query", {"sql": "select 9"})).meta or {}
        records = [record for record in await site.records() if record.get("decision") == "deny"]
        await turn(site, 3_600)
        again, over_the_day = await query(client, "select 3"), await query(client, "select 4")
        refusals = dict(house.meter.budget_refusals)
    assert all(reply.startswith("<data-") for reply in (*served, again))
    assert re.match(
        r"over_budget: rule `counted`: 2 calls an hour are used; (60|59) min until the next\nrule: counted\nhint: wait ", refused[0]
    )
    assert re.search(r"not counted by it: .*`audit_log`", refused[0])
    assert 3_500 < told["ostiary/retry-after"] <= 3_600
    assert over_the_day.startswith("over_budget: rule `counted`: 3 calls a day are used; 24 h until the next\n")
    assert [(record["rules"], record["reason"]) for record in records] == [
        (["counted"], "rule `counted`: 2 calls an hour are used")
    ]
    assert refusals == {("calls", "hour"): 3, ("calls", "day"): 1}


@pytest.mark.asyncio
async def test_whoami_shows_what_is_left_and_of_what(shop: OpenShop):
    async with shop('@budget_calls("5/hour") @budget_rows("100/day")') as (client, site, _):
        fresh = text_of(await client.call_tool("whoami", {}))
        await query(client, "select id from orders where id <= 7")
        await settled(site)
        later = text_of(await client.call_tool("whoami", {}))
    assert "budget: 5 calls an hour, 5 left, anew in 3600 s (export, query)\n" in fresh
    assert "budget: 100 rows a day, 100 left, anew in 86400 s (export, query)\n" in fresh
    assert re.search(r"budget: 5 calls an hour, 4 left, anew in 3[56]\d\d s \(export, query\)\n", later)
    assert re.search(r"budget: 100 rows a day, 93 left, anew in 86[34]\d\d s \(export, query\)\n", later)


@pytest.mark.asyncio
async def test_what_a_newer_process_counts_is_passed_over(shop: OpenShop):
    async with shop('@budget_calls("5/hour")') as (client, site, _):
        newer = "INSERT INTO budgets.spent VALUES ('ada', 'joules', 60, now(), 7), ('ada', 'calls', 604800, now(), 7)"
        await site.fetch(newer, role=ADMIN)
        served = await query(client, "select 1")
        await settled(site)
        who = text_of(await client.call_tool("whoami", {}))
    assert served.startswith("<data-")
    assert "\nbudget: 5 calls an hour, 4 left, " in who, who


@pytest.mark.asyncio
async def test_a_budget_of_reading_counts_the_statements_that_read_and_is_shown_with_its_tables(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    policy = """
@id("all") permit (principal in Role::"reader", action, resource) unless { resource == Table::"shop.public.orders" };
@id("orders") @budget_calls("1/day")
permit (principal in Role::"reader", action == Action::"read", resource == Table::"shop.public.orders");
@id("sees") permit (principal in Role::"reader", action == Action::"see", resource);
"""
    site = await make_site({"shop": postgres_server.dsn(database=await make_database(SHOP))}, policy=policy)
    async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
        who = text_of(await client.call_tool("whoami", {}))
        others = [await query(client, "select 1") for _ in range(3)]
        reads = [await query(client, "select id from orders limit 1") for _ in range(2)]
    assert "budget: 1 call a day, 1 left, anew in 86400 s (reading public.orders)\n" in who
    assert all(reply.startswith("<data-") for reply in (*others, reads[0]))
    assert reads[1].startswith("over_budget: rule `orders`: 1 call a day is used; 24 h until the next\n")


@pytest.mark.asyncio
async def test_rows_are_cut_to_what_is_left_page_by_page(shop: OpenShop):
    async with shop('@budget_rows("25/hour")', limits={"rows": 10}) as (client, site, _):
        pages = [await query(client, "select id from orders order by id")]
        for _ in range(3):
            cursor = re.search(r'cursor="([^"]+)"', pages[-1])
            if cursor is not None:
                pages.append(text_of(await client.call_tool("query", {"cursor": cursor[1]})))
        used = await settled(site)
    assert [re.search(r"\n(\d+) rows; TRUNCATED", page)[1] for page in pages[:3]] == ["10", "10", "5"]  # type: ignore[index]  # or fail
    assert pages[3].startswith("over_budget: rule `counted`: 25 rows an hour are used;")
    assert re.search(r"hint: wait \d+ min, and aggregate then: `count\(\*\)` is one row;", pages[3])
    assert used == {("rows", 3_600): 25}


@pytest.mark.asyncio
async def test_a_file_is_cut_to_what_is_left_and_what_it_holds_is_counted(shop: OpenShop):
    async with shop('@budget_rows("30/hour") @budget_bytes("1MB/day")') as (client, site, _):
        text = text_of(await client.call_tool("export", {"sql": "select id from orders", "name": "all", "format": "csv"}))
        used = await settled(site)
        refused = await query(client, "select 1")
    size = re.search(r"\n30 rows, (\d+) bytes, .*TRUNCATED", text)
    assert size is not None, text
    assert used == {("rows", 3_600): 30, ("bytes", 86_400): int(size[1])}
    assert refused.startswith("over_budget: rule `counted`: 30 rows an hour are used;")


@pytest.mark.asyncio
async def test_replies_count_by_their_bytes_and_never_exceed_what_is_left(shop: OpenShop):
    async with shop('@budget_bytes("3000/hour")') as (client, site, _):
        replies = []
        while not (reply := await query(client, "select repeat('x', 1000) from orders")).startswith("over_budget"):
            replies.append(reply)
            assert len(replies) <= 3, reply
        used = await settled(site)
    assert used == {("bytes", 3_600): sum(len(reply.encode()) for reply in replies)}
    assert 2_000 < used["bytes", 3_600] <= 3_000


@pytest.mark.asyncio
async def test_a_statement_may_run_no_longer_than_is_left_and_its_time_counts_when_it_fails(shop: OpenShop):
    async with shop('@budget_seconds("1/hour")') as (client, site, _):
        failed = await query(client, "select 1 / 0")
        stopped = await query(client, LONG)
        used = await settled(site)
        refused = await query(client, "select 1")
    assert failed.startswith("database_error:")
    assert stopped.startswith("timeout:")
    assert used["seconds", 3_600] >= 0.9
    assert refused.startswith("over_budget: rule `counted`: 1 second an hour is used;")


@pytest.mark.asyncio
async def test_a_cancelled_call_gives_back_what_it_did_not_use(shop: OpenShop):
    async with shop('@budget_calls("9/hour") @budget_rows("200/hour")') as (client, site, house):

        async def runs() -> bool:
            return (await spent(site)).get(("rows", 3_600), (0, 0))[1] == 1

        async with client_of(house) as other:
            asking = asyncio.create_task(query(other, LONG))
            await until(runs)
            meanwhile = await query(client, "select 1")
            asking.cancel()
            await asyncio.wait({asking})
            used = await settled(site)
        afterwards = await query(client, "select 1")
    assert meanwhile.startswith("over_budget: rule `counted`: 200 rows an hour are used or held by calls that run;")
    assert "hint: wait until your other calls have ended" in meanwhile
    assert used == {("calls", 3_600): 1, ("rows", 3_600): 0}
    assert afterwards.startswith("<data-")


@pytest.mark.asyncio
async def test_a_call_that_is_cancelled_while_it_asks_for_its_budget_holds_nothing_afterwards(
    shop: OpenShop, postgres_server: PostgresServer
):
    async with shop('@budget_calls("9/hour") @budget_seconds("40/hour")') as (client, site, house):
        await query(client, "select 1")
        await settled(site)
        waits = "SELECT FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'"

        async def waiting() -> bool:
            return bool(await site.fetch(waits, site.control, role=ADMIN))

        locking = await asyncpg.connect(postgres_server.dsn(database=site.control))
        try:
            async with locking.transaction():
                await locking.execute("SELECT FROM budgets.spent FOR UPDATE")
                async with client_of(house) as other:
                    asking = asyncio.create_task(query(other, "select 2"))
                    await until(waiting)
                    asking.cancel()
                    await asyncio.wait({asking})
        finally:
            await locking.close()

        async def counted() -> bool:
            return (await spent(site))["calls", 3_600] == (2, 0)

        await until(counted)
        used = await settled(site)
    assert used["seconds", 3_600] < 40


@pytest.mark.asyncio
async def test_a_call_without_a_budget_asks_nobody(shop: OpenShop, postgres_server: PostgresServer):
    async with shop('@budget_calls("1/hour")') as (client, site, _):
        await client.call_tool("describe", {"names": ["orders"]})
        await client.list_resources()
        sessions = "SELECT FROM pg_stat_activity WHERE datname = $1 AND application_name = 'ostiary budgets'"
        before = await site.fetch(sessions, site.control, role=ADMIN)
        await query(client, "select 1")
        after = await site.fetch(sessions, site.control, role=ADMIN)
    assert (len(before), len(after)) == (0, 1)


@pytest.mark.asyncio
async def test_a_budget_that_cannot_be_counted_refuses_the_call(shop: OpenShop):
    async with shop('@budget_calls("9/hour")') as (client, site, _):
        await site.fetch("REVOKE USAGE ON SCHEMA budgets FROM ostiary_writer", role=ADMIN)
        refused = await query(client, "select 1")
        who = text_of(await client.call_tool("whoami", {}))
        told = [(record["decision"], record["reason"]) for record in await site.records() if record.get("tool") == "query"]
    assert refused.startswith("unavailable: budgets cannot be counted now, so nothing was run\n")
    assert "budgets: budgets cannot be counted now" in who
    assert told == [("refused", "budgets cannot be counted now, so nothing was run")]


MASKED_SHOP = """
CREATE TABLE people (id integer PRIMARY KEY, email text, phone text, born text, city text);
CREATE TABLE "odd.ones" (id integer PRIMARY KEY, email text);
INSERT INTO people SELECT n, 'p' || n || '@example.org', '555-' || n, '1990', 'Ulm' FROM generate_series(1, 5) n;
"""
MASKED_POLICY = """
@id("all") permit (principal in Role::"reader", action in [Action::"call", Action::"see"], resource);
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.name != "id" };
@id("few") @mask("redact") {budgets} permit (principal in Role::"reader", action == Action::"read_masked", resource is Column);
"""


@pytest.fixture
def masked_shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(budgets: str) -> AsyncIterator[tuple[Client, Site, House]]:
        dsn = postgres_server.dsn(database=await make_database(MASKED_SHOP))
        site = await make_site({"shop": dsn}, policy=MASKED_POLICY.replace("{budgets}", budgets))
        async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
            yield client, site, house

    return opened


@pytest.mark.asyncio
async def test_the_same_masked_column_again_is_free_and_others_are_refused_when_too_few_are_left(masked_shop: OpenShop):
    async with masked_shop('@budget_masked_columns("3/hour")') as (client, site, house):
        served = [
            await query(client, sql) for sql in ("select email, phone from people", "select phone from people where email > ''")
        ]
        refused = await query(client, "select phone, born, city from people")
        third = await query(client, "select id from people where city = 'x'")
        fourth = await query(client, 'select email from "odd.ones"')
        free = [
            await query(client, sql) for sql in ("select id from people", "select count(*), max(email) from people", "select 1")
        ]
        who = text_of(await client.call_tool("whoami", {}))
        told = [(record["rules"], record["reason"]) for record in await site.records() if record.get("decision") == "deny"]
        metered = dict(house.meter.budget_used), dict(house.meter.budget_refusals)
        await turn(site, 3_600)
        anew = await query(client, "select email, born, city from people")
        kept = await site.fetch("SELECT item FROM budgets.touched ORDER BY item", role=ADMIN)
    assert all(reply.startswith("<data-") for reply in (*served, third, *free, anew)), (served, third, free, anew)
    assert re.match(
        r"over_budget: rule `few`: of 3 masked columns an hour 1 is left, and this call reads 2 others; (60|59) min "
        r"until the next\n"
        r"rule: few\n"
        r"hint: leave out masked columns that you have not read in that time "
        r"\(`public.people.born`, `public.people.city`\), or wait \d+ min$",
        refused,
    ), refused
    assert fourth.startswith("over_budget: rule `few`: 3 masked columns an hour are used; ")
    assert '(`public."odd.ones".email`)' in fourth
    left = r"\nbudget: 3 masked columns an hour, 0 left, anew in 3[56]\d\d s \(reading public.odd.ones, reading public.people\)\n"
    assert re.search(left, who), who
    assert told == [
        (["few"], "rule `few`: of 3 masked columns an hour 1 is left, and this call reads 2 others"),
        (["few"], "rule `few`: 3 masked columns an hour are used"),
    ]
    assert metered == ({"masked_columns": 3}, {("masked_columns", "hour"): 2})
    assert [row["item"] for row in kept] == [f"shop.public.people.{name}" for name in ("born", "city", "email")]


@pytest.mark.asyncio
async def test_a_call_that_a_whole_budget_is_too_little_for_is_not_told_to_wait(masked_shop: OpenShop):
    async with masked_shop('@budget_masked_columns("2/hour") @budget_calls("1/day")') as (client, site, _):
        too_many = await client.call_tool("query", {"sql": "select phone, born, city from people"})
        served = await query(client, "select phone, born from people")
        again = text_of(await client.call_tool("query", {"sql": "select phone, born, city from people"}))
        told = [record["reason"] for record in await site.records() if record.get("decision") == "deny"]
    never = "rule `few`: 2 masked columns an hour never suffice for this call, which needs 3"
    hint = "leave out masked columns until it reads 2 of `public.people.born`, `public.people.city`, `public.people.phone`"
    assert text_of(too_many) == f"over_budget: {never}\nrule: few\nhint: {hint}"
    assert "ostiary/retry-after" not in (too_many.meta or {})
    assert served.startswith("<data-"), served
    assert again.startswith("over_budget: rule `few`: 1 call a day is used; 24 h until the next; " + never), again
    assert "wait" not in again
    assert told[0] == never


@pytest.mark.asyncio
async def test_a_call_of_more_statements_than_a_budget_has_rows_is_not_told_to_wait(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    """What a question needs of a schema is read from several tables at once."""
    policy = '@id("all") @budget_rows("1/hour") permit (principal in Role::"reader", action, resource);'
    tables = "CREATE TABLE orders (state text); CREATE TABLE order_items (state text);"
    site = await make_site({"shop": postgres_server.dsn(database=await make_database(tables))}, policy=policy)
    async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
        reply = await client.call_tool("search_schema", {"query": "state of orders and order items", "detail": "sql"})
    never = "over_budget: rule `all`: 1 row an hour never suffices for this call, which needs 2"
    assert text_of(reply) == f"{never}\nrule: all\nhint: ask for less in one call"
    assert "ostiary/retry-after" not in (reply.meta or {})


@pytest.mark.asyncio
async def test_columns_are_counted_in_each_window_and_of_all_budgets_or_none(masked_shop: OpenShop):
    async with masked_shop('@budget_masked_columns("2/minute, 3/day") @budget_calls("4/day")') as (client, site, _):
        replies = [await query(client, "select email, phone from people")]
        await turn(site, 60)
        replies += [await query(client, f"select {names} from people") for names in ("email, born", "born, city", "city")]
        used = await settled(site)
        kept = await site.fetch(
            "SELECT window_s, array_agg(item ORDER BY item) FROM budgets.touched GROUP BY 1 ORDER BY 1", role=ADMIN
        )
        for _ in range(2):
            await query(client, "select email from people")
        over_calls = await query(client, "select email from people")
    assert [reply.startswith("<data-") for reply in replies] == [True, True, False, False], replies
    assert "3 masked columns a day are used" in replies[2]
    assert used == {("masked_columns", 60): 2, ("masked_columns", 86_400): 3, ("calls", 86_400): 2}
    assert [(window, [one.rpartition(".")[2] for one in items]) for window, items in kept] == [
        (60, ["born", "email"]),
        (86_400, ["born", "email", "phone"]),
    ]
    assert over_calls.startswith("over_budget: rule `few`: 4 calls a day are used; ")


@pytest.mark.asyncio
async def test_columns_touched_at_once_by_many_processes_are_never_more_than_the_budget(
    control_database: Callable[[], Awaitable[str]], postgres_server: PostgresServer
):
    control = await control_database()
    reserve = "SELECT granted, fresh FROM budgets.reserve('ada', $1, '{masked_columns}', '{60}', '{10}', '{0}', '{0}', $2)"

    async def reserved(number: int) -> tuple[float | None, list[str]]:
        connection = await asyncpg.connect(postgres_server.dsn("ostiary_writer", control))
        try:
            return tuple(await connection.fetchrow(reserve, f"{number:032}", [f"c{number // 2}", f"c{number // 2 + 1}", "c0"]))
        finally:
            await connection.close()

    answers = await asyncio.gather(*(reserved(number) for number in range(30)))
    again = [await reserved(number) for number in range(30)]
    touched = await asyncpg.connect(postgres_server.dsn(database=control))
    try:
        used, items = tuple(await touched.fetchrow("SELECT used, (SELECT count(*) FROM budgets.touched) FROM budgets.spent"))
    finally:
        await touched.close()
    assert 9 <= used <= 10
    assert used == items == sum(granted for granted, _ in answers + again if granted)
    # What was let through once is let through again, and costs nothing.
    assert all(again[n] == (0, []) for n, (granted, _) in enumerate(answers) if granted is not None)


@pytest.mark.asyncio
async def test_a_budget_that_was_lessened_takes_back_nothing_and_the_rows_go_with_their_window(
    control_database: Callable[[], Awaitable[str]], postgres_server: PostgresServer
):
    control = await control_database()
    admin = await asyncpg.connect(postgres_server.dsn(database=control))
    writer = await asyncpg.connect(postgres_server.dsn("ostiary_writer", control))
    reserve = "SELECT granted, short FROM budgets.reserve('ada', $1, '{masked_columns}', '{60}', $2, '{0}', '{0}', $3)"
    try:
        asked = [
            tuple(await writer.fetchrow(reserve, f"{amount:032}", [amount], columns))
            for amount, columns in ((5, ["a", "b", "b", "c"]), (2, ["a", "c"]), (2, ["a", "d"]), (4, ["d"]))
        ]
        await admin.execute("UPDATE budgets.spent SET began_at = began_at - interval '1 hour'")
        await writer.execute("SELECT budgets.forget()")
        left = await admin.fetchval("SELECT count(*) FROM budgets.touched")
    finally:
        await admin.close()
        await writer.close()
    assert asked == [(3, False), (0, False), (None, True), (1, False)]
    assert left == 0


@pytest.mark.asyncio
async def test_every_surface_is_counted(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    policy = '@id("all") @budget_calls("4/day") permit (principal in Role::"reader", action, resource);'
    site = await make_site({"shop": postgres_server.dsn(database=await make_database(SHOP))}, policy=policy)
    async with open_house(site.config, lambda _: None) as house, client_of(house) as client:
        await client.list_resources()
        await client.read_resource("schema://shop/public/orders")
        await client.get_prompt("explain_slow_query", {"sql": "select 1"})
        await client.call_tool("explain", {"sql": "select 1"})
        refused = text_of(await client.call_tool("whoami", {}))
        with pytest.raises(MCPError, match="over_budget: rule `all`: 4 calls a day are used"):
            await client.read_resource("schema://shop/public/orders")
        with pytest.raises(MCPError, match="over_budget"):
            await client.get_prompt("explain_slow_query", {"sql": "select 1"})
    assert refused.startswith("over_budget: rule `all`: 4 calls a day are used")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_two_processes_share_a_budget_exactly_also_when_one_of_them_is_killed(
    make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer
):
    dsn = postgres_server.dsn(database=await make_database(SHOP))
    site = await make_site({"shop": dsn}, policy=POLICY.replace("{budgets}", '@budget_calls("25/day") @budget_seconds("300/hour")'))
    given = ("--config", str(site.config.home.data.parent / "ostiary.toml"))
    reader = {"OSTIARY_AGENT__ROLE": "reader", "OSTIARY_AGENT__ROLES": "reader"}
    async with (
        serving(site.config, *given, **reader) as (one, first),
        serving(site.config, *given, **reader) as (two, _),
        agent(one) as lost,
        agent(two) as stays,
    ):
        dying = asyncio.create_task(lost.query(LONG))

        async def holds() -> bool:
            return (await spent(site)).get(("seconds", 3_600), (0, 0))[1] == 1

        await until(holds)
        async with AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(agent((one, two)[n % 2])) for n in range(8)]
            replies = await asyncio.gather(*(agents[n % 8].query(f"select {n}") for n in range(40)))
        told = Counter(
            "over" if "over_budget" in reply.text else "data" if "data-" in reply.text else reply.text for reply in replies
        )
        first.kill()
        await first.wait()
        await asyncio.wait({dying})
        refused = await stays.query("select 1")
        held = await spent(site)
        await turn(site, 86_400)
        again = await stays.query("select 1")
        page = (await stays.http.get("/metrics")).text
    assert re.search(r'^ostiary_budget_refusals_total\{measure="calls",window="day"\} [1-9]', page, re.MULTILINE)
    assert re.search(r'^ostiary_budget_used_total\{measure="seconds"\} 0\.', page, re.MULTILINE)
    assert told == {"data": 24, "over": 16}
    assert "over_budget: rule `counted`: 25 calls a day are used or held by calls that run" in refused.text
    assert list(held["calls", 86_400]) == [24, 1]
    assert "data-" in again.text


@pytest.mark.asyncio
async def test_a_settlement_counts_once_and_a_reservation_asked_for_twice_holds_once(
    control_database: Callable[[], Awaitable[str]], postgres_server: PostgresServer
):
    """A session that broke is replaced and the statement sent again, whether it had been committed or not."""
    connection = await asyncpg.connect(postgres_server.dsn("ostiary_writer", await control_database()))
    call, other = "0" * 32, "1" * 32
    reserve = "SELECT used, held, granted FROM budgets.reserve('ada', $1, '{rows}', '{60}', '{100}', '{70}', '{1}')"
    settle = "SELECT budgets.settle('ada', $1, '{rows}', '{60}', $2)"
    try:
        asked = [tuple(await connection.fetchrow(reserve, one)) for one in (call, call, other, "2" * 32)]
        await connection.execute(settle, call, [50.0])
        await connection.execute(settle, call, [50.0])
        await connection.execute(settle, "3" * 32, [50.0])
        left = tuple(await connection.fetchrow("SELECT used, held FROM budgets.standing('ada')"))
    finally:
        await connection.close()
    assert asked == [(0, 0, 70), (0, 0, 70), (0, 70, 30), (0, 100, None)]
    assert left == (50, 30)


@pytest.mark.asyncio
async def test_reservations_at_once_hold_of_all_their_budgets_or_of_none_and_never_too_much(
    control_database: Callable[[], Awaitable[str]], postgres_server: PostgresServer
):
    """In any order of the budgets, from the first call of an agent on: two that wait for each other would be an error here."""
    control = await control_database()
    reserve = "SELECT measure, granted FROM budgets.reserve('ada', $1, $2, $3, $4, $5, '{1, 1}')"
    forward = (["bytes", "rows"], [60, 60], [1_000, 100], [10, 7])
    backward = tuple(list(reversed(one)) for one in forward)

    async def reserved(number: int) -> dict[str, float | None]:
        connection = await asyncpg.connect(postgres_server.dsn("ostiary_writer", control))
        try:
            rows = await connection.fetch(reserve, f"{number:032}", *(forward, backward)[number % 2])
            return {row["measure"]: row["granted"] for row in rows}
        finally:
            await connection.close()

    granted = await asyncio.gather(*(reserved(number) for number in range(30)))
    assert Counter((one["rows"], one["bytes"]) for one in granted) == {(7, 10): 14, (2, 10): 1, (None, None): 15}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM budgets.spent",
        "UPDATE budgets.spent SET used = 0",
        "DELETE FROM budgets.spent",
        "INSERT INTO budgets.spent VALUES ('ada', 'calls', 60, now())",
        "SELECT budgets.take_hold('ada', '{calls}', '{60}')",
        "SELECT * FROM budgets.touched",
        "DELETE FROM budgets.touched",
        "SELECT budgets.turn('ada', '{calls}', '{60}', now())",
        "SELECT budgets.fresh('ada', 'masked_columns', 60, '{a}')",
        "SET ROLE ostiary_budgets",
    ],
)
async def test_the_service_touches_no_row_by_itself_and_the_reader_of_the_log_nothing(
    control_database: Callable[[], Awaitable[str]], postgres_server: PostgresServer, statement: str
):
    control = await control_database()
    for role in ("ostiary_writer", "ostiary_reader"):
        connection = await asyncpg.connect(postgres_server.dsn(role, control))
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        finally:
            await connection.close()


@pytest.mark.asyncio
async def test_what_nobody_uses_is_forgotten(control_database: Callable[[], Awaitable[str]], postgres_server: PostgresServer):
    control = await control_database()
    admin = await asyncpg.connect(postgres_server.dsn(database=control))
    writer = await asyncpg.connect(postgres_server.dsn("ostiary_writer", control))
    try:
        await admin.execute(
            "INSERT INTO budgets.spent SELECT n, 'calls', 60, now() - make_interval(secs => n) FROM generate_series(1, 200) n"
        )
        await writer.execute("SELECT budgets.forget()")
        kept = await admin.fetchval("SELECT count(*) FROM budgets.spent")
    finally:
        await admin.close()
        await writer.close()
    assert kept in (119, 120)
