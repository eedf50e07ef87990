"""What definitions are made of: names that are taken or free, tables they reach, values they look at, expressions.

An expression of a definition is kept by the server and run by whoever writes the table
later, with that login's rights. So it calls built-in functions and operators only,
whatever functions its author may call.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from pglast import ast

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Schema
from ostiary_tools.ancestry import ancestors, descendants
from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import ColumnInfo, Name, Relation, RelationKind
from ostiary_tools.sql import calls, catalogs, kinds
from ostiary_tools.sql.expressions import visit
from ostiary_tools.sql.scope import Env, Field, Item
from ostiary_tools.sql.tree import levels
from ostiary_tools.sql.work import Work

TABLES: Final = frozenset({RelationKind.TABLE, RelationKind.PARTITIONED_TABLE})
TAG: Final = re.compile(r"@\s*(?:pii|secret)\b", re.IGNORECASE)
"""What could be read as a tag in a comment."""
VALUES: Final = frozenset(
    [
        "A_ArrayExpr",
        "A_Const",
        "A_Expr",
        "A_Indices",
        "A_Indirection",
        "BitString",
        "BoolExpr",
        "Boolean",
        "BooleanTest",
        "CaseExpr",
        "CaseWhen",
        "CoalesceExpr",
        "CollateClause",
        "ColumnRef",
        "Float",
        "FuncCall",
        "Integer",
        "MinMaxExpr",
        "NamedArgExpr",
        "NullTest",
        "RowExpr",
        "SQLValueFunction",
        "String",
        "TypeCast",
        "TypeName",
    ]
)
"""Nodes that an expression of a definition may consist of: no query, no parameter, no whole row."""
_SERIAL = {"smallserial": "int2", "serial2": "int2", "serial": "int4", "serial4": "int4", "bigserial": "int8", "serial8": "int8"}
_SEQUENCE_OPTIONS = frozenset({"as", "increment", "start", "minvalue", "maxvalue", "cache", "cycle"})


def uncertain(words: str) -> Refused:
    """The refusal of a statement that does something or nothing."""
    return Refused("definition", f"`{words}` leaves open what is done", "leave it out; search_schema shows what there is")


def relation_named(words: tuple[str, ...], work: Work, allowed: frozenset[RelationKind] | None = None) -> Relation:
    """The relation of that name, which exists for the caller and is of an allowed kind. Raises Refused."""
    if not 1 <= len(words) <= 2:  # noqa: PLR2004 with its schema or without
        raise work.unknown_table(".".join(words))
    schema = words[0] if len(words) > 1 else None
    if schema is not None:
        catalogs.check_closed(schema, words[-1])
    for candidate in (schema,) if schema else work.view.snapshot.search_path:
        found = work.view.relation(candidate, words[-1])
        if found is not None and (allowed is None or found.kind in allowed):
            return found
    raise work.unknown_table(".".join(words))


def relation_of(node: Any, work: Work, allowed: frozenset[RelationKind] = TABLES) -> Relation:
    """The same for a relation of the tree, into which its schema is written."""
    words = tuple(str(word) for word in (node.catalogname, node.schemaname, node.relname) if word)
    relation = relation_named(words, work, allowed)
    if not node.inh:
        raise Refused("definition", "`ONLY` leaves parts of a table behind", "leave it out")
    node.schemaname = relation.schema
    return relation


def column(relation: Relation, name: str, work: Work) -> ColumnInfo:
    """A column that exists for the caller. Raises Refused."""
    found = relation.column(name)
    if found is None or found not in work.view.columns(relation):
        raise work.unknown_column(name, (item_of(relation),))
    return found


def define(relation: Relation, work: Work) -> None:
    """The relation is changed, with all its parts, which the server changes too. Raises Refused."""
    work.accesses.add(Access(Action.DEFINE, relation.resource(work.view.datasource)))
    for part in parts(relation, work):
        if not work.view.sees(part):
            raise Refused("reach", "it would reach past the tables that you have", "ask its owner")
        work.accesses.add(Access(Action.DEFINE, part.resource(work.view.datasource)))


def parts(relation: Relation, work: Work) -> list[Relation]:
    """Its partitions and whatever inherits from it, near and far."""
    below = descendants(ancestors(work.view.snapshot)).get((relation.schema, relation.name), ())
    return [work.view.snapshot.relations[name] for name in sorted(below)]


def placed(names: Any, work: Work) -> Name:
    """Schema and name of a type to be made."""
    known = calls.split(names)
    if known is None:
        raise Refused("type", f"the type `{'.'.join(calls.parts(names))}` cannot be made here", "name it as `schema.type`")
    return _placed(*known, work)


def placed_relation(node: Any, work: Work) -> Name:
    """Schema and name of a relation to be made, written into the tree."""
    if node.catalogname:
        raise work.unknown_table(f"{node.catalogname}.{node.schemaname}.{node.relname}")
    schema, name = _placed(node.schemaname, node.relname, work)
    node.schemaname = schema
    return schema, name


def _placed(schema: str | None, name: str, work: Work) -> Name:
    path = work.view.snapshot.search_path
    chosen = schema or next((each for each in path if each in work.view.snapshot.schemas), "")
    resource = Schema(work.view.datasource, chosen)
    if chosen not in work.view.snapshot.schemas or resource not in work.view.visible:
        raise Refused("unknown_schema", f"unknown schema `{chosen}`", "search_schema shows the schemas you may use")
    work.accesses.add(Access(Action.DEFINE, resource))
    return chosen, name


def check_free(work: Work, schema: str, name: str, what: str) -> None:
    """Raise Refused when something of the schema has the name, hidden or not: the server would say so too."""
    snapshot = work.view.snapshot
    taken = (schema, name) in snapshot.relations or (schema, name) in snapshot.types
    if what == "relation":
        taken = taken or (schema, name) in snapshot.details.indexes
        taken = taken or any((one.schema, one.name) == (schema, name) for one in snapshot.details.sequences)
    if taken:
        raise Refused("name_taken", f"the name `{name}` is not free", "choose another name")


def check_permanent(node: Any) -> None:
    """Raise Refused for a temporary or unlogged relation."""
    if node.relpersistence not in (None, "p"):
        raise Refused("definition", "temporary and unlogged tables are not made here", "make a plain one")


def own_enum(node: Any, work: Work) -> Name:
    """Schema and name of an enum that somebody made. Raises Refused."""
    known = calls.split(node.names if isinstance(node, ast.TypeName) else node)
    for schema in (known[0],) if known and known[0] else work.view.snapshot.search_path:
        found = work.view.snapshot.types.get((schema, known[1])) if known and schema else None
        if found is None or not schema or found.kind != "enum" or found.extension:
            continue
        if Schema(work.view.datasource, schema) in work.view.visible:
            return schema, found.name
    written = ".".join(calls.parts(node.names if isinstance(node, ast.TypeName) else node))
    raise Refused("type", f"unknown enum `{written}`", "search_schema shows the schema")


def sequence_options(options: Any, work: Work) -> None:
    """Judge the options of a sequence or an identity. Raises Refused."""
    for option in options or ():
        if option.defname not in _SEQUENCE_OPTIONS:
            raise Refused("definition", f"a sequence with `{option.defname}` is not made here", "leave it out")
        if isinstance(option.arg, ast.TypeName):
            calls.type_name(work, option.arg)


def looks_at(relation: Relation, columns: Iterable[ColumnInfo], work: Work) -> None:
    """Whether it succeeds tells something of the values of these columns in every row. Raises Refused."""
    view = work.view
    for each in (relation, *parts(relation, work)):
        if view.filtered(each):
            hint = "leave the check to a person, or add it `NOT VALID` where no column of it is kept from you"
            raise Refused("row_rule", "it would be checked against rows that are kept from you", hint)
    work.accesses.add(Access(Action.READ, relation.resource(view.datasource)))
    for each_column in columns:
        access = view.reading(relation, each_column)
        if access is None:
            raise Refused("reach", "it would be checked against more than you may read", "ask its owner")
        if access.action is not Action.READ:
            raise Refused("mask", f"the values of `{each_column.name}` are kept from you by a mask", "ask its owner")
        work.accesses.add(access)


def check_rows(relation: Relation, work: Work) -> None:
    """Every row of it, and of its parts, is changed or taken away, or comes under other rules. Raises Refused."""
    if any(work.view.guarded(each) for each in (relation, *parts(relation, work))):
        raise Refused("row_rule", "it would change rows that are kept from you, or that are not yours to change", "ask its owner")


def writes(relation: Relation, columns: Iterable[ColumnInfo], action: Action, work: Work) -> None:
    """What is done is to these columns as if they were written, now or with every row to come."""
    for each in columns:
        work.accesses.add(Access(action, relation.column_resource(work.view.datasource, each)))


def item_of(relation: Relation) -> Item:
    """The relation as expressions of its own definition see it."""
    fields = tuple(Field(c.name, ((relation, c),)) for c in relation.columns)
    return Item(relation.name, fields, schema=relation.schema, base=True)


def new_field(node: Any) -> Field:
    """A column that a definition makes, with its type as far as it is certain."""
    words = calls.parts(node.typeName.names)
    name = _SERIAL.get(words[-1], words[-1])
    if words[:-1] not in ((), (calls.CATALOG,)):
        return Field(str(node.colname))
    array = "_" if node.typeName.arrayBounds else ""
    known = (calls.CATALOG, array + name)
    return Field(str(node.colname), kind=lambda: known)


def is_serial(node: Any) -> bool:
    """Whether the type of a column stands for an integer with a sequence of its own."""
    return calls.parts(node.names)[-1] in _SERIAL and len(node.names) == 1 and not node.arrayBounds


def column_type(node: Any, work: Work) -> None:
    """Judge the type of a column. Raises Refused."""
    if not is_serial(node):
        calls.type_name(work, node)
    for each in node.typmods or ():
        expression(each, None, work)


def expression(node: Any, item: Item | None, work: Work) -> Any:
    """Judge an expression of a definition over the item's columns; what it reads is read. Raises Refused."""
    _check_values(node)
    inner = Work(work.view, work.text)
    visited = visit(node, Env((item,) if item else ()), inner)
    _check_values(visited)
    known = {each.name for each in item.fields} if item else frozenset()
    if whole := sorted(columns_in(visited) - known):
        # A whole row holds columns that may be hidden.
        raise work.unknown_column(whole[0], (item,) if item else ())
    if any(access.action is Action.EXECUTE for access in inner.accesses):
        reason = "a definition's expression runs as whoever writes the table, so it calls built-in functions and operators only"
        raise Refused("definition", reason, "compute the value when you write it")
    if any(access.action is Action.READ_MASKED for access in inner.accesses):
        raise Refused("mask", "the expression would be run on values that are kept from you by a mask", "ask its owner")
    work.accesses |= inner.accesses
    return visited


def _check_values(node: Any) -> None:
    for level in levels(node) if isinstance(node, ast.Node) else ():
        for part in level:
            if type(part).__name__ not in VALUES:
                raise Refused(
                    "definition", "an expression of a definition holds no query and no parameter", "write a plain expression"
                )
            if isinstance(part, ast.FuncCall) and (part.over or part.agg_order or part.agg_filter or part.agg_within_group):
                raise Refused("definition", "an expression of a definition looks at one row", "write a plain expression")


def columns_in(node: Any) -> frozenset[str]:
    """Names of the columns that an expression names."""
    return frozenset(
        calls.parts(part.fields)[-1]
        for level in levels(node)
        for part in level
        if isinstance(part, ast.ColumnRef) and part.fields and isinstance(part.fields[-1], ast.String)
    )


def kind_of(node: Any, relation: Relation, work: Work) -> Callable[[], kinds.Kind]:
    """Finds the type of an expression over the relation's columns."""
    return lambda: kinds.of(node, Env((item_of(relation),)), work)
