"""Terms of cost and the `explain` tool, through a real client on a real server."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import HIDES, MakeSite, Site
from mcp import Client, MCPError

from ostiary.app import open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

SHOP = """
CREATE TABLE wages (id integer);
CREATE TABLE customers (id integer PRIMARY KEY, name text, city text, rating integer);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer REFERENCES customers, status text, total numeric, placed_at date);
CREATE TABLE vault (id integer PRIMARY KEY, token text);
CREATE TABLE events (id integer, at date, kind integer) PARTITION BY RANGE (at);
CREATE TABLE events_open PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE events_shut PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO customers SELECT n, 'c' || n, 'city' || n % 40, n FROM generate_series(1, 2000) n;
INSERT INTO orders SELECT n, 1 + n % 2000, (ARRAY['open', 'paid', 'sent'])[1 + n % 3], n, '2026-01-01'::date + n % 300
    FROM generate_series(1, 40000) n;
INSERT INTO vault SELECT n, 't' || n FROM generate_series(1, 30000) n;
INSERT INTO events SELECT n, '2026-01-01'::date + n % 50, n FROM generate_series(1, 30000) n;
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE VIEW tokens AS SELECT id FROM vault WHERE token LIKE 't1%';
ANALYZE;
"""
ROLES = """
@id("plain") permit (principal in Role::"plain", action, resource);
@id("calls") permit (principal in Role::"thrifty", action in [Action::"see", Action::"read", Action::"execute"], resource);
@id("cheap") @max_cost("2000") permit (principal in Role::"thrifty", action == Action::"call", resource);
@id("lean-looks") permit (principal in Role::"lean", action in [Action::"see", Action::"read", Action::"execute"], resource);
@id("lean") @max_rows_scanned("10000") permit (principal in Role::"lean", action == Action::"call", resource);
@id("rich") @max_cost("1e9") @max_rows_scanned("1000000000") permit (principal in Role::"rich", action, resource);
@id("reads") permit (principal in Role::"reads-dear", action in [Action::"see", Action::"call"], resource);
@id("dear-table") @max_rows_scanned("100") permit (principal in Role::"reads-dear", action == Action::"read", resource);
@id("explains-only") permit (principal in Role::"reads-dear", action == Action::"read_audit", resource);
@id("shut") forbid (principal, action in [Action::"see", Action::"read"], resource)
when { resource in Table::"shop.public.events_shut" };
@id("no-wages") forbid (principal in Role::"thrifty", action == Action::"read", resource == Table::"shop.public.wages");
"""
TAGGED = {"public.vault": ["hidden"], "public.customers.rating": ["hidden"]}
CROSS = "select count(*) from orders a, orders b, orders c"

OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(role: str) -> AsyncIterator[tuple[Client, Site]]:
        dsn = postgres_server.dsn(database=await make_database(SHOP))
        site = await make_site({"shop": dsn}, policy=ROLES + HIDES, tags=("hidden",), tagged=TAGGED)
        async with open_house(site.config, lambda _: None) as house:
            app = McpApp(house.gate, lambda _: Principal("ada", (role,)))
            async with Client(app.server) as client:
                yield client, site

    return opened


async def query(client: Client, sql: str, *params: Any) -> str:
    return text_of(await client.call_tool("query", {"sql": sql, "params": list(params)}))


async def explain(client: Client, sql: str, *params: Any) -> str:
    return text_of(await client.call_tool("explain", {"sql": sql, "params": list(params)}))


async def records(site: Site) -> list[dict[str, Any]]:
    """Of calls: intents, refusals and outcomes, each call's together."""
    found = [record for record in await site.records() if record["kind"] in "ido"]
    calls = list(dict.fromkeys(record["call"] for record in found))
    return sorted(found, key=lambda record: (calls.index(record["call"]), record["kind"] == "o"))


@pytest.mark.asyncio
async def test_a_dear_statement_is_refused_with_its_dear_part_its_rule_and_the_way_out(shop: OpenShop):
    async with shop("thrifty") as (client, site):
        told = await query(client, CROSS)
        cheap = await query(client, "select total from orders where id = 7")
    assert told.startswith("max_cost: the statement is not run: it is estimated to cost ")
    assert "above the 2,000 allowed; the dear part is a nested loop, about " in told
    assert "because no condition joins them" in told
    assert "\nrule: cheap\nhint: join on key columns" in told
    assert "\n7\n" in cheap
    intent, refused, *_ = await records(site)
    assert (intent["decision"], intent["obligations"]) == ("permit", {"max_cost": 2000})
    assert (refused["status"], refused["error"]) == ("error", "max_cost")


@pytest.mark.asyncio
async def test_a_scan_is_refused_by_its_rows_and_the_refusal_says_which_index_is_missing(shop: OpenShop):
    async with shop("lean") as (client, site):
        told = await query(client, "select count(*) from orders where status = $1", "open")
        served = await query(client, "select count(*) from orders where customer_id = $1", 9)
    assert "max_rows_scanned: the statement is not run: it is estimated to scan 40,000 rows, above the 10,000 allowed" in told
    assert "the dear part is a sequential scan of `orders`, about 40,000 rows, because no index serves `status`" in told
    assert "rule: lean\nhint: filter `orders` on an indexed column: `id`, `customer_id`" in told
    assert "\n20\n" in served
    assert [record.get("error", "") for record in await records(site) if record["kind"] == "o"] == ["max_rows_scanned", ""]


@pytest.mark.asyncio
async def test_what_one_term_refuses_a_higher_one_lets_run(shop: OpenShop):
    for role, code in (("lean", "max_rows_scanned:"), ("rich", "<data-"), ("plain", "<data-")):
        async with shop(role) as (client, _):
            assert (await query(client, "select count(*) from orders where status = 'open'")).startswith(code)


@pytest.mark.asyncio
async def test_the_values_of_parameters_are_estimated_and_not_a_guess(shop: OpenShop):
    async with shop("lean") as (client, _):
        few = await query(client, "select sum(total) from orders where id between $1 and $2", 1, 50)
        many = await query(client, "select sum(total) from orders where id between $1 and $2", 1, 39000)
        series = await query(client, "select count(*) from generate_series(1, $1::int)", 5000)
        long_series = await query(client, "select count(*) from generate_series(1, $1::int)", 2_000_000_000)
    assert "\n1275\n" in few
    assert many.startswith("max_rows_scanned:")
    assert "\n5000\n" in series
    assert "the dear part is rows of a function `generate_series()`, about 2,000,000,000 rows" in long_series


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql",
    [
        "select 1 from orders a, orders b where a.total + b.total = -1 limit 1",
        "select id from orders where total = -1 order by id limit 1",
        "select id, exists (select from orders b where b.total + c.id = -1) from customers c",
        "select id from (select id from orders order by total limit 5) s",
        "select max(id) from orders where total < 0",
        "select id from orders limit 1 offset 30000",
        "select e.id from events e where kind = -1 limit 1",
        "with recursive r as (select 1 as id union select o.id from r join orders o on o.total > r.id) select * from r",
        "select 'hashed SubPlan 1', (select count(*) from orders b where b.total > c.id) from customers c",
    ],
)
async def test_neither_a_limit_nor_a_subselect_hides_a_runaway(shop: OpenShop, sql: str):
    """Each is cheap by the planner's total or by the rows it gives, and may touch far more."""
    async with shop("lean") as (client, _):
        assert (await query(client, sql)).startswith("max_rows_scanned:")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "sql",
    [
        "select * from orders",
        "select id from orders order by id desc limit 50",
        "select o.id, c.name from (select * from orders order by id desc limit 50) o join customers c on c.id = o.customer_id",
        "select o.id, c.name from orders o left join customers c on c.id = o.customer_id order by o.id desc limit 50",
        "select count(*) from orders where customer_id in (1, 2, 3)",
        "select max(id), min(id) from orders",
        "explain select count(*) from orders a, orders b",
    ],
)
async def test_a_limit_that_is_certain_to_stop_the_scan_counts(shop: OpenShop, sql: str):
    async with shop("lean") as (client, _):
        assert (await query(client, sql)).startswith("<data-")


@pytest.mark.asyncio
async def test_a_refusal_over_a_view_names_nothing_behind_it_and_no_number(shop: OpenShop):
    async with shop("lean") as (client, _):
        told = await query(client, "select count(*) from tokens")
    assert told.startswith(
        "max_rows_scanned: the statement is not run: it is estimated to scan more rows than the 10,000 allowed; "
        "the dear part is an inner part of the plan\nrule: lean\nhint: "
    )
    assert "vault" not in told


@pytest.mark.asyncio
async def test_a_term_on_a_permit_to_read_holds_for_whatever_reads(shop: OpenShop):
    async with shop("reads-dear") as (client, _):
        refused = await query(client, "select count(*) from customers")
        free = await query(client, "select count(*) from generate_series(1, 500)")
        samples = text_of(await client.call_tool("describe", {"tables": ["customers"], "samples": True}))
    assert "\nrule: dear-table\n" in refused
    assert "\n500\n" in free
    assert "e.g. c1" in samples


@pytest.mark.asyncio
async def test_an_export_keeps_the_terms_of_cost_too(shop: OpenShop):
    async with shop("lean") as (client, site):
        dear = text_of(await client.call_tool("export", {"sql": "select * from orders where status = 'open'", "name": "dear"}))
        cheap = text_of(await client.call_tool("export", {"sql": "select id from orders where customer_id = 7", "name": "cheap"}))
    assert dear.startswith("max_rows_scanned: ")
    assert "20 rows" in cheap
    assert [record.get("error", "") for record in await records(site) if record["kind"] == "o"] == ["max_rows_scanned", ""]


@pytest.mark.asyncio
async def test_a_plan_is_told_in_words_with_cost_terms_and_the_missing_index(shop: OpenShop):
    async with shop("lean") as (client, site):
        told = await explain(
            client, "select id, total from orders where status = $1 and total < 50 order by placed_at limit 3", "open"
        )
    lines = told.splitlines()[1:-1]
    assert lines[0].startswith("cost ")
    assert lines[0].endswith("rows scanned 40,000")
    assert lines[1].startswith("no LIMIT counts here")
    assert [line.split("(")[0].rstrip() for line in lines[3:6]] == [
        "stop when there are enough rows",
        "  sort by orders.placed_at",
        "    sequential scan of `orders` where",
    ]
    assert "`query` would refuse it: above the `max_rows_scanned` of 10,000" in lines
    # How many exactly is for the statistics, which are a sample.
    assert re.search(
        r"^CREATE INDEX ON public\.orders \(status, total\); -- its filter keeps about \d+ of 40,000 rows$", told, re.MULTILINE
    )
    intent, outcome = await records(site)
    assert (intent["tool"], intent["decision"], outcome["status"]) == ("explain", "permit", "ok")
    assert "open" not in str(intent)


@pytest.mark.asyncio
async def test_what_policy_refuses_is_answered_with_the_rule_and_never_planned(shop: OpenShop):
    async with shop("thrifty") as (client, site):
        told = await explain(client, "select id from wages")
        hidden = await explain(client, "select token from vault")
        unknown = await explain(client, "select token from nothing")
    assert told.startswith("denied: you may not read table `public.wages`\nrule: no-wages\nhint: ")
    assert hidden.replace("vault", "nothing") == unknown
    assert [record["decision"] for record in await records(site)] == ["deny", "refused", "refused"]


@pytest.mark.asyncio
async def test_nothing_behind_a_view_or_in_a_hidden_partition_is_told(shop: OpenShop):
    async with shop("plain") as (client, _):
        view = await explain(client, "select o.id from tokens t join orders o on o.id = t.id where o.total < 9")
        parts = await explain(client, "select id from events where kind = 5")
        rated = await explain(client, "select id from customers where name = 'c7'")
    assert "cost and rows scanned are not told" in view
    assert "an inner part" in view
    assert "`orders`" in view
    assert "vault" not in view
    assert "reads `tokens`" in view
    assert "(rows" not in view, "which steps there are, and their rows, follow from the hidden table"
    assert "`events_open`" in parts
    assert "shut" not in parts
    assert "an inner part" in parts
    assert "customers.name = 'c7'" in rated
    assert "(rows" not in rated, "what a scan costs tells how wide a hidden column is"


@pytest.mark.asyncio
async def test_explaining_runs_nothing(shop: OpenShop):
    """Of a statement that would run for days the plan is there at once, and no function with effects is called."""
    async with shop("plain") as (client, _):
        told = await explain(client, CROSS)
        nested = await explain(client, "explain analyze select 1")
        written = await explain(client, "delete from orders")
        count = await query(client, "select count(*) from orders")
    assert "nested loop" in told
    assert "`query` would run it" in told
    assert nested.startswith("refused: ")
    assert written.startswith("refused: ")
    assert "\n40000\n" in count


@pytest.mark.asyncio
async def test_whoami_tells_the_terms_of_queries(shop: OpenShop):
    async with shop("rich") as (client, _):
        told = text_of(await client.call_tool("whoami", {}))
    assert "terms of query: a cost of 1,000,000,000, 1,000,000,000 rows scanned" in told


@pytest.mark.asyncio
async def test_the_shipped_roles_that_query_may_explain_and_no_other(ostiary_config: Any, agent: Callable[..., Awaitable[Client]]):
    for role in ("analyst", "engineer", "operator"):
        told = await explain(await agent(role), "select count(*) from orders where status = 'paid'")
        assert "scan of `orders`" in told, role
        assert "`query` would run it" in told, role
    for role in ("observer", "auditor"):
        with pytest.raises(MCPError, match="Unknown tool"):
            await (await agent(role)).call_tool("explain", {"sql": "select 1"})
