"""Long results through a real MCP client, page by page, and the same rows as PostgreSQL writes them itself."""

import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import HIDES, READS_ALL, MakeSite, Site
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

PEOPLE = """
CREATE TABLE people (id integer PRIMARY KEY, grp integer, name text, born date, secret text, page integer);
INSERT INTO people SELECT n, nullif(n % 7, 3), 'n' || n % 50, nullif('2000-01-01'::date + n % 90, '2000-01-05'), 'canary', n
    FROM generate_series(1, 900) n;
CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL, kind text NOT NULL);
INSERT INTO events SELECT n, timestamptz '2026-01-01 00:00:00Z' + n / 3 * interval '1 minute', 'k' || n % 5
    FROM generate_series(1, 10000) n;
CREATE TABLE orders (id bigint PRIMARY KEY, person_id integer, total numeric(10, 2) NOT NULL, note text);
INSERT INTO orders SELECT n, nullif(1 + n % 40, 7), n % 13 + 0.5, repeat('x', n % 5) FROM generate_series(1, 600) n;
CREATE TABLE items (order_id bigint NOT NULL, line smallint NOT NULL, sku text NOT NULL, PRIMARY KEY (order_id, line));
INSERT INTO items SELECT n, l, 's' || n % 9 FROM generate_series(1, 200) n, generate_series(1, 3) l;
CREATE TABLE parts (id integer NOT NULL, area text NOT NULL, UNIQUE (area, id)) PARTITION BY LIST (area);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
INSERT INTO parts SELECT n / 2, CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(0, 399) n;
CREATE TABLE parent (id integer PRIMARY KEY);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent SELECT generate_series(1, 300);
INSERT INTO child SELECT generate_series(1, 300);
CREATE TABLE odd (a timestamptz PRIMARY KEY, b uuid NOT NULL, c double precision NOT NULL, "C 2" bytea NOT NULL);
INSERT INTO odd SELECT '2026-01-01'::timestamptz + n * interval '1 second 1 microsecond', md5(n::text)::uuid, n / 3.0,
    decode(md5(n::text), 'hex') FROM generate_series(1, 300) n;
ANALYZE;
"""
READERS = READS_ALL.replace("reads-all", "others").replace("reader", "other")
HANDLE = re.compile(r'next page: query\(cursor="([A-Za-z0-9_-]{24})"\)')
SHIFTS = "pages may shift"
_MOST_PAGES = 500


@dataclass(frozen=True)
class Library:
    """A server over the tables above."""

    site: Site
    house: House
    database: str

    def client(self, role: str = "reader", agent: str = "ada", house: House | None = None) -> Client:
        """An agent in a role, at this server or another."""
        who = Principal(agent, (role,))
        return Client(McpApp((house or self.house).gate, lambda _: who).server)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection]:
        """The data as its owner."""
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            yield connection
        finally:
            await connection.close()

    async def csv(self, sql: str) -> list[str]:
        """The rows as PostgreSQL writes them, without the header."""
        out = io.BytesIO()
        async with self.admin() as connection:
            await connection.copy_from_query(sql, output=out, format="csv")
        return out.getvalue().decode().splitlines()


OpenLibrary = Callable[..., Any]
"""`async with library() as opened`."""


@pytest.fixture
def library(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenLibrary:
    """A server over tables long enough to be paged through."""

    @asynccontextmanager
    async def opened(**wishes: Any) -> AsyncIterator[Library]:
        database = await make_database(PEOPLE)
        dsn = postgres_server.dsn(database=database)
        tagged = {"public.people.secret": ["hidden"]}
        policy = wishes.pop("policy", READS_ALL + READERS + HIDES)
        site = await make_site({"shop": dsn}, policy=policy, tags=("hidden",), tagged=tagged, **wishes)
        async with open_house(site.config, lambda _: None) as house:
            yield Library(site, house, database)

    return opened


async def asked(client: Client, tool: str = "query", /, **arguments: Any) -> str:
    """The text of the reply, also of one that tells an error."""
    reply = await client.call_tool(tool, arguments)
    return text_of(reply)


def lines(reply: str) -> list[str]:
    """The rows of a reply, as they stand."""
    fence, _, rest = reply.partition("\n")
    assert fence.startswith("<data-"), reply
    return rest.partition(f"\n</{fence[1:]}")[0].splitlines()[1:]


def cursor_of(reply: str) -> str | None:
    """The handle that the reply ends with."""
    found = HANDLE.search(reply.rpartition("\n")[2])
    return found[1] if found else None


async def all_pages(client: Client, **arguments: Any) -> list[str]:
    """Every page of a result."""
    replies = [await asked(client, **arguments)]
    while handle := cursor_of(replies[-1]):
        assert len(replies) < _MOST_PAGES
        replies.append(await asked(client, cursor=handle))
    return replies
