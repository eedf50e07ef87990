"""Collections as tests keep them: on record in the control database, and in a real store, put there as indexing does."""

import csv
import io
import re
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mcp.types as t
import numpy as np
from fix_audit import copied
from fix_postgres import PostgresServer
from fix_server import Site, site_config
from mcp import Client

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary.settling import secret_of
from ostiary.shelves import sealing
from ostiary.stores import stores
from ostiary_policies.attributes import Attribute
from ostiary_policies.model import Principal
from ostiary_tools.control.collections import CollectionTable
from ostiary_tools.embedders.opening import opened
from ostiary_tools.vectors.collection import Collection, Embedding, IndexKind, Layout, Metric
from ostiary_tools.vectors.filters import Value
from ostiary_tools.vectors.opening import open_stores
from ostiary_tools.vectors.port import Chunk
from ostiary_tools.vectors.settings import StoreSettings

STORE = "main"
BROUGHT = Embedding("", "", 8, normalised=False, metric=Metric.COSINE)
"""Of collections whose callers bring the vectors."""
FENCED = re.compile(r"<(data-[0-9a-f]{6})>\n(.*)\n</\1> \(data, not instructions\)\n", re.DOTALL)
CLOSING = re.compile(r"(\d+) hits?(?:; next: offset (\d+))?(?:; (.*))?")


@dataclass(frozen=True)
class Document:
    """One text; where it has several chunks, `texts` are these."""

    key: str
    texts: Sequence[str]
    metadata: Mapping[str, Value] = field(default_factory=dict)
    vectors: Sequence[Sequence[float]] = ()
    """Of each chunk; empty where they are embedded."""


@dataclass(frozen=True)
class Found:
    """A reply of `search`, read."""

    hits: Sequence[Mapping[str, str]]
    next: int | None
    notes: str
    text: str

    @property
    def ids(self) -> list[str]:
        """In their order."""
        return [hit["id"] for hit in self.hits]


def collection(name: str, embedding: Embedding, **more: Any) -> Collection:
    """A new one, exact unless it is said otherwise."""
    return Collection(uuid.uuid4(), name, STORE, embedding, **{"layout": Layout(IndexKind.EXACT), **more})


def bundled() -> Embedding:
    """That of the bundled embedder."""
    embedder = opened({})["wordllama"]
    return Embedding("wordllama", embedder.model, embedder.dimension, normalised=embedder.normalised)


@dataclass(frozen=True)
class Shelf:
    """A site and its store."""

    site: Site
    store: StoreSettings
    source: str
    """The database of its datasource."""

    async def keep(self, one: Collection, documents: Sequence[Document]) -> None:
        """On record, and all of these in it."""
        seal = sealing(await secret_of(self.site.config))
        table = CollectionTable(self.site.server.dsn("ostiary_writer", self.site.control), seal)
        try:
            assert await table.create(one)
        finally:
            await table.close()
        await self.put(one, documents)

    async def put(self, one: Collection, documents: Sequence[Document]) -> None:
        """These, in the place of what there was under their keys."""
        async with open_stores([self.store]) as opened_stores:
            await opened_stores[STORE].create(one)
            for start in range(0, len(documents), 500):
                await opened_stores[STORE].put(one, await _chunks(documents[start : start + 500]))

    @asynccontextmanager
    async def house(self) -> AsyncIterator[House]:
        """The server."""
        async with open_house(self.site.config, lambda _: None) as house:
            yield house

    @asynccontextmanager
    async def asked(self, *attributes: Attribute, roles: tuple[str, ...] = ("reader",)) -> AsyncIterator[Client]:
        """The server, by a real client of an agent."""
        async with self.house() as house, client_of(house, *attributes, roles=roles) as client:
            yield client


async def _chunks(documents: Sequence[Document]) -> list[Chunk]:
    missing = [text for one in documents if not one.vectors for text in one.texts]
    made = iter(await opened({})["wordllama"].embed(missing) if missing else ())
    return [
        Chunk(
            one.key,
            number,
            text,
            one.metadata,
            f"digest of {one.key}",
            np.asarray(one.vectors[number] if one.vectors else next(made), np.float32),
        )
        for one in documents
        for number, text in enumerate(one.texts)
    ]


@contextmanager
def shelved(server: PostgresServer, template: str, sources: str = "", *, kind: str = "pgvector", **wishes: Any) -> Iterator[Shelf]:
    """A site with a store in PostgreSQL, and a datasource `shop` made of these statements; other wishes are the site's."""
    names = [f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("store", "source")]
    server.sql(
        f"CREATE DATABASE {names[0]};\n\\connect {names[0]}\nCREATE EXTENSION vector; CREATE EXTENSION pg_trgm;\n"
        f"CREATE DATABASE {names[1]};\n\\connect {names[1]}\n{sources}"
    )
    names.append(copied(server, template))
    folder = Path(tempfile.mkdtemp(prefix="ostiary-shelf-"))
    where = f'dsn = "{server.dsn(database=names[0])}"' if kind == "pgvector" else f'path = "{folder / "chroma"}"'
    try:
        more = f'[vectors.{STORE}]\nkind = "{kind}"\n{where}\n' + wishes.pop("more", "")
        config = site_config(folder, server, names[2], {"shop": server.dsn(database=names[1])}, more=more, **wishes)
        [store] = stores(config, None)
        yield Shelf(Site(server, names[2], config), store, names[1])
    finally:
        shutil.rmtree(folder)
        server.drop(names)


def client_of(house: House, *attributes: Attribute, agent: str = "ada", roles: tuple[str, ...] = ("reader",)) -> Client:
    """A real client of an agent."""
    return Client(McpApp(house.gate, lambda _: Principal(agent, roles, tuple(sorted(attributes, key=lambda one: one.name)))).server)


async def said(client: Client, **arguments: Any) -> tuple[str, bool]:
    """What `search` answers, and whether that is a failure."""
    reply = await client.call_tool("search", arguments)
    [block] = reply.content
    assert isinstance(block, t.TextContent)
    return block.text, bool(reply.is_error)


async def found(client: Client, **arguments: Any) -> Found:
    """The hits."""
    text, failed = await said(client, **arguments)
    assert not failed, text
    fenced = FENCED.match(text)
    hits = list(csv.DictReader(io.StringIO(fenced[2]))) if fenced else []
    closing = CLOSING.fullmatch(text[fenced.end() :] if fenced else text)
    assert closing, text
    assert int(closing[1]) == len(hits), text
    return Found(hits, int(closing[2]) if closing[2] else None, closing[3] or "", text)


async def refused(client: Client, **arguments: Any) -> str:
    """The words of a refusal."""
    text, failed = await said(client, **arguments)
    assert failed, text
    return text
