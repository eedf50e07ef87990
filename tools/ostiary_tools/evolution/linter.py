"""What a step does to a database that is in use: its locks, whether it reads or writes every row, and what is safer.

Pure: over a step and a snapshot. What is said of locks and of rows written anew is held
against a real server by the cases of `tests/cases/migrations`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pglast import ast, enums

from ostiary_tools.ancestry import ancestors, descendants
from ostiary_tools.evolution import findings, types
from ostiary_tools.evolution.findings import Finding
from ostiary_tools.evolution.steps import Kind, Step, constraints, found, found_column, name_of
from ostiary_tools.evolution.volatility import is_volatile
from ostiary_tools.snapshot import Name, Relation, Snapshot
from ostiary_tools.sql.calls import parts
from ostiary_tools.sql.tree import levels

__all__ = ["Finding", "LockMode", "Verdict", "lint", "locks", "rewrites", "scans"]

_CONSTRAINTS = enums.ConstrType


class LockMode(IntEnum):
    """PostgreSQL's modes of table locks, from the weakest on."""

    ACCESS_SHARE = 1
    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    @property
    def words(self) -> str:
        """As PostgreSQL's manual writes it."""
        return self.name.replace("_", " ")

    @property
    def blocks(self) -> str:
        """Who waits while it is held."""
        if self is LockMode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        return "writes" if self >= LockMode.SHARE else "no reads and no writes"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the linter says of one step."""

    step: Step
    locks: Mapping[Name, LockMode]
    """The strongest lock on each relation that was there before."""
    rewrites: bool
    """Every row is written anew."""
    scans: bool
    """Every row is read while the lock is held."""
    findings: tuple[Finding, ...] = ()


def lint(step: Step, snapshot: Snapshot, *, batched: bool = False) -> Verdict:
    """Judge one step; a batched one holds its locks for a batch only."""
    taken, rewritten, scanned = locks(step, snapshot), rewrites(step, snapshot), scans(step, snapshot)
    known = {name: mode for name, mode in taken.items() if name in snapshot.relations}
    told = () if batched else tuple(findings.of(step, snapshot, rewrites=rewritten, scans=scanned))
    return Verdict(step, known, rewritten, scanned, told)


_EXCLUSIVE = LockMode.ACCESS_EXCLUSIVE
_MODES: Mapping[Kind, LockMode] = {
    Kind.ADD_COLUMN: _EXCLUSIVE,
    Kind.DROP_COLUMN: _EXCLUSIVE,
    Kind.RENAME_COLUMN: _EXCLUSIVE,
    Kind.SET_DEFAULT: _EXCLUSIVE,
    Kind.DROP_DEFAULT: _EXCLUSIVE,
    Kind.SET_NOT_NULL: _EXCLUSIVE,
    Kind.DROP_NOT_NULL: _EXCLUSIVE,
    Kind.CHANGE_TYPE: _EXCLUSIVE,
    Kind.ADD_IDENTITY: _EXCLUSIVE,
    Kind.DROP_IDENTITY: _EXCLUSIVE,
    Kind.DROP_TABLE: _EXCLUSIVE,
    Kind.RENAME_TABLE: _EXCLUSIVE,
    Kind.DROP_CONSTRAINT: _EXCLUSIVE,
    Kind.RENAME_CONSTRAINT: _EXCLUSIVE,
    Kind.ADD_CONSTRAINT: _EXCLUSIVE,
    Kind.DROP_INDEX: _EXCLUSIVE,
    Kind.DROP_VIEW: _EXCLUSIVE,
    Kind.DETACH_PARTITION: _EXCLUSIVE,
    Kind.ATTACH_PARTITION: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Kind.CREATE_INDEX: LockMode.SHARE,
    Kind.VALIDATE_CONSTRAINT: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Kind.SET_STATISTICS: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Kind.SET_OPTIONS: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Kind.COMMENT: LockMode.SHARE_UPDATE_EXCLUSIVE,
    Kind.ROWS: LockMode.ROW_EXCLUSIVE,
    Kind.OTHER: _EXCLUSIVE,
}
_WITH_PARTS = frozenset(_MODES) - {Kind.RENAME_TABLE, Kind.SET_OPTIONS, Kind.COMMENT, Kind.ROWS, Kind.ATTACH_PARTITION}


def locks(step: Step, snapshot: Snapshot) -> dict[Name, LockMode]:
    """The strongest lock that the step takes on each relation."""
    taken: dict[Name, LockMode] = {}
    for name, mode in _taken(step, snapshot):
        taken[name] = max(mode, taken.get(name, mode))
    return taken


def _taken(step: Step, snapshot: Snapshot) -> Iterator[tuple[Name, LockMode]]:
    mode = _MODES.get(step.kind)
    if step.concurrently:
        mode = LockMode.SHARE_UPDATE_EXCLUSIVE
    if step.kind is Kind.ADD_CONSTRAINT and step.node.def_.contype == _CONSTRAINTS.CONSTR_FOREIGN:
        mode = LockMode.SHARE_ROW_EXCLUSIVE
    if step.table is not None and mode is not None:
        yield step.table, mode
        if step.kind in _WITH_PARTS:
            for part in descendants(ancestors(snapshot)).get(step.table, ()):
                yield part, mode
    yield from _elsewhere(step, snapshot)


def _elsewhere(step: Step, snapshot: Snapshot) -> Iterator[tuple[Name, LockMode]]:
    """Locks on other relations than the one it is done to."""
    for each in constraints(step):
        if each.contype == _CONSTRAINTS.CONSTR_FOREIGN:
            yield name_of(each.pktable, snapshot), LockMode.SHARE_ROW_EXCLUSIVE
    if (relation := found(step, snapshot)) is not None:
        yield from _along_keys(step, relation, snapshot)
    if step.kind is Kind.ADD_PARTITION:
        yield name_of(step.node.inhRelations[0], snapshot), _EXCLUSIVE
    if step.kind in {Kind.ATTACH_PARTITION, Kind.DETACH_PARTITION}:
        yield name_of(step.node.def_.name, snapshot), _EXCLUSIVE
    if step.kind is Kind.CREATE_VIEW:
        for node in _relations_in(step.node.query):
            yield name_of(node, snapshot), LockMode.ACCESS_SHARE


def _along_keys(step: Step, relation: Relation, snapshot: Snapshot) -> Iterator[tuple[Name, LockMode]]:
    """Locks on tables that foreign keys lead to, and come from."""
    for target in _dropped_keys(step, relation):
        yield target, _EXCLUSIVE
    for key in relation.foreign_keys:
        if step.kind is Kind.VALIDATE_CONSTRAINT and key.name == step.name:
            yield (key.target_schema, key.target_table), LockMode.ROW_SHARE
    for user, key in snapshot.references.get((relation.schema, relation.name), ()):
        if step.kind is Kind.CHANGE_TYPE and step.name in key.target_columns:
            yield (user.schema, user.name), _EXCLUSIVE


def _dropped_keys(step: Step, relation: Relation) -> list[Name]:
    """Tables that foreign keys point to which go with the step."""
    keys = relation.foreign_keys if step.kind in _KEYS_GO else ()
    if step.kind in {Kind.DROP_COLUMN, Kind.CHANGE_TYPE}:
        keys = tuple(key for key in keys if step.name in key.columns)
    if step.kind is Kind.DROP_CONSTRAINT:
        keys = tuple(key for key in keys if step.name == key.name)
    return [(key.target_schema, key.target_table) for key in keys]


_KEYS_GO = frozenset({Kind.DROP_TABLE, Kind.DROP_COLUMN, Kind.DROP_CONSTRAINT, Kind.CHANGE_TYPE})
"""A foreign key of a column that changes is dropped and made again."""


def _relations_in(root: Any) -> Iterator[Any]:
    return (node for level in levels(root) for node in level if isinstance(node, ast.RangeVar))


def rewrites(step: Step, snapshot: Snapshot) -> bool:
    """Whether every row is written anew."""
    rewriting: Callable[[Step, Snapshot], bool] | None = {
        Kind.ADD_COLUMN: _column_rewrites,
        Kind.CHANGE_TYPE: _type_rewrites,
    }.get(step.kind)
    return rewriting is not None and rewriting(step, snapshot)


def _column_rewrites(step: Step, snapshot: Snapshot) -> bool:
    column = step.node.def_
    if types.is_serial(column.typeName):
        return True
    known = snapshot.types.get(types.name_of(column.typeName, snapshot))
    if known is not None and known.kind == "domain":
        # Its check is made for each row, and whether it has one is not in the snapshot.
        return True
    for each in column.constraints or ():
        if each.contype == _CONSTRAINTS.CONSTR_IDENTITY:
            return True
        if each.contype == _CONSTRAINTS.CONSTR_GENERATED and each.generated_kind != "v":
            return True
        if each.contype == _CONSTRAINTS.CONSTR_DEFAULT and is_volatile(each.raw_expr, snapshot):
            return True
    return False


def _type_rewrites(step: Step, snapshot: Snapshot) -> bool:
    column = found_column(step, snapshot)
    new = step.node.def_
    if column is None:
        return True
    if new.raw_default is not None and not _converts_itself(step, snapshot):
        return True
    return types.rewrites(column.kind, column.type, types.name_of(new.typeName, snapshot), types.modifiers(new.typeName))


def _converts_itself(step: Step, snapshot: Snapshot) -> bool:
    """Whether USING says what the server would do without it."""
    using: Any = step.node.def_.raw_default
    if isinstance(using, ast.TypeCast) and types.name_of(using.typeName, snapshot) == types.name_of(
        step.node.def_.typeName, snapshot
    ):
        using = using.arg
    return isinstance(using, ast.ColumnRef) and bool(using.fields) and parts(using.fields)[-1] == step.name


def scans(step: Step, snapshot: Snapshot) -> bool:
    """Whether every row is read while the lock is held, or written anew."""
    if rewrites(step, snapshot) or step.kind in {Kind.CREATE_INDEX, Kind.VALIDATE_CONSTRAINT}:
        return True
    if step.kind is Kind.SET_NOT_NULL:
        return not findings.proven_not_null(step, snapshot)
    if step.kind in {Kind.ADD_CONSTRAINT, Kind.ADD_COLUMN}:
        return any(_is_checked(each) for each in constraints(step))
    return step.kind is Kind.ATTACH_PARTITION


_CHECKED = frozenset(
    {
        _CONSTRAINTS.CONSTR_CHECK,
        _CONSTRAINTS.CONSTR_FOREIGN,
        _CONSTRAINTS.CONSTR_NOTNULL,
        _CONSTRAINTS.CONSTR_PRIMARY,
        _CONSTRAINTS.CONSTR_UNIQUE,
        _CONSTRAINTS.CONSTR_EXCLUSION,
    }
)


def _is_checked(constraint: Any) -> bool:
    return constraint.contype in _CHECKED and not constraint.skip_validation and not constraint.indexname
