"""Ostiary's `search` beside the stores it searches, on the same vectors in one run, at a recall@10 of at least 0.95.

100,000 vectors of 256 dimensions, in clusters as texts lie, with a number from 0 to 999 to filter by. Contestants take turns
in short rounds and each is compared with its own store in the same round:

- `raw pgvector`: asyncpg and SQL written by hand, HNSW, `hnsw.ef_search` raised until the recall is reached.
- `ostiary, pgvector`: `search` over stdio with the same vectors, after `tune` for the same recall.
- `raw chroma`, `ostiary, chroma`: likewise, with Chroma's embedded client and its own parameters. By hand too all is asked for
  that `search` shows: to read texts and metadata is much of what Chroma does. Ids alone are measured beside it.
- `chroma-mcp`: where `--chroma-mcp COMMAND` says how it is started. It searches by text alone: its embedder is a stub.
- `query` and the statement it runs by raw asyncpg: what is added to a call that searches nothing.

What is added is told twice: by the gate alone, called in this process as raw stores are, and over stdio, where a message with a
vector in it is written and read, and two processes wake each other.

Then what a filter costs in recall, how fast documents are stored and how long an index takes to build, beside the same by hand.

    python bench/vectors.py [--count 100000] [--calls 100] [--rounds 5] [--no-chroma] [--chroma-mcp COMMAND]
"""

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import uvloop
from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.table import Table
from vectors_by_hand import (
    BATCH,
    DIMENSION,
    EFFORT,
    QUESTIONS,
    TARGET,
    WRITERS,
    Data,
    K,
    Search,
    elsewhere,
    made,
    raw_chroma,
    raw_live,
    raw_pgvector,
    recall,
    text_of,
)
from vectors_chroma_mcp import chroma_mcp, embedding, remembered

from ostiary.app import open_house
from ostiary.call import Call
from ostiary.config import load
from ostiary.gate import Gate
from ostiary.shelves import Shelves
from ostiary_policies.model import Principal
from ostiary_tools.embedded import attached, names
from ostiary_tools.vectors import recall as recall_of
from ostiary_tools.vectors.collection import Collection, Embedding, IndexKind, Layout
from ostiary_tools.vectors.filters import Compare
from ostiary_tools.vectors.port import Chunk, Reach, VectorStore

SQL = "select count(*) from categories"
STATEMENT = "the statement of `query`, raw"
SHARES = (None, 500, 50, 5)
"""Of a thousand: what the filter lets through."""
WARM = 48
"""Calls before each turn: a folder of Chroma is opened anew by each process that has its turn on it."""


async def times(search: Search, calls: int, together: int = 1) -> tuple[list[float], float]:
    """Seconds of each call, and calls a second, with so many at once."""
    numbers, taken = cycle(range(QUESTIONS)), list[float]()

    async def agent() -> None:
        for _ in range(calls // together):
            started = time.perf_counter()
            await search(next(numbers), None)
            taken.append(time.perf_counter() - started)

    began = time.perf_counter()
    await asyncio.gather(*(agent() for _ in range(together)))
    return taken, len(taken) / (time.perf_counter() - began)


@dataclass(frozen=True)
class Contestant:
    """One way to search, and the one it is compared with."""

    name: str
    search: Search
    floor: str = ""


async def stored(store: VectorStore, shelves: Shelves, name: str, data: Data) -> tuple[Collection, float, float]:
    """The vectors in a collection of ours, its index built and tuned; rows a second, and seconds of the build."""
    layout = Layout(IndexKind.EXACT if IndexKind.EXACT in store.capabilities.indexes else IndexKind.HNSW)
    one = Collection(uuid4(), name, store.name, Embedding("", "", DIMENSION, normalised=True), layout)
    made = one
    await shelves.create(made)
    await store.create(one)
    chunks = [
        Chunk(str(number), 0, text_of(number), {"bucket": int(data.bucket[number])}, "digest", data.vectors[number])
        for number in range(len(data.vectors))
    ]
    began = time.perf_counter()
    for start in range(0, len(chunks), BATCH):
        await store.put(one, chunks[start : start + BATCH])
    rate = len(chunks) / (time.perf_counter() - began)
    began = time.perf_counter()
    if layout.index is IndexKind.EXACT:
        await store.build(one, Layout(), _silent)
        one = replace(one, layout=Layout())
    built = time.perf_counter() - began
    tuned = replace(one, tuning=await recall_of.tune(store, one, TARGET, questions=100, tell=_silent))
    await shelves.change(tuned, made)
    return tuned, rate, built


async def _silent(_done: float, _total: float | None, _message: str) -> None:
    """Nobody asks how far it is."""


Asks = Callable[[str, dict[str, Any]], Awaitable[str]]
"""Calls a tool; the text of its reply."""


def by_client(client: Client) -> Asks:
    """As an agent does."""

    async def ask(tool: str, arguments: dict[str, Any]) -> str:
        reply = await client.call_tool(tool, arguments)
        text = reply.content[0].text  # type: ignore[union-attr]  # our replies are text
        assert not reply.is_error, text
        return text

    return ask


def by_gate(gate: Gate) -> Asks:
    """As a transport does, of which there is none here."""
    who = Principal("bench", ("analyst",))

    async def ask(tool: str, arguments: dict[str, Any]) -> str:
        return (await gate.call(who, Call(tool, arguments))).text

    return ask


def ours(ask: Asks, name: str, data: Data) -> Search:
    """`search`."""
    questions = [[round(float(value), 6) for value in vector] for vector in data.questions]

    async def search(number: int, share: int | None) -> Sequence[str]:
        filter_ = {} if share is None else {"filter": {"field": "bucket", "lt": share}}
        text = await ask("search", {"collection": name, "vector": questions[number], "k": K, **filter_})
        return [line.split("#", 1)[0] for line in text.splitlines() if "#0," in line]

    return search


def querying(ask: Asks) -> Search:
    """`query`."""

    async def query(_number: int, _share: int | None) -> Sequence[str]:
        await ask("query", {"sql": SQL})
        return ()

    return query


def port(store: VectorStore, collection: Collection, data: Data) -> Search:
    """The store behind the gate, without the gate."""

    async def search(number: int, share: int | None) -> Sequence[str]:
        condition = None if share is None else Compare("bucket", "lt", share)
        return [found.key for found in await store.nearest(collection, data.questions[number], Reach(K, condition))]

    return search


def configured(home: Path, dsn: str) -> dict[str, str]:
    """The environment of an installation that has both stores."""
    text = '[vectors.pg]\nkind = "pgvector"\ndsn = "env:BENCH_VECTORS"\n[vectors.chroma]\nkind = "chroma"\n'
    text += f'path = "{home / "chroma"}"\n'
    (home / "ostiary.toml").write_text(text)
    places = {f"OSTIARY_HOME__{part.upper()}": str(home / part) for part in ("data", "state")}
    places |= {"OSTIARY_HOME__RUNTIME": str(home / "run"), "OSTIARY_CONFIG": str(home / "ostiary.toml")}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "BENCH_VECTORS": dsn, **places}


def served(environ: dict[str, str]) -> Client:
    """A client of the server over stdio, in a role that searches and queries."""
    return Client(StdioServerParameters(command=sys.executable, args=["-m", "ostiary", "serve"], env=environ))


async def compare(contestants: Sequence[Contestant], calls: int, rounds: int, together: int) -> None:
    """Rounds in turns, each compared with its floor of the same round."""
    taken: dict[str, list[tuple[list[float], float]]] = {one.name: [] for one in contestants}
    for _ in range(rounds):
        for one in contestants:
            await times(one.search, WARM, together)
            taken[one.name].append(await times(one.search, calls * together if together > 1 else calls, together))
    table = Table("what", "median ms", "p95 ms", "calls/s", "x floor", "added ms", title=f"{together} at once, {rounds} rounds")
    for one in contestants:
        mine, floor = taken[one.name], taken.get(one.floor, taken[one.name])
        pairs = [(statistics.median(a), statistics.median(b)) for (a, _), (b, _) in zip(mine, floor, strict=True)]
        everything = [second for seconds, _ in mine for second in seconds]
        table.add_row(
            one.name,
            f"{statistics.median(everything) * 1e3:.2f}",
            f"{statistics.quantiles(everything, n=20)[-1] * 1e3:.2f}",
            f"{statistics.median(rate for _, rate in mine):.0f}",
            f"{statistics.median(a / b for a, b in pairs):.2f}" if one.floor else "",
            f"{statistics.median(a - b for a, b in pairs) * 1e3:.2f}" if one.floor else "",
        )
    Console().print(table)


async def recalls(contestants: Sequence[Contestant], data: Data) -> None:
    """What is found of what is truly nearest, without and with filters."""
    heads = ["no filter" if share is None else f"{share / 10:g} %" for share in SHARES]
    table = Table("what", *heads, title="recall@10")
    truths = [data.truth(share) for share in SHARES]
    for one in contestants:
        found = [await recall(one.search, truth, share) for share, truth in zip(SHARES, truths, strict=True)]
        table.add_row(one.name, *(f"{share:.3f}" for share in found))
    Console().print(table)


async def live(store: VectorStore, collection: Collection, data: Data, many: int) -> float:
    """Rows a second into an index that is searched already, by two writers."""
    vectors = elsewhere(data, many)
    chunks = [Chunk(f"live {n}", 0, text_of(n), {"bucket": 1_000}, "digest", vectors[n]) for n in range(many)]
    portions = [chunks[start : start + BATCH] for start in range(0, many, BATCH)]

    async def writer() -> None:
        while portions:
            await store.put(collection, portions.pop())

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    rate = many / (time.perf_counter() - began)
    await store.delete(collection, [chunk.key for chunk in chunks])
    return rate


def beside(what: str, raw: float, mine: float) -> None:
    """Told as soon as it is known."""
    print(f"{what:40} raw {raw:8.1f}   ostiary {mine:8.1f}   ratio {mine / raw:.2f}", flush=True)


async def main(home: Path, count: int, options: argparse.Namespace) -> None:
    """Set up, measure, print."""
    data = made(count)
    async with attached(home / "data", print, runtime_dir=home / "run") as cluster, AsyncExitStack() as stack:
        environ = configured(home, cluster.dsn(names.KEEPER, names.VECTORS))
        house = await stack.enter_async_context(open_house(load(None, environ, {}), lambda _: None))
        contestants = await in_pgvector(house.shelves, cluster.dsn(names.ADMIN, names.VECTORS), data, stack)
        if options.chroma:
            contestants += await in_chroma(house.shelves, home, data, options.chroma_mcp, stack)
        everybody = await _ours(
            contestants, data, stack, gate=house.gate, environ=environ, shop=cluster.dsn(names.AGENT, names.SHOP)
        )
        await recalls([one for one in everybody if STATEMENT not in (one.name, one.floor)], data)
        for together in (1, 16):
            await compare(everybody, options.calls, options.rounds, together)


async def in_pgvector(shelves: Shelves, dsn: str, data: Data, stack: AsyncExitStack) -> list[Contestant]:
    """By hand and through the port, with what storing took."""
    raw, raw_rate, raw_built = await raw_pgvector(dsn, data, stack)
    store, many = shelves.store("pg"), min(6_000, len(data.vectors))
    one, rate, built = await stored(store, shelves, "in_pg", data)
    beside("pgvector, rows/s stored", raw_rate, rate)
    beside("pgvector, seconds to build HNSW", raw_built, built)
    beside("pgvector, rows/s into a live HNSW", await raw_live(dsn, data, many), await live(store, one, data, many))
    print(f"raw pgvector: ef_search {EFFORT[0]}; ostiary, pgvector: {one.tuning}", flush=True)
    return [
        Contestant("raw pgvector", raw),
        Contestant("the store behind the gate, pgvector", port(store, one, data), "raw pgvector"),
    ]


async def in_chroma(shelves: Shelves, home: Path, data: Data, command: str | None, stack: AsyncExitStack) -> list[Contestant]:
    """Likewise, and by its own server where that can be started."""
    store, folder = shelves.store("chroma"), home / "raw-chroma"
    one, rate, _ = await stored(store, shelves, "in_chroma", data)
    known = remembered(stack.enter_context(embedding(data))) if command else None
    raw, ids_alone, raw_rate = await asyncio.to_thread(raw_chroma, folder, data, known)
    beside("chroma, rows/s stored and indexed", raw_rate, rate)
    print(f"ostiary, chroma: {one.tuning}", flush=True)
    found = [
        Contestant("raw chroma", raw),
        Contestant("raw chroma, ids alone", ids_alone),
        Contestant("the store behind the gate, chroma", port(store, one, data), "raw chroma"),
    ]
    if command:
        return [*found, Contestant("chroma-mcp", await chroma_mcp(command, folder, stack), "raw chroma")]
    print("chroma-mcp: not measured, since no --chroma-mcp says how it is started", flush=True)
    return found


async def _ours(
    others: Sequence[Contestant], data: Data, stack: AsyncExitStack, *, gate: Gate, environ: dict[str, str], shop: str
) -> list[Contestant]:
    """Through the gate alone and through the server, and all of them compared."""
    asked = await asyncpg.create_pool(shop, min_size=16, max_size=16)
    stack.push_async_callback(asked.close)

    async def fetch(_number: int, _share: int | None) -> Sequence[str]:
        await asked.fetch(SQL)
        return ()

    stores = [("pgvector", "in_pg"), ("chroma", "in_chroma")]
    stores = [(store, name) for store, name in stores if f"raw {store}" in {one.name for one in others}]
    found = [Contestant(STATEMENT, fetch), *others]
    for place, ask in (
        ("the gate alone", by_gate(gate)),
        ("ostiary", by_client(await stack.enter_async_context(served(environ)))),
    ):
        found += [Contestant(f"{place}, {store}", ours(ask, name, data), f"raw {store}") for store, name in stores]
        found.append(Contestant(f"{place}, query", querying(ask), STATEMENT))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="of vectors: 5,000 at least, so that ten pass each filter")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-chroma", dest="chroma", action="store_false", help="pgvector alone")
    parser.add_argument("--chroma-mcp", help="the command that starts it, without its client's options")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    folder.chmod(0o711)  # as root, the database's own user must reach its part
    try:
        uvloop.run(main(folder, options.count, options))  # as the server
    finally:
        shutil.rmtree(folder, ignore_errors=True)
