"""The sample shop: what the demo and the first steps of every user stand on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from ostiary_tools.embedded import ADMIN, AGENT, SHOP, attach, attached

COUNTS = {
    "addresses": 2400,
    "categories": 16,
    "customers": 2000,
    "employees": 60,
    "order_items": 25_000,
    "orders": 10_000,
    "products": 240,
    "reviews": 800,
}


@pytest_asyncio.fixture
async def shop(embedded_home: Path) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the superuser to a fresh shop."""
    async with attached(embedded_home, lambda _: None) as cluster:
        connection = await asyncpg.connect(cluster.dsn(ADMIN, SHOP))
        yield connection
        await connection.close()


@pytest.mark.asyncio
async def test_the_shop_is_complete_and_consistent(shop: asyncpg.Connection) -> None:
    """One start for all that is only looked at."""
    assert {table: await shop.fetchval(f"select count(*) from {table}") for table in COUNTS} == COUNTS
    estimates = await shop.fetch("select relname, reltuples::integer as rows from pg_class where relname = any($1)", list(COUNTS))
    assert {row["relname"]: row["rows"] for row in estimates} == COUNTS, "not analysed"
    contradictions = {
        "a payment that is not the sum of its order": "payments p join order_totals t using (order_id) where p.amount <> t.gross",
        "an order before its customer": "orders o join customers c on c.id = o.customer_id where o.placed_at < c.created_at",
        "an order sent to somebody else": "orders o join addresses a on a.id = o.address_id where a.customer_id <> o.customer_id",
        "an open order that was shipped": "orders where status in ('pending', 'paid') and shipped_at is not null",
        "an address that is not an example": "customers where email !~ '@example[.](com|org|net)$'",
    }
    assert {what: await shop.fetchval(f"select count(*) from {rows}") for what, rows in contradictions.items()} == dict.fromkeys(
        contradictions, 0
    )
    assert await shop.fetchval("select count(distinct status) from orders") == 6
    assert await shop.fetchval("select sum(gross) from monthly_sales") == await shop.fetchval(
        "select sum(gross) from order_totals where status not in ('returned', 'cancelled')"
    )
    assert await shop.fetchval("select net_amount(119)") == 100
    assert await shop.fetchval("select count(*) from reviews where body like 'Ignore all previous%'") == 1

    uncommented = await shop.fetch(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm')"
        " and obj_description(oid, 'pg_class') is null"
    )
    assert uncommented == []
    tagged = await shop.fetch(
        "select attrelid::regclass::text || '.' || attname as name from pg_attribute"
        " where col_description(attrelid, attnum) ~ '@(pii [a-z_]+|secret)' order by 1"
    )
    assert [row["name"] for row in tagged] == [
        "addresses.postcode",
        "addresses.street",
        "customers.birth_date",
        "customers.email",
        "customers.full_name",
        "customers.phone",
        "employees.email",
        "employees.full_name",
        "employees.national_id",
        "employees.salary",
        "newsletter_recipients.email",
        "newsletter_recipients.full_name",
        "payments.card_last4",
        "payments.iban",
        "payments.provider_token",
        "products.purchase_price",
    ]
    unindexed = await shop.fetch(
        "select conrelid::regclass::text as name from pg_constraint c where contype = 'f' and not exists"
        " (select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]) order by 1, conkey"
    )
    assert [row["name"] for row in unindexed] == ["categories", "orders", "orders", "reviews"]


@pytest.mark.asyncio
async def test_the_shop_has_the_same_rows_on_every_machine(shop: asyncpg.Connection) -> None:
    digest = "select md5(string_agg(t::text, chr(10) order by t.id)) from {} t"
    assert {table: await shop.fetchval(digest.format(table)) for table in ("customers", "payments")} == {
        "customers": "88cccc23b61a4911aab5bd02d7857634",
        "payments": "28e9b33ee68043baf34063e4adec709e",
    }


@pytest.mark.asyncio
async def test_agents_read_everything_in_the_shop_and_change_nothing(embedded_home: Path) -> None:
    async with attached(embedded_home, lambda _: None) as cluster:
        connection = await asyncpg.connect(cluster.dsn(AGENT, SHOP))
        try:
            assert await connection.fetchval("select count(*) from newsletter_recipients") > 0
            assert await connection.fetchval("select net_amount(price) > 0 from products limit 1")
            for attempt in (
                "create table mine ()",
                "create temporary table mine ()",
                "create schema mine",
                "create function f() returns int language sql return 1",
                "insert into categories (name) values ('x')",
                "update products set price = 1",
                "delete from reviews",
                "truncate reviews",
                "refresh materialized view monthly_sales",
                "set role ostiary_shop",
                "select pg_read_file('postmaster.pid')",
                "copy products to program 'true'",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(attempt)
            facts = await connection.fetchrow(
                "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles"
                " where rolname = current_user"
            )
            assert tuple(facts) == (False,) * 5
        finally:
            await connection.close()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_shop_that_was_half_furnished_is_finished_by_the_next_start(embedded_home: Path) -> None:
    """A start may be killed between making the database and filling it."""
    async with attached(embedded_home, lambda _: None) as cluster:
        admin = await asyncpg.connect(cluster.dsn(ADMIN, "postgres"))
        await admin.execute("drop database shop with (force)")
        await admin.execute("create database shop owner ostiary_shop")
        await admin.close()
        async with asyncio.timeout(60):
            again = await attach(embedded_home, lambda _: None)
        agent = await asyncpg.connect(again.dsn(AGENT, SHOP))
        assert await agent.fetchval("select count(*) from customers") == COUNTS["customers"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await agent.execute("create temporary table mine ()")
        await agent.close()
        await again.detach()
