"""Indexes of a collection: made beside the one in use, which goes when they are valid.

One builder at a time holds a lock of the database by the collection's id; it ends with its session. What a killed builder left is
swept away by the next one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from ostiary_tools.errors import LockedOut, Refused, ToolError
from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout
from ostiary_tools.vectors.pgvector.relations import INDEXED_DIMENSION, LARGEST_DIMENSION, SCHEMA, relations
from ostiary_tools.vectors.pgvector.sessions import Session, Sessions
from ostiary_tools.vectors.port import Tell

_LOOK_S = 0.25
_LOOKS = 12
"""For the lock: longer than a server takes to notice that its client is gone."""
_LISTS = (1, 32_768)
_NEIGHBOURS = (2, 100)
_CANDIDATES = (4, 1_000)
_INDEXES = """
select i.relname as name, x.indisvalid as valid, substring(i.relname from '_([0-9]+)$')::integer as number
from pg_index as x join pg_class as i on i.oid = x.indexrelid
where x.indrelid = to_regclass($1) and i.relname ~ '^x_[0-9a-f]{32}_[0-9]+$'
order by number
"""
_LOCK = "select pg_try_advisory_lock(hashtextextended($1, 0))"
_UNLOCK = "select pg_advisory_unlock(hashtextextended($1, 0))"
_END = "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid = $1 and application_name = 'ostiary ' || $2"
_ROWS = "select coalesce(sum(chunks), 0)::bigint from {documents}"
_DROP = "drop index concurrently if exists {schema}.{name}"
_ENOUGH = "select greatest($1::bigint, pg_size_bytes(current_setting('maintenance_work_mem')) / 1024)::bigint"
_SET = "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)"
_PROGRESS = """
select phase, case when tuples_total > 0 then tuples_done else blocks_done end as done,
    case when tuples_total > 0 then tuples_total else blocks_total end as total
from pg_stat_progress_create_index where pid = $1
"""
_NO_SHARED_MEMORY = "53100"
"""Said also where the machine has too little shared memory for a build in parallel, as containers have."""


def check(collection: Collection, layout: Layout) -> None:
    """Raises Refused for what pgvector cannot hold or index."""
    dimension = collection.embedding.dimension
    if not 1 <= dimension <= LARGEST_DIMENSION:
        raise Refused("dimension", f"pgvector stores vectors of 1 to {LARGEST_DIMENSION} dimensions", "choose another embedder")
    if layout.index is IndexKind.EXACT:
        return
    most = INDEXED_DIMENSION[layout.element]
    if dimension > most:
        other = "`halfvec`" if dimension <= INDEXED_DIMENSION[Element.HALFVEC] else "`bit`"
        message = f"pgvector indexes `{layout.element}` up to {most} dimensions, and the collection has {dimension}"
        raise Refused("dimension", message, f"choose the element {other}, or the index `exact`")
    bounds = (("m", layout.m, _NEIGHBOURS), ("ef_construction", layout.ef_construction, _CANDIDATES))
    for name, value, (least, largest) in bounds if layout.index is IndexKind.HNSW else ():
        if not least <= value <= largest:
            raise Refused("layout", f"`{name}` is from {least} to {largest}")
    if layout.index is IndexKind.HNSW and layout.ef_construction < 2 * layout.m:
        raise Refused("layout", "`ef_construction` is at least twice `m`")
    if layout.index is IndexKind.IVFFLAT and layout.lists and not _LISTS[0] <= layout.lists <= _LISTS[1]:
        raise Refused("layout", f"`lists` is from {_LISTS[0]} to {_LISTS[1]}, or 0 to have it chosen")


@dataclass(frozen=True, slots=True)
class _Work:
    """An index that is to be."""

    collection: UUID
    name: str
    statement: str


async def build(sessions: Sessions, collection: Collection, layout: Layout, tell: Tell, memory_mb: int) -> None:
    """Have it lie so. However this ends, no index that is not valid stays as long as the database can be reached."""
    check(collection, layout)
    async with sessions.alone(_title(collection.id)) as session, _alone(session, collection.id):
        mine = relations(collection)
        present = await _sweep(session, collection.id)
        rows = await session.fetchval(mine.fill(_ROWS))
        if layout.index is not IndexKind.EXACT:
            number = 1 + max(present, default=0)
            await _allow(session, rows * _row_bytes(collection, layout), memory_mb)
            statement = mine.index(layout, number, lists=layout.lists or _lists_for(rows), concurrently=True)
            work = _Work(collection.id, mine.index_name(number), statement)
            await _make(sessions, session, work, tell)
        for number in present:
            await session.execute(_drop(mine.index_name(number)))
        # How many rows there are, and how many of them a filter leaves, decides how they are looked for.
        await session.execute(mine.fill("analyze {chunks} (metadata)"))
        await tell(float(rows), float(rows), "built")


@asynccontextmanager
async def _alone(session: Session, id_: UUID) -> AsyncIterator[None]:
    for _ in range(_LOOKS):
        if await session.fetchval(_LOCK, _lock_name(id_)):
            break
        # The server notices a moment later that a builder is gone.
        await asyncio.sleep(_LOOK_S)
    else:
        raise LockedOut("the collection's index is being built already", "wait for that, or cancel it")
    try:
        yield
    finally:
        if not session.is_closed():
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await session.fetchval(_UNLOCK, _lock_name(id_))


async def _sweep(session: Session, id_: UUID) -> list[int]:
    """Numbers of the indexes that stay: of those that are valid."""
    found = await session.fetch(_INDEXES, f"{SCHEMA}.c_{id_.hex}")
    for row in found:
        if not row["valid"]:
            await session.execute(_drop(row["name"]))
    return [row["number"] for row in found if row["valid"]]


async def _make(sessions: Sessions, session: Session, work: _Work, tell: Tell) -> None:
    pid = session.get_server_pid()
    try:
        async with _telling(sessions, pid, tell):
            try:
                await session.execute(work.statement)
            except asyncpg.PostgresError as error:
                if str(error.sqlstate) != _NO_SHARED_MEMORY:
                    raise
                await _sweep(session, work.collection)
                await session.execute(_SET, ["max_parallel_maintenance_workers"], ["0"])
                await session.execute(work.statement)
    except BaseException:
        session.terminate()
        with suppress(ToolError):
            await asyncio.shield(_undone(sessions, work, pid))
        raise


async def _undone(sessions: Sessions, work: _Work, pid: int) -> None:
    """End the builder, who would go on without us, and drop what it made, also where it was done meanwhile."""
    async with sessions.alone(f"sweeps {work.collection}") as session:
        await session.fetchval(_END, pid, _title(work.collection))
        async with _alone(session, work.collection):
            await _sweep(session, work.collection)
            await session.execute(_drop(work.name))


@asynccontextmanager
async def _telling(sessions: Sessions, pid: int, tell: Tell) -> AsyncIterator[None]:
    async def look() -> None:
        while True:
            async with sessions.one() as other:
                row = await other.fetchrow(_PROGRESS, pid)
            if row is not None:
                await tell(float(row["done"] or 0), float(row["total"]) if row["total"] else None, row["phase"])
            await asyncio.sleep(_LOOK_S)

    looking = asyncio.ensure_future(_quietly(look))
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def _quietly(look: Callable[[], Awaitable[None]]) -> None:
    """Progress that cannot be told stops no build."""
    with suppress(ToolError):
        await look()


async def _allow(session: Session, wanted_bytes: int, memory_mb: int) -> None:
    """Memory for the whole graph where that is within bounds: a build that spills takes many times as long."""
    kilobytes = await session.fetchval(_ENOUGH, min(wanted_bytes // 1024, memory_mb * 1024))
    await session.execute(_SET, ["maintenance_work_mem"], [f"{kilobytes}kB"])


def _row_bytes(collection: Collection, layout: Layout) -> int:
    """About what one vector takes in a graph that is built."""
    bits = {Element.VECTOR: 32, Element.HALFVEC: 16, Element.BIT: 1}[layout.element]
    return collection.embedding.dimension * bits // 8 + 2 * layout.m * 16 + 300


def _lists_for(rows: int) -> int:
    """As pgvector advises: a thousand rows a list, and of more than a million the square root."""
    return min(_LISTS[1], max(10, rows // 1_000 if rows <= 1_000_000 else round(rows**0.5)))  # noqa: PLR2004 its million


def _drop(name: str) -> str:
    return _DROP.format(schema=SCHEMA, name=name)


def _title(id_: UUID) -> str:
    return f"builds {id_}"


def _lock_name(id_: UUID) -> str:
    return f"ostiary builds {id_}"
