"""Whoever may see a table is told when it changes, at whichever server it subscribed; whoever may not learns nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import mcp.types as t
import pytest
from fix_pages import READERS
from fix_postgres import PostgresServer
from fix_server import HIDES, READS_ALL, MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from ostiary.app import House, open_house
from ostiary.changes import ADDRESSES_PER_AGENT, SUBSCRIBERS, SUBSCRIBERS_PER_AGENT, Changes, Subscriber
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.control.bus import Bus
from ostiary_tools.describe import describe_relation

TABLES = (
    "CREATE TABLE people (id int PRIMARY KEY, name text, secret text); CREATE TABLE orders (id int); CREATE TABLE vault (id int)"
)
PEOPLE, ORDERS, VAULT = (f"schema://shop/public/{name}" for name in ("people", "orders", "vault"))
TAGGED = {"public.people.secret": ["hidden"], "public.people.more": ["hidden"], "public.vault": ["hidden"]}
NONE_DESCRIBES = '@id("blind") permit (principal in Role::"blind", action, resource) when { resource != Tool::"describe" };'
POLICY = READS_ALL + READERS + HIDES + NONE_DESCRIBES


class Shop:
    """A database and two servers in front of it, with one control database."""

    def __init__(self, site: Site, database: str, houses: tuple[House, House]) -> None:
        self.site, self.database, self.houses = site, database, houses

    async def alter(self, sql: str) -> None:
        """Change the schema, as somebody else."""
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def client(self, house: int = 0, role: str = "reader", agent: str = "ada", **given: Any) -> Client:
        """An agent at one of the servers."""
        who = Principal(agent, (role,))
        app = McpApp(self.houses[house].gate, lambda _: who, changes=self.houses[house].changes)
        return Client(app.server, **given)


OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    """Two servers that look at schemas by themselves every `look_s`."""

    @asynccontextmanager
    async def opened(look_s: float = 0.2) -> AsyncIterator[Shop]:
        database = await make_database(TABLES)
        sources = {"shop": postgres_server.dsn(database=database)}
        site = await make_site(sources, policy=POLICY, tags=("hidden",), tagged=TAGGED)
        source = site.config.datasources["shop"].model_copy(update={"snapshot_ttl_s": look_s})
        config = site.config.model_copy(update={"datasources": {"shop": source}})
        async with open_house(config, lambda _: None) as one, open_house(config, lambda _: None) as other:
            yield Shop(site, database, (one, other))

    return opened


async def subscribe(client: Client, uri: str) -> None:
    await client.session.send_request(t.SubscribeRequest(params=t.SubscribeRequestParams(uri=uri)), t.EmptyResult)


async def heard(listening: Any, count: int) -> list[Any]:
    async with asyncio.timeout(20):
        return [await anext(listening) for _ in range(count)]


@pytest.mark.asyncio
async def test_a_stream_tells_what_changed_for_its_caller_and_nothing_else(shop: OpenShop):
    wanted = [PEOPLE, ORDERS]
    async with (
        shop() as opened,
        opened.client() as client,
        client.listen(resource_subscriptions=wanted, resources_list_changed=True) as told,
    ):
        await opened.alter("ALTER TABLE people ADD more int")
        await opened.alter("COMMENT ON COLUMN people.secret IS 'nobody sees this'")
        await opened.alter("ALTER TABLE vault ADD more int")
        await opened.alter("ALTER TABLE orders ADD note text")
        assert await heard(told, 1) == [ResourceUpdated(ORDERS)]
        await opened.alter("CREATE TABLE fresh (id int)")
        assert await heard(told, 1) == [ResourcesListChanged()]
        await opened.alter("DROP TABLE people")
        assert set(await heard(told, 2)) == {ResourceUpdated(PEOPLE), ResourcesListChanged()}


@pytest.mark.asyncio
async def test_a_session_of_the_2025_era_is_told_until_it_unsubscribes(shop: OpenShop):
    told: list[str] = []

    async def take(message: Any) -> None:
        if isinstance(message, t.ResourceUpdatedNotification):
            told.append(str(message.params.uri))
        elif isinstance(message, t.ResourceListChangedNotification):
            told.append("list")

    async with shop() as opened, opened.client(mode="legacy", message_handler=take) as client:
        await client.list_resources()
        for uri in (PEOPLE, ORDERS):
            await subscribe(client, uri)
        await opened.alter("ALTER TABLE people ADD town text")
        await until(lambda: told == [PEOPLE])
        await client.session.send_request(t.UnsubscribeRequest(params=t.UnsubscribeRequestParams(uri=PEOPLE)), t.EmptyResult)
        await opened.alter("ALTER TABLE people ADD land text; ALTER TABLE orders ADD land text; CREATE TABLE fresh ()")
        await until(lambda: sorted(told[1:]) == ["list", ORDERS])
        assert client.server_capabilities.resources == t.ResourcesCapability(subscribe=True, list_changed=True)
    assert len(opened.houses[0].changes) == 0


@pytest.mark.asyncio
async def test_another_server_is_told_by_the_first_one_that_knows_also_after_its_connection_broke(shop: OpenShop):
    """Neither looks by itself here: both wait an hour, and only a cue makes the second one look."""
    async with shop(3600) as opened, opened.client(1) as client, client.listen(resource_subscriptions=[PEOPLE]) as told:
        await until(lambda: _listens(opened))
        await opened.alter("ALTER TABLE people ADD town text")
        await opened.houses[0].datasources["shop"].refresh()
        assert await heard(told, 1) == [ResourceUpdated(PEOPLE)]
        [before] = await _listeners(opened)
        opened.site.server.sql(f"SELECT pg_terminate_backend({before})")
        await until(lambda: _listens(opened, before))
        await opened.alter("ALTER TABLE people ADD land text")
        await opened.houses[0].datasources["shop"].refresh()
        assert await heard(told, 1) == [ResourceUpdated(PEOPLE)]


async def _listeners(shop: Shop) -> list[int]:
    """Who has subscribed to cues, and not only connected."""
    asked = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ostiary listen' AND state = 'idle' AND query LIKE 'LISTEN%'"
    return [row["pid"] for row in await shop.site.fetch(asked, role="ostiary_admin")]


async def _listens(shop: Shop, other_than: int = 0) -> bool:
    return any(pid != other_than for pid in await _listeners(shop))


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
@pytest.mark.asyncio
async def test_what_is_hidden_cannot_be_subscribed_to_and_the_attempt_is_recorded(shop: OpenShop, era: str):
    async def ask(client: Client, uri: str) -> None:
        if era == "legacy":
            await subscribe(client, uri)
        else:
            async with client.listen(resource_subscriptions=[ORDERS, uri]):
                pass

    nothing, nowhere = "schema://shop/public/nothing", "schema://elsewhere/public/orders"
    async with shop() as opened:
        answers = []
        for role, uri in (("reader", nothing), ("reader", nowhere), ("reader", VAULT), ("blind", ORDERS), ("nobody", ORDERS)):
            async with opened.client(role=role, mode=era) as client:
                with pytest.raises(MCPError) as caught:
                    await ask(client, uri)
                answers.append((caught.value.code, caught.value.error.message, caught.value.error.data))
                assert len(opened.houses[0].changes) == 0
        assert answers == [
            (t.INVALID_PARAMS, "Unknown resource", {"uri": uri}) for uri in (nothing, nowhere, VAULT, ORDERS, ORDERS)
        ]
        async with opened.client(mode=era) as client:
            await ask(client, ORDERS)
        asked = [r for r in await opened.site.records() if r.get("origin") == "subscription"]
    assert [(r["decision"], r["tool"]) for r in asked if r["decision"] != "permit"] == [
        *[("refused", "describe")] * 3,
        *[("unknown", "describe")] * 2,
    ]
    assert sum(r["decision"] == "permit" for r in asked) == (1 if era == "legacy" else 4)


@pytest.mark.asyncio
async def test_more_addresses_than_a_subscription_may_hold_are_refused(shop: OpenShop):
    async with shop() as opened, opened.client() as client:
        with pytest.raises(MCPError, match="at most 100"):
            async with client.listen(resource_subscriptions=[f"{ORDERS}{n}" for n in range(101)]):
                pass


@pytest.mark.asyncio
async def test_a_table_is_described_once_for_each_version_of_it_however_many_have_subscribed(
    shop: OpenShop, monkeypatch: pytest.MonkeyPatch
):
    described: list[str] = []

    def counting(view: Any, relation: Any) -> str:
        described.append(relation.name)
        return describe_relation(view, relation)

    monkeypatch.setattr("ostiary.changes.describe_relation", counting)
    async with shop() as opened, AsyncExitStack() as stack:
        client = await stack.enter_async_context(opened.client())
        streams = [await stack.enter_async_context(client.listen(resource_subscriptions=[PEOPLE, ORDERS])) for _ in range(3)]
        for column in ("town", "land"):
            await opened.alter(f"ALTER TABLE people ADD {column} text")
            for told in streams:
                assert await heard(told, 1) == [ResourceUpdated(PEOPLE)]
    assert sorted(described) == ["orders"] * 3 + ["people"] * 3


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
@pytest.mark.asyncio
async def test_an_agent_that_has_taken_all_its_places_takes_none_of_anybody_else(shop: OpenShop, era: str):
    async def ask(agent: str) -> str:
        async with opened.client(agent=agent, mode=era) as client:
            try:
                if era == "legacy":
                    await subscribe(client, ORDERS)
                else:
                    async with client.listen(resource_subscriptions=[ORDERS]):
                        pass
            except MCPError as error:
                return str(error)
        return "subscribed"

    def taking(**given: Any) -> Subscriber:
        return Subscriber(Principal("ada", ("reader",)), lambda _: None, **given)

    async with shop() as opened:
        told = opened.houses[0].changes
        places = [taking() for _ in range(SUBSCRIBERS_PER_AGENT)]
        watching = taking(addresses={f"{ORDERS}{n}": ("shop", "public", f"orders{n}") for n in range(ADDRESSES_PER_AGENT)})
        for taken, said in ((places, "too many subscriptions"), ([watching], "at most 1000 resources")):
            for subscriber in taken:
                told.add(subscriber)
            assert said in await ask("ada")
            assert await ask("bob") == "subscribed"
            for subscriber in taken:
                told.remove(subscriber)
            assert await ask("ada") == "subscribed"
        for n in range(SUBSCRIBERS):
            told.add(Subscriber(Principal(f"agent{n}", ("reader",)), lambda _: None))
        assert "too many subscriptions" in await ask("ada")


@pytest.mark.asyncio
async def test_a_session_whose_credential_expired_is_told_nothing_until_it_subscribes_again(shop: OpenShop):
    told: list[str] = []

    async def take(message: Any) -> None:
        if isinstance(message, t.ResourceUpdatedNotification):
            told.append(str(message.params.uri))

    async with shop() as opened, opened.client(mode="legacy", message_handler=take) as client:
        house = opened.houses[0]

        await subscribe(client, PEOPLE)
        [subscriber] = house.changes._subscribers
        subscriber.until = 0.0
        await until(lambda: len(house.changes) == 0)
        await subscribe(client, ORDERS)
        await opened.alter("ALTER TABLE people ADD town text; ALTER TABLE orders ADD town text")
        await until(lambda: told == [ORDERS])


@pytest.mark.parametrize("era", ["auto", "legacy"])
@pytest.mark.asyncio
async def test_no_news_are_promised_of_lists_that_stay_as_they_are_while_a_server_runs(shop: OpenShop, era: str):
    async with shop() as opened, opened.client(mode=era) as client:
        can = client.server_capabilities
        assert (can.tools, can.prompts) == (t.ToolsCapability(list_changed=False), t.PromptsCapability(list_changed=False))
        assert can.resources == t.ResourcesCapability(subscribe=True, list_changed=True)
        if era == "auto":
            all_lists = {"tools_list_changed": True, "prompts_list_changed": True, "resources_list_changed": True}
            async with client.listen(**all_lists) as told:
                assert told.honored == t.SubscriptionFilter(resources_list_changed=True)


@pytest.mark.asyncio
async def test_a_cue_that_comes_in_the_moment_of_the_end_keeps_no_server_from_ending(shop: OpenShop):
    """Given between two turns of the loop, which another process could not time; Python 3.11's `wait_for` loses the end then."""
    async with shop() as opened:
        house, who = opened.houses[0], Principal("ada", ("reader",))
        for turns in range(5):
            bus = Bus("postgresql://nobody@127.0.0.1:1/nowhere")
            changes = Changes(house.worlds, house.changes._taints, house.policies, house.datasources, bus, look_s=60)
            with changes.subscribed(Subscriber(who, lambda _: None)):
                for _ in range(5):
                    await asyncio.sleep(0)
                bus.publish("shop", "new")
                for _ in range(turns):
                    await asyncio.sleep(0)
                async with asyncio.timeout(10):
                    await changes.close()
            await bus.close()
