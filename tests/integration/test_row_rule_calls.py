"""Row rules in force: what a server makes of them, from the policy file to an agent's answer."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fix_http import ostiary
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site
from fix_waiting import until

from ostiary.app import open_house
from ostiary.call import Call
from ostiary.errors import CallFailed
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Principal
from ostiary_tools.view import RowTerms

SCHEMA = """
CREATE TABLE orders (id int NOT NULL, region text NOT NULL);
INSERT INTO orders VALUES (1, 'EU'), (2, 'US');
CREATE TABLE notes (id int NOT NULL);
"""
EU = """
@id("eu-orders") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::orders)
when { resource.region == "EU" };
"""
OTHERS_NOTES = """
@id("notes") permit (principal in Role::"other", action == Action::"read_row", resource is shop::public::notes);
"""
MISFIT = EU.replace("resource.region", "resource.regin").replace("eu-orders", "misfit")
RETYPED = "ALTER TABLE orders ALTER COLUMN region TYPE json USING to_json(region)"
READER = Principal("ada", ("reader",))
Shop = Callable[..., Awaitable[Site]]


@pytest.fixture
def make_shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> Shop:
    async def make(policy: str, schema: str = SCHEMA, **wishes: Any) -> Site:
        dsn = postgres_server.dsn(database=await make_database(schema))
        return await make_site({"shop": dsn}, policy=READS_ALL + policy, **wishes)

    return make


@pytest.mark.asyncio
async def test_each_callers_view_says_which_rows_it_has(make_shop: Shop):
    async with open_house((await make_shop(EU)).config, lambda _: None) as house:
        worlds = [await house.worlds.world(house.policies.engine, who) for who in (READER, Principal("eve", ("reader", "x")))]
        for world in worlds:
            (found,) = world.views["shop"].rows.items()
            assert found[0] == ("public", "orders")
            assert found[1].rules == ("eu-orders",)
            assert found[1].predicate == "region OPERATOR(pg_catalog.=) CAST('EU' AS pg_catalog.text)"


@pytest.mark.asyncio
async def test_a_table_whose_rules_do_not_fit_is_closed_to_everybody_and_the_log_says_why(
    make_shop: Shop, caplog: pytest.LogCaptureFixture
):
    async with open_house((await make_shop(EU + MISFIT)).config, lambda _: None) as house:
        for who in (READER, Principal("bob", ("reader",)), READER):
            world = await house.worlds.world(house.policies.engine, who)
            refusal = "the row rules of `orders` do not fit the table as it is now"
            assert world.views["shop"].rows == {("public", "orders"): RowTerms("FALSE", ("eu-orders", "misfit"), refusal)}
        (misfit,) = house.worlds.misfits(house.policies.engine)
        assert misfit.startswith("own.cedar:")
    told = [record.getMessage() for record in caplog.records if "closed to everybody" in record.getMessage()]
    assert len(told) == 1
    assert "own.cedar:" in told[0]
    assert "policy `misfit`" in told[0]


@pytest.mark.asyncio
async def test_a_schema_that_changes_under_a_rule_closes_the_table_and_a_rule_without_a_table_is_told(
    make_shop: Shop, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
):
    site = await make_shop(EU)
    async with open_house(site.config, lambda _: None) as house:
        database = site.config.datasources["shop"].dsn.get_secret_value()
        source = house.datasources["shop"]

        async def refusal() -> str:
            world = await house.worlds.world(house.policies.engine, READER)
            return world.views["shop"].rows["public", "orders"].refusal

        assert await refusal() == ""
        postgres_server.sql(RETYPED, re.split(r"[/?]", database)[3])
        await source.refresh()
        assert await refusal() == "the row rules of `orders` do not fit the table as it is now"
        postgres_server.sql("ALTER TABLE orders RENAME TO old_orders", re.split(r"[/?]", database)[3])
        await source.refresh()
        assert (await house.worlds.world(house.policies.engine, READER)).views["shop"].rows == {}
    assert "row rules govern nothing: own.cedar:" in caplog.text


def values(text: str) -> list[str]:
    """Lines of the answer that hold rows."""
    return text.partition("\n</data-")[0].splitlines()[2:]


def own(site: Site) -> Path:
    return site.folder / "policies" / "own.cedar"


async def command(site: Site, *arguments: str, expected: int = 0) -> Any:
    given = ("policy", *arguments, "--config", str(site.folder / "ostiary.toml"), "--json")
    return json.loads(await ostiary(site.config, *given, expected=expected))


@pytest.mark.asyncio
async def test_check_holds_row_rules_against_the_live_tables_when_asked(make_shop: Shop):
    site = await make_shop(EU)
    told = await command(site, "check", "--live")
    assert "eu-orders" in told["policies"]
    assert told["row_rules"] == {"governed": ["shop::public::orders"], "live": True, "closed": []}

    own(site).write_text(READS_ALL + MISFIT + EU.replace("shop::public::orders", "shop::public::order"))
    assert (await command(site, "check"))["valid"]
    refused = await command(site, "check", "--live", expected=2)
    found = {(p["file"], p["policy"], p["line"]): p["message"] for p in refused["problems"]}
    lines = READS_ALL.count("\n")
    assert found == {
        ("own.cedar", "misfit", lines + 2): "attribute `regin` on entity type `shop::public::orders` not found",
        ("own.cedar", "eu-orders", lines + 5): "there is no table `shop::public::order`",
    }


@pytest.mark.asyncio
async def test_a_reload_whose_row_rules_do_not_fit_is_refused_until_they_do(make_shop: Shop, postgres_server: PostgresServer):
    site = await make_shop(EU)
    database = re.split(r"[/?]", site.config.datasources["shop"].dsn.get_secret_value())[3]
    async with open_house(site.config, lambda _: None) as house:
        first = house.policies.engine.policy_hash
        own(site).write_text(READS_ALL + EU + MISFIT)

        async def refused() -> bool:
            return "policy `misfit`: attribute `regin`" in house.policies.refused

        await until(refused)
        assert house.policies.engine.policy_hash == first
        postgres_server.sql("ALTER TABLE orders ADD regin text NOT NULL DEFAULT 'EU'", database)
        await house.datasources["shop"].refresh()

        async def taken() -> bool:
            return house.policies.engine.policy_hash != first

        await until(taken)
        assert house.policies.refused == ""
    refusals = [record for record in await site.records() if record.get("event") == "policy_refused"]
    assert len(refusals) == 1
    assert "`misfit`" in refusals[0]["problems"][0]


@pytest.mark.asyncio
async def test_diff_says_whose_rows_other_row_rules_decide(make_shop: Shop):
    site = await make_shop(EU)
    other = site.folder / "other.cedar"
    other.write_text(READS_ALL + EU.replace('"EU"', '"US"'))
    found = await command(site, "diff", str(own(site)), str(other), "--datasource", "shop", expected=1)
    assert [(p["id"], p["change"], p["sentences"]) for p in found["policies"]] == [
        ("eu-orders", "changed", ["its conditions are others"])
    ]
    shifts = {shift["role"]: shift["other_rows"] for shift in found["roles"]}
    assert shifts == {"reader": ["shop.public.orders"]}
    other.write_text(READS_ALL)
    found = await command(site, "diff", str(own(site)), str(other), "--datasource", "shop", expected=1)
    assert {shift["role"] for shift in found["roles"] if shift["other_rows"] == ["shop.public.orders"]} >= {"reader"}


@pytest.mark.asyncio
async def test_an_agent_is_told_that_a_tables_rows_are_filtered_and_by_which_rule(make_shop: Shop, postgres_server: PostgresServer):
    site = await make_shop(EU + OTHERS_NOTES)
    database = re.split(r"[/?]", site.config.datasources["shop"].dsn.get_secret_value())[3]
    postgres_server.sql("ANALYZE", database)
    async with open_house(site.config, lambda _: None) as house:

        async def told(tool: str, **arguments: Any) -> str:
            return (await house.gate.call(READER, Call(tool, arguments))).text

        assert "row rules: shop: public.notes (none permits any), public.orders (eu-orders)\n" in await told("whoami")
        described = await told("describe", tables=["orders", "notes"], samples=True)
        assert "public.orders (table)\nrows: only what `eu-orders` allows\n" in described
        assert "public.notes (table)\nrows: none, no row rule permits any\n" in described
        found = await told("query", sql="select relname, reltuples from pg_class where relname = 'orders'")
        assert "-1" in found


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_table_without_row_rules_is_told_as_before(make_shop: Shop, postgres_server: PostgresServer):
    site = await make_shop(EU)
    database = re.split(r"[/?]", site.config.datasources["shop"].dsn.get_secret_value())[3]
    postgres_server.sql("INSERT INTO notes VALUES (1), (2); ANALYZE", database)
    async with open_house(site.config, lambda _: None) as house:
        text = (await house.gate.call(READER, Call("describe", {"tables": ["notes"]}))).text
    assert "public.notes (table, ~2 rows)\n  id integer" in text


FAMILY = """
CREATE TABLE visits (id int NOT NULL, region text NOT NULL) PARTITION BY LIST (region);
CREATE TABLE visits_eu PARTITION OF visits FOR VALUES IN ('EU');
CREATE TABLE visits_us PARTITION OF visits FOR VALUES IN ('US');
INSERT INTO visits SELECT n, CASE WHEN n % 3 = 0 THEN 'US' ELSE 'EU' END FROM generate_series(1, 9) n;
CREATE VIEW us_visits AS SELECT id FROM visits_us;
CREATE VIEW visit_count AS SELECT count(*) AS visits FROM visits;
"""
OWN_REGION = """
@id("own-visits") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::visits)
when { principal has region && resource.region == principal.region };
@id("no-first") forbid (principal, action == Action::"read_row", resource is shop::public::visits) when { resource.id < 2 };
@id("counted") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::visit_count);
"""
REGION = '[attributes.region]\ntype = "text"\nagents = { ada = "EU", bob = "US" }'
EU_ADA, US_BOB = (
    Principal(name, ("reader",), (attribute("region", AttributeType.TEXT, region),))
    for name, region in (("ada", "EU"), ("bob", "US"))
)
NOWHERE = Principal("eve", ("reader",))
FOUND: list[tuple[str, Principal, list[str]]] = [
    ("select id from visits order by id", EU_ADA, ["2", "4", "5", "7", "8"]),
    ("select id from visits order by id", US_BOB, ["3", "6", "9"]),
    ("select id from visits", NOWHERE, []),
    ("select count(*) from visits", US_BOB, ["3"]),
    ("select id from visits where id = 3 or id = 4", EU_ADA, ["4"]),
    ("select id from visits_us", EU_ADA, []),
    ("select id from visits_us order by id", US_BOB, ["3", "6", "9"]),
    ("select v.id from only visits_us v order by v.id desc limit 1", US_BOB, ["9"]),
    ("select id from only visits", EU_ADA, []),
    ("select count(*) from orders o left join visits v on v.id > 0 and v.region = 'EU'", US_BOB, ["2"]),
    ("select visits from visit_count", EU_ADA, ["9"]),
    (
        "with v as (select * from visits) select count(*) from v, lateral (select 1 from visits w where w.id = v.id) x",
        EU_ADA,
        ["5"],
    ),
]


@pytest.mark.asyncio
async def test_every_scan_gives_each_caller_its_own_rows(make_shop: Shop):
    site = await make_shop(OWN_REGION, schema=SCHEMA + FAMILY, more=REGION)
    async with open_house(site.config, lambda _: None) as house:
        for sql, who, expected in FOUND:
            answer = await house.gate.call(who, Call("query", {"sql": sql}))
            assert values(answer.text) == expected, (sql, who.agent)
        for table in ("us_visits", "(select * from us_visits) x"):
            with pytest.raises(
                CallFailed, match="`us_visits` shows rows of a table that has row rules, and no row rule speaks of `us_visits`"
            ):
                await house.gate.call(US_BOB, Call("query", {"sql": f"select * from {table}"}))


@pytest.mark.slow
@pytest.mark.asyncio
async def test_explain_and_simulate_tell_which_rows_a_call_would_get(make_shop: Shop):
    site = await make_shop(EU, more='[agent]\nrole = "reader"\nroles = ["reader"]\n')
    sql = "select count(*) from orders"
    told = await command(site, "explain", "--sql", sql)
    assert told["sentences"][1:] == [
        "of `shop.public.orders` only the rows where region OPERATOR(pg_catalog.=) CAST('EU' AS pg_catalog.text) (`eu-orders`)"
    ]
    async with open_house(site.config, lambda _: None) as house:
        for asked in (sql, "select count(*) from notes"):
            await house.gate.call(house.local, Call("query", {"sql": asked}))
    rules = [record["rules"] for record in await site.records() if record.get("decision") == "permit"]
    assert [("eu-orders" in of) for of in rules] == [True, False]
    other = site.folder / "other.cedar"
    other.write_text(READS_ALL + EU + EU.replace("eu-orders", "us-too").replace('"EU"', '"US"'))
    found = await command(site, "simulate", str(other), expected=1)
    assert [(one["change"], one["sql"]) for one in found["changes"]] == [
        ("rows", "SELECT pg_catalog.count(*) AS count FROM public.orders")
    ]
    assert found["changes"][0]["after"]["words"][-1].endswith("(`eu-orders`, `us-too`)")
    other.write_text(READS_ALL + MISFIT)
    found = await command(site, "simulate", str(other), expected=1)
    assert [(one["change"], one["after"]["words"]) for one in found["changes"]] == [
        ("loses", ["the row rules of `orders` do not fit the table as it is now"])
    ]


SHARES = """
CREATE TABLE parts (id int NOT NULL, n int NOT NULL, t text NOT NULL);
INSERT INTO parts VALUES (1, 0, 'secret'), (2, 5, '7');
CREATE VIEW shares AS SELECT id, 100 / n AS share, CAST(t AS int) AS number FROM parts;
"""
COSTLY = """
@id("shares") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::shares)
when { resource has id && resource.id * resource.id * resource.id * resource.id + 1 > 2 };
"""


@pytest.mark.asyncio
async def test_no_condition_of_a_statement_has_a_view_compute_values_of_hidden_rows(make_shop: Shop):
    """The rule costs more than the conditions, which the server would ask first where they stand beside it."""
    site = await make_shop(COSTLY, schema=SHARES)
    async with open_house(site.config, lambda _: None) as house:
        for condition in ("share = 20", "number = 7", "share in (20, 21)", "number between 1 and 9", "id = 2 and share = 20"):
            answer = await house.gate.call(
                READER, Call("query", {"sql": f"select id, share, number from shares where {condition}"})
            )
            assert values(answer.text) == ["2,20,7"], condition


@pytest.mark.asyncio
async def test_explain_tells_its_caller_rows_and_terms_by_their_rules_and_the_text_that_is_run_to_who_may_read_the_audit_log(
    make_shop: Shop,
):
    policy = EU + (
        '@id("few") @limit_rows("7") permit (principal in Role::"reader", action == Action::"read", resource is Table);'
        '@id("audits") forbid (principal, action == Action::"read_audit", resource) unless { principal in Role::"watcher" };'
    )
    site = await make_shop(policy)
    async with open_house(site.config, lambda _: None) as house:

        async def told(*roles: str) -> list[str]:
            call = Call("explain", {"sql": "select id from orders"})
            return (await house.gate.call(Principal("ada", roles), call)).text.splitlines()

        plain, watching = await told("reader"), await told("reader", "watcher")
    assert "rows: of public.orders only what the rules allow, by `eu-orders`" in plain
    assert "term: at most 7 rows, by `few`" in plain
    assert not any("'EU'" in line for line in plain), "what a rule compares with is not for everybody"
    (run,) = (line for line in watching if line.startswith("it would run: "))
    assert "WHERE (region OPERATOR(pg_catalog.=) CAST('EU' AS pg_catalog.text)) OFFSET 0" in run
