"""Scopes: what a name can mean at a place in a statement, bound as the server binds it.

An `Item` is one entry of a FROM list. Its fields carry the columns of base relations
they read. Hidden columns are among them: what a name binds to does not depend on who
asks. Where the model cannot know an item's columns, the item is `unbounded` and the
search goes on outwards too, so that the answer holds every column the server could mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from ostiary_tools.snapshot import ColumnInfo, Relation

Source = tuple[Relation, ColumnInfo]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of an item."""

    name: str
    sources: tuple[Source, ...] = ()
    """Columns of base relations that are read when it is."""
    kind: Callable[[], tuple[str, str] | None] | None = None
    """Finds its type, as `kinds` says it, where it is made of more than `sources`."""


@dataclass(slots=True)
class Scan:
    """One scan of a base relation. Mutable: later uses decide whether it is narrowed to the visible columns."""

    relation: Relation
    narrow: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """An entry of a FROM list, or a join of some."""

    name: str | None
    fields: tuple[Field, ...]
    scans: tuple[Scan, ...] = ()
    """Base relations whose rows a whole-row reference to it would carry."""
    unbounded: bool = False
    """It may have columns that are not in `fields`."""
    schema: str | None = None
    """Of a base relation without an alias: it may be named `schema.table`."""
    has_ctid: bool = False
    by_name: bool = True
    """`name.column` is seen."""
    by_column: bool = True
    """A bare `column` is seen."""
    base: bool = False
    target: bool = False
    """The relation that a statement changes; its columns are spelled with its name, which a fence may take."""

    def by_name_alone(self) -> Item:
        """The same without a way to name its columns bare."""
        seen = (self.name, self.fields, self.scans, self.unbounded, self.schema, self.has_ctid, self.by_name)
        return Item(*seen, by_column=False, base=self.base)


@dataclass(frozen=True, slots=True)
class Output:
    """The columns a SELECT gives."""

    names: tuple[str, ...]
    unbounded: bool = False
    kinds: tuple[Callable[[], tuple[str, str] | None] | None, ...] = ()
    """As in `Field`, for each name; empty when none is known."""

    def fields(self) -> tuple[Field, ...]:
        """Its columns as those of an item."""
        return tuple(Field(name, kind=kind) for name, kind in zip_longest(self.names, self.kinds[: len(self.names)]))


@dataclass(slots=True)
class Cte:
    """A WITH query. `output` is known once its first arm has been read."""

    name: str
    node: object
    env: Env | None = None
    output: Output | None = None
    started: bool = False
    renames: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    """Columns that SEARCH and CYCLE add."""


@dataclass(frozen=True, slots=True)
class Env:
    """A query level: its items, the WITH queries in reach, and the level around it."""

    items: tuple[Item, ...] = ()
    ctes: Mapping[str, Cte] = field(default_factory=dict)
    parent: Env | None = None

    def levels(self) -> Iterator[Env]:
        """This level and those around it, innermost first."""
        level: Env | None = self
        while level is not None:
            yield level
            level = level.parent

    def child(self) -> Env:
        """An empty level inside this one."""
        return Env((), self.ctes, self)

    def holding(self, items: tuple[Item, ...]) -> Env:
        """This level with other items."""
        return Env(items, self.ctes, self.parent)


@dataclass(frozen=True, slots=True)
class Found:
    """Every meaning a bare name could have."""

    fields: tuple[Field, ...]
    certain: bool
    """The server cannot mean anything else."""


def find_column(env: Env, name: str) -> Found:
    """Look a bare column name up, innermost level first."""
    found: list[Field] = []
    certain = True
    for level in env.levels():
        matches = in_level(level, name)
        found.extend(matches)
        if matches:
            break
        certain = certain and not any(item.unbounded and item.by_column for item in level.items)
    return Found(tuple(found), certain)


def in_level(level: Env, name: str) -> list[Field]:
    """Fields of that name that a bare name reaches in this level alone."""
    return [each for item in level.items if item.by_column for each in item.fields if each.name == name]


def has_ctid(env: Env) -> bool:
    """Whether a bare `ctid` reaches a base relation."""
    return any(item.has_ctid and item.by_column for level in env.levels() for item in level.items)


def find_items(env: Env, name: str, schema: str | None = None) -> tuple[Item, ...]:
    """Look a range-table name up; every match of the innermost level that has any."""
    for level in env.levels():
        matches = tuple(i for i in level.items if i.by_name and i.name == name and (schema is None or i.schema == schema))
        if matches:
            return matches
    return ()


def renamed(fields: tuple[Field, ...], names: tuple[str, ...]) -> tuple[Field, ...]:
    """Apply a column alias list to the first fields."""
    if not names:
        return fields
    return tuple(Field(names[n], each.sources, each.kind) if n < len(names) else each for n, each in enumerate(fields))
