"""What of a schema exists for one caller, as its catalogs would hold it: things, and their numbers.

OIDs and column numbers count what the caller sees and nothing else, so that no gap
tells of what is hidden. Only built-in things keep the numbers they have everywhere.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ostiary_policies.model import Resource
from ostiary_tools.details import (
    BuiltinType,
    ColumnDetail,
    Constraint,
    FunctionDetail,
    IndexDetail,
    Name,
    RelationDetail,
    SequenceDetail,
    TypeDetail,
)
from ostiary_tools.errors import Violated
from ostiary_tools.snapshot import ColumnInfo, FunctionInfo, Index, Relation, TypeInfo
from ostiary_tools.view import SchemaView

PG_CATALOG = "pg_catalog"
FIRST_OID = 16384
"""Below are PostgreSQL's own."""
NAMESPACES = {PG_CATALOG: 11, "public": 2200}
ACCESS_METHODS = {"heap": 2, "btree": 403, "hash": 405, "gist": 783, "gin": 2742, "brin": 3580, "spgist": 4000}
RECORD = 2249
"""The type shown in the place of one the caller may not see."""
HARMLESS_DEFAULT = re.compile(
    r"(?:-?\d+(?:\.\d+)?|true|false|now\(\)|CURRENT_(?:DATE|TIME|TIMESTAMP)|'[^']{0,40}'::[\w\" .()\[\]]+)"
)
"""A default that may be shown to those who may read the column."""
_CALL = re.compile(r'([\w$]+)"?\(')
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """A visible column."""

    info: ColumnInfo
    detail: ColumnDetail
    number: int
    readable: bool


@dataclass(frozen=True, slots=True)
class SeenIndex:
    """An index of which every column and function is visible."""

    info: Index
    detail: IndexDetail
    told: bool
    """Its constants may be shown."""


@dataclass(frozen=True, slots=True)
class SeenConstraint:
    """A constraint of which every column, relation and function is visible."""

    info: Constraint
    told: bool
    """Its constants may be shown."""


@dataclass(frozen=True, slots=True)
class SeenRelation:
    """A visible relation with what of it is visible."""

    info: Relation
    detail: RelationDetail
    columns: tuple[SeenColumn, ...]
    indexes: tuple[SeenIndex, ...]
    constraints: tuple[SeenConstraint, ...]
    readable: bool
    parents: tuple[Name, ...]

    @property
    def name(self) -> Name:
        """Schema and name."""
        return self.info.schema, self.info.name

    def sees(self, column: str) -> bool:
        """Whether the column is visible."""
        return any(each.info.name == column for each in self.columns)

    def numbers(self, columns: Iterable[str]) -> list[int]:
        """The columns' numbers; 0 for what is none."""
        known = {column.info.name: column.number for column in self.columns}
        return [known.get(name, 0) for name in columns]


@dataclass(frozen=True, slots=True)
class SeenFunction:
    """An overload that may be seen."""

    info: FunctionInfo
    detail: FunctionDetail


@dataclass(frozen=True)
class Sight:
    """Everything the caller's catalogs are made of, each group sorted by name."""

    view: SchemaView
    schemas: tuple[str, ...]
    relations: tuple[SeenRelation, ...]
    sequences: tuple[SequenceDetail, ...]
    types: tuple[tuple[TypeInfo, TypeDetail], ...]
    builtin: Mapping[str, BuiltinType]
    """By name."""
    by_name: Mapping[Name, SeenRelation]
    owned: Mapping[tuple[str, str, str], SequenceDetail]
    """Sequences by the column that owns them."""
    elements: Mapping[Name, Name]
    """What each array is of."""
    functions: tuple[SeenFunction, ...] = ()
    bare: frozenset[Key] = frozenset()
    """Kind, schema and name of all that has a number."""
    numbers: Mapping[Key, int] = field(default_factory=dict)

    def oid(self, *key: str) -> int | None:
        """The number of a thing: a kind and names."""
        return self.numbers.get(key)

    def type_oid(self, name: Name) -> int:
        """The type's number, that of `record` when the caller may not see it."""
        builtin = self.builtin.get(name[1]) if name[0] == PG_CATALOG else None
        return builtin.oid if builtin is not None else self.numbers.get(("type", *name), RECORD)

    def sequence_of(self, relation: Name, column: str) -> SequenceDetail | None:
        """The sequence the column owns."""
        return self.owned.get((*relation, column))

    def found_first(self, kind: str, schema: str, name: str) -> bool:
        """Whether the bare name means that thing: its schema is the first of the path that has one."""
        if kind == "type" and name in self.builtin:
            return False
        path = self.view.snapshot.search_path
        return next((s for s in path if (kind, s, name) in self.bare), None) == schema

    def tells(self, expression: str) -> bool:
        """Whether an expression names no function that could be hidden."""
        return all(
            overload.schema == PG_CATALOG
            for name in _CALL.findall(expression)
            for overload in self.view.snapshot.functions_by_name.get(name, ())
        )

    def definition(self, relation: SeenRelation) -> str | None:
        """A view's text, for those who see all that it names and may read all that it gives."""
        detail, known = relation.detail, self.by_name
        seen = all(
            (part := known.get((schema, name))) is not None
            and (not column or part.sees(column))
            and not self.view.fenced(part.info)  # what it compares with tells of what is masked or filtered
            for schema, name, column in detail.uses
        ) and all(_sees_function(self.view, function) for function in detail.calls)
        whole = len(relation.columns) == len(relation.info.columns) and all(column.readable for column in relation.columns)
        return detail.definition or None if seen and whole else None


def look(view: SchemaView) -> Sight:
    """Gather what the caller sees and number it."""
    relations = _without_hidden_targets(tuple(_relation(view, relation) for relation in view.relations()))
    sequences = tuple(owned_sequences(view))
    types = tuple(_types(view, relations))
    sight = Sight(
        view,
        _schemas(view, relations),
        relations,
        sequences,
        types,
        {builtin.name: builtin for builtin in view.snapshot.details.builtin_types},
        {relation.name: relation for relation in relations},
        {(*s.owner, s.owner_column): s for s in sequences if s.owner is not None},
        dict(_elements(view, relations, types)),
    )
    sight = replace(sight, numbers=_numbered(_NUMBERS, _keys(sight)))
    functions = tuple(f for f in _functions(view) if _types_seen(sight, f))
    numbers = _numbered(sight.numbers, map(function_key, functions))
    return replace(sight, functions=functions, numbers=numbers, bare=frozenset(key[:3] for key in numbers))


def exists(view: SchemaView, found: Violated) -> bool:
    """Whether what was violated is of a table that the caller sees, and has nothing in it that it does not see."""
    relation = view.relation(*found.table)
    if relation is None:
        return False
    if not found.constraint:
        return found.column in {column.name for column in view.columns(relation)}
    indexes = {index.name for index in view.indexes(relation)}
    seen = next(each for each in look(view).relations if each.info is relation)
    return found.constraint in indexes.union(constraint.info.name for constraint in seen.constraints)


def _relation(view: SchemaView, relation: Relation) -> SeenRelation:
    details = view.snapshot.details
    readable = {column.name for column in view.readable_columns(relation)}
    name = (relation.schema, relation.name)
    columns = tuple(
        SeenColumn(c, details.columns.get((*name, c.name), ColumnDetail((PG_CATALOG, c.type))), number, c.name in readable)
        for number, c in enumerate(view.columns(relation), 1)
    )
    detail = details.relations.get(name, RelationDetail())
    return SeenRelation(
        relation,
        detail,
        columns,
        tuple(
            SeenIndex(index, known, told=not (known.expressions or known.predicate) or readable.issuperset(index.columns))
            for index in view.indexes(relation)
            if (known := details.indexes.get((relation.schema, index.name))) is not None
        ),
        tuple(_constraints(view, relation, columns, details.constraints.get(name, ()))),
        relation.resource(view.datasource) in view.readable,
        tuple(parent for parent in detail.parents if view.relation(*parent) is not None),
    )


def _constraints(
    view: SchemaView, relation: Relation, columns: tuple[SeenColumn, ...], constraints: tuple[Constraint, ...]
) -> Iterator[SeenConstraint]:
    seen = {column.info.name for column in columns}
    readable = {column.info.name for column in columns if column.readable}
    indexes = {index.name for index in view.indexes(relation)}
    for constraint in constraints:
        # An exclusion may name columns in expressions, which its index knows.
        names = constraint.index in indexes if constraint.kind == "x" else seen.issuperset(constraint.columns)
        if names and all(_sees_function(view, function) for function in constraint.functions):
            used = seen if constraint.whole_row or constraint.kind == "x" else constraint.columns
            yield SeenConstraint(constraint, told=constraint.kind in "puf" or readable.issuperset(used))


def _sees_function(view: SchemaView, name: Name) -> bool:
    return name in view.snapshot.functions and view.snapshot.function_resource(*name) in view.visible


def _without_hidden_targets(relations: tuple[SeenRelation, ...]) -> tuple[SeenRelation, ...]:
    """A foreign key exists for those who see both ends."""
    seen = {relation.name: {column.info.name for column in relation.columns} for relation in relations}
    return tuple(
        replace(r, constraints=tuple(c for c in r.constraints if _target_seen(c.info, seen))) if r.constraints else r
        for r in relations
    )


def _target_seen(constraint: Constraint, seen: Mapping[Name, set[str]]) -> bool:
    return constraint.target is None or seen.get(constraint.target, set()) >= set(constraint.target_columns or ("",))


def _schemas(view: SchemaView, relations: tuple[SeenRelation, ...]) -> tuple[str, ...]:
    inhabited = {relation.info.schema for relation in relations}
    seen = {s for s in view.snapshot.schemas if s in inhabited or view.snapshot.schema_resource(s) in view.visible}
    return tuple(sorted(seen))


def owned_sequences(view: SchemaView) -> Iterator[SequenceDetail]:
    """A sequence exists for those who see the column that owns it."""
    for sequence in view.snapshot.details.sequences:
        owner = view.relation(*sequence.owner) if sequence.owner is not None else None
        if owner is not None and sequence.owner_column in {column.name for column in view.columns(owner)}:
            yield sequence


def _types(view: SchemaView, relations: tuple[SeenRelation, ...]) -> Iterator[tuple[TypeInfo, TypeDetail]]:
    """Types of a schema the caller sees, and those of columns it sees."""
    details = view.snapshot.details.types
    used = {column.detail.type for relation in relations for column in relation.columns}
    for name, info in sorted(view.snapshot.types.items()):
        detail = details.get(name)
        if detail is None:
            continue
        in_use = name in used or (name[0], detail.array) in used
        if in_use or view.snapshot.schema_resource(info.schema) in view.visible:
            yield info, detail


def _elements(
    view: SchemaView, relations: tuple[SeenRelation, ...], types: tuple[tuple[TypeInfo, TypeDetail], ...]
) -> Iterator[tuple[Name, Name]]:
    builtin = {each.oid: each.name for each in view.snapshot.details.builtin_types}
    for each in view.snapshot.details.builtin_types:
        if each.category == "A" and each.element in builtin:
            yield (PG_CATALOG, each.name), (PG_CATALOG, builtin[each.element])
    for relation in relations:
        yield (relation.info.schema, f"_{relation.info.name}"), relation.name
    for info, detail in types:
        yield (info.schema, detail.array), (info.schema, info.name)


def _functions(view: SchemaView) -> Iterator[SeenFunction]:
    own: Resource
    for name, overloads in sorted(view.snapshot.functions.items()):
        if name[0] in (PG_CATALOG, "information_schema"):
            continue
        own = view.snapshot.function_resource(*name)
        details = view.snapshot.details.functions.get(name, ())
        if own in view.visible and len(details) == len(overloads):
            yield from map(SeenFunction, overloads, details)


def _types_seen(sight: Sight, function: SeenFunction) -> bool:
    """Its signature names no type that is hidden."""
    return all(n[0] == PG_CATALOG or ("type", *n) in sight.numbers for n in (function.detail.result, *function.detail.types))


def function_key(function: SeenFunction) -> Key:
    """What an overload is numbered by."""
    return "function", function.info.schema, function.info.name, function.detail.identity_arguments


_NUMBERS: dict[Key, int] = {("namespace", schema): number for schema, number in NAMESPACES.items()}
_NUMBERS |= {("method", name): number for name, number in ACCESS_METHODS.items()}


def _numbered(known: Mapping[Key, int], keys: Iterable[Key]) -> dict[Key, int]:
    """The known numbers and one for each new key, without a gap, in an order that only visible names decide."""
    found = dict(known)
    for key in keys:
        found.setdefault(key, FIRST_OID + len(found) - len(_NUMBERS))
    return found


def _keys(sight: Sight) -> Iterator[Key]:
    yield ("database",)
    yield from (("namespace", schema) for schema in ("information_schema", *sight.schemas))
    yield from (("extension", name) for name in sorted(sight.view.snapshot.extensions))
    for info, detail in sight.types:
        yield ("type", info.schema, info.name)
        if detail.array:
            yield ("type", info.schema, detail.array)
        yield from (("label", info.schema, info.name, label) for label in info.labels)
    for relation in sight.relations:
        yield ("relation", *relation.name)
        yield ("type", *relation.name)
        yield ("type", relation.info.schema, f"_{relation.info.name}")
        yield from (("relation", relation.info.schema, index.info.name) for index in relation.indexes)
        yield from (("method", index.detail.method) for index in relation.indexes)
        yield from (("constraint", *relation.name, constraint.info.name) for constraint in relation.constraints)
        yield from (("default", *relation.name, column.info.name) for column in relation.columns if column.detail.has_default)
    yield from (("relation", sequence.schema, sequence.name) for sequence in sight.sequences)
