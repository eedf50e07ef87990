"""A house that is changed under masks and row rules, twice: what is withheld differs in the two, and nothing else.

A change is judged and its text is run, in a transaction that is rolled back. What came of it, as its agent could ever see
it, is the same in both databases, and no row is touched that was hidden.
"""

import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
from fix_postgres import PostgresServer
from fix_sql import sees_everything, snapshot_of

from ostiary_policies.masks import Mask, MaskKind
from ostiary_policies.model import Column
from ostiary_tools.snapshot import Snapshot
from ostiary_tools.sql import bind, judge_change
from ostiary_tools.view import RowTerms, SchemaView, hash_key

FOLDER = Path(__file__).parent / "cases" / "writes"
SECRETS = ("1000", "77000")
HIDDEN = {"vault": (), "orders": ("pin",), "people": ("pin",), "boxes": ("pin",)}
"""Tables nobody sees, and columns."""
MASKED = {"email": Mask(MaskKind.EMAIL), "salary": Mask(MaskKind.BUCKET, "1000000"), "city": Mask(MaskKind.HASH)}
"""Of people."""
RULED = ("orders", "events", "events_north", "events_other", "papers", "reports", "slots")
NORTH = "region = 'north'"
CHANGED = (
    "regions", "customers", "orders", "items", "people", "events", "papers", "reports", "badges", "journal", "ruled", "slots",
    "shelves", "boxes", "letters",
)  # fmt: skip


@dataclass(frozen=True)
class Write:
    """One statement, with the values of its parameters."""

    title: str
    sql: str
    params: tuple[str | int | None, ...] = ()
    by_hand: str = ""
    """What does the same under the rules, where the database's own row security does not say so."""
    rule: str = ""
    """By which the judge refuses it."""


def writes(name: str) -> list[Write]:
    """The cases of a file."""
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    return [replace(Write(**case), params=tuple(case.get("params", ()))) for case in table["case"]]


def build(server: PostgresServer, database: str, which: int) -> None:
    """Make the first or the second of the two databases."""
    server.sql(f"CREATE DATABASE {database}")
    lines = (FOLDER / "house.sql").read_text("utf-8").replace("@secret@", SECRETS[which]).splitlines()
    kept = (line.removeprefix("|") for line in lines if which or not line.startswith("|"))
    server.sql("\n".join(kept), database)


def ruled(snapshot: Snapshot) -> SchemaView:
    """The house as an agent sees it under masks and row rules."""
    whole = sees_everything(snapshot)
    hidden = {
        resource
        for resource in whole.visible
        if getattr(resource, "table", getattr(resource, "name", "")) in HIDDEN and _is_hidden(resource)
    }
    masked = {
        resource: MASKED[resource.name]
        for resource in whole.visible
        if isinstance(resource, Column) and resource.table == "people" and resource.name in MASKED
    }
    return replace(
        whole,
        visible=whole.visible - hidden,
        readable=whole.readable - hidden - frozenset(masked),
        masked=masked,
        rows={("public", name): RowTerms(NORTH, ("north",)) for name in RULED},
        hash_key=hash_key("a secret"),
        kept={},
    )


def _is_hidden(resource: Any) -> bool:
    if isinstance(resource, Column):
        return bool(resource.table == "vault" or resource.name in HIDDEN[resource.table])
    return bool(resource.name == "vault")


@dataclass
class House:
    """One of the two databases, with a connection of somebody who may do everything."""

    connection: asyncpg.Connection
    snapshot: Snapshot
    view: SchemaView = field(init=False)

    def __post_init__(self) -> None:
        self.view = ruled(self.snapshot)

    async def outcome(self, text: str, values: Sequence[str | None] = (), agent: str = "") -> tuple[object, Mapping[str, Any]]:
        """What a text says and leaves, in a transaction that is rolled back: rows of each table, whole."""
        transaction = self.connection.transaction()
        await transaction.start()
        try:
            await self.connection.execute(_COUNTED)
            if agent:
                await self.connection.execute(f"SET LOCAL ROLE {agent}")
            said = await self._said(text, values)
            if isinstance(said, int) and agent:
                await self.connection.execute("RESET ROLE")
            left = await self._left() if isinstance(said, int) else {}
            return said, left
        finally:
            await transaction.rollback()

    async def _said(self, text: str, values: Sequence[str | None]) -> object:
        try:
            prepared = await self.connection.prepare(text)
            await prepared.fetch(*await self._converted(prepared, values))
            return int((prepared.get_statusmsg() or "x -1").rsplit(" ", 1)[-1])
        except asyncpg.PostgresError as error:
            return error.sqlstate, error.args[0]

    async def _converted(self, prepared: Any, values: Sequence[str | None]) -> list[Any]:
        converted = []
        for parameter, value in zip(prepared.get_parameters(), values, strict=True):
            kind = "int8" if parameter.name in ("int2", "int4") else parameter.name
            converted.append(await self.connection.fetchval(f"SELECT $1::text::{kind}", value))
        return converted

    async def _left(self) -> Mapping[str, Any]:
        return {name: await self.connection.fetch(f'SELECT * FROM ONLY "{name}" AS t ORDER BY t::text') for name in _STORED}

    def judged(self, write: Write) -> tuple[str, tuple[str | None, ...]]:
        """The text that would be run for the agent, and its values. Raises Refused."""
        statement = bind(judge_change(write.sql, self.view), write.params)
        return statement.runs, statement.values


_COUNTED = "".join(f"SELECT setval('{name}_id_seq', 1000);" for name in ("customers", "orders", "people"))
"""Sequences do not roll back."""
_STORED = (*(name for name in CHANGED if name != "events"), "events_north", "events_other", "vault")


def seen(left: Mapping[str, Any]) -> Mapping[str, list[tuple[object, ...]]]:
    """What the agent could ever see of what was left: its rows, without masked and hidden columns."""
    return {
        name: [tuple(value for key, value in row.items() if _shown(name, key)) for row in rows if _is_his(name, row)]
        for name, rows in left.items()
        if name != "vault"
    }


def hidden(left: Mapping[str, Any]) -> frozenset[tuple[object, ...]]:
    """All that the agent could not see."""
    rows = ((name, row) for name, rows in left.items() for row in rows if not _is_his(name, row))
    return frozenset((name, *((key, str(value)) for key, value in row.items())) for name, row in rows)


def _shown(table: str, column: str) -> bool:
    masked = table == "people" and (column in MASKED or column == "fits")
    return not masked and column not in HIDDEN.get(table, ())


def _is_his(table: str, row: Any) -> bool:
    return table != "vault" and (table not in RULED or str(row["region"]) == "north")


@asynccontextmanager
async def house(server: PostgresServer, database: str) -> AsyncIterator[House]:
    """One of the databases that were made."""
    connection = await asyncpg.connect(server.dsn(database=database))
    try:
        yield House(connection, await snapshot_of(server.dsn(database=database), "house"))
    finally:
        await connection.close()
