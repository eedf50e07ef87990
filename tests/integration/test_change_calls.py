"""`propose_change`, `apply_change` and `revert_change` through the gate: exactly what was seen, once, or nothing."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import ADMIN, PostgresServer
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.audit.verify import verify_database
from ostiary.call import Call
from ostiary.mcp_app import McpApp
from ostiary.settling import settle
from ostiary_policies.model import Principal
from ostiary_tools.api import Text
from ostiary_tools.datasources.postgres import PostgresDatasource

SHOP = """
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, price numeric(8,2) NOT NULL CHECK (price > 0), owner text);
INSERT INTO products SELECT n, 'product ' || n, n, CASE WHEN n <= 5 THEN 'ada' ELSE 'bob' END FROM generate_series(1, 10) n;
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, product int REFERENCES products ON DELETE CASCADE,
    placed timestamptz DEFAULT clock_timestamp(), note text UNIQUE);
INSERT INTO orders (product, note) SELECT n, 'order ' || n FROM generate_series(1, 10) n;
CREATE TABLE vault (id int PRIMARY KEY, product int REFERENCES products ON DELETE CASCADE);
INSERT INTO vault VALUES (1, 9);
"""
POLICY = """
@id("engineer") permit (principal in Role::"engineer", action, resource);
@id("vault-is-hidden") forbid (principal, action in [Action::"see", Action::"read", Action::"delete"], resource is Table)
when { resource.name == "vault" };
@id("vault-columns") forbid (principal, action in [Action::"see", Action::"read"], resource is Column)
when { resource.table == "vault" };
"""
CHEAPER = "update products set price = price / 2 where id <= 3"
_CHANGE = re.compile(r"change ([A-Za-z0-9_-]{24}) on")


@dataclass(frozen=True)
class Shop:
    """A server over a database that its agents change."""

    site: Site
    house: House
    database: str

    def client(self, agent: str = "ada", *roles: str) -> Client:
        """An agent."""
        return Client(McpApp(self.house.gate, lambda _: Principal(agent, roles or ("engineer",))).server)

    async def owner(self, statement: str) -> list[Any]:
        """The database's owner does something."""
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    async def control(self, statement: str) -> list[Any]:
        """The control database's administrator does something."""
        return await self.site.fetch(statement, role=ADMIN)

    async def prices(self) -> list[str]:
        """The first products' prices."""
        return [str(row["price"]) for row in await self.owner("SELECT price FROM products ORDER BY id LIMIT 4")]


OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(policy: str = POLICY, more: str = "", rest: str = "", **wishes: Any) -> AsyncIterator[Shop]:
        database = await make_database(SHOP + more)
        dsn = postgres_server.dsn(database=database)
        site = await make_site({"shop": dsn}, policy=policy, writers={"shop": dsn}, more=rest, **wishes)
        async with open_house(site.config, lambda _: None) as house:
            yield Shop(site, house, database)

    return opened


async def propose(client: Client, *statements: str, **more: Any) -> str:
    given = {"statements": [{"sql": sql} for sql in statements]} if statements else {}
    return text_of(await client.call_tool("propose_change", {**given, **more}))


async def apply(client: Client, proposed: str, **more: Any) -> str:
    return text_of(await client.call_tool("apply_change", {"change": handle(proposed), **more}))


async def revert(client: Client, proposed: str) -> str:
    return text_of(await client.call_tool("revert_change", {"change": handle(proposed)}))


def handle(proposed: str) -> str:
    found = _CHANGE.search(proposed)
    assert found is not None, proposed
    return found[1]


@pytest.mark.asyncio
async def test_a_change_is_seen_then_applied_then_undone(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, CHEAPER)
        assert "public.products: ~3" in proposed
        assert await opened.prices() == ["1.00", "2.00", "3.00", "4.00"]
        applied = await apply(client, proposed)
        assert "applied" in applied
        assert await opened.prices() == ["0.50", "1.00", "1.50", "4.00"]
        undone = await revert(client, proposed)
        assert "reverted" in undone
        assert await opened.prices() == ["1.00", "2.00", "3.00", "4.00"]
        assert all(len(said) < 600 for said in (proposed, applied, undone))
        records = await opened.site.records()
        ends = [(r["change"]["state"], r["change"]["rows"]) for r in records if r["kind"] == "o"]
        assert ends == [(state, {"public.products": [0, 3, 0]}) for state in ("proposed", "applied", "reverted")]
        calls = {r["tool"]: r for r in records if r["kind"] == "i"}
        assert calls["apply_change"]["change"] == calls["revert_change"]["change"] == calls["propose_change"]["call"]
        assert handle(proposed) not in str(records)


@pytest.mark.asyncio
async def test_a_change_is_its_owners_and_good_once(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client, opened.client("eve") as other:
        proposed = await propose(client, CHEAPER)
        unknown = await apply(client, f"change {'x' * 24} on")
        assert unknown.startswith("refused: unknown change")
        assert await apply(other, proposed) == unknown
        both = sorted(await asyncio.gather(apply(client, proposed), apply(client, proposed)))
        assert [("applied\n" in said, said.startswith("refused:")) for said in both] == [(True, False), (False, True)]
        assert "applied already" in await apply(client, proposed)
        assert await opened.prices() == ["0.50", "1.00", "1.50", "4.00"]
        assert (await revert(other, proposed)) == unknown
        assert "reverted" in await revert(client, proposed)
        assert "it was undone" in await revert(client, proposed)
        assert "it was undone" in await apply(client, proposed)


@pytest.mark.asyncio
async def test_what_is_no_longer_what_was_proposed_is_refused(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client, opened.client("ada", "engineer", "more") as promoted:
        proposed = [await propose(client, CHEAPER) for _ in range(6)]
        assert "your roles have changed" in await apply(promoted, proposed[0])
        await opened.owner("UPDATE products SET price = 7 WHERE id = 2")
        assert "not what was proposed any more: its rows were others" in await apply(client, proposed[0])
        assert "could not be applied" in await apply(client, proposed[0]) or "not what was" in await apply(client, proposed[0])
        await opened.owner("UPDATE products SET price = 2 WHERE id = 2")
        await opened.owner("INSERT INTO products VALUES (0, 'new', 1)")
        assert "its statements met other rows" in await apply(client, proposed[1])
        await opened.owner("DELETE FROM products WHERE id = 0")
        await opened.control(f"UPDATE changes.change SET expires_at = expires_at - interval '2 hours' WHERE {_of(2)}")
        assert "unknown change" in await apply(client, proposed[2]), "who moves the clock has tampered with it"
        await opened.control(f"UPDATE changes.change SET agent = 'ada', rows_changed = 1 WHERE {_of(3)}")
        assert "unknown change" in await apply(client, proposed[3])
        await opened.owner("ALTER TABLE products ADD more int")
        await opened.house.datasources["shop"].refresh()
        assert "the schema has changed since" in await apply(client, proposed[4])
        assert await opened.prices() == ["1.00", "2.00", "3.00", "4.00"]


def _of(place: int) -> str:
    """The change that was proposed after so many others."""
    return f"id = (SELECT id FROM changes.change ORDER BY moved_at OFFSET {place} LIMIT 1)"


@pytest.mark.asyncio
async def test_a_state_that_somebody_set_back_applies_nothing_twice(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, "insert into orders (product) values (1)")
        assert "applied" in await apply(client, proposed)
        for tampered in ("state = 'proposed'", "transaction = ''", "state = 'applied', transaction = '1/00000001/5'"):
            await opened.control(f"UPDATE changes.change SET {tampered}")
            assert "unknown change" in await apply(client, proposed)
            assert "unknown change" in await revert(client, proposed)
        assert len(await opened.owner("SELECT FROM orders")) == 11


@pytest.mark.asyncio
async def test_an_expired_change_says_so(shop: OpenShop) -> None:
    async with shop(rest="[changes]\nproposal_s = 0.001") as opened, opened.client() as client:
        assert "this change has ended: it has expired" in await apply(client, await propose(client, CHEAPER))


@pytest.mark.asyncio
async def test_policy_is_asked_anew(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, CHEAPER)
        await _policy(opened, POLICY + '@id("frozen") forbid (principal, action == Action::"update", resource is Table);')
        said = await apply(client, proposed)
        assert said.startswith("denied: you may not update table `public.products`")
        await _policy(
            opened,
            POLICY
            + '@id("fast") @replica("required") permit (principal in Role::"engineer", action == Action::"update", resource);',
        )
        assert "states `@replica`, and a change cannot be held to that" in await apply(client, proposed)
        await _policy(opened, POLICY)
        assert "applied" in await apply(client, proposed)


async def _policy(opened: Shop, text: str) -> None:
    (opened.site.folder / "policies" / "own.cedar").write_text(text)
    policies = opened.house.policies
    policies.put_in_force(policies.judged(policies.look()))


@pytest.mark.asyncio
async def test_a_cascade_into_what_is_hidden_is_refused_without_its_name(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        said = await propose(client, "delete from products where id = 9")
        assert said.startswith(("denied:", "refused:"))
        assert "vault" not in said.replace("vault-is-hidden", "").replace("vault-columns", "")
        fine = await propose(client, "update products set price = 3 where id = 8")
        assert "public.products: ~1" in fine


@pytest.mark.asyncio
async def test_what_differs_at_each_run_is_let_be(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, "insert into orders (product, note) values (1, 'a'), (2, 'b')")
        assert "public.orders: +2" in proposed
        assert "orders_id_seq 2" in proposed
        applied = await apply(client, proposed)
        assert "not as shown, since they are others at each run: public.orders.id, public.orders.placed" in applied
        assert len(await opened.owner("SELECT FROM orders")) == 12
        assert "reverted" in await revert(client, proposed)
        assert len(await opened.owner("SELECT FROM orders")) == 10


COMPUTED = (
    "update products set price = price + (random() * 90 + 1)::numeric(8, 2) where id = 1",
    "update products set name = clock_timestamp()::text where id = 1",
    "update products set price = (select rate from rates) where id = 1",
    "insert into orders (product, placed) values (1, now())",
    "insert into orders (product, note) select id, gen_random_uuid()::text from products where id = 1",
    "insert into products (id, name, price) values (1, 'a', 1) on conflict (id) do update set name = gen_random_uuid()::text",
    "merge into products p using orders o on o.product = p.id and p.id = 1 when matched then update set owner = random()::text",
)


@pytest.mark.asyncio
async def test_what_a_statement_computes_is_what_was_seen_or_nothing(shop: OpenShop) -> None:
    more = "CREATE VIEW rates AS SELECT (random() * 90 + 1)::numeric(8, 2) AS rate;"
    async with shop(more=more) as opened, opened.client() as client:
        before = await opened.owner("SELECT * FROM products, orders ORDER BY 1, 5")
        for computed in COMPUTED:
            said = await apply(client, await propose(client, computed))
            assert "a statement gives other values than were seen (public." in said
            assert "give as parameters, or leave to defaults" in said
        assert await opened.owner("SELECT * FROM products, orders ORDER BY 1, 5") == before


@pytest.mark.asyncio
async def test_defaults_and_triggers_may_differ_at_each_run(shop: OpenShop) -> None:
    more = """
    CREATE TABLE history (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, price numeric);
    ALTER TABLE products ADD changed timestamptz;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        NEW.changed := clock_timestamp(); INSERT INTO history (at, price) VALUES (clock_timestamp(), NEW.price); RETURN NEW; END $$;
    CREATE TRIGGER note BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION note();
    """
    async with shop(more=more) as opened, opened.client() as client:
        applied = await apply(client, await propose(client, CHEAPER))
        assert "public.history.id, public.history.at, public.products.changed" in applied
        assert await opened.prices() == ["0.50", "1.00", "1.50", "4.00"]
        statement = "insert into orders (id, product, placed, note) values (default, 1, default, 'a')"
        assert "public.orders.id, public.orders.placed" in await apply(client, await propose(client, statement))


@pytest.mark.asyncio
async def test_errors_of_the_database_say_what_and_change_nothing(shop: OpenShop) -> None:
    raising = """
    CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never on %', NEW.name; END $$;
    CREATE TRIGGER no BEFORE UPDATE ON products FOR EACH ROW WHEN (NEW.id = 4) EXECUTE FUNCTION no();
    """
    async with shop(more=raising) as opened, opened.client() as client:
        conflict = await propose(client, "insert into orders (product, note) values (1, 'order 3')")
        assert conflict.startswith("database_error: ")
        assert "order 3" not in conflict
        check = await propose(client, "update products set price = -1 where id = 1")
        assert "products_price_check" in check
        assert (await propose(client, "update products set price = 1 where id = 4")).startswith("database_error: ")
        assert await opened.prices() == ["1.00", "2.00", "3.00", "4.00"]


@pytest.mark.asyncio
async def test_rows_are_changed_without_sql_and_errors_name_the_column(shop: OpenShop) -> None:
    def rows(action: str, columns: list[str], *values: list[Any], **more: Any) -> dict[str, Any]:
        return {"rows": [{"table": "products", "action": action, "columns": columns, "rows": list(values), **more}]}

    async with shop() as opened, opened.client() as client:
        for given, said in (
            (rows("insert", ["id", "nam"], [11, "x"]), "unknown column `nam`"),
            (rows("insert", ["id", "name"], [11, "x"]), "column `price` cannot be null and has no default"),
            (rows("insert", ["id", "name", "price"], [11, "x", "cheap"]), "row 1, column `price`: it takes a number"),
            (rows("insert", ["id", "name", "price"], [11, "x", 1], ["y", "x", 1]), "row 2, column `id`: it takes a whole number"),
            (rows("insert", ["id", "name", "price"], [11, None, 1]), "row 1, column `name`: it cannot be null"),
            (rows("update", ["id", "price"], [1, 2], [1, 3]), "rows 1 and 2 have the same key"),
            (rows("update", ["price"], [2]), "the key column `id` is not among `columns`"),
            (rows("delete", ["id", "name"], [1, "x"]), "rows are deleted by their keys alone"),
        ):
            assert said in text_of(await client.call_tool("propose_change", given))
        for given, counted in (
            (rows("insert", ["id", "name", "price"], [11, "x", 1.5], [12, 'y"\\{,}', "2"]), "+2"),
            (rows("update", ["id", "price", "owner"], [11, 3, None], [1, "9.99", "eve"]), "~2"),
            (rows("upsert", ["id", "name", "price"], [12, "z", 1], [13, "new", 1]), "+1 ~1"),
        ):
            proposed = text_of(await client.call_tool("propose_change", given))
            assert f"public.products: {counted}\n" in proposed, proposed
            assert "applied" in await apply(client, proposed)
        given = {"rows": [{"table": "orders", "action": "delete", "columns": ["id"], "rows": [[1], [2], [99]]}]}
        assert "rows per statement: 2\npublic.orders: -2\n" in text_of(await client.call_tool("propose_change", given))
        assert await opened.prices() == ["9.99", "2.00", "3.00", "4.00"]


@pytest.mark.asyncio
async def test_budgets_and_bounds_count_rows_that_change(shop: OpenShop) -> None:
    few = 'permit (principal in Role::"engineer", action == Action::"call", resource == Tool::'
    policy = f'{POLICY} @id("few") @limit_rows("4") {few}"propose_change");'
    policy += f' @id("day") @budget_rows("5/day") {few}"apply_change");'
    async with shop(policy=policy) as opened, opened.client() as client:
        assert (await propose(client, "update products set price = 1 where id <= 6")).startswith("refused: ")
        first, second = [await propose(client, f"update products set price = {n} where id <= 3") for n in (8, 9)]
        assert "applied" in await apply(client, first)
        assert (await apply(client, second)).startswith("over_budget:")


@pytest.mark.asyncio
async def test_who_cancels_while_it_is_committed_has_used_its_budget(shop: OpenShop) -> None:
    few = 'permit (principal in Role::"engineer", action == Action::"call", resource == Tool::'
    async with shop(policy=f'{POLICY} @id("day") @budget_rows("4/day") {few}"apply_change");') as opened, opened.client() as client:
        first, second = [await propose(client, f"update products set price = {n} where id <= 3") for n in (8, 9)]
        who, wanted = Principal("ada", ("engineer",)), Call("apply_change", {"change": handle(first)})
        async with _locked(opened.site.server.dsn(ADMIN, opened.site.control), "SELECT FROM changes.change FOR UPDATE"):
            call = asyncio.create_task(opened.house.gate.call(who, wanted))
            await until(lambda: _waits(opened))
            call.cancel()
            await asyncio.wait({call}, timeout=0)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await opened.prices() == ["8.00", "8.00", "8.00", "4.00"]
        assert (await apply(client, second)).startswith("over_budget:")


@pytest.mark.asyncio
async def test_a_call_that_is_cancelled_changes_nothing(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, CHEAPER)
        async with _locked(opened.site.server.dsn(database=opened.database), "SELECT FROM products WHERE id = 2 FOR UPDATE"):
            call = asyncio.create_task(apply(client, proposed))
            await until(lambda: _waits(opened))
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert await opened.prices() == ["1.00", "2.00", "3.00", "4.00"]
        assert "applied" in await apply(client, proposed)


@asynccontextmanager
async def _locked(dsn: str, rows: str) -> AsyncIterator[None]:
    """Another session holds these rows."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(rows)
            yield
    finally:
        await connection.close()


async def _waits(opened: Shop) -> bool:
    found = await opened.owner("SELECT FROM pg_locks WHERE NOT granted")
    return bool(found)


@pytest.mark.asyncio
async def test_the_tools_are_few_and_short(shop: OpenShop) -> None:
    async with (
        shop(policy='@id("none") forbid (principal in Role::"nobody", action, resource);') as opened,
        opened.client() as client,
    ):
        tools = (await client.list_tools()).tools
        assert len(json.dumps([tool.model_dump(mode="json", exclude_none=True) for tool in tools])) < 10_000
        assert len(tools) <= 12


@pytest.mark.asyncio
async def test_rows_are_changed_by_the_rules_of_rows(shop: OpenShop) -> None:
    async with shop(policy=POLICY + ROWS) as opened, opened.client() as client:
        assert "public.products: ~4\n" in await propose(client, "update products set price = 7 where id <> 2"), (
            "hidden rows are not touched"
        )
        said = await propose(client, "update products set owner = 'bob' where id = 1")
        assert said.startswith("denied: the change would make rows that would not be yours")
        assert "engineer-own-rows" in said
        assert (await propose(client, "update products set price = 3 where id = 2")).startswith("denied: ")
        assert "public.products: ~1\n" in await propose(client, "update products set price = 3 where id = 1")


ROWS = """
@id("engineer-own-rows") permit (principal in Role::"engineer", action == Action::"read_row", resource is shop::public::products)
when { resource has owner && resource.owner == "ada" };
@id("engineer-touches")
permit (principal in Role::"engineer", action == Action::"update_row", resource is shop::public::products)
when { resource.id != 2 };
"""


@pytest.mark.asyncio
async def test_masks_hold_in_samples(shop: OpenShop) -> None:
    policy = (
        POLICY
        + """
    @id("no-names") forbid (principal, action == Action::"read", resource == Column::"shop.public.products.name");
    @id("names") @mask("redact")
    permit (principal in Role::"engineer", action == Action::"read_masked", resource == Column::"shop.public.products.name");
    """
    )
    async with shop(policy=policy) as opened, opened.client() as client:
        reply = await client.call_tool("propose_change", {"statements": [{"sql": "update products set name = 'x' where id = 1"}]})
        shown = str([block.model_dump() for block in reply.content])
        assert "***" in shown
        assert "product 1" not in shown


MASKED = """
@id("no-names") forbid (principal, action == Action::"read", resource == Column::"shop.public.products.name");
@id("names") @mask("redact")
permit (principal in Role::"engineer", action == Action::"read_masked", resource == Column::"shop.public.products.name");
"""


@pytest.mark.asyncio
async def test_a_proposal_does_not_tell_whether_a_masked_value_was_guessed(shop: OpenShop) -> None:
    more = """ALTER TABLE products ALTER name DROP NOT NULL;
    CREATE FUNCTION names() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := 'x'; RETURN NEW; END $$;
    CREATE TRIGGER names BEFORE INSERT ON products FOR EACH ROW WHEN (NEW.id = 11) EXECUTE FUNCTION names();"""
    async with shop(policy=POLICY + MASKED, more=more) as opened, opened.client() as client:

        async def shown(statement: str) -> str:
            reply = await client.call_tool("propose_change", {"statements": [{"sql": statement}]})
            return re.sub(r"[\w-]{24}|data-\w+", "", "\n".join(str(block.model_dump()) for block in reply.content))

        right, wrong = [await shown(f"update products set name = 'product {n}' where id = 1") for n in (1, 2)]
        assert "public.products: ~1" in right
        assert "id,name" in right
        assert right == wrong
        none, some = [await shown(f"insert into products (id, price) values ({n}, 1)") for n in (12, 11)]
        assert "id,price" in none
        assert none.replace("12", "11") == some


@pytest.mark.asyncio
async def test_constraints_and_sequences_of_hidden_columns_are_not_named(shop: OpenShop) -> None:
    more = """
    CREATE TABLE pets (id serial PRIMARY KEY, age int, pin int NOT NULL);
    CREATE TABLE cats (id int PRIMARY KEY, pin int DEFAULT 0 CONSTRAINT pin_positive CHECK (pin > 5));
    CREATE TABLE dogs (id serial PRIMARY KEY);
    CREATE SEQUENCE dogs_secret OWNED BY vault.id;
    CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('dogs_secret'); RETURN NEW; END $$;
    CREATE TRIGGER counts BEFORE INSERT ON dogs FOR EACH ROW EXECUTE FUNCTION counts();
    """
    hidden = """@id("no-pins") forbid (principal, action, resource is Column) when { resource.name == "pin" };"""
    async with shop(policy=POLICY + hidden, more=more) as opened, opened.client() as client:
        rows = {"table": "pets", "action": "insert", "columns": ["age"], "rows": [[1]]}
        for said in (
            await propose(client, "insert into pets (age) values (1)"),
            await propose(client, "insert into cats (id) values (1)"),
            await propose(client, rows=[rows]),
        ):
            assert said.startswith(("database_error: ", "refused: ")), said
            assert "pin" not in said
        drawn = await propose(client, "insert into dogs default values")
        assert "public.dogs_id_seq 1" in drawn
        assert "secret" not in drawn


@pytest.mark.asyncio
async def test_edits_of_others_are_not_undone(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, CHEAPER)
        assert "applied" in await apply(client, proposed)
        await opened.owner("UPDATE products SET name = 'theirs' WHERE id = 2")
        assert (await revert(client, proposed)).startswith(
            "refused: 1 row of `public.products` is no longer as the change left it: (2)\n"
        )
        assert await opened.prices() == ["0.50", "1.00", "1.50", "4.00"]
        await opened.owner("UPDATE products SET name = 'product 2' WHERE id = 2")
        assert "reverted" in await revert(client, proposed)


@pytest.mark.parametrize(
    "rule",
    [
        """@id("hidden")
        forbid (principal, action in [Action::"see", Action::"read"], resource == Column::"shop.public.people.email");""",
        """@id("masked") forbid (principal, action == Action::"read", resource == Column::"shop.public.people.email");
        @id("mask") @mask("redact")
        permit (principal in Role::"engineer", action == Action::"read_masked", resource == Column::"shop.public.people.email");""",
    ],
)
@pytest.mark.asyncio
async def test_keys_that_the_caller_does_not_read_are_not_told(shop: OpenShop, rule: str) -> None:
    people = "CREATE TABLE people (email text PRIMARY KEY, note text); INSERT INTO people VALUES ('secret@bank.example', 'a');"
    async with shop(policy=POLICY + rule, more=people) as opened, opened.client() as client:
        proposed = await propose(client, "update people set note = 'x' where note is not null")
        assert "applied" in await apply(client, proposed)
        await opened.owner("UPDATE people SET note = 'theirs'")
        said = await revert(client, proposed)
        assert said.startswith("refused: 1 row of `public.people` is no longer as the change left it\n")
        assert "secret" not in said


@pytest.mark.asyncio
async def test_what_became_of_a_change_is_found_out_after_its_process_died(shop: OpenShop) -> None:
    """Its row says that it was about to be committed, and its process says nothing any more."""
    async with shop() as opened, opened.client() as client:
        first, second, third = [await propose(client, f"update products set price = 5 where id = {n}") for n in (1, 2, 3)]
        assert "applied" in await apply(client, first)
        assert "applied" in await apply(client, second)
        await opened.control(f"UPDATE changes.change SET state = 'applying' WHERE {_numbered(await _numbers(opened), 0)}")
        async with _running(opened) as transaction:
            running = f"transaction = regexp_replace(transaction, '[0-9]+$', '{transaction}')"
            numbers = await _numbers(opened)
            await opened.control(f"UPDATE changes.change SET state = 'applying', {running} WHERE {_numbered(numbers, 1)}")
            told = await apply(client, first)
            assert "it is being applied, or was when its connection broke" in told
            assert await _settle(opened) == 1
        assert "it was applied already" in await apply(client, first)
        states = {str(row["number"]): row["state"] for row in await opened.control("SELECT number, state FROM changes.change")}
        assert states[numbers[1]] == "applying", "what may still run is left alone"
        assert "reverted" in await revert(client, first)
        assert "applied" in await apply(client, third)
        [event] = [r for r in await opened.site.records() if r.get("event") == "change_settled"]
        assert (event["was"], event["state"], event["agent"]) == ("applying", "applied", "ada")


@pytest.mark.asyncio
async def test_what_cannot_be_settled_keeps_nothing_else_waiting(shop: OpenShop) -> None:
    """A hundred changes of a datasource that is no more are older than the one that can be settled."""
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, CHEAPER)
        assert "applied" in await apply(client, proposed)
        await opened.control("UPDATE changes.change SET state = 'applying'")
        await opened.control("""INSERT INTO changes.change
            SELECT decode(md5(n::text) || md5(n::text), 'hex'), gen_random_uuid(), agent, roles, 'gone', policy_hash,
                schema_version, 'applying', transaction, 1, expires_at, now() - interval '1 h', body
            FROM changes.change, generate_series(1, 100) n""")
        assert [await _settle(opened), await _settle(opened)] == [0, 1]
        assert "it was applied already" in await apply(client, proposed)
        await opened.control("UPDATE changes.change SET expires_at = now() - interval '2 days' WHERE datasource = 'gone'")
        assert await _settle(opened) == 100, "nobody waits for that datasource for ever"
        await _settle(opened)
        assert [row["state"] for row in await opened.control("SELECT state FROM changes.change")] == ["applied"]


@pytest.mark.asyncio
async def test_what_its_database_cannot_tell_any_more_is_unknown_and_said_so(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = await propose(client, CHEAPER)
        assert "applied" in await apply(client, proposed)
        [row] = await opened.control("SELECT transaction FROM changes.change")
        await opened.control(
            "UPDATE changes.change SET state = 'applying', transaction = regexp_replace(transaction, '/.*/', '/0000BEEF/')"
        )
        assert await _settle(opened) == 1
        # It is sealed with the change.
        await opened.control(f"UPDATE changes.change SET transaction = '{row['transaction']}'")
        for said in (await apply(client, proposed), await revert(client, proposed)):
            assert "what became of it cannot be found out any more" in said
        [event] = [r for r in await opened.site.records() if r.get("event") == "change_settled"]
        assert (event["was"], event["state"]) == ("applying", "unknown")


@pytest.mark.asyncio
async def test_a_datasource_that_is_read_only_by_now_does_not_end_settling(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        proposed = [await propose(client, f"update products set price = 5 where id = {n}") for n in (1, 2)]
        assert "applied" in await apply(client, proposed[0])
        await opened.control("UPDATE changes.change SET state = 'applying' WHERE state = 'applied'")
        datasource = opened.house.datasources["shop"]
        assert isinstance(datasource, PostgresDatasource)
        writer, datasource.writer = datasource.writer, None
        try:
            assert await _settle(opened) == 0
        finally:
            datasource.writer = writer
        assert await _settle(opened) == 1


@pytest.mark.asyncio
async def test_what_expired_long_ago_is_forgotten_though_nobody_proposes(shop: OpenShop) -> None:
    async with shop() as opened, opened.client() as client:
        await propose(client, CHEAPER)
        await opened.control("UPDATE changes.change SET expires_at = now() - interval '2 days'")
        await _settle(opened)
        assert await opened.control("SELECT FROM changes.change") == []


@asynccontextmanager
async def _running(opened: Shop) -> AsyncIterator[str]:
    """The number of a transaction that does not end."""
    connection = await asyncpg.connect(opened.site.server.dsn(database=opened.database))
    try:
        async with connection.transaction():
            yield str(await connection.fetchval("SELECT pg_current_xact_id()::text"))
    finally:
        await connection.close()


async def _settle(opened: Shop) -> int:
    house = opened.house
    return await settle(house.gate._ledger, house.datasources, house.recorder, 0)


async def _numbers(opened: Shop) -> list[str]:
    """Of the changes, in the order in which they were proposed."""
    return [r["call"] for r in await opened.site.records() if r["kind"] == "i" and r["tool"] == "propose_change"]


def _numbered(numbers: list[str], place: int) -> str:
    return f"number = '{numbers[place]}'"


@pytest.mark.asyncio
async def test_every_step_stands_in_a_chain_that_verifies(shop: OpenShop) -> None:
    async with shop() as opened:
        async with opened.client() as client:
            proposed = await propose(client, CHEAPER)
            await apply(client, proposed)
            await apply(client, proposed)
            await revert(client, proposed)
        steps = [(r["tool"], r["decision"]) for r in await opened.site.records() if "decision" in r]
        assert steps == [
            *(("propose_change", "permit"), ("apply_change", "permit")),
            *(("apply_change", "refused"), ("revert_change", "permit")),
        ]
    report = await verify_database(opened.house.audit.reader_dsn, opened.house.audit.public_key, opened.house.audit.anchor)
    assert report.exit_code == 0, report.sentence()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_hundred_thousand_rows_are_changed_and_put_back(shop: OpenShop) -> None:
    # The shipped engineer would wait for a human's approval.
    policy = POLICY + '@id("loader") permit (principal in Role::"loader", action, resource);'
    async with shop(policy=policy, more="CREATE TABLE bulk (id int PRIMARY KEY, said text)") as opened:
        who = Principal("ada", ("loader",))
        values = [[n, f"row {n} says something of a usual length"] for n in range(100_000)]
        given = {"rows": [{"table": "bulk", "action": "insert", "columns": ["id", "said"], "rows": values}]}
        proposed = await _called(opened, who, "propose_change", given)
        for tool, said, rows in (("apply_change", "public.bulk: +100000", 100_000), ("revert_change", "public.bulk: -100000", 0)):
            assert said in await _called(opened, who, tool, {"change": handle(proposed)})
            assert len(await opened.owner("SELECT FROM bulk")) == rows


async def _called(opened: Shop, who: Principal, tool: str, arguments: dict[str, Any]) -> str:
    """The first block of the reply."""
    reply = await opened.house.gate.call(who, Call(tool, arguments))
    assert isinstance(reply.blocks[0], Text)
    return reply.blocks[0].text


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["delete", "insert"])
async def test_a_row_that_goes_and_comes_again_is_held_to_the_rules_of_both(shop: Any, action: str):
    ruled = f"""@id("few") permit (principal in Role::"engineer", action == Action::"{action}_row", resource is shop::public::tags)
    when {{ resource.word == "draft" }};"""
    tags = """CREATE TABLE tags (id int PRIMARY KEY, word text NOT NULL, n int);
    INSERT INTO tags VALUES (1, 'final', 1), (2, 'draft', 2);"""
    async with shop(POLICY + ruled, more=tags) as opened, opened.client() as client:
        refused = await propose(client, "delete from tags where id = 1", "insert into tags values (1, 'final', 9)")
        assert "rule: few" in refused
        handle(await propose(client, "delete from tags where id = 2", "insert into tags values (2, 'draft', 9)"))
        handle(await propose(client, "update tags set n = 9 where id = 1"))


@pytest.mark.asyncio
async def test_a_default_of_a_domain_runs_only_what_its_agent_may_execute(shop: Any):
    kept = '@id("kept") forbid (principal, action == Action::"execute", resource) when { resource.name == "drawn" };'
    tags = """CREATE FUNCTION drawn() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 4; END';
    CREATE DOMAIN number AS int DEFAULT drawn(); CREATE TABLE tags (id int PRIMARY KEY, n number);"""
    async with shop(POLICY + kept, more=tags) as opened, opened.client() as client:
        assert "rule: kept" in await propose(client, "insert into tags (id) values (1)")
        handle(await propose(client, "insert into tags values (1, 2)"))
