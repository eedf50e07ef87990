"""Sessions with the database of a store: a pool with bounds, what each is told at its start, and failures in words."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from pgvector import Vector as Wire

from ostiary_tools.errors import DatabaseError, LockedOut, NoCollection, Refused, TimedOut, ToolError, Unavailable
from ostiary_tools.vectors.settings import PgvectorSettings

_OLDEST = (0, 7)
_ITERATES = (0, 8)
"""Since then an index goes on searching until enough rows fit the filter."""
_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError, EOFError)
_CONNECTING = (*_DRIVER_ERRORS, ValueError)
"""asyncpg raises ValueError for an address that it cannot read, with that in its text."""
_GOODBYE_S = 5.0
_LOOK = """
select quote_ident(n.nspname) as schema, n.nspname as name, e.extname, e.extversion, current_setting('server_encoding') as encoding
from pg_catalog.pg_extension as e join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
where e.extname in ('vector', 'pg_trgm')
"""
_SET = "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)"
_IN_WORDS = {
    "22003": "a vector holds a number that the collection's index cannot hold",
    "40001": "two writers met in the store",
    "40P01": "two writers met in the store",
    "42501": "the store's login lacks a privilege in its database",
    "53100": "the store's database has no disk space left",
    "53200": "the store's database has no memory left for it",
}
_REFUSALS = {
    "28": "it refuses the configured login",
    "3D": "the configured database does not exist",
    "42": "the configured role may not connect",
    "53": "it has no connection left",
}
_HINTS = {
    "22003": "scale the vectors, or index whole ones instead of `halfvec`",
    "40001": "try again",
    "40P01": "try again",
    "42501": "the login needs CREATE on the database, or a schema `ostiary_vectors` that it owns",
}
_GONE_RELATION = "could not open relation"


class Session(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """One of the pool, with what was found when it began and how far its searches go."""

    __slots__ = ("abilities", "reach")
    abilities: "Abilities"
    reach: dict[str, int]
    """Settings of indexes that it has now: those of its last search."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the extensions of the database can do."""

    iterates: bool
    like_words: bool
    """pg_trgm is there."""


async def settle(session: Session) -> None:
    """Find the extensions and set what all statements rest on. Raises Refused where they do not serve."""
    found = {row["extname"]: row for row in await session.fetch(_LOOK)}
    vector = found.get("vector")
    if vector is None:
        raise Refused(
            "extension", "the store's database lacks the extension vector", "run `CREATE EXTENSION vector` in it as its owner"
        )
    version = tuple(int(part) for part in vector["extversion"].split(".")[:2] if part.isdecimal())
    if version < _OLDEST:
        raise Refused(
            "extension",
            f"the store's database has pgvector {vector['extversion']}, and 0.7 or later is needed",
            "upgrade its package and run `ALTER EXTENSION vector UPDATE`",
        )
    if vector["encoding"] != "UTF8":
        raise Refused("encoding", "the store's database does not keep every text: its encoding is not UTF8", "make it another one")
    # The catalog first: nothing that stands in the extensions' schemas takes the place of a built-in name.
    settings = {
        "search_path": ", ".join(dict.fromkeys(["pg_catalog", *(row["schema"] for row in found.values())])),
        "pg_trgm.similarity_threshold": "0.5",
    }
    await session.execute(_SET, list(settings), list(settings.values()))
    await session.set_type_codec("vector", schema=vector["name"], encoder=_unchanged, decoder=_unchanged, format="binary")
    session.abilities = Abilities(version >= _ITERATES, "pg_trgm" in found)
    session.reach = {}


def wire(vector: Any) -> bytes:
    """A vector as the database takes it."""
    return Wire(vector).to_binary()


def from_wire(data: bytes) -> Any:
    """A vector as an array of float32."""
    return Wire.from_binary(data).to_numpy()


def _unchanged(data: bytes) -> bytes:
    return data


class Sessions:
    """The pool of one store, made when it is first needed."""

    def __init__(self, settings: PgvectorSettings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._ours = {
            "application_name": "ostiary vectors",
            "search_path": "pg_catalog",
            "timezone": "UTC",
            "statement_timeout": str(int(settings.timeout_s * 1000)),
            "idle_in_transaction_session_timeout": str(int(settings.timeout_s * 1000)),
            # What an index is worth depends on how many rows are asked for.
            "plan_cache_mode": "force_custom_plan",
            # An index of vectors is walked at random whatever the disk; a dearer page would favour it over one of metadata.
            "random_page_cost": "1.1",
            "jit": "off",
        }

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Session]:
        """A session for a while. Whatever the driver raises inside is told in the port's words."""
        session = await self._acquire()
        try:
            yield session
        except _DRIVER_ERRORS as error:
            raise in_words(error) from None
        finally:
            await self._release(session)

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[Session]:
        """A session beside the pool whose statements take as long as they take."""
        try:
            told = self._ours | {
                "statement_timeout": "0",
                "application_name": f"ostiary {name}",
                "client_connection_check_interval": "2s",
            }
            timeout = self._settings.acquire_timeout_s
            session = await asyncpg.connect(self._settings.dsn, timeout=timeout, server_settings=told, connection_class=Session)
        except _CONNECTING as error:
            raise self._unreachable(error) from None
        try:
            await settle(session)
            yield session
        except _DRIVER_ERRORS as error:
            raise in_words(error) from None
        finally:
            await _end(session)

    async def close(self) -> None:
        """End all of them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(_GOODBYE_S):
                    await pool.close()
            except _DRIVER_ERRORS:
                pool.terminate()

    async def _acquire(self) -> Session:
        try:
            if self._pool is None:
                # Making it connects to nothing, and has no point where another could come between.
                self._pool = asyncpg.create_pool(
                    self._settings.dsn,
                    min_size=0,
                    max_size=self._settings.pool_max,
                    timeout=self._settings.acquire_timeout_s,
                    command_timeout=self._settings.timeout_s + _GOODBYE_S,
                    server_settings=self._ours,
                    connection_class=Session,
                    init=settle,
                    reset=_as_it_is,
                )
            await self._pool
            session: Session = await self._pool.acquire(timeout=self._settings.acquire_timeout_s)
            return session
        except _CONNECTING as error:
            raise self._unreachable(error) from None

    async def _release(self, session: Session) -> None:
        if self._pool is not None:
            await self._pool.release(session, timeout=_GOODBYE_S)

    def _unreachable(self, error: BaseException) -> Unavailable:
        why = "it did not answer in time" if isinstance(error, TimeoutError) else "it gave no connection"
        if isinstance(error, asyncpg.PostgresError):
            why = _REFUSALS.get(str(error.sqlstate)[:2], why)
        return Unavailable(f"the store `{self._settings.name}` cannot be reached: {why}", "try again, or ask its operator")


async def _as_it_is(session: Session) -> None:
    """Nothing of ours outlives a statement but settings, and these are known."""


async def _end(session: Session) -> None:
    try:
        await session.close(timeout=_GOODBYE_S)
    except _DRIVER_ERRORS:
        session.terminate()


def in_words(error: BaseException) -> ToolError:
    """What the driver raised, without a word of it: the server quotes rows."""
    if not isinstance(error, asyncpg.PostgresError):
        late = isinstance(error, TimeoutError)
        return Unavailable("the store did not answer in time" if late else "the connection to the store broke", "try again")
    sqlstate = str(error.sqlstate)
    if sqlstate in ("42P01", "3F000") or (sqlstate == "XX000" and str(error).startswith(_GONE_RELATION)):
        return NoCollection("the store does not hold this collection", "it was dropped meanwhile")
    if sqlstate == "57014":
        return TimedOut("the store took longer than its time limit", "ask for less, or search with an index")
    if sqlstate == "55P03":
        return LockedOut("the collection is being changed by somebody else", "try again in a moment")
    if sqlstate[:2] in ("08", "57"):
        return Unavailable("the store's database ended the session", "try again")
    return DatabaseError(
        sqlstate, _IN_WORDS.get(sqlstate, f"the store's database answered with SQLSTATE {sqlstate}"), _HINTS.get(sqlstate, "")
    )
