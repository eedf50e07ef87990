"""Tables as Cedar sees their rows: which columns a row rule can ask for, and as what.

A column is offered only when every value it holds has one counterpart in Cedar, by a
rule that can be said in a sentence:

- text and varchar are String; uuid is String, in its lower-case form
- smallint, integer and bigint are Long; boolean is Bool
- numeric with up to four places and fourteen digits before them is decimal
- date, timestamp and timestamptz are datetime: a date its midnight, a timestamp taken as UTC, microseconds cut off downwards

NaN and infinity have no counterpart: a rule that asks for such a value fails, and the
row is hidden. Every other type is left out, with the reason.
"""

import re
from collections.abc import Mapping

from ostiary_policies.conditions import Type
from ostiary_policies.rows import RowColumn, RowTable, entity_type
from ostiary_tools.snapshot import ColumnInfo, Relation, RelationKind

TYPES: Mapping[str, Type] = {
    "text": Type.STRING,
    "varchar": Type.STRING,
    "uuid": Type.STRING,
    "bool": Type.BOOL,
    "int2": Type.LONG,
    "int4": Type.LONG,
    "int8": Type.LONG,
    "numeric": Type.DECIMAL,
    "date": Type.DATETIME,
    "timestamp": Type.DATETIME,
    "timestamptz": Type.DATETIME,
}
"""Name in `pg_catalog` → what it is in Cedar."""

_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")
_MADE_WHOLE = frozenset({RelationKind.VIEW, RelationKind.FOREIGN_TABLE})
"""No condition of a statement is asked before their row rules."""
_MOST_PLACES = 4
_MOST_DIGITS = 14
"""Before the point; Cedar's decimal ends at 922337203685477.5807."""


def row_table(datasource: str, relation: Relation) -> RowTable | None:
    """A relation as the type of its rows; `None` when Cedar cannot spell its name, and so no rule can name it."""
    name = entity_type(datasource, relation.schema, relation.name)
    if name is None:
        return None
    columns: dict[str, RowColumn] = {}
    left_out: dict[str, str] = {}
    for column in relation.columns:
        reason = _reason(relation, column)
        if reason or column.kind is None:
            left_out[column.name] = reason
        else:
            columns[column.name] = RowColumn(TYPES[column.kind[1]], optional=not column.not_null)
    return RowTable(name, columns, left_out)


def _reason(relation: Relation, column: ColumnInfo) -> str:
    """Why no rule can ask for the column; empty when one can."""
    schema, name = column.kind or ("", "")
    if schema != "pg_catalog" or name not in TYPES:
        padded = ": its values are padded with blanks" if name == "bpchar" else ""
        return f"its type `{column.type}` has no counterpart in a row rule{padded}"
    if column.computed and relation.kind not in _MADE_WHOLE:
        # Of a table a statement could choose the rows for which this fails.
        return "it is computed when it is read, which may fail"
    if name in {"text", "varchar"} and not column.deterministic:
        return "its collation takes different texts for equal"
    if name == "numeric":
        found = _NUMERIC.fullmatch(column.type)
        if found is None or int(found[2]) > _MOST_PLACES or int(found[1]) - int(found[2]) > _MOST_DIGITS:
            return f"its type `{column.type}` holds more than {_MOST_DIGITS} digits or more than {_MOST_PLACES} places"
    return ""
