"""`propose_change`, `apply_change` and `revert_change` through the gate: exactly what was seen, once, or nothing."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

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
        return await self.site.fetch(statement, role="postgres")

    async def prices(self) -> list[str]:
        """The first products' prices."""
        return [str(row["price"]) for row in await self.owner("SELECT price FROM products ORDER BY id LIMIT 4")]


OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(policy: str = POLICY, more: str = "", **wishes: Any) -> AsyncIterator[Shop]:
        database = await make_database(SHOP + more)
        dsn = postgres_server.dsn(database=database)
        site = await make_site({"shop": dsn}, policy=policy, writers={"shop": dsn}, **wishes)
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
