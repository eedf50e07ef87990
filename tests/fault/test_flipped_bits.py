"""Bits of rows that are flipped on the disk: whatever text shows is seen when rows are hashed as they are stored or sent, too."""

import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from fix_postgres import PostgresServer, new_server, short_directory

from ostiary_tools.backup.fingerprints import taken
from ostiary_tools.backup.manifest import Kind, Way
from ostiary_tools.errors import Damaged, ToolError

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]
SEED = 20261122
TYPES = """
CREATE EXTENSION pg_buffercache; CREATE TYPE mood AS ENUM ('well', 'ill'); CREATE TYPE pair AS (a numeric, b text);
CREATE DOMAIN price AS numeric;
"""
VALUES = {
    "boolean": "false",
    "smallint": "7",
    "integer": "-7",
    "bigint": "1234567890123",
    "oid": "5",
    "real": "1.5",
    "float8": "0",
    "numeric": "-12.3400",
    "money": "1.25",
    "date": "'2026-11-22'",
    "timestamp": "'2026-11-22 01:02:03.4'",
    "timestamptz": "'2026-11-22 01:02:03.4+00'",
    "interval": "'1 year -2 days 3 s'",
    "uuid": "'0f0e0d0c-0b0a-0908-0706-050403020100'",
    "text": "'Straße 7'",
    "varchar": "'abc'",
    "char(7)": "'abc'",
    "bytea": "'\\x00ff10'",
    "json": """'{"a":  1.0}'""",
    "jsonb": """'{"a": [1.0, "mark", null]}'""",
    "point": "'(1,0)'",
    "inet": "'10.0.0.1/8'",
    "varbit": "B'0110110101100001'",
    "int4[]": "'{1,2,1802658157}'",
    "text[]": "'{a,mark}'",
    "int4range": "'[1,1802658157)'",
    "int4multirange": "'{[1,3),[5,1802658157)}'",
    "tsvector": "'mark:1 cat:2'",
    "mood": "'ill'",
    "price": "'7.10'",
    "pair": "'(1.0,mark)'",
}
"""One row each; a table's bytes are its only row's."""
INNER = {
    "varbit": b"ma",
    **dict.fromkeys(("jsonb", "int4[]", "text[]", "int4range", "int4multirange", "tsvector", "pair"), b"mark"),
}
"""What is flipped of values that say inside how long parts of them are: with another length chance says what is read."""

FLIPS = 3
"""Bits of each type."""


@pytest.fixture
def unchecked() -> Iterator[PostgresServer]:
    """A server that says nothing of damage: its pages have no sums."""
    root = short_directory()
    server = new_server(root, {"fsync": "off", "autovacuum": "off"}, initdb=["--no-data-checksums"])
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(root, ignore_errors=True)


@asynccontextmanager
async def session(server: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn())
    try:
        yield connection
    finally:
        connection.terminate()


async def prints(server: PostgresServer, way: Way) -> dict[str, str]:
    """The sums of all tables; none where one cannot be read, or the server met its end in it."""
    try:
        async with session(server) as connection:
            await connection.execute("SELECT pg_buffercache_evict_relation(oid) FROM pg_class WHERE relname ~ '^of_'")
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            found = await taken(connection, "any", Kind.FULL, way=way)
    except ToolError as error:
        if not isinstance(error, Damaged):
            server.stop("immediate")
            server.start()
        return {}
    return {one.table: one.sum for one in found.tables}


async def flips(server: PostgresServer, table: str, inner: bytes, chosen: random.Random) -> list[tuple[int, int]]:
    """Places in the table's file, and bits there: of the values of its only row, and not of what says how long they are."""
    async with session(server) as connection:
        long = await connection.fetchval(
            "SELECT attlen = -1 FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum = 1", table
        )
    page = (await file_of(server, table)).read_bytes()
    line = int.from_bytes(page[24:28], "little")
    begin, length = line & 0x7FFF, line >> 17
    inside = range(begin + page[begin + 22] + (1 if long else 0), begin + length)
    if inner:
        inside = range(at := page.index(inner, begin), at + len(inner))
    return [(place, 1 << chosen.randrange(8)) for place in chosen.sample(inside, min(FLIPS, len(inside)))]


async def file_of(server: PostgresServer, table: str) -> Path:
    async with session(server) as connection:
        return server.data / str(await connection.fetchval("SELECT pg_relation_filepath($1::text::regclass)", table))


async def test_what_text_shows_is_seen_by_the_other_way_too(unchecked: PostgresServer):
    """Where text shows it, as another value or as none that can be read; each flip is of one bit."""
    names = {f"of_{number}": type_ for number, type_ in enumerate(VALUES)}
    made = (f"CREATE TABLE {name} (v {type_}); INSERT INTO {name} VALUES ({VALUES[type_]});" for name, type_ in names.items())
    unchecked.sql(TYPES + "".join(made) + "VACUUM FREEZE;")
    before = {way: await prints(unchecked, way) for way in Way}
    unchecked.sql("CHECKPOINT")
    chosen = random.Random(SEED)  # noqa: S311 -- no secret
    shown, unseen = dict.fromkeys(VALUES, 0), []
    for name, type_ in names.items():
        path = await file_of(unchecked, name)
        whole = path.read_bytes()
        for place, bit in await flips(unchecked, name, INNER.get(type_, b""), chosen):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            text, binary = [(await prints(unchecked, way)).get(name, "") != before[way][name] for way in Way]
            shown[type_] += text
            if text and not binary:
                unseen.append((type_, place, bit))
        path.write_bytes(whole)
    assert unseen == []
    assert [type_ for type_, count in shown.items() if not count] == []
    assert {way: await prints(unchecked, way) for way in Way} == before, "nothing is left of it"
