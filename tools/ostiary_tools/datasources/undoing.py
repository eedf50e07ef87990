"""Takes back what another transaction did, and locks what it would change: sets of rows, by primary key, in few statements.

Values travel as text and are cast to the columns' types. A row is touched only where every value of it still prints as the change
left it. What the order of the tables cannot settle, as with a key that one row lost and another took, is tried the other way round.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ostiary_tools.datasources.images import Layout, text_of
from ostiary_tools.effects import Effects, TableEffect, Values
from ostiary_tools.errors import Overtaken, Refused
from ostiary_tools.identifiers import qualified, quoted

Ask = Callable[..., Awaitable[Sequence[Any]]]
"""Runs one of our own statements. Raises ToolError."""
Write = Callable[..., Awaitable[None]]
"""Runs one that writes a table `t`: its text, its word and its values. Raises ToolError."""

ATTEMPTS = (("insert", "update", "delete"), ("delete", "insert", "update"), ("update", "delete", "insert"))
"""Orders of the kinds; each may fit where another meets a key or a reference."""
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Taken:
    """What is to be done to one table."""

    layout: Layout
    effect: TableEffect

    @property
    def present(self) -> list[Values]:
        """Rows that must be there, as they are to be found."""
        return [row.after for row in self.effect.rows if row.after is not None]

    @property
    def missing(self) -> list[Values]:
        """Rows that are to come back, and whose keys must be free."""
        return [row.before for row in self.effect.rows if row.before is not None and row.after is None]

    @property
    def added(self) -> list[Values]:
        """Rows that are to go."""
        return [row.after for row in self.effect.rows if row.after is not None and row.before is None]

    @property
    def changed(self) -> list[tuple[Values, Values]]:
        """Rows that are to be as before: before and after."""
        return [(row.before, row.after) for row in self.effect.rows if row.before is not None and row.after is not None]


def taken(effects: Effects, layouts: Mapping[tuple[str, str], Layout]) -> list[Taken]:
    """Each table with its layout as it is now. Raises Refused where that is another, or has no key."""
    found: list[Taken] = []
    for effect in effects.tables:
        layout = layouts.get(effect.table)
        if not effect.key:
            raise Refused("undo", f"rows of `{qualified(*effect.table)}` cannot be told apart: it has no primary key", "")
        if layout is None or _shape(layout) != (effect.columns, effect.key):
            message = f"table `{qualified(*effect.table)}` does not have the columns that it had"
            raise Refused("undo", message, "propose the change that you want as it is now")
        found.append(Taken(layout, effect))
    return found


def _shape(layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    columns = tuple(column.name for column in layout.columns)
    return columns, tuple(columns[place] for place in layout.key)


async def lock(ask: Ask, layout: Layout, rows: Sequence[Values]) -> None:
    """Lock rows by their keys, in the order of these."""
    keys = ", ".join(f"t.{quoted(layout.columns[place].name)}" for place in layout.key)
    given = await _given(rows, layout.key)
    query = f"SELECT 1 FROM {layout.sql} AS t JOIN {_rows(layout.key)} ON {_same_key(layout)} ORDER BY {keys} FOR UPDATE OF t"  # noqa: S608
    await ask(f"SELECT pg_catalog.count(*) FROM ({query}) AS locked", *given)  # noqa: S608  names are quoted


async def check(ask: Ask, table: Taken) -> None:
    """Lock what is there, and raise Overtaken when it is not as the change left it."""
    layout = table.layout
    every = range(len(layout.columns))
    if present := table.present:
        await lock(ask, layout, present)
        same = " AND ".join(
            f"{text_of(f't.{quoted(column.name)}')} IS NOT DISTINCT FROM v.c{place}" for place, column in enumerate(layout.columns)
        )
        found = f"SELECT FROM {layout.sql} AS t WHERE {_same_key(layout)} AND {same}"
        query = f"SELECT v.n FROM {_rows(every)} WHERE NOT EXISTS ({found})"  # noqa: S608  names are quoted
        _refuse_changed(layout, present, await ask(query, *await _given(present, every)))
    if missing := table.missing:
        found = f"SELECT FROM {layout.sql} AS t WHERE {_same_key(layout)}"
        query = f"SELECT v.n FROM {_rows(layout.key)} WHERE EXISTS ({found})"  # noqa: S608  names are quoted
        _refuse_changed(layout, missing, await ask(query, *await _given(missing, layout.key)))


def _refuse_changed(layout: Layout, rows: Sequence[Values], numbers: Sequence[Any]) -> None:
    if numbers:
        key = tuple(layout.columns[place].name for place in layout.key)
        some = tuple(tuple(layout.key_of(rows[row["n"]])) for row in numbers[:_TOLD])
        raise Overtaken(layout.name, key, some, len(numbers))


async def undo(write: Write, tables: Sequence[Taken], references: Iterable[tuple[int, int]], order: Sequence[str]) -> None:
    """Take back in this order of kinds; children go before their parents, and come back after them."""
    children_first = _children_first(tables, references)
    for kind in order:
        for table in children_first if kind == "delete" else reversed(children_first):
            await _ACTS[kind](write, table)


def _children_first(tables: Sequence[Taken], references: Iterable[tuple[int, int]]) -> list[Taken]:
    """By foreign keys, child and parent. A circle has no order; then the check at the end of each statement decides."""
    by_oid = {table.layout.oid: table for table in tables}
    sorter: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(by_oid, ()))
    for child, parent in references:
        if child != parent:
            sorter.add(parent, child)
    try:
        return [by_oid[oid] for oid in sorter.static_order()]
    except CycleError:
        return list(tables)


async def _delete(write: Write, table: Taken) -> None:
    layout, rows = table.layout, table.added
    if rows:
        query = f"DELETE FROM {layout.sql} AS t USING {_rows(layout.key)} WHERE {_same_key(layout)}"  # noqa: S608  names are quoted
        await write(query, "delete", *await _given(rows, layout.key))


async def _insert(write: Write, table: Taken) -> None:
    layout, rows = table.layout, table.missing
    if rows:
        stored = [place for place, column in enumerate(layout.columns) if not column.generated]
        names = ", ".join(quoted(layout.columns[place].name) for place in stored)
        values = ", ".join(_cast(layout, place) for place in stored)
        target = layout.sql.removeprefix("ONLY ")
        query = f"INSERT INTO {target} AS t ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {_rows(stored)} ORDER BY v.n"  # noqa: S608
        await write(query, "insert", *await _given(rows, stored))


async def _update(write: Write, table: Taken) -> None:
    layout, rows = table.layout, table.changed
    if not rows:
        return
    places = await asyncio.to_thread(_differing, layout, rows)
    width = len(layout.columns)
    both = await asyncio.to_thread(lambda: [(*before, *after) for before, after in rows])
    found = [width + place for place in layout.key]
    names = ((quoted(layout.columns[place].name), _cast(layout, place)) for place in places)
    sets = ", ".join(f"{name} = {value}" for name, value in names)
    if not sets:
        return
    where = " AND ".join(f"t.{quoted(layout.columns[place].name)} = {_cast(layout, place, width)}" for place in layout.key)
    query = f"UPDATE {layout.sql} AS t SET {sets} FROM {_rows([*places, *found])} WHERE {where}"  # noqa: S608  names are quoted
    await write(query, "update", *await _given(both, [*places, *found]))


_ACTS = {"delete": _delete, "insert": _insert, "update": _update}


def _differing(layout: Layout, rows: Sequence[tuple[Values, Values]]) -> list[int]:
    """Columns that a row of them got another value in; where there is none, one that can be set to what it is."""
    free = [place for place, column in enumerate(layout.columns) if not column.generated]
    differing = [place for place in free if any(before[place] != after[place] for before, after in rows)]
    return differing or [place for place in free if not layout.columns[place].always][:1]


def _rows(places: Iterable[int]) -> str:
    """Rows of text from an array for each place, as `v`, with their numbers from 0."""
    names = [f"c{place}" for place in places]
    arrays = ", ".join(f"pg_catalog.unnest(${number}::text[])" for number in range(1, len(names) + 1))
    listed = ", ".join(names)
    numbered = f"SELECT {listed}, (w.n - 1)::int4 AS n FROM ROWS FROM ({arrays}) WITH ORDINALITY AS w ({listed}, n)"  # noqa: S608  ours
    return f"({numbered}) AS v"


def _cast(layout: Layout, place: int, width: int = 0) -> str:
    return f"CAST(v.c{place + width} AS {layout.columns[place].type})"


def _same_key(layout: Layout) -> str:
    return " AND ".join(f"t.{quoted(layout.columns[place].name)} = {_cast(layout, place)}" for place in layout.key)


async def _given(rows: Sequence[Values], places: Iterable[int]) -> list[list[str | None]]:
    """An array for each place."""
    return await asyncio.to_thread(lambda: [[row[place] for row in rows] for place in places])
