"""What a change does besides what its statement says: defaults, checks, triggers, and foreign keys that change other tables.

Each is an access like those that are written: to the functions that run, and to the tables and columns that the database
changes by itself. What keys and checks would tell of values that are not the caller's is refused.
"""

from collections.abc import Collection, Iterable

from ostiary_policies.actions import Action
from ostiary_policies.model import Access
from ostiary_tools.snapshot import ColumnInfo, Relation
from ostiary_tools.sql.work import Work


def state(relation: Relation, actions: Collection[Action], inserted: Collection[str], updated: Collection[str], work: Work) -> None:
    """State all that these changes of a table do. Raises Refused."""
    datasource = work.view.datasource
    work.run(relation.runs, f"{relation.schema}.{relation.name}")
    for action in actions:
        work.accesses.add(Access(action, relation.resource(datasource)))
    for action, names in ((Action.INSERT, inserted), (Action.UPDATE, updated)):
        for column in _named(relation, names):
            work.accesses.add(Access(action, relation.column_resource(datasource, column)))
            _convert(relation, column, work)


def fill(relation: Relation, column: ColumnInfo, work: Work) -> None:
    """A column gets its default."""


def _named(relation: Relation, names: Collection[str]) -> Iterable[ColumnInfo]:
    return (column for column in relation.columns if column.name in names)


def _convert(relation: Relation, column: ColumnInfo, work: Work) -> None:
    """A value is made one of the column's type, by whatever cast there is."""
    if column.kind is None:
        return
    owner = f"{relation.schema}.{relation.name}.{column.name}"
    for kind in {column.kind, (column.kind[0], column.kind[1].removeprefix("_"))}:
        if (known := work.view.snapshot.types.get(kind)) is not None:
            work.run(known.functions, owner)
        work.run((cast.function for cast in work.view.snapshot.casts.get(kind, ())), owner)
    work.run(column.runs, owner)
