"""Stores of vectors for tests, what is put in them, and what must be found, told by plain Python."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from uuid import uuid4

import numpy as np
import pytest
from fix_postgres import PostgresServer
from numpy.typing import NDArray

from ostiary_tools.vectors.collection import Collection, Element, Embedding, IndexKind, Layout, Metric
from ostiary_tools.vectors.filters import And, Compare, Contains, Filter, IsNull, Not, OneOf, Or, Value
from ostiary_tools.vectors.port import Candidate, Chunk, VectorStore
from ostiary_tools.vectors.settings import PgvectorSettings, StoreSettings

Matrix = NDArray[np.float32]

STORES = ("pgvector", "chroma", "chroma_server")
"""Each is a fixture `NAME_settings`."""
DIMENSION = 16
EXACT = Layout(IndexKind.EXACT)
_numbers = count(1)


@pytest.fixture(scope="session")
def pgvector_settings(postgres_server: PostgresServer) -> PgvectorSettings:
    """A database with the extension, and a login that owns nothing in it but one schema."""
    postgres_server.sql(
        "CREATE ROLE vector_keeper LOGIN; CREATE DATABASE vector_store; REVOKE ALL ON DATABASE vector_store FROM PUBLIC;"
    )
    postgres_server.sql("GRANT CONNECT ON DATABASE vector_store TO vector_keeper")
    schema = "CREATE SCHEMA ostiary_vectors AUTHORIZATION vector_keeper"
    postgres_server.sql(f"CREATE EXTENSION vector; CREATE EXTENSION pg_trgm; {schema};", "vector_store")
    return PgvectorSettings("tested", postgres_server.dsn("vector_keeper", "vector_store"))


@pytest.fixture(scope="session", params=STORES)
def store_settings(request: pytest.FixtureRequest) -> StoreSettings:
    """Every store, one after the other."""
    found: StoreSettings = request.getfixturevalue(f"{request.param}_settings")
    return found


def new_collection(
    metric: Metric = Metric.COSINE, layout: Layout = EXACT, *, dimension: int = DIMENSION, name: str = "tried"
) -> Collection:
    """One that no store holds yet."""
    return Collection(uuid4(), name, "tested", Embedding("given", "given", dimension, normalised=False, metric=metric), layout)


def plain(store: VectorStore) -> Layout:
    """The simplest that it has: all that differs between stores is how near their index comes to this."""
    return EXACT if IndexKind.EXACT in store.capabilities.indexes else Layout()


def vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Matrix:
    """Rows that differ, none of length 1."""
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def document(key: str, *texts: str, metadata: Mapping[str, Value] | None = None, digest: str = "1", seed: int = 0) -> list[Chunk]:
    """Its chunks, each with a vector of its own."""
    rows = vectors(len(texts), seed or next(_numbers))
    return [Chunk(key, n, text, metadata or {}, digest, rows[n]) for n, text in enumerate(texts)]


def documents(count: int, seed: int = 1, dimension: int = DIMENSION) -> list[Chunk]:
    """Of one chunk each, with their number, its parity and its last digit as metadata."""
    rows = vectors(count, seed, dimension)
    return [
        Chunk(f"d{n:05}", 0, f"text number {n}", {"n": n, "even": n % 2 == 0, "digit": str(n % 10)}, str(n), row)
        for n, row in enumerate(rows)
    ]


def scores(metric: Metric, rows: Matrix, vector: Matrix) -> Matrix:
    """As `Metric` says."""
    if metric is Metric.L2:
        return np.asarray(1 / (1 + np.linalg.norm(rows - vector, axis=1)), dtype=np.float32)
    lengths = 1 if metric is Metric.INNER_PRODUCT else np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    return np.asarray(rows @ vector / lengths, dtype=np.float32)


def best(metric: Metric, chunks: Sequence[Chunk], vector: Matrix, k: int) -> list[tuple[str, float]]:
    """Ids and scores of the `k` nearest among all."""
    found = scores(metric, np.array([chunk.vector for chunk in chunks]), vector)
    order = sorted(range(len(chunks)), key=lambda n: -float(found[n]))[:k]
    return [(chunks[n].id, float(found[n])) for n in order]


def same(one: Matrix, other: Matrix) -> bool:
    """As near as float32 keeps it: a store may hold the direction and the length of a vector apart."""
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6))


def ids(found: Sequence[Candidate]) -> list[str]:
    """In the order found."""
    return [f"{one.key}#{one.number}" for one in found]


def recall(found: Sequence[Candidate], truth: Sequence[tuple[str, float]]) -> float:
    """The share of what is true that was found."""
    return len(set(ids(found)) & {id_ for id_, _ in truth}) / len(truth)


def layouts(elements: frozenset[Element], indexes: frozenset[IndexKind]) -> Iterator[Layout]:
    """Every layout of these."""
    for index in sorted(indexes):
        for element in sorted(elements) if index is not IndexKind.EXACT else (Element.VECTOR,):
            yield Layout(index, element)


def holds(condition: Filter, metadata: Mapping[str, Value]) -> bool | None:
    """What the language of filters says: `None` for what is neither so nor not so."""
    match condition:
        case And(of):
            answers = [holds(one, metadata) for one in of]
            return False if False in answers else None if None in answers else True
        case Or(of):
            answers = [holds(one, metadata) for one in of]
            return True if True in answers else None if None in answers else False
        case Not(one):
            answer = holds(one, metadata)
            return None if answer is None else not answer
        case IsNull(field):
            return field not in metadata
        case _:
            return None if condition.field not in metadata else _of_value(condition, metadata[condition.field])


def _of_value(condition: Compare | OneOf | Contains, value: Value) -> bool:
    match condition:
        case Contains(_, part):
            return isinstance(value, str | tuple) and part in value
        case OneOf(_, values):
            return any(_kind(value) == _kind(one) and value == one for one in values)
        case Compare(_, op, other) if _kind(value) == _kind(other):
            outcomes = {"eq": value == other, "ne": value != other}
            if op in outcomes:
                return outcomes[op]
            assert not isinstance(value, tuple)
            return {"lt": value < other, "le": value <= other, "gt": value > other, "ge": value >= other}[op]  # type: ignore[operator]  # of one kind
    return False


def _kind(value: Value) -> str:
    return "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__
