"""A server with a table of notes, a store of vectors beside it, and collections of documents and of the table's rows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from fix_answers import text_of
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.vectors.collection import Collection, Embedding, IndexKind, Layout, Source
from ostiary_tools.vectors.port import VectorStore

NOTES = """
CREATE TABLE notes (id integer PRIMARY KEY, title text NOT NULL, body text, year integer, rate numeric, done boolean, secret text);
INSERT INTO notes SELECT n, 'note ' || n, 'all about number ' || n, 2000 + n % 20, n / 4.0, n % 2 = 0, 'canary' || n
    FROM generate_series(1, {rows}) n;
"""
SOURCE = Source(
    "shop", "SELECT id, title, body, year, rate, done FROM public.notes", "id", "{title}: {body}", ("year", "rate", "done")
)
OWNER = Principal("ada", ("reader",))


@dataclass
class Desk:
    """A server, and what may be done at it."""

    site: Site
    house: House
    database: str
    stack: AsyncExitStack

    @property
    def store(self) -> VectorStore:
        """Where collections lie."""
        return self.house.gate._shelves.store("local")

    def client(self, role: str = "reader", agent: str = "ada") -> Client:
        """An agent in a role."""
        return Client(McpApp(self.house.gate, lambda _: Principal(agent, (role,)), jobs=self.house.jobs).server)

    async def collection(self, name: str = "notes", source: Source | None = SOURCE, **given: Any) -> Collection:
        """A new one of rows, or of documents."""
        called, embedder = next(iter(self.house.gate._shelves._furniture.embedders.items()))
        embedding = Embedding(called, embedder.model, embedder.dimension, embedder.normalised)
        made = Collection(uuid4(), name, "local", embedding, Layout(IndexKind.EXACT), source, owner=OWNER)
        made = replace(made, **given)
        await self.store.create(made)
        await self.house.gate._shelves.create(made)
        return made

    async def rows(self, statement: str) -> list[Any]:
        """The data as its owner."""
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    async def stored(self, collection: Collection) -> Mapping[str, str]:
        """What is in a collection: texts by the keys of documents."""
        found: dict[str, str] = {}
        async for keys in self.store.keys(collection, batch=10_000):
            for one in await self.store.chunks(collection, [f"{key}#0" for key in keys]):
                assert one.key not in found
                found[one.key] = one.text
        return found

    async def expected(self) -> Mapping[str, str]:
        """The rows' texts by their keys."""
        return {row["k"]: row["t"] for row in await self.rows("SELECT id::text AS k, title || ': ' || body AS t FROM notes")}


async def asked(client: Client, tool: str = "index_documents", /, **arguments: Any) -> str:
    """The text of the reply, also of one that tells an error."""
    return text_of(await client.call_tool(tool, arguments))


OpenDesk = Callable[..., Any]
"""`async with desk() as opened`."""


@pytest.fixture
def desk(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenDesk:
    """A server as described; `rows` says how many notes there are, and the rest what may be wished of a site."""

    @asynccontextmanager
    async def opened(rows: int = 40, **wishes: Any) -> AsyncIterator[Desk]:
        database, vectors = await make_database(NOTES.format(rows=rows)), await make_database("CREATE EXTENSION vector;")
        agent = '[agent]\nname = "ada"\nrole = "reader"\nroles = ["reader"]\n'
        store = f'[vectors.local]\nkind = "pgvector"\ndsn = "{postgres_server.dsn(database=vectors)}"\n'
        more = "\n".join((wishes.pop("more", ""), wishes.pop("agent", agent), store))
        wishes = {"policy": READS_ALL} | wishes
        site = await make_site({"shop": postgres_server.dsn(database=database)}, more=more, **wishes)
        async with AsyncExitStack() as stack:
            house = await stack.enter_async_context(open_house(site.config, lambda _: None))
            yield Desk(site, house, database, stack)

    return opened
