"""Collections through the gate: who knows which, what a run is lent of them, and how rows behind them are looked up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from fix_vectors import document, new_collection, vectors
from fix_waiting import until

from ostiary.app import House, open_house
from ostiary.approvals import about
from ostiary.call import Call
from ostiary.errors import CallFailed
from ostiary_policies import model
from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit, Principal
from ostiary_tools.api import Args, CollectionName, Hints, Hits, Result, Session, Surface, Text, World
from ostiary_tools.control.collections import CollectionTable
from ostiary_tools.errors import NoCollection
from ostiary_tools.sql import judge
from ostiary_tools.vectors.collection import Collection, Source, Tuning
from ostiary_tools.vectors.known import known
from ostiary_tools.vectors.port import Reach
from ostiary_tools.vectors.settings import PgvectorSettings
from ostiary_tools.vectors.sources import lookup_of

NOTES = """
CREATE TABLE notes (id text PRIMARY KEY, body text, author text, team text);
INSERT INTO notes SELECT 'n' || n, 'body ' || n, 'author ' || n, CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END
FROM generate_series(1, 3000) n;
INSERT INTO notes VALUES ('"', 'quote', 'a', 'even'), ('\\', 'slash', 'a', 'even'), ('}', 'brace', 'a', 'even'),
    ('NULL', 'null', 'a', 'even'), ('x'',''n1', 'tick', 'a', 'even'), ('', 'empty', 'a', 'even'), ('a,"b"', 'comma', 'a', 'even');
"""
POLICY = """
@id("keeper") permit (principal in Role::"keeper", action, resource);
@id("guest-calls") permit (principal in Role::"guest", action == Action::"call", resource);
@id("guest-sees") permit (principal in Role::"guest", action == Action::"see", resource);
@id("guest-reads") permit (principal in Role::"guest", action == Action::"read", resource);
@id("guest-no-pii") forbid (principal in Role::"guest", action == Action::"read", resource is Column)
when { resource.tags.contains("pii") };
@id("guest-masks") @mask("constant:***")
permit (principal in Role::"guest", action == Action::"read_masked", resource is Column) when { resource.tags.contains("pii") };
@id("guest-rows")
permit (principal in Role::"guest", action == Action::"read_row", resource is shop::public::notes)
when { resource has team && resource.team == "even" };
@id("keeper-rows") permit (principal in Role::"keeper", action == Action::"read_row", resource is shop::public::notes);
@id("guest-searches") permit (principal in Role::"guest", action == Action::"search", resource)
when { !resource.tags.contains("secret") };
@id("few-calls") @limit_rows("5") @budget_rows("12/hour")
permit (principal in Role::"few", action == Action::"call", resource);
@id("few-else") permit (principal in Role::"few", action in [Action::"see", Action::"read", Action::"search"], resource);
@id("few-rows") permit (principal in Role::"few", action == Action::"read_row", resource is shop::public::notes);
@id("dear-calls") @max_cost("0.001") permit (principal in Role::"dear", action == Action::"call", resource);
@id("dear-else") permit (principal in Role::"dear", action in [Action::"see", Action::"read", Action::"search"], resource);
@id("dear-rows") permit (principal in Role::"dear", action == Action::"read_row", resource is shop::public::notes);
"""
KEEPER, GUEST = Principal("kim", ("keeper",)), Principal("gus", ("guest",))
SOURCE = Source("shop", "SELECT id, body, author FROM public.notes", "id", "{body}", ("author",))

Plan = Callable[[World], Intent]
Run = Callable[[Permit, Session], Awaitable[Result]]


class ProbeArgs(Args):
    """What the probe takes."""

    collection: Annotated[str, CollectionName()] = ""


@dataclass
class Probe:
    """A tool of a third party's that plans and does whatever a test says."""

    planned: Plan
    does: Run
    name, title, description, surface, hints, args = "probe", "Probe", "Does what it is told.", Surface.TOOL, Hints(), ProbeArgs

    def plan(self, _: ProbeArgs, world: World) -> Intent:
        """As the test says."""
        return self.planned(world)

    async def run(self, permit: Permit, session: Session) -> Result:
        """Likewise."""
        return await self.does(permit, session)


@dataclass(frozen=True)
class Opened:
    """A server with collections."""

    site: Site
    house: House

    async def do(self, who: Principal, plan: Plan, run: Run) -> str:
        """What the caller is answered by such a tool."""
        registry: Any = self.house.gate._registry
        registry[Surface.TOOL, "probe"] = Probe(plan, run)
        return (await self.house.gate.call(who, Call("probe", {"collection": "notes"}))).text

    async def refused(self, who: Principal, plan: Plan, run: Run) -> str:
        """Why the call failed."""
        with pytest.raises(CallFailed) as caught:
            await self.do(who, plan, run)
        return f"{caught.value.code}: {caught.value.message}"

    async def make(self, name: str, *, tags: tuple[str, ...] = (), source: Source | None = None) -> Collection:
        """A collection that the keeper makes, with one document in it."""
        one = replace(new_collection(name=name), tags=tags, source=source, owner=KEEPER)

        async def run(_: Permit, session: Session) -> Result:
            store = session.manage(name)
            await store.create(one)
            await session.keep(one)
            await store.put(one, document("k", "a text"))
            return Text("made")

        assert await self.do(KEEPER, stating(Access(Action.MANAGE, one.resource)), run) == "made"
        return one


Open = Callable[..., Any]


def stating(*accesses: Access, **more: Any) -> Plan:
    return lambda _: Intent("probe", {}, accesses, **more)


def on(action: Action, one: Collection) -> Plan:
    return stating(Access(action, one.resource))


async def nothing(_: Permit, session: Session) -> Result:
    return Text("done")


@pytest.fixture
def shop(
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    pgvector_settings: PgvectorSettings,
) -> Open:
    @asynccontextmanager
    async def opened(dsn: str = "") -> AsyncIterator[Opened]:
        database = await make_database(NOTES)
        more = f'\n[vectors.tested]\nkind = "pgvector"\ndsn = "{dsn or pgvector_settings.dsn}"\n'
        sources = {"shop": postgres_server.dsn(database=database)}
        site = await make_site(sources, policy=POLICY, tagged={"public.notes.author": ["pii"]}, more=more)
        async with open_house(site.config, lambda _: None) as house:
            yield Opened(site, house)

    return opened


@pytest.mark.asyncio
async def test_a_collection_exists_in_every_process_from_when_it_is_kept_until_it_is_dropped(shop: Open):
    async with shop() as one, open_house(one.site.config, lambda _: None) as second:
        other = Opened(one.site, second)

        async def names(opened: Opened, who: Principal = KEEPER) -> str:
            async def run(_: Permit, session: Session) -> Result:
                assert session.world.holdings is not None
                return Text(" ".join(session.world.holdings.collections))

            return await opened.do(who, stating(), run)

        assert await names(other) == ""
        notes = await one.make("notes")
        await one.make("secrets", tags=("secret",))
        assert await names(one) == "notes secrets"
        await until(lambda: _is(names(other), "notes secrets"))
        assert await names(other, GUEST) == "notes"

        async def drop(_: Permit, session: Session) -> Result:
            await session.drop("notes")
            return Text("dropped")

        assert await other.do(KEEPER, on(Action.DROP, notes), drop) == "dropped"
        assert await names(other) == "secrets"
        await until(lambda: _is(names(one), "secrets"))
        with pytest.raises(NoCollection):
            await one.house.gate._shelves.store("tested").count(notes)
        rows = await one.site.fetch("SELECT name FROM collections.collection", role="ostiary_writer")
        assert [row["name"] for row in rows] == ["secrets"]
        assert (await one.make("notes")).id != notes.id


async def _is(asked: Awaitable[str], expected: str) -> bool:
    return await asked == expected


@pytest.mark.asyncio
async def test_a_hidden_collection_is_answered_as_one_that_does_not_exist(shop: Open):
    async with shop() as opened:
        await opened.make("notes")
        hidden = await opened.make("secrets", tags=("secret",))

        async def ask(name: str) -> list[str]:
            def plan(world: World) -> Intent:
                return Intent("probe", {}, (Access(Action.SEARCH, known(name, world.holdings).collection.resource),))

            resources = (model.Collection(name, "tested", "", tags) for tags in (frozenset[str](), hidden.resource.tags))
            stated = [
                stating(Access(action, resource)) for resource in resources for action in (Action.DROP, Action.INDEX, Action.MANAGE)
            ]
            return [await opened.refused(GUEST, one, nothing) for one in (plan, *stated)]

        assert await ask("secrets") == [told.replace("secretz", "secrets") for told in await ask("secretz")]


@pytest.mark.asyncio
async def test_a_run_is_lent_the_collections_of_its_permit_and_nothing_else(shop: Open):
    async with shop() as opened:
        notes, secrets = await opened.make("notes"), await opened.make("secrets", tags=("secret",))
        untagged = model.Collection("secrets", "tested")
        found: list[object] = []

        async def search(collection: Collection, session: Session) -> None:
            found.append(await session.search_in("notes").nearest(collection, vectors(1)[0], Reach(3)))

        async def create(collection: Collection, session: Session) -> None:
            await session.manage(collection.name).create(collection)

        async def take(collection: Collection, session: Session) -> None:
            await session.manage(collection.name).drop(collection)

        async def others(_: Permit, session: Session) -> None:
            session.search_in("secrets")

        new = replace(notes, name="other")
        cases: list[tuple[Principal, Plan, Callable[[Session], Any]]] = [
            (GUEST, stating(), lambda s: s.search_in("notes")),
            (GUEST, on(Action.SEARCH, notes), lambda s: s.search_in("secrets")),
            (GUEST, stating(Access(Action.SEARCH, untagged)), lambda s: s.search_in("secrets")),
            (GUEST, on(Action.SEARCH, notes), lambda s: s.index_in("notes")),
            (GUEST, on(Action.SEARCH, notes), lambda s: s.manage("notes")),
            (GUEST, on(Action.SEARCH, notes), lambda s: s.drop("notes")),
            (GUEST, on(Action.SEARCH, notes), lambda s: search(secrets, s)),
            (GUEST, on(Action.SEARCH, notes), lambda s: search(replace(secrets, name="notes"), s)),
            (KEEPER, on(Action.MANAGE, notes), lambda s: s.keep(replace(notes, id=uuid4()))),
            (KEEPER, on(Action.MANAGE, notes), lambda s: s.keep(replace(notes, tags=("pii",)))),
            (KEEPER, on(Action.MANAGE, notes), lambda s: s.keep(replace(notes, store="elsewhere"))),
            (KEEPER, on(Action.MANAGE, notes), lambda s: s.manage("notes", store="elsewhere")),
            (KEEPER, on(Action.MANAGE, notes), lambda s: take(notes, s)),
            (KEEPER, on(Action.MANAGE, new), lambda s: create(new, s)),
            (KEEPER, on(Action.MANAGE, new), lambda s: take(new, s)),
            (KEEPER, on(Action.MANAGE, secrets), lambda s: take(replace(notes, name="secrets"), s)),
        ]
        for number, (who, plan, does) in enumerate(cases):

            async def run(_: Permit, session: Session, does: Any = does) -> Result:
                done = does(session)
                await done if hasattr(done, "__await__") else None
                return Text("done")

            assert (number, await opened.refused(who, plan, run)) == (
                number,
                "refused: the permit of this call does not cover that collection",
            )
        assert found == []

        async def searched(_: Permit, session: Session) -> Result:
            store = session.search_in("notes")
            assert not hasattr(store, "put")
            hits = await store.nearest(notes, vectors(1)[0], Reach(3))
            return Text(" ".join(hit.text for hit in hits))

        assert await opened.do(GUEST, on(Action.SEARCH, notes), searched) == "a text"


@pytest.mark.asyncio
async def test_a_name_is_a_name_and_is_given_once(shop: Open):
    async with shop() as opened:
        await opened.make("secrets", tags=("secret",))
        for name in ("", "Notes", "a-b", "../a", "a.b", 'a"; DROP TABLE x', "a\n", "1a", "ä", "a" * 64, "secrets"):
            one = new_collection(name=name)

            async def run(_: Permit, session: Session, one: Collection = one) -> Result:
                await session.keep(one)
                return Text("kept")

            told = await opened.refused(KEEPER, on(Action.MANAGE, one), run)
            own = "the permit of this call does not cover that collection"
            assert (name, told) == (name, f"refused: {own if name == 'secrets' else 'a collection cannot be called so'}")
        table = opened.house.gate._shelves._table
        assert not await table.create(new_collection(name="secrets"))
        same = new_collection(name="same")
        assert [await table.create(one) for one in (same, same, replace(same, id=uuid4()))] == [True, True, False]
        tuned, moved = replace(same, tuning=Tuning(0.95, 0.96)), replace(same, store="elsewhere")
        changes = ((moved, same), (moved, same), (tuned, same), (replace(moved, tags=("a",)), moved))
        assert [await table.change(*one) for one in changes] == [True, True, False, True]


@pytest.mark.asyncio
async def test_a_yes_is_good_for_the_collection_that_had_the_name_then(shop: Open):
    async with shop() as opened:
        digests = []

        async def seen(permit: Permit, session: Session) -> Result:
            digests.append(about(permit, session.world))
            return Text("seen")

        async def drop(_: Permit, session: Session) -> Result:
            await session.drop("notes")
            return Text("dropped")

        for _ in range(2):
            notes = await opened.make("notes")
            await opened.do(KEEPER, on(Action.DROP, notes), seen)
            await opened.do(KEEPER, on(Action.DROP, notes), seen)
            await opened.do(KEEPER, on(Action.DROP, notes), drop)
    assert digests[0] == digests[1] != digests[2] == digests[3]


@pytest.mark.asyncio
async def test_a_drop_that_somebody_did_not_finish_is_finished_by_the_next(shop: Open):
    async with shop() as opened:
        notes = await opened.make("notes")
        store = opened.house.gate._shelves.store("tested")
        await opened.house.gate._shelves._table.release(notes)
        assert await store.count(notes) == 1
        async with open_house(opened.site.config, lambda _: None) as second:
            assert (await second.gate._shelves.holdings(second.policies.engine, KEEPER)).collections == {}
            table: CollectionTable = second.gate._shelves._table

            async def forgotten() -> bool:
                return not (await table.dropping()).collections

            await until(forgotten)
        with pytest.raises(NoCollection):
            await store.count(notes)


@pytest.mark.asyncio
async def test_a_store_that_cannot_be_reached_keeps_nothing_else_from_working(shop: Open):
    async with shop("postgresql:///vector_store?host=/nowhere&user=nobody") as opened:
        one = new_collection(name="notes")

        async def run(_: Permit, session: Session) -> Result:
            await session.manage("notes").create(one)
            return Text("made")

        assert (await opened.refused(KEEPER, on(Action.MANAGE, one), run)).startswith("unavailable: the store `tested`")
        assert "3007" in (await opened.house.gate.call(KEEPER, Call("query", {"sql": "select count(*) from notes"}))).text


def looking_up(world: World) -> Intent:
    """What `search` states of a collection of rows."""
    one = known("notes", world.holdings).collection
    assert one.source is not None
    lookup = lookup_of(one.source, world.view("shop"))
    accesses = (Access(Action.SEARCH, one.resource), *lookup.accesses)
    return Intent("probe", {}, accesses, "shop", lookups=(lookup.statement,))


def finding(*keys: str) -> Run:
    async def run(permit: Permit, session: Session) -> Result:
        [statement] = permit.intent.lookups
        return await session.lookup(statement, keys)

    return run


@pytest.mark.asyncio
async def test_rows_are_looked_up_as_the_caller_has_them_whatever_their_keys_are(shop: Open):
    odd = ['"', "\\", "}", "NULL", "x','n1", "", 'a,"b"']
    async with shop() as opened:
        await opened.make("notes", source=SOURCE)
        assert "author 7" in await opened.do(KEEPER, looking_up, finding("n7", "n8"))
        seen = await opened.do(GUEST, looking_up, finding("n7", "n8", "n1,n2", "{n2}", "n2' OR true --"))
        assert ("n8,body 8,***" in seen, "n7" in seen, "author" in seen.partition("\n")[2].replace("author\n", "", 1)) == (
            True,
            False,
            False,
        )
        all_of_them = await opened.do(GUEST, looking_up, finding(*odd))
        assert [word in all_of_them for word in ("quote", "slash", "brace", "null", "tick", "empty", "comma")] == [True] * 7
        records = await opened.site.records()
    last = [record for record in records if record["kind"] == "i"][-1]
    assert last["collections"] == ["search notes"]
    assert last["sql"] == "SELECT id, body, author FROM public.notes WHERE id = ANY($1)"
    assert "guest-rows" in last["rules"]


@pytest.mark.asyncio
async def test_a_lookup_is_served_by_the_index_of_its_key_inside_the_fence(shop: Open):
    async with shop() as opened:
        world = await opened.house.worlds.world(opened.house.policies.engine, GUEST)
        statement = lookup_of(SOURCE, world.view("shop")).statement
        connection = await asyncpg.connect(opened.site.config.datasources["shop"].dsn.get_secret_value())
        plans = [await connection.fetch(f"EXPLAIN {text}", ["n1", "n2"]) for text in (statement.fenced, statement.estimated)]
        await connection.close()
    for plan in plans:
        told = "\n".join(row[0] for row in plan)
        assert "Index Cond: (id = ANY" in told or "Recheck Cond: (id = ANY" in told, told


@pytest.mark.asyncio
async def test_a_lookup_is_one_of_the_permit_and_within_its_terms(shop: Open):
    async with shop() as opened:
        await opened.make("notes", source=SOURCE)

        async def another(_: Permit, session: Session) -> Result:
            return await session.lookup(
                judge("select body from notes where id = any($1)", session.world.view("shop")).statement, []
            )

        async def as_rows(permit: Permit, session: Session) -> Result:
            return await session.rows(permit.intent.lookups[0])

        async def many(permit: Permit, session: Session) -> Result:
            return await session.lookup(permit.intent.lookups[0], ["n1"] * 1001)

        def less(world: World) -> Intent:
            return replace(looking_up(world), accesses=looking_up(world).accesses[:1])

        assert "does not cover that statement" in await opened.refused(GUEST, looking_up, another)
        assert "does not cover that statement" in await opened.refused(GUEST, looking_up, as_rows)
        assert "1,000 keys" in await opened.refused(GUEST, looking_up, many)
        assert "does more than its plan says" in await opened.refused(GUEST, less, nothing)
        dear = await opened.refused(Principal("dee", ("dear",)), looking_up, finding("n1"))
        assert dear.startswith("max_cost:")


@pytest.mark.asyncio
async def test_of_looked_up_rows_those_of_the_reply_count(shop: Open):
    few = Principal("fay", ("few",))
    keys = [f"n{n}" for n in range(1, 100)]

    async def five(permit: Permit, session: Session) -> Result:
        found = await session.lookup(permit.intent.lookups[0], keys)
        assert (len(found.rows), session.most_rows) == (99, 5)
        return Hits(("id",), tuple(row[:1] for row in found.rows))

    async def rest(permit: Permit, session: Session) -> Result:
        assert session.most_rows == 2
        return await finding(*keys)(permit, session)

    async with shop() as opened:
        await opened.make("notes", source=SOURCE)
        for _ in range(2):
            assert "5 hits; next: offset 5" in await opened.do(few, looking_up, five)
        assert "2 rows" in await opened.do(few, looking_up, rest)
        assert (await opened.refused(few, looking_up, rest)).startswith("over_budget")


@pytest.mark.asyncio
async def test_an_error_of_a_lookup_quotes_no_key(shop: Open, postgres_server: PostgresServer):
    numbers = replace(SOURCE, statement="SELECT id, body, author FROM public.numbered")
    async with shop() as opened:
        dsn = opened.site.config.datasources["shop"].dsn.get_secret_value()
        database = dsn.partition("///")[2].partition("?")[0]
        postgres_server.sql("CREATE TABLE numbered AS SELECT 1 AS id, 'b' AS body, 'a' AS author", database)
        await opened.house.datasources["shop"].refresh()
        await opened.make("notes", source=numbers)
        told = await opened.refused(KEEPER, looking_up, finding("canary"))
    assert told == "database_error: one of the keys is none that a row of this collection can have"


@pytest.mark.asyncio
async def test_rows_for_a_collection_come_in_pages(shop: Open):
    def plan(world: World) -> Intent:
        judged = judge("select id, body from notes order by id", world.view("shop"))
        return Intent("probe", {}, judged.accesses, "shop", (judged.statement,), to_collection=True)

    async def run(permit: Permit, session: Session) -> Result:
        [statement] = permit.intent.statements
        pages = [page async for page in session.pages(statement, rows=700)]
        keys = [row[0] for page in pages for row in page.rows]
        assert len(set(keys)) == len(keys)
        return Text(" ".join(f"{len(page.rows)}{'+' * page.truncated}" for page in pages))

    async def as_rows(permit: Permit, session: Session) -> Result:
        return await session.rows(permit.intent.statements[0])

    def to_reply(world: World) -> Intent:
        return replace(plan(world), to_collection=False)

    async with shop() as opened:
        assert await opened.do(KEEPER, plan, run) == "700 700 700 700 207"
        assert await opened.do(Principal("fay", ("few",)), plan, run) == "5+"
        assert "covers no rows" in await opened.refused(KEEPER, plan, as_rows)
        assert "does not cover a collection" in await opened.refused(KEEPER, to_reply, run)
