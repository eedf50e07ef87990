"""Where the sequences of a database stand.

They are outside of every snapshot: what a dump holds of one lies between what was read before it and what was read after it. In a
cluster's log they are ahead of what was given out, by up to 32 values, and so is a copy that is made of the log.
"""

from collections.abc import Iterable, Mapping

import asyncpg

from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.reading import RIGHTS
from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.errors import Unavailable
from ostiary_tools.identifiers import quoted

_AHEAD = 32
"""PostgreSQL's `SEQ_LOG_VALS`."""
_AT_ONCE = 200
_SQL = load_sections("fingerprints.sql", __package__)


async def positions(connection: asyncpg.Connection, kind: Kind) -> Mapping[str, str]:
    """By quoted name, where each sequence stands of which a backup of this kind has a copy, and what may be ahead of it there."""
    rows = await connection.fetch(_SQL["sequences"].query, kind is Kind.FULL)
    if not all(row["readable"] for row in rows):
        raise Unavailable("the login for backups may not read every sequence", RIGHTS)
    steps = {f"{quoted(row['schema'])}.{quoted(row['name'])}": row["increment"] for row in rows}
    names = list(steps)
    found: dict[str, str] = {}
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        values = " UNION ALL ".join(
            f"SELECT {number}, last_value, is_called FROM {name}"  # noqa: S608 -- quoted names
            for number, name in enumerate(some)
        )
        for number, value, called in await connection.fetch(values):
            step = steps[some[number]]
            last = value if called else value - step
            found[some[number]] = _span(last, last + _AHEAD * step if kind is Kind.FULL else last)
    return found


def spanned(readings: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """Of the sequences of the first reading, all that they were in any; before, during and after a backup."""
    first, *others = readings
    return {name: _span(*(end for one in (first, *others) if name in one for end in ends(one[name]))) for name in first}


def ends(position: str) -> tuple[int, int]:
    """The least and the greatest value."""
    low, _, high = position.partition("..")
    return int(low), int(high or low)


def _span(*values: int) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}..{high}"
