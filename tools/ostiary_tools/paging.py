"""Where a page of a long result begins, and the statement that gives it.

A page is a statement over the judged one, and is judged like any other. By key it
asks for what lies behind the last row that was given, so rows that come and go
elsewhere neither repeat nor hide one; by position it counts rows off, and shifts with
them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ostiary_policies.model import Statement
from ostiary_tools.identifiers import identifier
from ostiary_tools.position import Position, SortKey
from ostiary_tools.result import Rows
from ostiary_tools.sql.keyset import sort_keys
from ostiary_tools.view import SchemaView


def following(position: Position, rows: Rows, shown: int, view: SchemaView) -> Position:
    """The position behind the first `shown` (at least one) of the rows that began at `position`."""
    keys = position.keys or sort_keys(position.statement.text, view)
    after = tuple(rows.rows[shown - 1][key.place - 1] for key in keys)
    if rows.clipped and any(value is not None and value.endswith("…") for value in after):
        keys, after = (), ()  # not the value itself, so nothing to go on from
    return replace(
        position, given=position.given + shown, names=tuple(column.name for column in rows.columns), keys=keys, after=after
    )


def page(position: Position) -> Statement:
    """The statement of the page, still to be judged."""
    values = position.statement.parameters
    if not position.after:
        text = f"SELECT * FROM ({position.statement.text}) AS page OFFSET ${len(values) + 1}"  # noqa: S608  the judged text, and judged again
        return Statement(text, (*values, str(position.given)))
    columns = ", ".join(f"c{n}" for n in range(1, len(position.names) + 1))
    named = ", ".join(f"page.c{n} AS {identifier(name)}" for n, name in enumerate(position.names, 1))
    order = ", ".join(map(_sorted, position.keys))
    behind = _behind(position.keys, position.after, len(values) + 1)
    text = f"SELECT {named} FROM ({position.statement.text}) AS page ({columns}) WHERE {behind} ORDER BY {order}"  # noqa: S608  likewise
    return Statement(text, (*values, *(value for value in position.after if value is not None)))


def _sorted(key: SortKey) -> str:
    return f"page.c{key.place} {'DESC' if key.descending else 'ASC'} NULLS {'FIRST' if key.nulls_first else 'LAST'}"


def _behind(keys: Sequence[SortKey], after: Sequence[str | None], first: int) -> str:
    """What is true of the rows behind `after`; each value that is not NULL is a parameter, from `$first` on."""
    numbers = iter(range(first, first + len(after)))
    values = [None if value is None else f"${next(numbers)}" for value in after]
    columns = [f"page.c{key.place}" for key in keys]
    if None not in values and not any(key.nullable for key in keys) and len({key.descending for key in keys}) == 1:
        # One comparison of rows, which an index over these columns answers.
        return f"({', '.join(columns)}) {_beyond_sign(keys[0])} ({', '.join(map(str, values))})"
    arms = " OR ".join(_arms(keys, columns, values)) or "false"
    bound = f"{columns[0]} {_beyond_sign(keys[0])}= {values[0]} AND " if values[0] and not keys[0].nullable else ""
    return f"{bound}({arms})"


def _arms(keys: Sequence[SortKey], columns: Sequence[str], values: Sequence[str | None]) -> Iterator[str]:
    """Equal in the columns before and behind in this one, for each column."""
    for n, key in enumerate(keys):
        equal = [f"{c} = {v}" if v else f"{c} IS NULL" for c, v in zip(columns[:n], values[:n], strict=True)]
        behind = _behind_one(key, columns[n], values[n])
        if behind:
            yield f"({' AND '.join([*equal, behind])})"


def _behind_one(key: SortKey, column: str, value: str | None) -> str:
    if value is None:
        return f"{column} IS NOT NULL" if key.nulls_first else ""
    beyond = f"{column} {_beyond_sign(key)} {value}"
    return f"({beyond} OR {column} IS NULL)" if key.nullable and not key.nulls_first else beyond


def _beyond_sign(key: SortKey) -> str:
    return "<" if key.descending else ">"
