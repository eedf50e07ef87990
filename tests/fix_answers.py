"""What a statement answers: through the gate as a reply, and on a bare connection as PostgreSQL writes CSV itself."""

import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import mcp.types as t

_BARE = {
    "search_path": "pg_catalog, public",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "client_min_messages": "error",  # the driver loses a line of COPY when a notice comes between
}
_NULL = "\ufffdNULL\ufffd"


@dataclass(frozen=True)
class Table:
    """Names of columns and rows of text, NULL told from empty."""

    names: list[str]
    rows: list[list[str | None]]


def text_of(reply: t.CallToolResult) -> str:
    """What a tool answers, or what it says of its failure."""
    block = reply.content[0]
    assert isinstance(block, t.TextContent)
    return block.text


def agrees(found: Table, expected: Table, *, cut: bool) -> bool:
    """Equal; of a reply that says it is cut, every row must be one of those expected."""
    if not cut:
        return found == expected
    rows, all_rows = Counter(map(tuple, found.rows)), Counter(map(tuple, expected.rows))
    return found.names == expected.names and rows < all_rows and len(found.rows) >= 100


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session as the gate opens one, without the gate."""
    connection = await asyncpg.connect(dsn, server_settings=_BARE)
    try:
        yield connection
    finally:
        await connection.close()


async def answered(bare: asyncpg.Connection, sql: str) -> Table | None:
    """As PostgreSQL writes it; `None` for what this server was built without, and for EXPLAIN, which COPY does not take."""
    if sql.lower().startswith("explain"):
        lines = [str(row[0]) for row in await bare.fetch(sql)]
        return Table(["QUERY PLAN"], [[line] for line in lines])
    out = io.BytesIO()
    try:
        await bare.copy_from_query(sql, output=out, format="csv", header=True, null=_NULL)
    except asyncpg.FeatureNotSupportedError:
        return None
    names, *rows = csv.reader(io.StringIO(out.getvalue().decode(), newline="")) if out.getvalue().strip() else [[]]
    return Table(names, [[None if value == _NULL else value for value in row] for row in rows])


def read(reply: str) -> Table:
    """The reply's CSV, in which NULL is nothing and an empty text is two quotes."""
    fence, _, rest = reply.partition("\n")
    text = rest.partition(f"\n</{fence[1:]}")[0]
    names, *rows = [*_csv(text)]
    return Table([name or "" for name in names], rows)


def _csv(text: str) -> list[list[str | None]]:
    rows: list[list[str | None]] = [[]]
    at = 0
    while True:
        if text.startswith('"', at):
            end = at + 1
            while text[end] != '"' or text.startswith('""', end):
                end += 2 if text.startswith('""', end) else 1
            rows[-1].append(text[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = min(n for n in (text.find(",", at), text.find("\n", at), len(text)) if n >= 0)
            rows[-1].append(text[at:end] or None)
            at = end
        if at == len(text):
            return rows
        if text[at] == "\n":
            rows.append([])
        at += 1
