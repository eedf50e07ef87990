"""What a policy lets run on a replica only: real servers, and the primary's own log of what came to it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from fix_answers import text_of
from fix_postgres import ADMIN, PostgresServer
from fix_replica import ask, replayed, run_on
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.exits import Exit
from ostiary.mcp_app import McpApp
from ostiary.readiness import look, readiness
from ostiary_policies.model import Principal

SHOP = """
CREATE TABLE orders (id integer PRIMARY KEY, note text);
INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(1, 50) n;
CREATE TABLE prices (id integer PRIMARY KEY);
ANALYZE;
"""
POLICY = """
@id("all") permit (principal in Role::"reader", action, resource) unless { resource == Table::"shop.public.orders" };
@id("orders") permit (principal in Role::"reader", action == Action::"see", resource == Table::"shop.public.orders");
@id("apart") @replica("required") {more}
permit (principal in Role::"reader", action == Action::"read", resource == Table::"shop.public.orders");
"""
LONG = "select count(*) from orders o, generate_series(1, 30000) a, generate_series(1, 30000) b where o.id + a + b > 0"
IS_BUSY = (
    "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'ostiary' AND state = 'active' AND query LIKE '%30000%'"
)


@asynccontextmanager
async def opened(
    make_site: MakeSite, primary: PostgresServer, database: str, replica: str | None, more: str = "", **wishes: object
) -> AsyncIterator[tuple[Client, Site, House]]:
    site = await make_site(
        {"shop": primary.dsn(database=database)},
        policy=POLICY.replace("{more}", more),
        replicas={} if replica is None else {"shop": replica},
        **wishes,
    )
    async with open_house(site.config, lambda _: None) as house:
        app = McpApp(house.gate, lambda _: Principal("ada", ("reader",)))
        async with Client(app.server) as client:
            yield client, site, house


@pytest.fixture
def shop(primary: PostgresServer) -> str:
    """A database of the primary; it stays, as the primary does."""
    name = f"shop_{len(list((primary.data / 'base').iterdir()))}"
    primary.sql(f"CREATE DATABASE {name}")
    primary.sql(SHOP, name)
    return name


async def call(client: Client, tool: str, **arguments: object) -> str:
    reply = await client.call_tool(tool, arguments)
    return text_of(reply)


async def query(client: Client, sql: str) -> str:
    return await call(client, "query", sql=sql)


async def ready(house: House) -> tuple[bool, tuple[str, ...]]:
    await look(house.datasources.values())
    pools = ((name, source.state()) for name, source in house.datasources.items())
    found = readiness(house.recorder.state(), pools)
    return found.ready, tuple(problem for problem in found.problems if "datasource" in problem)


def reached(primary: PostgresServer, mark: str) -> bool:
    """Whether a statement with that mark ever came to the primary."""
    return mark in (primary.root / "log").read_text(errors="replace")


@pytest.mark.asyncio
async def test_a_statement_that_needs_a_replica_runs_there_and_never_comes_to_the_primary(
    make_site: MakeSite, primary: PostgresServer, shop: str, replica: PostgresServer
):
    await replayed(primary, replica)
    async with opened(make_site, primary, shop, replica.dsn(database=shop), limits={"rows": 20}) as (client, site, house):
        told = await query(client, "select id, 'mark-one' as mark from orders order by id")
        cursor = re.search(r'cursor="([^"]+)"', told)
        assert cursor is not None, told
        page = await call(client, "query", cursor=cursor[1])
        plan = await call(client, "explain", sql="select id from orders where note = 'mark-two'")
        explained = await query(client, "explain select id from orders where note = 'mark-three'")
        file = await call(client, "export", sql="select id, 'mark-four' as mark from orders", name="all", format="csv")
        join = await query(client, "select count(*), 'mark-five' as mark from prices, orders")
        other = await query(client, "select count(*), 'mark-primary' as mark from prices")
        who = await call(client, "whoami")
        [intended] = [r for r in await site.records() if "mark" in str(r.get("sql")) and r.get("tool") == "export"]
        state = await ready(house)
    for reply in (told, page, explained, join, other):
        assert reply.startswith("<data-"), reply
    assert ("20 rows; TRUNCATED" in told, "\n21," in page) == (True, True)
    assert "\n50 rows" in file
    assert "`query` would run it" in plan
    assert "only on a replica of the database, never on the primary" in plan
    assert intended["obligations"] == {"replica": "required"}
    assert [mark for mark in ("one", "two", "three", "four", "five") if reached(primary, f"mark-{mark}")] == []
    assert reached(primary, "mark-primary")
    assert state == (True, ())
    assert "terms of query: the server's own limits\nonly on a replica: public.orders\n" in who


@pytest.mark.asyncio
async def test_without_a_replica_it_is_refused_by_the_rule_and_recorded(make_site: MakeSite, primary: PostgresServer, shop: str):
    async with opened(make_site, primary, shop, None) as (client, site, _):
        refused = await query(client, "select id from orders where note = 'mark-none'")
        explained = await call(client, "explain", sql="select id from orders where note = 'mark-none'")
        exported = await call(client, "export", sql="select id from orders where note = 'mark-none'", name="all", format="csv")
        other = await query(client, "select count(*) from prices")
        outcomes = [record["error"] for record in await site.records() if record.get("error")]
    expected = "replica: policy lets this run on a replica only, and datasource `shop` has none\nrule: apart\n"
    assert [reply.startswith(expected) for reply in (refused, explained, exported)] == [True] * 3, refused
    assert other.startswith("<data-")
    assert outcomes == ["replica"] * 3
    assert not reached(primary, "mark-none")


@pytest.mark.asyncio
async def test_only_what_is_the_replicas_is_told_as_such_while_a_statement_runs_there(
    make_site: MakeSite, primary: PostgresServer, shop: str, replica: PostgresServer
):
    await replayed(primary, replica)
    ending = IS_BUSY.replace("SELECT count(*) > 0", "SELECT count(pg_terminate_backend(pid)) > 0")

    async def ended() -> bool:
        return bool(await ask(replica, ending))

    async with opened(make_site, primary, shop, replica.dsn(database=shop)) as (_, site, house):
        app = McpApp(house.gate, lambda _: Principal("ada", ("reader",)), jobs=house.jobs)
        async with Client(app.server) as client:
            asking = asyncio.create_task(query(client, LONG))
            await until(ended)
            lost = await asking
            await site.fetch("REVOKE USAGE ON SCHEMA jobs FROM ostiary_writer", role=ADMIN)
            job = await client.call_tool("export", {"sql": "select id from orders", "name": "n", "format": "csv", "job": True})
    said = text_of(job)
    assert lost.startswith(
        "replica: policy lets this run on a replica only, and the connection to the database was lost\nrule: apart\n"
    )
    assert said.startswith("unavailable: jobs cannot be written down now\nhint: "), said


@pytest.mark.asyncio
async def test_what_a_question_needs_of_the_schema_needs_no_replica(make_site: MakeSite, primary: PostgresServer, shop: str):
    states = "ALTER TABLE {0} ADD state text; INSERT INTO {0} (id, state) VALUES (100, '{0}-open')"
    await run_on(primary, ";".join(states.format(name) for name in ("orders", "prices")), shop)
    async with opened(make_site, primary, shop, None) as (client, _, _):
        found = await call(client, "search_schema", query="state of orders and prices", detail="sql")
        prompt = str(await client.get_prompt("question_to_sql", {"question": "which state do orders and prices have?"}))
    for told in (found, prompt):
        assert ("prices-open" in told, "orders-open" in told, "public.orders" in told) == (True, False, True), told


@pytest.mark.asyncio
async def test_the_address_of_the_primary_is_no_replica(make_site: MakeSite, primary: PostgresServer, shop: str):
    async with opened(make_site, primary, shop, primary.dsn(database=shop)) as (client, _, house):
        refused = await query(client, "select id from orders where note = 'mark-same'")
        state = await ready(house)
    assert refused.startswith(
        "replica: policy lets this run on a replica only, and the replica of datasource `shop` cannot be reached: "
        "it is no standby: it was promoted, or it is the primary\nrule: apart\n"
    ), refused
    assert state == (True, ("the replica of datasource `shop`: it is no standby: it was promoted, or it is the primary",))
    assert not reached(primary, "mark-same")


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_promoted_replica_is_none_any_more_and_a_killed_one_is_told_of(
    make_site: MakeSite, primary: PostgresServer, shop: str, make_replica: Callable[[], PostgresServer]
):
    replica = make_replica()
    async with opened(make_site, primary, shop, replica.dsn(database=shop)) as (client, _, house):
        before = await query(client, "select count(*) from orders where note <> 'mark-before'")
        await ask(replica, "SELECT pg_promote()")
        promoted = await query(client, "select count(*) from orders where note <> 'mark-promoted'")
        alarmed = await ready(house)
        await asyncio.to_thread(replica.stop, "immediate")
        killed = await query(client, "select count(*) from orders where note <> 'mark-killed'")
        other = await query(client, "select count(*) from prices")
        later = await ready(house)
    assert before.startswith("<data-"), before
    assert "it is no standby: it was promoted, or it is the primary\nrule: apart\n" in promoted
    assert alarmed == (True, ("the replica of datasource `shop`: it is no standby: it was promoted, or it is the primary",))
    assert killed.startswith(
        "replica: policy lets this run on a replica only, and the replica of datasource `shop` cannot be reached"
    )
    assert "rule: apart" in killed
    assert other.startswith("<data-")
    assert later[0]
    assert later[1][0].startswith("the replica of datasource `shop`: ")
    assert [mark for mark in ("before", "promoted", "killed") if reached(primary, f"mark-{mark}")] == []


@pytest.mark.asyncio
async def test_what_runs_while_the_replica_is_promoted_is_not_answered(
    make_site: MakeSite, primary: PostgresServer, shop: str, make_replica: Callable[[], PostgresServer]
):
    replica = make_replica()
    endless = "select (select sum(a.id + n) from generate_series(1, 30000) n) from orders a, orders b, orders c, orders d"
    async with opened(make_site, primary, shop, replica.dsn(database=shop)) as (client, site, _):
        assert (await query(client, "select count(*) from orders")).startswith("<data-")
        # The rows are read, and the server is promoted before they are given: an export gives them a part at a time.
        promoting = asyncio.create_task(promoted_while_busy(replica))
        answer = await call(client, "export", sql=endless, name="late", format="csv")
        await promoting
        left = list((site.config.export_folder).rglob("*late*")) if site.config.export_folder.exists() else []
    assert "on a replica only, and the server cannot be used: it is no standby: it was promoted" in answer, answer
    assert "\nrule: apart\n" in answer
    assert left == []


@pytest.mark.asyncio
async def test_of_several_hosts_the_one_that_is_a_standby_is_used_and_after_it_the_next(
    make_site: MakeSite, primary: PostgresServer, shop: str, make_replica: Callable[[], PostgresServer]
):
    first, second = make_replica(), make_replica()
    hosts = ",".join(str(server.root) for server in (primary, first, second))
    dsn = f"postgresql:///{shop}?host={hosts}&user={ADMIN}&target_session_attrs=standby"
    async with opened(make_site, primary, shop, dsn) as (client, _, house):
        before = await query(client, "select count(*) from orders where note <> 'mark-first'")
        await ask(first, "SELECT pg_promote()")
        after = await query(client, "select count(*) from orders where note <> 'mark-second'")
        state = await ready(house)
        await asyncio.to_thread(second.stop, "immediate")
        last = await query(client, "select count(*) from orders where note <> 'mark-third'")
    assert (before.startswith("<data-"), after.startswith("<data-")) == (True, True), (before, after)
    assert state == (True, ())
    assert last.startswith("replica: policy lets this run on a replica only"), last
    assert [mark for mark in ("first", "second", "third") if reached(primary, f"mark-{mark}")] == []


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_doctor_looks_at_the_replica_too(
    make_site: MakeSite, primary: PostgresServer, shop: str, make_replica: Callable[[], PostgresServer]
):
    replica = make_replica()
    site = await make_site({"shop": primary.dsn(database=shop)}, replicas={"shop": replica.dsn(database=shop)})
    well = await asyncio.to_thread(site.command, "doctor")
    await ask(replica, "SELECT pg_promote()")
    promoted = await asyncio.to_thread(site.command, "doctor")
    sql = await asyncio.to_thread(site.command, "doctor", "shop", "--sql")
    await asyncio.to_thread(replica.stop, "immediate")
    away = await asyncio.to_thread(site.command, "doctor", "--json")
    assert (well.returncode, promoted.returncode, away.returncode) == (Exit.OK, Exit.FAILED, Exit.UNAVAILABLE)
    assert well.stdout.splitlines().count("  it is served") == 2
    assert f"replica of shop: login `{ADMIN}` in database `{shop}`" in well.stdout.splitlines()
    assert "  it is no standby: let `replica_dsn` name one" in promoted.stdout.splitlines()
    assert sql.stdout.count("CREATE ROLE") == 1
    assert [(one["datasource"], one["served"]) for one in json.loads(away.stdout)] == [("shop", True), ("shop", False)]
    assert json.loads(away.stdout)[1]["problem"].startswith("the replica: datasource `shop` cannot be reached")


async def promoted_while_busy(replica: PostgresServer) -> None:
    async def busy() -> bool:
        return bool(await ask(replica, IS_BUSY))

    await until(busy)
    await ask(replica, "SELECT pg_promote()")


@pytest.mark.fault
@pytest.mark.asyncio
async def test_a_replica_that_lags_behind_a_change_of_the_schema_refuses_until_it_has_come(
    make_site: MakeSite, primary: PostgresServer, shop: str, make_replica: Callable[[], PostgresServer]
):
    replica = make_replica()
    async with opened(make_site, primary, shop, replica.dsn(database=shop)) as (client, _, house):
        assert (await query(client, "select id from orders limit 1")).startswith("<data-")
        await replayed(primary, replica)
        await ask(replica, "SELECT pg_wal_replay_pause()")
        twice = "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1'"
        await run_on(primary, f"{twice}; CREATE TABLE later (id int)", shop)
        await house.datasources["shop"].refresh()
        behind = [await query(client, f"select {what} from orders") for what in ("twice(id)", "id, (select count(*) from later)")]
        await run_on(primary, "ALTER TABLE orders RENAME note TO remark", shop)
        await house.datasources["shop"].refresh()
        behind += [await query(client, f"select {what} from orders") for what in ("remark", "id", "*")]
        again = await query(client, "select id from orders")
        await ask(replica, "SELECT pg_wal_replay_resume()")
        await replayed(primary, replica)
        there = await query(client, "select remark, twice(id), (select count(*) from later) from orders limit 1")
        # And the other way round: the replica has the change before the datasource has looked.
        await run_on(primary, "ALTER TABLE orders RENAME remark TO words", shop)
        await replayed(primary, replica)
        ahead = await query(client, "select remark from orders limit 1")

        async def seen() -> bool:
            return (await query(client, "select words from orders limit 1")).startswith("<data-")

        await until(seen)
    for reply in (*behind, again):
        assert reply.startswith("schema_changed: a table or function of the statement is not on the replica as it was judged"), (
            reply
        )
        assert "hint: try again in a moment" in reply
    assert there.startswith("<data-")
    assert ahead.startswith("schema_changed: ")


@pytest.mark.asyncio
async def test_where_policies_hold_inside_views_a_view_of_the_table_needs_the_replica_as_well(
    make_site: MakeSite, primary: PostgresServer, shop: str, replica: PostgresServer
):
    await run_on(primary, "CREATE VIEW noted AS SELECT id, note FROM orders", shop)
    await replayed(primary, replica)
    async with opened(make_site, primary, shop, replica.dsn(database=shop), views="as_queries") as (client, _, _):
        inside = await query(client, "select count(*), 'mark-inside' as mark from noted")
    async with opened(make_site, primary, shop, None, views="as_queries") as (client, _, _):
        refused = await query(client, "select count(*), 'mark-inside' as mark from noted")
    assert inside.startswith("<data-"), inside
    assert refused.startswith("replica: "), refused
    assert not reached(primary, "mark-inside")


MASKING = """
@id("tools") permit (principal in Role::"reader", action in [Action::"call", Action::"see"], resource);
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.name == "note" };
@id("masks") @mask("first:4") @replica("required")
permit (principal in Role::"reader", action == Action::"read_masked", resource is Column);
"""


@pytest.mark.asyncio
async def test_a_masked_column_may_be_for_a_replica_alone_and_its_fence_fits_there_or_nothing_runs(
    make_site: MakeSite, primary: PostgresServer, shop: str, make_replica: Callable[[], PostgresServer]
):
    replica = make_replica()
    site = await make_site({"shop": primary.dsn(database=shop)}, policy=MASKING, replicas={"shop": replica.dsn(database=shop)})
    async with open_house(site.config, lambda _: None) as house:
        app = McpApp(house.gate, lambda _: Principal("ada", ("reader",)))
        async with Client(app.server) as client:
            masked = await query(client, "select distinct note, 'mark-masked' as mark from orders")
            plain = await query(client, "select count(*), 'mark-plain' as mark from orders")
            await ask(replica, "SELECT pg_wal_replay_pause()")
            await run_on(primary, "ALTER TABLE orders ADD extra text", shop)
            await house.datasources["shop"].refresh()
            behind = await query(client, "select note, id, 'mark-behind' as mark from orders")
    assert "\nnote" in masked
    assert "note 1" not in masked
    assert plain.startswith("<data-")
    assert behind.startswith("schema_changed: "), behind
    assert [mark for mark in ("masked", "plain", "behind") if reached(primary, f"mark-{mark}")] == ["plain"]


@pytest.mark.asyncio
async def test_a_statement_that_the_replay_ends_is_told_so(
    make_site: MakeSite, primary: PostgresServer, shop: str, replica: PostgresServer
):
    await replayed(primary, replica)

    async def busy() -> bool:
        return bool(await ask(replica, IS_BUSY))

    async with opened(make_site, primary, shop, replica.dsn(database=shop)) as (client, _, _):
        asking = asyncio.create_task(query(client, LONG))
        await until(busy)
        await run_on(primary, "TRUNCATE orders", shop)
        ended = await asking
    assert ended.startswith("database_error: the replica ended the statement, because it stood in the way of changes"), ended
    assert "hint: try again, or ask for less at once" in ended


@pytest.mark.asyncio
async def test_terms_of_cost_are_estimated_on_the_replica_and_its_login_must_be_accepted(
    make_site: MakeSite, primary: PostgresServer, shop: str, replica: PostgresServer
):
    await replayed(primary, replica)
    await run_on(primary, "DO $$ BEGIN CREATE ROLE lowly LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;", shop)
    await run_on(primary, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO lowly", shop)
    await replayed(primary, replica)
    there = replica.dsn(database=shop)
    async with opened(make_site, primary, shop, there, '@max_rows_scanned("10")') as (client, _, _):
        dear = await query(client, "select count(*) from orders where note <> 'mark-dear'")
    assert dear.startswith("max_rows_scanned: the statement is not run"), dear
    assert not reached(primary, "mark-dear")
    site = await make_site(
        {"shop": primary.dsn("lowly", shop)}, policy=POLICY.replace("{more}", ""), replicas={"shop": there}, accepted_powers=()
    )
    async with open_house(site.config, lambda _: None) as house:
        app = McpApp(house.gate, lambda _: Principal("ada", ("reader",)))
        async with Client(app.server) as client:
            refused = await query(client, "select count(*) from orders")
            other = await query(client, "select count(*) from prices")
    assert other.startswith("<data-"), other
    assert "the replica of datasource `shop` is not available: its login may do more than its operator has accepted" in refused
    assert ADMIN not in refused
