"""What a database's catalogs say of a schema beyond what judging a statement needs.

Part of a `Snapshot`, plain frozen values by name. Nothing here is filtered; `catalogs/`
shows of it what a caller may see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Name = tuple[str, str]
"""Schema and name."""


@dataclass(frozen=True, slots=True)
class BuiltinType:
    """A type of `pg_catalog`, with the OID it has in every database."""

    oid: int
    name: str
    words: str
    """As `format_type(oid, NULL)` writes it."""
    exact: str
    """As `format_type(oid, -1)` writes it."""
    length: int
    by_value: bool
    kind: str
    category: str
    preferred: bool
    delimiter: str
    element: int
    array: int
    alignment: str
    storage: str
    collation: int


@dataclass(frozen=True, slots=True)
class ColumnDetail:
    """Of one column."""

    type: Name
    """An array's type is `_` and its element's name, mostly."""
    typmod: int = -1
    identity: str = ""
    """`a` always, `d` by default, or empty."""
    generated: str = ""
    """`s` stored, `v` virtual, or empty."""
    has_default: bool = False
    is_local: bool = True
    collation: int | None = 0
    """Of those with the same OID everywhere; `None` for any other."""
    uses: tuple[str, ...] = ()
    """Columns that a generation expression names."""


@dataclass(frozen=True, slots=True)
class RelationDetail:
    """Of one relation."""

    persistence: str = "p"
    row_security: bool = False
    force_row_security: bool = False
    is_partition: bool = False
    populated: bool = True
    replica_identity: str = "d"
    events: int = 0
    """`pg_relation_is_updatable`: 4 update, 8 insert, 16 delete."""
    parents: tuple[Name, ...] = ()
    definition: str = ""
    """Of a view."""
    barrier: bool = False
    """Of a view: nothing of a statement is computed for rows that its query leaves out."""
    groups_by_key: bool = False
    """Of a view: its query groups by a key and names columns that depend on it."""
    uses: tuple[tuple[str, str, str], ...] = ()
    """Schema, relation and column that a view names; the column is empty where it names none of the relation."""
    calls: tuple[Name, ...] = ()
    """Functions outside `pg_catalog` that a view calls, also by operators."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table, `NOT NULL` not among them."""

    name: str
    kind: str
    """`p` primary key, `u` unique, `f` foreign key, `c` check, `x` exclusion."""
    definition: str
    columns: tuple[str, ...]
    target: Name | None = None
    target_columns: tuple[str, ...] = ()
    index: str = ""
    on_update: str = " "
    on_delete: str = " "
    match: str = " "
    deferrable: bool = False
    deferred: bool = False
    validated: bool = True
    no_inherit: bool = False
    is_local: bool = True
    whole_row: bool = False
    """It names more than its columns: the whole row."""
    functions: tuple[Name, ...] = ()
    """Functions outside `pg_catalog` that it calls, also by operators."""


@dataclass(frozen=True, slots=True)
class IndexDetail:
    """Of one valid index."""

    method: str
    primary: bool
    exclusion: bool
    immediate: bool
    clustered: bool
    replica_identity: bool
    key_count: int
    columns: tuple[str, ...]
    """In the index's order, keys before INCLUDE; empty for an expression."""
    parts: tuple[str, ...]
    """The same as definitions: a column's name or an expression."""
    options: str
    expressions: str = ""
    predicate: str = ""


@dataclass(frozen=True, slots=True)
class SequenceDetail:
    """A sequence and the column that owns it."""

    schema: str
    name: str
    type: str
    start: int
    minimum: int
    maximum: int
    increment: int
    cache: int
    cycle: bool
    owner: Name | None
    owner_column: str
    identity: bool


@dataclass(frozen=True, slots=True)
class TypeDetail:
    """Of a type that is neither built in nor a relation's row type."""

    array: str
    length: int
    by_value: bool
    category: str
    preferred: bool
    delimiter: str
    base: Name | None = None
    """Of a domain."""
    typmod: int = -1
    not_null: bool = False
    base_words: str = ""
    """The type a domain stands for, as `format_type` writes it."""


@dataclass(frozen=True, slots=True)
class FunctionDetail:
    """Of one overload outside `pg_catalog`."""

    identity_arguments: str
    result: Name
    returns_set: bool
    strict: bool
    leakproof: bool
    parallel: str
    cost: float
    rows: float
    names: tuple[str, ...]
    modes: tuple[str, ...]
    """`i`, `o`, `b`, `v` or `t` for each of `types`."""
    types: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Database:
    """The database itself."""

    name: str = ""
    encoding: int = 6
    encoding_name: str = "UTF8"
    collation: str = ""
    character_type: str = ""


@dataclass(frozen=True)
class Details:
    """All of it, by the names of the things."""

    database: Database = field(default_factory=Database)
    builtin_types: tuple[BuiltinType, ...] = ()
    relations: Mapping[Name, RelationDetail] = field(default_factory=dict)
    columns: Mapping[tuple[str, str, str], ColumnDetail] = field(default_factory=dict)
    """By schema, relation and column."""
    constraints: Mapping[Name, tuple[Constraint, ...]] = field(default_factory=dict)
    indexes: Mapping[Name, IndexDetail] = field(default_factory=dict)
    sequences: tuple[SequenceDetail, ...] = ()
    types: Mapping[Name, TypeDetail] = field(default_factory=dict)
    functions: Mapping[Name, tuple[FunctionDetail, ...]] = field(default_factory=dict)
    """In the order of the snapshot's overloads."""
    extension_schemas: Mapping[str, str] = field(default_factory=dict)
    catalogs: Mapping[Name, tuple[str, ...]] = field(default_factory=dict)
    """Relations of `pg_catalog` and `information_schema` and their columns, as this server has them."""
