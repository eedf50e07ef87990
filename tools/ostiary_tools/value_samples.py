"""The values of columns that have few: what a question may call by name.

Only columns that the caller may read, and of tables alone: to look into a view may
cost as much as all that stands behind it. Labels of an enum are part of the schema and cost nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import identifier, one_line, qualified
from ostiary_tools.result import Rows
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind
from ostiary_tools.sql.judge import Judged, judge
from ostiary_tools.view import SchemaView

Samples = Mapping[str, tuple[str, ...]]
"""Column → all values that were found in it."""

_FEW = 16
_ROWS = 1_000
"""Of a table are looked at."""
_MOST_COLUMNS = 8
"""Of a table are looked at."""
_LONGEST = 40
"""Characters of a value; a column with a longer one holds no names for anything."""
_STORED = frozenset({RelationKind.TABLE, RelationKind.PARTITIONED_TABLE, RelationKind.MATERIALIZED_VIEW})
_TEXT = re.compile(r"text|character varying(\([0-9]+\))?|character(\([0-9]+\))?")


@dataclass(frozen=True, slots=True)
class Sampling:
    """A statement that looks for the values of a relation's columns."""

    relation: Relation
    columns: tuple[ColumnInfo, ...]
    judged: Judged


def sampling(view: SchemaView, relation: Relation) -> Sampling | None:
    """What would find them, judged as any statement of the caller's; `None` where there is nothing to look for."""
    columns = tuple(column for column in view.readable_columns(relation) if _may_have_few(view, relation, column))[:_MOST_COLUMNS]
    if relation.kind not in _STORED or not columns:
        return None
    source = qualified(relation.schema, relation.name)
    try:
        return Sampling(relation, columns, judge(" UNION ALL ".join(_distinct(source, *of) for of in enumerate(columns)), view))
    except Refused:
        return None


def sampled(of: Sampling, rows: Rows) -> Samples:
    """The values by column, of columns with few and short ones."""
    found: dict[str, list[str]] = {}
    for place, value in rows.rows:
        found.setdefault(of.columns[int(place or 0)].name, []).append(value or "")
    few = {name: values for name, values in found.items() if len(values) <= _FEW and all(len(v) <= _LONGEST for v in values)}
    return {} if rows.truncated or rows.clipped else {name: tuple(sorted(map(one_line, values))) for name, values in few.items()}


def labels(view: SchemaView, column: ColumnInfo) -> tuple[str, ...]:
    """Of a column whose type is an enum that the caller may see; none of any other."""
    kind = view.snapshot.types.get(column.kind) if column.kind else None
    visible = kind is not None and view.snapshot.schema_resource(kind.schema) in view.visible
    return tuple(one_line(label, _LONGEST) for label in kind.labels) if kind is not None and visible else ()


def _may_have_few(view: SchemaView, relation: Relation, column: ColumnInfo) -> bool:
    if not {relation.resource(view.datasource), relation.column_resource(view.datasource, column)}.isdisjoint(
        view.approved | view.tainting.keys() | view.apart
    ):
        return False  # no human is asked, nobody tainted and no replica needed for a few values that nobody wanted by name
    alone = {(column.name,)} & {relation.primary_key, *relation.unique_keys}
    estimate = view.estimated_rows(relation)
    small = estimate is not None and estimate <= _FEW
    return bool(_TEXT.fullmatch(column.type)) and (small or not alone)


def _distinct(source: str, place: int, column: ColumnInfo) -> str:
    # Names of the snapshot, quoted, and judged like any agent's statement. One value more than are few tells of more.
    name = identifier(column.name)
    return (
        f"SELECT {place} AS place, v.value FROM (SELECT DISTINCT CAST({name} AS text) AS value FROM"  # noqa: S608 - see above
        f" (SELECT {name} FROM {source} LIMIT {_ROWS}) AS r WHERE {name} IS NOT NULL LIMIT {_FEW + 1}) AS v"
    )
