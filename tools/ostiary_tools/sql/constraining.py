"""What tables are made of: columns, constraints and keys, each by allowlist."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pglast import ast, enums

from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.sql import calls, designs, dropping
from ostiary_tools.sql.scope import Item
from ostiary_tools.sql.tree import levels
from ostiary_tools.sql.work import Work

_CONSTRAINTS = enums.ConstrType
_CLASSES = frozenset({"text_pattern_ops", "varchar_pattern_ops", "bpchar_pattern_ops", "jsonb_path_ops", "jsonb_ops", "inet_ops"})
"""Operator classes that run functions of the server alone."""


@dataclass(frozen=True, slots=True)
class Design:
    """The table that a definition makes or changes."""

    item: Item
    """Its columns, the new ones too."""
    relation: Relation | None = None
    """As it stands; `None` when it is made."""

    def looks_at(self, names: Iterable[str], work: Work) -> None:
        """What is defined tells something of the values of these columns. Those that are made hold none. Raises Refused."""
        if self.relation is not None:
            columns = [self.relation.column(name) for name in sorted(names)]
            designs.looks_at(self.relation, [column for column in columns if column is not None], work)

    def check_column(self, name: str, work: Work) -> None:
        """Raise Refused for a column that does not exist for the caller."""
        found = [each for each in self.item.fields if each.name == name]
        if not found or not all(work.shows(each) for each in found):
            raise work.unknown_column(name, (self.item,))

    def expression(self, node: Any, work: Work) -> Any:
        """Judge an expression over its columns, whose values it looks at. Raises Refused."""
        visited = designs.expression(node, self.item, work)
        self.looks_at(designs.columns_in(visited), work)
        return visited


def options(options: Any) -> None:
    """Raise Refused for an option of a table, an index or a key that is not set here."""
    for option in options or ():
        plain = isinstance(option.arg, ast.Integer) and not option.defnamespace
        if option.defname != "fillfactor" or not plain:
            raise Refused("definition", f"the option `{option.defname}` is the operator's", "of options only `fillfactor` is set")


def new_column(node: Any, design: Design, work: Work) -> None:
    """A new column, in a new table or in one that has rows."""
    if node.fdwoptions or node.compression or node.storage_name or node.typeName is None:
        raise Refused("definition", "a column is made of a type, a default and constraints", "leave storage and compression out")
    designs.column_type(node.typeName, work)
    if node.collClause is not None:
        check_collation(node.collClause)
    if designs.is_serial(node.typeName):
        design.looks_at((), work)
    for each in node.constraints or ():
        constraint(each, design, work, str(node.colname))


def check_collation(node: Any) -> None:
    """Raise Refused for a collation that somebody made."""
    words = calls.parts(node.collname)
    if len(words) > 1 and words[:-1] != (calls.CATALOG,):
        raise Refused("collation", f"unknown collation `{'.'.join(words)}`", "use a built-in collation")


def _of_table(node: Any, design: Design, work: Work) -> None:
    constraint(node, design, work, None)


PARTS: Mapping[type, Callable[[Any, Design, Work], None]] = {ast.ColumnDef: new_column, ast.Constraint: _of_table}


def constraint(node: Any, design: Design, work: Work, of: str | None) -> None:
    """A constraint of a table, or of the column `of`. Raises Refused."""
    handler = _CONSTRAINT_KINDS.get(node.contype)
    if handler is None or node.indexspace or node.access_method or node.where_clause:
        word = node.contype.name.removeprefix("CONSTR_").lower()
        raise Refused("definition", f"a constraint `{word}` is not made here", "check, unique, primary key and foreign key are")
    options(node.options)
    handler(node, design, work, of)


def _nothing(_node: Any, _design: Design, _work: Work, _of: str | None) -> None:
    """It says how another one is held."""


def _default(node: Any, design: Design, work: Work, _of: str | None) -> None:
    node.raw_expr = designs.expression(node.raw_expr, None, work)
    if any(isinstance(part, ast.FuncCall) for part in _nodes(node.raw_expr)):
        # It is computed for each row, so what it gives and how long it takes tell how many there are.
        design.looks_at((), work)


def _nodes(root: Any) -> Iterable[Any]:
    return (part for level in levels(root) for part in level)


def _check(node: Any, design: Design, work: Work, _of: str | None) -> None:
    node.raw_expr = design.expression(node.raw_expr, work)


def _generated(node: Any, design: Design, work: Work, _of: str | None) -> None:
    node.raw_expr = design.expression(node.raw_expr, work)
    if design.relation is not None:
        named = designs.columns_in(node.raw_expr)
        dropping.check_untagged(*(column for column in design.relation.columns if column.name in named))


def _identity(node: Any, design: Design, work: Work, _of: str | None) -> None:
    designs.sequence_options(node.options, work)
    design.looks_at((), work)


def _not_null(node: Any, design: Design, work: Work, of: str | None) -> None:
    _keys((of,) if of else calls.parts(node.keys or ()), design, work)


def _keys(names: Iterable[str], design: Design, work: Work) -> None:
    names = tuple(names)
    for name in names:
        design.check_column(name, work)
    design.looks_at(names, work)


def _unique(node: Any, design: Design, work: Work, of: str | None) -> None:
    if node.without_overlaps:
        raise Refused("definition", "`WITHOUT OVERLAPS` is not made here", "write a plain key")
    if node.indexname:
        _of_index(node, design, work)
        return
    named = (of,) if of else calls.parts(node.keys or ())
    _keys((*named, *calls.parts(node.including or ())), design, work)


def _of_index(node: Any, design: Design, work: Work) -> None:
    relation = design.relation
    found = next((index for index in work.view.indexes(relation) if index.name == node.indexname), None) if relation else None
    if found is None:
        raise Refused("unknown_index", f"unknown index `{node.indexname}`", "describe shows the indexes of a table")
    design.looks_at(found.columns, work)


def _references(node: Any, design: Design, work: Work, of: str | None) -> None:
    """A foreign key asks for values of the other table at every write, and of this one at every write there."""
    if node.fk_with_period or node.pk_with_period:
        raise Refused("definition", "`PERIOD` is not made here", "write a plain key")
    mine = (of,) if of else calls.parts(node.fk_attrs or ())
    _keys((*mine, *calls.parts(node.fk_del_set_cols or ())), design, work)
    target = node.pktable
    if design.relation is None and (target.schemaname, target.relname) in {
        (design.item.schema, design.item.name),
        (None, design.item.name),
    }:
        target.schemaname = design.item.schema
        for name in calls.parts(node.pk_attrs or ()):
            design.check_column(name, work)
        return
    relation = designs.relation_of(target, work)
    names = calls.parts(node.pk_attrs or ()) or relation.primary_key
    columns = [designs.column(relation, name, work) for name in names]
    designs.define(relation, work)
    designs.looks_at(relation, columns, work)


_CONSTRAINT_KINDS: Mapping[Any, Callable[[Any, Design, Work, str | None], None]] = {
    _CONSTRAINTS.CONSTR_NULL: _nothing,
    _CONSTRAINTS.CONSTR_NOTNULL: _not_null,
    _CONSTRAINTS.CONSTR_DEFAULT: _default,
    _CONSTRAINTS.CONSTR_IDENTITY: _identity,
    _CONSTRAINTS.CONSTR_GENERATED: _generated,
    _CONSTRAINTS.CONSTR_CHECK: _check,
    _CONSTRAINTS.CONSTR_PRIMARY: _unique,
    _CONSTRAINTS.CONSTR_UNIQUE: _unique,
    _CONSTRAINTS.CONSTR_FOREIGN: _references,
    _CONSTRAINTS.CONSTR_ATTR_DEFERRABLE: _nothing,
    _CONSTRAINTS.CONSTR_ATTR_NOT_DEFERRABLE: _nothing,
    _CONSTRAINTS.CONSTR_ATTR_DEFERRED: _nothing,
    _CONSTRAINTS.CONSTR_ATTR_IMMEDIATE: _nothing,
}


def key(node: Any, design: Design, work: Work) -> None:
    """A part of an index or of a partition's key."""
    if node.opclass and (calls.parts(node.opclass)[-1] not in _CLASSES or len(node.opclass) > 1):
        raise Refused("definition", f"the operator class `{'.'.join(calls.parts(node.opclass))}` is not used here", "leave it out")
    if getattr(node, "opclassopts", None):
        raise Refused("definition", "an operator class has no options here", "leave them out")
    for collation in (getattr(node, "collation", None),):
        if collation and len(calls.parts(collation)) > 1 and calls.parts(collation)[0] != calls.CATALOG:
            raise Refused("collation", f"unknown collation `{'.'.join(calls.parts(collation))}`", "use a built-in collation")
    if node.expr is not None:
        node.expr = design.expression(node.expr, work)
    else:
        design.check_column(node.name, work)
        design.looks_at((node.name,), work)
