"""The vectors of `vectors.py`, and searching them without Ostiary: by hand in pgvector and Chroma, and by Chroma's own server.

By hand all is stored and asked for that `search` shows: id, score, text and metadata. What ids alone cost is told beside it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Search = Callable[[int, int | None], Awaitable[Sequence[str]]]
"""Takes the number of a question and the number that the filter allows to be at most; the keys found, best first."""

DIMENSION = 256
QUESTIONS = 200
TARGET = 0.95
K = 10
BATCH = 1_000
WRITERS = 2
"""At once, as `index_documents` has it."""


@dataclass(frozen=True)
class Data:
    """What is searched and what is asked."""

    vectors: Matrix
    bucket: NDArray[np.int64]
    questions: Matrix

    def truth(self, share: int | None) -> list[set[str]]:
        """The keys truly nearest to each question."""
        kept = np.arange(len(self.vectors)) if share is None else np.flatnonzero(self.bucket < share)
        scores = self.questions @ self.vectors[kept].T
        return [{str(kept[place]) for place in row} for row in np.argpartition(-scores, K, axis=1)[:, :K]]


def made(count: int) -> Data:
    """The same for the same count."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((count // 50, DIMENSION), dtype=np.float32)

    def near(many: int) -> Matrix:
        found = centres[random.integers(len(centres), size=many)]
        found = found + 0.6 * random.standard_normal((many, DIMENSION), dtype=np.float32)
        unit: Matrix = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        return unit

    return Data(near(count), random.integers(1000, size=count), near(QUESTIONS))


async def recall(search: Search, truth: list[set[str]], share: int | None) -> float:
    """The share of the truly nearest that is found."""
    found = [len(set(await search(number, share)) & truth[number]) for number in range(QUESTIONS)]
    return sum(found) / sum(map(len, truth))


async def raw_pgvector(dsn: str, data: Data, stack: AsyncExitStack) -> tuple[Search, float, float]:
    """A search by hand over COPY and CREATE INDEX; rows a second, and seconds of the build."""
    pool = await asyncpg.create_pool(dsn, min_size=16, max_size=16, setup=_by_hand)
    stack.push_async_callback(pool.close)
    await pool.execute(
        "create table raw (id text primary key, body text not null, bucket int not null, embedding vector(256) not null)"
    )
    texts = [_text(vector) for vector in data.vectors]
    began = time.perf_counter()
    async with pool.acquire() as connection:
        # asyncpg has no binary form of a vector of its own: by text, as people do.
        await connection.execute("create temporary table given (id text, body text, bucket int, embedding text)")
        numbers = range(len(texts))
        records = zip(map(str, numbers), map(text_of, numbers), data.bucket.tolist(), texts, strict=True)
        await connection.copy_records_to_table("given", records=records)
        await connection.execute("insert into raw select id, body, bucket, embedding::vector from given")
    stored = time.perf_counter() - began
    await pool.execute("alter database vectors set maintenance_work_mem = '512MB'")
    await pool.expire_connections()
    began = time.perf_counter()
    # Beside searches and writers, as ours is.
    await pool.execute(
        "create index concurrently on raw using hnsw (embedding vector_cosine_ops) with (m = 16, ef_construction = 64)"
    )
    built = time.perf_counter() - began
    await pool.execute("analyze raw")
    questions = [_text(vector) for vector in data.questions]

    async def search(number: int, share: int | None) -> Sequence[str]:
        where = "" if share is None else f"where bucket < {share}"
        shown = "id, body, bucket, embedding <=> $1::text::vector as distance"
        rows = await pool.fetch(f"select {shown} from raw {where} order by distance limit {K}", questions[number])
        return [row["id"] for row in rows]

    for effort in (40, 60, 80, 120, 160, 240, 400):
        EFFORT[0] = effort
        if await recall(search, data.truth(None), None) >= TARGET:
            break
    return search, len(texts) / stored, built


EFFORT = [40]


async def raw_live(dsn: str, data: Data, many: int) -> float:
    """Rows a second into the table of `raw_pgvector`, by two writers."""
    records = [(f"live {n}", text_of(n), 1_000, _text(vector)) for n, vector in enumerate(elsewhere(data, many))]
    portions = [records[start : start + BATCH] for start in range(0, many, BATCH)]

    async def writer(connection: asyncpg.Connection) -> None:
        await connection.execute(
            "create temporary table given (id text, body text, bucket int, embedding text) on commit delete rows"
        )
        while portions:
            portion = portions.pop()
            async with connection.transaction():
                await connection.copy_records_to_table("given", records=portion)
                await connection.execute("insert into raw select id, body, bucket, embedding::vector from given")

    async with asyncpg.create_pool(dsn, min_size=WRITERS, max_size=WRITERS) as pool:
        async with pool.acquire() as one, pool.acquire() as other:
            began = time.perf_counter()
            await asyncio.gather(writer(one), writer(other))
            rate = many / (time.perf_counter() - began)
        await pool.execute("delete from raw where bucket = 1000")
    return rate


def text_of(number: int) -> str:
    """That of the vector."""
    return f"text {number}"


def elsewhere(data: Data, many: int) -> Matrix:
    """Vectors that are not there yet."""
    return np.roll(data.vectors[:many], 1, axis=1)


async def _by_hand(connection: asyncpg.Connection) -> None:
    await connection.execute(f"set hnsw.ef_search = {EFFORT[0]}")


def _text(vector: NDArray[np.float32]) -> str:
    return "[" + ",".join(f"{value:.7g}" for value in vector.tolist()) + "]"


def raw_chroma(folder: Path, data: Data, embedder: Any) -> tuple[Search, Search, float]:
    """A search by hand with Chroma's embedded client, one for ids alone; rows a second. The embedder is for others."""
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    hnsw: Any = {"hnsw": {"space": "cosine", "max_neighbors": 16, "ef_construction": 64, "ef_search": 100}}
    collection = client.create_collection("raw", configuration=hnsw, embedding_function=embedder)
    began = time.perf_counter()
    for start in range(0, len(data.vectors), BATCH):
        end = min(start + BATCH, len(data.vectors))
        metadatas: Any = [{"bucket": int(value)} for value in data.bucket[start:end]]
        ids, texts = [str(n) for n in range(start, end)], [text_of(n) for n in range(start, end)]
        collection.add(ids=ids, embeddings=data.vectors[start:end], metadatas=metadatas, documents=texts)
    rate = len(data.vectors) / (time.perf_counter() - began)

    def ask(number: int, share: int | None, include: Any) -> Sequence[str]:
        where: Any = None if share is None else {"bucket": {"$lt": share}}
        return collection.query(query_embeddings=data.questions[number], n_results=K, where=where, include=include)["ids"][0]

    async def search(number: int, share: int | None) -> Sequence[str]:
        return await asyncio.to_thread(ask, number, share, ["documents", "metadatas", "distances"])

    async def ids_alone(number: int, share: int | None) -> Sequence[str]:
        return await asyncio.to_thread(ask, number, share, [])

    return search, ids_alone, rate
