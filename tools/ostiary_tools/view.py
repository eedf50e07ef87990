"""The schema as one caller sees it.

`plan` gets views and no raw snapshot policy could not have filtered. A view keeps
the whole snapshot, because what a name means depends on hidden columns too (an
unqualified name binds to the inner table's column whether or not the agent may see
it); `visible` and `readable` say which of it exists for the caller.
"""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from ostiary_policies.actions import Action
from ostiary_policies.masks import Mask
from ostiary_policies.model import Access, Column, Principal, Resource, Table
from ostiary_tools.ancestry import ancestors
from ostiary_tools.asking import Client
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.examples import ShownExample
from ostiary_tools.position import Position
from ostiary_tools.snapshot import ColumnInfo, Index, Name, Relation, Snapshot

if TYPE_CHECKING:
    from ostiary_tools.backup.known import Backups
    from ostiary_tools.change import KnownChange
    from ostiary_tools.meaning.index import Meanings
    from ostiary_tools.vectors.known import Holdings

_BLOCK = 64
"""Bytes."""
_CALLED = re.compile(r'([\w$]+)"?\(')
"""A name before a bracket: a function, or the method of the index."""


class HashKey(NamedTuple):
    """A key as the two paddings of a keyed hash over SHA-256 (RFC 2104), in PostgreSQL's hexadecimal format of `bytea`."""

    inner: str
    outer: str


def hash_key(secret: str) -> HashKey:
    """Make the key out of a secret of any length."""
    key = secret.encode()
    block = (sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return HashKey(f"\\x{inner.hex()}", f"\\x{outer.hex()}")


@dataclass(frozen=True, slots=True)
class RowTerms:
    """Which rows of a relation the caller has."""

    predicate: str
    """SQL over the bare names of its columns, TRUE for these rows and for no others. It raises no error for any row."""
    rules: tuple[str, ...]
    """Ids of the row rules that decided, sorted."""
    refusal: str = ""
    """Why the caller has no rows at all and no scan is made: which rows is not certain."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the caller's policy says of all that a view's own query reads."""

    accesses: frozenset[Access]
    """What reading the view reads besides, through views in it too."""
    query: str = ""
    """The view's query, its names bound, where masks or row rules stand inside; empty where the view is read as it is."""
    rules: tuple[str, ...] = ()
    """Ids of the row rules that decide inside, sorted."""
    filtered: bool = False
    """Rows may be missing inside."""
    masked: bool = False
    """Masks stand in the place of values inside."""


@dataclass(frozen=True, slots=True)
class SchemaView:
    """A snapshot and what of it the caller may see and read."""

    snapshot: Snapshot
    visible: frozenset[Resource]
    readable: frozenset[Resource]
    masked: Mapping[Column, Mask] = field(default_factory=dict)
    """Columns that are read through a mask; none of them is `readable`."""
    rows: Mapping[Name, RowTerms] = field(default_factory=dict)
    """Relations of which the caller has the rows that rules allow; of others it has all."""
    writes: Mapping[tuple[str, Name], RowTerms] = field(default_factory=dict)
    """Rows under the rules of `insert`, `update` and `delete` themselves, by that word and the table."""
    approved: frozenset[Resource] = frozenset()
    """Tables and columns that a statement reads, as they are or masked, only when a human has approved it."""
    insides: Mapping[Name, Inside] = field(default_factory=dict)
    """Of views, where the policy of what they read is to apply inside. One that it closes is among `rows`."""
    tainting: Mapping[Resource, frozenset[str]] = field(default_factory=dict)
    """Tables and columns whose reading, as they are or masked, taints its agent, and with what."""
    apart: frozenset[Resource] = frozenset()
    """Tables and columns that a statement reads, as they are or masked, on a replica only."""
    hash_key: HashKey | None = field(default=None, repr=False)
    """What `hash` masks are made with; without it there are none."""
    kept: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)
    """What others made from this view and would make again; it goes when the view goes."""
    _reads: dict[tuple[str, str, str], Access | None] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def datasource(self) -> str:
        """Name of the datasource."""
        return self.snapshot.datasource

    def relations(self) -> tuple[Relation, ...]:
        """Every relation the caller may see, by schema and name."""
        return tuple(r for _, r in sorted(self.snapshot.relations.items()) if self.sees(r))

    def relation(self, schema: str, name: str) -> Relation | None:
        """The relation, or `None` when it does not exist for the caller."""
        found = self.snapshot.relations.get((schema, name))
        return found if found is not None and self.sees(found) else None

    def sees(self, relation: Relation) -> bool:
        """Whether the relation exists for the caller."""
        return relation.resource(self.datasource) in self.visible

    def columns(self, relation: Relation) -> tuple[ColumnInfo, ...]:
        """The columns that exist for the caller, in the table's order."""
        return tuple(c for c in relation.columns if relation.column_resource(self.datasource, c) in self.visible)

    def reading(self, relation: Relation, column: ColumnInfo) -> Access | None:
        """What it is to read the column, or `None` when that does not exist for the caller; every statement asks, so it is kept."""
        key = (relation.schema, relation.name, column.name)
        if key not in self._reads:
            resource = relation.column_resource(self.datasource, column)
            action = Action.READ_MASKED if resource in self.masked else Action.READ
            self._reads[key] = Access(action, resource) if resource in self.visible else None
        return self._reads[key]

    def of_wholes(self, accesses: Iterable[Access]) -> frozenset[Access]:
        """These, and what they are of wholes that the caller may read: rows of a part are rows of what it is a part of."""
        if "wholes" not in self.kept:
            known = self.snapshot.relations
            self.kept["wholes"] = {
                name: [known[top] for top in tops if known[top].resource(self.datasource) in self.readable]
                for name, tops in ancestors(self.snapshot).items()
            }
        wholes: Mapping[Name, Sequence[Relation]] = self.kept["wholes"]
        return frozenset(accesses).union(*(self._above(access, wholes) for access in accesses)) if wholes else frozenset(accesses)

    def _above(self, access: Access, wholes: Mapping[Name, Sequence[Relation]]) -> Iterator[Access]:
        match access:
            case Access(action=Action.READ, resource=Table(schema=schema, name=name)):
                yield from (Access(Action.READ, top.resource(self.datasource)) for top in wholes.get((schema, name), ()))
            case Access(action=Action.READ | Action.READ_MASKED, resource=Column(schema=schema, table=name, name=column)):
                for top in wholes.get((schema, name), ()):
                    same = top.column(column)
                    if same is not None and (above := self.reading(top, same)) is not None:
                        yield above

    def readable_columns(self, relation: Relation) -> tuple[ColumnInfo, ...]:
        """The columns whose values the caller may have; none when the table itself may not be read."""
        if relation.resource(self.datasource) not in self.readable:
            return ()
        return tuple(c for c in relation.columns if relation.column_resource(self.datasource, c) in self.readable)

    def filtered(self, relation: Relation) -> bool:
        """Whether the caller may have fewer rows than there are, by row rules or by policies of the database."""
        name = (relation.schema, relation.name)
        return relation.row_security or name in self.rows or (name in self.insides and self.insides[name].filtered)

    def guarded(self, relation: Relation) -> bool:
        """Whether there may be rows that the caller has not, or may not insert, update or delete."""
        name = (relation.schema, relation.name)
        return self.filtered(relation) or any(table == name for _, table in self.writes)

    def estimated_rows(self, relation: Relation) -> int | None:
        """The planner's estimate; `None` where that would count rows that are kept from the caller."""
        return None if self.filtered(relation) else relation.estimated_rows

    def curtailed(self, relation: Relation) -> bool:
        """Whether the caller may have fewer rows than there are, or other values."""
        return self.filtered(relation) or self.fenced(relation)

    def mask(self, relation: Relation, column: ColumnInfo) -> Mask | None:
        """What the caller gets in the place of the column's values."""
        return self.masked.get(relation.column_resource(self.datasource, column)) if self.masked else None

    def asked_about(self, relation: Relation) -> tuple[str, ...] | None:
        """The columns of which a human is asked, none when it is the whole table; `None` when nobody is."""
        if relation.resource(self.datasource) in self.approved:
            return ()
        asked = tuple(c.name for c in self.columns(relation) if relation.column_resource(self.datasource, c) in self.approved)
        return asked or None

    def fenced(self, relation: Relation) -> bool:
        """Whether the caller gets anything else than the relation's own rows and values."""
        if "fenced" not in self.kept:
            entered = (name for name, inside in self.insides.items() if inside.query)
            self.kept["fenced"] = frozenset((*self.rows, *entered, *((column.schema, column.table) for column in self.masked)))
        return (relation.schema, relation.name) in self.kept["fenced"]

    def enters(self, relation: Relation) -> bool:
        """Whether the relation is a view whose own query runs in its place."""
        inside = self.insides.get((relation.schema, relation.name))
        return inside is not None and bool(inside.query)

    @property
    def narrowed(self) -> Hashable:
        """All masks, row terms and insides; of two views of a snapshot with the same, a statement runs in the same way."""
        if "narrowed" not in self.kept:
            self.kept["narrowed"] = tuple(frozenset(each.items()) for each in (self.masked, self.rows, self.insides))
        known: Hashable = self.kept["narrowed"]
        return known

    def indexes(self, relation: Relation) -> tuple[Index, ...]:
        """The indexes that name nothing hidden, no column and no function, and hold no constant beside a column that is masked."""
        visible = {column.name for column in self.columns(relation)}
        masked = {column.name for column in relation.columns if self.mask(relation, column)}
        return tuple(
            index
            for index in relation.indexes
            if visible.issuperset(index.columns)
            and not self._names_hidden_function(index)
            and (masked.isdisjoint(index.columns) or not self._computes(relation, index))
        )

    def _computes(self, relation: Relation, index: Index) -> bool:
        """Whether its definition says more than columns; one of which nothing is known counts as such."""
        known = self.snapshot.details.indexes.get((relation.schema, index.name))
        return known is None or bool(known.expressions or known.predicate)

    def _names_hidden_function(self, index: Index) -> bool:
        return any(
            overload.schema != "pg_catalog" and self.snapshot.function_resource(overload.schema, name) not in self.visible
            for name in set(_CALLED.findall(index.definition))
            for overload in self.snapshot.functions_by_name.get(name, ())
        )


@dataclass(frozen=True, slots=True)
class World:
    """All that `plan` may look at."""

    principal: Principal
    views: Mapping[str, SchemaView]
    """By datasource; only those the caller may see."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Datasources the caller may see that cannot be reached now → why, in words without secrets."""
    tools: tuple[str, ...] = ()
    """Names of the tools and prompts the caller may call."""
    position: Position | None = None
    """Where the caller's cursor stands, when the call gives one that is the caller's and still holds."""

    examples: Mapping[str, tuple[ShownExample, ...]] = field(default_factory=dict)
    """By datasource: verified examples most like the call's question, nearest first, that the caller may run."""

    meanings: "Mapping[str, Meanings]" = field(default_factory=dict)
    """By datasource: its schema's words, where searches go by meaning too."""

    change: "KnownChange | None" = None
    """What the call's change is, when the call gives one that is the caller's and still holds."""

    holdings: "Holdings | None" = None
    """The collections that the caller knows, when the call is about collections."""

    backups: "Backups | None" = None
    """What the caller knows of backups, when the call is about backups."""

    client: Client = field(default_factory=Client)
    """Whom the tool may ask before it states its intent."""

    def view(self, datasource: str | None) -> SchemaView:
        """The view of that datasource, or of the only one when none is named.

        Raises Refused when the name is unknown or several exist and none is named,
        Unavailable when the datasource cannot be reached.
        """
        known = sorted({*self.views, *self.unavailable})
        if datasource is None:
            if len(known) != 1:
                names = ", ".join(known) or "none"
                raise Refused("datasource", "name the datasource", f"datasources you may use: {names}")
            datasource = known[0]
        if datasource in self.unavailable:
            raise Unavailable(f"datasource `{datasource}` is not available: {self.unavailable[datasource]}", "try again later")
        if datasource not in self.views:
            raise Refused(
                "datasource", f"unknown datasource `{datasource}`", f"datasources you may use: {', '.join(known) or 'none'}"
            )
        return self.views[datasource]
