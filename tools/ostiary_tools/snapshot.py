"""A dated snapshot of a database's names and types: all that `plan` may look at.

Plain frozen values; `datasources/` fills them from the live catalog. A name the
snapshot does not know does not exist, so a statement that uses it is refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from ostiary_policies.model import Column, Function, Resource, Schema, Table
from ostiary_tools.ancestry import ancestors, descendants
from ostiary_tools.details import Details

Name = tuple[str, str]
"""Schema and name."""
_MOST_PARTS = 100
"""Of a table are asked about at each call. One that is added or taken away shows in the mark of the whole."""


class RelationKind(StrEnum):
    """PostgreSQL's kinds of relation that can stand in FROM."""

    TABLE = "table"
    PARTITIONED_TABLE = "partitioned table"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"
    FOREIGN_TABLE = "foreign table"


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """One live column, in the order of `pg_attribute`."""

    name: str
    type: str
    """As `format_type` writes it, with its modifier: `numeric(12,2)`."""
    not_null: bool
    default: str = ""
    """The default or generation expression as text, or empty."""
    generated: bool = False
    """A stored or virtual generated column, or an identity."""
    computed: bool = False
    """A value is made when it is read, and that may fail: of a view, of another server's table, or virtually generated."""
    comment: str = ""
    tags: frozenset[str] = frozenset()
    kind: Name | None = None
    """Schema and name of its type as `pg_type` spells them: `("pg_catalog", "int4")`; `None` when unknown."""
    runs: tuple[Name, ...] = ()
    """Functions outside the catalog, and built-ins that do more than compute, that reading it runs."""
    deterministic: bool = False
    """No two different values of it are equal by its collation."""
    fills: tuple[Name, ...] = ()
    """The same of its default: what a new row runs that is given no value here."""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference from these columns to those of another relation."""

    name: str
    columns: tuple[str, ...]
    target_schema: str
    target_table: str
    target_columns: tuple[str, ...]
    on_delete: str = "a"
    """What becomes of a row that refers to one that goes: `c` goes too, `n` and `d` set its columns; `a` and `r` change nothing."""
    on_update: str = "a"
    """The same where the columns it refers to change; `c` changes its own."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A function that rows set going which are written."""

    name: str
    function: Name
    events: frozenset[str]
    """Of `insert`, `update` and `delete`."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index, as its definition says."""

    name: str
    definition: str
    """From `USING` on: `btree (customer_id, placed_at DESC)`."""
    columns: tuple[str, ...]
    """Every column it names, keys, INCLUDE, expressions and predicate; so that it is shown only to those who may see them all."""
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation that can be scanned."""

    schema: str
    name: str
    kind: RelationKind
    columns: tuple[ColumnInfo, ...]
    comment: str = ""
    tags: frozenset[str] = frozenset()
    primary_key: tuple[str, ...] = ()
    unique_keys: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[Index, ...] = ()
    estimated_rows: int | None = None
    """From the planner's statistics; `None` when never analysed."""
    has_children: bool = False
    """Other relations inherit from it (partitions or table inheritance)."""
    runs: tuple[Name, ...] = ()
    """As with a column: what stands behind a view, a row security policy, a foreign table."""
    row_security: bool = False
    """The database filters its rows by policies of its own."""
    writes: tuple[Name, ...] = ()
    """As `runs`, when a row of it is written: checks, stored columns, indexes, policies, conditions of triggers."""
    triggers: tuple[Trigger, ...] = ()
    """Those of users that are not disabled."""
    rewritten: bool = False
    """Rules of the database put other statements in the place of what is written to it."""

    def column(self, name: str) -> ColumnInfo | None:
        """The column of that name, or `None`."""
        return next((c for c in self.columns if c.name == name), None)

    def resource(self, datasource: str) -> Table:
        """What policy judges when this relation is touched."""
        return Table(datasource, self.schema, self.name, self.tags)

    def column_resource(self, datasource: str, column: ColumnInfo) -> Column:
        """What policy judges when this column is touched."""
        return Column(datasource, self.schema, self.name, column.name, column.tags, self.tags)


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """One overload of a function, aggregate, window function or procedure."""

    schema: str
    name: str
    arguments: str
    """As `pg_get_function_arguments` writes them."""
    result: str
    kind: str
    """`function`, `aggregate`, `window` or `procedure`."""
    volatility: str
    """`immutable`, `stable` or `volatile`."""
    language: str
    """Of an aggregate, the least trusted of what it is made of; immutable built-ins count as `sql`."""
    owner: str = ""
    security_definer: bool = False
    extension: str = ""
    comment: str = ""
    argument_count: int = 0
    """Input arguments, those with a default included."""
    default_count: int = 0
    variadic: bool = False
    output_columns: tuple[str, ...] = ()
    """Names of its OUT and TABLE columns; empty when the result has none or they are not fixed."""


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A type that is neither built in nor a relation's row type."""

    schema: str
    name: str
    kind: str
    """`base`, `enum`, `domain`, `composite`, `range` or `multirange`."""
    labels: tuple[str, ...] = ()
    """Of an enum."""
    extension: str = ""
    comment: str = ""
    functions: tuple[tuple[str, str], ...] = ()
    """Every function that making a value of it may run: checks, casts, input, comparisons; of what it is made of too."""
    base: Name | None = None
    """Of a domain."""


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """An operator defined outside `pg_catalog`, with the function behind it."""

    schema: str
    name: str
    function_schema: str
    function: str
    left: Name | None = None
    """Type of the left operand; `None` when it has none or it is not known."""
    right: Name | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """A cast that runs a function outside `pg_catalog`."""

    source: Name
    function: Name


MarkKey = tuple[str, str, str]
"""`relation` or `function`, its schema, its name."""


class Mark(NamedTuple):
    """What something was made of when the snapshot was taken."""

    oid: int
    """Of a relation; 0 for the overloads of a function."""
    word: str


@dataclass(frozen=True)
class Snapshot:
    """Everything known of a datasource's schema at one moment."""

    datasource: str
    taken_at: datetime
    server_version: int
    """PostgreSQL's `server_version_num`, such as 180006."""
    search_path: tuple[str, ...]
    """Schemas that an unqualified name is looked up in, after `pg_catalog`."""
    schemas: Mapping[str, str]
    """Name → comment. `pg_catalog`, `information_schema` and temporary ones are not among them."""
    relations: Mapping[tuple[str, str], Relation]
    """By (schema, name); none of `pg_catalog` or `information_schema`."""
    functions: Mapping[tuple[str, str], tuple[FunctionInfo, ...]]
    """By (schema, name), all overloads; `pg_catalog` included."""
    types: Mapping[tuple[str, str], TypeInfo] = field(default_factory=dict)
    operators: Mapping[str, tuple[OperatorInfo, ...]] = field(default_factory=dict)
    """By name; only those outside `pg_catalog`."""
    extensions: Mapping[str, str] = field(default_factory=dict)
    """Name → version."""
    casts: Mapping[Name, tuple[Cast, ...]] = field(default_factory=dict)
    """By the type that a value becomes."""
    implicit_casts: frozenset[tuple[Name, Name]] = frozenset()
    """From and to: every cast that the server makes by itself, built-in or not."""
    called: Mapping[Name, tuple[Name, ...]] = field(default_factory=dict)
    """Function → what a call of it runs besides: defaults of its arguments, and its types' own functions."""
    always: tuple[Name, ...] = ()
    """Functions that any statement may run: an owner's comparisons and implicit casts of built-in types."""
    marks: Mapping[MarkKey, Mark] = field(default_factory=dict, repr=False)
    """What each relation and each function of users was made of, in a word that the server can be asked for again."""
    details: Details = field(default_factory=Details)
    """What the offered catalogs show beyond all that."""
    version: str = ""
    """A digest of all of the above except the marks, the date, estimates and the database's own name.

    Equal when nothing an agent could name has changed.
    """

    @cached_property
    def functions_by_name(self) -> Mapping[str, tuple[FunctionInfo, ...]]:
        """Every overload in every schema, by bare name."""
        found: dict[str, list[FunctionInfo]] = {}
        for (_, name), overloads in self.functions.items():
            found.setdefault(name, []).extend(overloads)
        return {name: tuple(overloads) for name, overloads in found.items()}

    @cached_property
    def references(self) -> Mapping[tuple[str, str], tuple[tuple[Relation, ForeignKey], ...]]:
        """Every foreign key with the relation it belongs to, by (schema, name) of the one it points to."""
        found: dict[tuple[str, str], list[tuple[Relation, ForeignKey]]] = {}
        for relation in self.relations.values():
            for key in relation.foreign_keys:
                found.setdefault((key.target_schema, key.target_table), []).append((relation, key))
        return {target: tuple(keys) for target, keys in found.items()}

    @cached_property
    def kin(self) -> Mapping[Name, frozenset[Name]]:
        """Relations whose tags and policies count for another too: of a part all that it is a part of, of a whole its parts."""
        above = ancestors(self)
        below = descendants(above)
        near = {name: sorted(parts)[:_MOST_PARTS] for name, parts in below.items()}
        return {name: frozenset((*above.get(name, ()), *near.get(name, ()))) for name in (*above, *below)}

    def relied_on(self, resources: Iterable[Resource]) -> Mapping[MarkKey, Mark]:
        """The marks of these tables and their kin, of those of these columns, and of these functions, where they have one."""
        keys: set[MarkKey] = set()
        for resource in resources:
            match resource:
                case Table(schema=schema, name=name) | Column(schema=schema, table=name):
                    keys.add(("relation", schema, name))
                    keys.update(("relation", *other) for other in self.kin.get((schema, name), ()))
                case Function(schema=schema, name=name):
                    keys.add(("function", schema, name))
        return {key: self.marks[key] for key in keys if key in self.marks}

    def resources(self) -> Iterator[Resource]:
        """All that policy decides of it, once for each caller."""
        for schema in self.schemas:
            yield self.schema_resource(schema)
        for relation in self.relations.values():
            yield relation.resource(self.datasource)
            for column in relation.columns:
                yield relation.column_resource(self.datasource, column)
        for schema, name in self.functions:
            if schema not in ("pg_catalog", "information_schema"):
                yield self.function_resource(schema, name)

    def schema_resource(self, schema: str) -> Schema:
        """What policy judges when this schema is touched."""
        return Schema(self.datasource, schema)

    def function_resource(self, schema: str, name: str) -> Function:
        """All overloads of a name as one resource: the most volatile, the least trusted language, definer if any is.

        Raises KeyError when there is none.
        """
        overloads = self.functions[schema, name]
        worst = max(overloads, key=lambda f: ("immutable", "stable", "volatile").index(f.volatility))
        return Function(
            self.datasource,
            schema,
            name,
            volatility=worst.volatility,
            security_definer=any(f.security_definer for f in overloads),
            extension=_only({f.extension for f in overloads}),
            owner=_only({f.owner for f in overloads}),
            language=least_trusted(f.language for f in overloads),
            trigger=all(f.result == "trigger" for f in overloads),
        )


def least_trusted(languages: Iterable[str]) -> str:
    """The language whose functions can do most: what is written in C does whatever it likes in the server."""
    return max(languages, key=lambda language: (_TRUST.index(language if language in _TRUST else ""), language))


_TRUST = ("sql", "plpgsql", "", "c", "internal")
"""From the most trusted on; empty stands for every other."""


def _only(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else ""
