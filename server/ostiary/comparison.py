"""Whether a change did what it was seen to do.

Counts, rows and how they were before must be the same. Of how they are afterwards a column may differ, but only one that no
statement gives values to, and whose values are others at each run anyway, as of an identity or a default of `now()`: two runs
in a row tell which.
"""

from collections import Counter
from dataclasses import dataclass

from ostiary_tools.change import inverse
from ostiary_tools.effects import Effects, RowChange, TableEffect
from ostiary_tools.snapshot import Name
from ostiary_tools.view import SchemaView

Columns = frozenset[tuple[Name, str]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Between two looks at a change."""

    words: str = ""
    """What differs that no run may change; empty where nothing does."""
    columns: tuple[tuple[Name, str], ...] = ()
    """Whose values afterwards differ."""
    hint: str = "propose it again, and look at it again"

    @property
    def none(self) -> bool:
        """Whether both are the same."""
        return not self.words and not self.columns


def difference(seen: Effects, done: Effects) -> Difference:
    """How what was done differs from what was seen. Counts every value: it belongs in a thread."""
    if seen.counts != done.counts:
        return Difference("its statements met other rows")
    if seen.defined != done.defined:
        return Difference("it changed definitions")
    before, after = dict(seen.by_table()), dict(done.by_table())
    if before.keys() != after.keys():
        return Difference("it reached other tables")
    columns: list[tuple[Name, str]] = []
    for table, effect in after.items():
        known = before[table]
        if known.columns != effect.columns or known.key != effect.key:
            return Difference("a table has other columns")
        found = _columns(known, effect)
        if found is None:
            return Difference("its rows were others, or became others")
        columns += [(table, effect.columns[place]) for place in found]
    return Difference(columns=tuple(columns))


def taken_back(applied: Effects, undone: Effects, *, exactly: bool) -> bool:
    """Whether every row is as it was, and no row of another table was touched, unless not `exactly`: then by triggers."""
    wanted = {effect.table: Counter(inverse(effect).rows) for effect in applied.tables}
    found = {effect.table: Counter(effect.rows) for effect in undone.tables if exactly or effect.table in wanted}
    return wanted == found


def agrees(seen: Effects, first: Effects, second: Effects, given: Columns) -> Difference:
    """The difference of the second run from what was seen: without words where its columns differ between both runs as well."""
    found = forgiving(difference(seen, second), given)
    if found.words:
        return found
    varying = difference(first, second)
    left = tuple(column for column in found.columns if varying.words or column not in varying.columns)
    return Difference("rows became others than were seen", left) if left else found


def forgiving(found: Difference, given: Columns) -> Difference:
    """The same, with words where a statement itself gives values to a column that differs."""
    left = tuple(column for column in found.columns if column in given)
    if found.words or not left:
        return found
    hint = "propose it again; values that differ at each run, as of random() or now(), give as parameters, or leave to defaults"
    return Difference("a statement gives other values than were seen", left, hint)


def named(columns: tuple[tuple[Name, str], ...], view: SchemaView) -> tuple[str, ...]:
    """The columns in words; those that do not exist for the caller, without their names."""
    known = [f"{'.'.join(table)}.{name}" for table, name in columns if _exists(table, name, view)]
    return (*known, "columns that are not for you") if len(known) < len(columns) else tuple(known)


def _exists(table: Name, name: str, view: SchemaView) -> bool:
    relation = view.snapshot.relations.get(table)
    return relation is not None and view.sees(relation) and any(column.name == name for column in view.columns(relation))


def _columns(seen: TableEffect, done: TableEffect) -> list[int] | None:
    """Places of the columns whose values afterwards differ; `None` when that does not explain it."""
    if seen.rows == done.rows or Counter(seen.rows) == Counter(done.rows):
        return []
    if Counter(map(_kind, seen.rows)) != Counter(map(_kind, done.rows)):
        return None
    places = range(len(seen.columns))
    others = [place for place in places if _values(seen, place) != _values(done, place)]
    same = tuple(place for place in places if place not in others)
    if Counter(_without(row, same) for row in seen.rows) != Counter(_without(row, same) for row in done.rows):
        return None  # each column holds the same values, and in other rows
    return others


def _kind(row: RowChange) -> object:
    """How a row was, and whether it is still there."""
    return row.before, row.after is None


def _values(effect: TableEffect, place: int) -> Counter[object]:
    return Counter((row.before, row.after[place] if row.after is not None else None) for row in effect.rows)


def _without(row: RowChange, places: tuple[int, ...]) -> object:
    return row.before, row.after is None, tuple(row.after[place] for place in places) if row.after is not None else ()
