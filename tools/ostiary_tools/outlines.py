"""A relation in few characters, for a model that writes SQL: what it is, its columns, where its keys lead."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ostiary_tools.diagram import visible_foreign_keys
from ostiary_tools.identifiers import identifier, one_line, qualified
from ostiary_tools.linking import Link
from ostiary_tools.snapshot import ColumnInfo, ForeignKey, Relation
from ostiary_tools.value_samples import Samples, labels
from ostiary_tools.view import SchemaView

MARKS = {
    "no read": "Columns under [no read] exist and may not be used anywhere in a statement.",
    "masked": "A column with [masked] gives a mask in place of its values, in WHERE, GROUP BY and joins too: match no real value.",
    "filtered": "Of a table with [filtered] you have some of the rows, whatever you write: say so.",
}
"""What marks in outlines mean, for the model that reads them."""

_COMMENT = 80
"""Characters of a comment."""
_VALUES = 240
"""Characters of the values of one column."""
_MOST_COLUMNS = 40
"""Of a relation; a wider one keeps its keys and what the question is about."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A relation as lines of a prompt."""

    link: Link
    full: bool
    """With types, comments and values; else columns by name."""
    head: str
    columns: tuple[tuple[str, str], ...]
    """Name and line of each."""
    rest: tuple[str, ...]
    marks: frozenset[str]
    """Those of `MARKS` in it."""
    values: Samples = field(default_factory=dict)

    @property
    def relation(self) -> Relation:
        """The one it is of."""
        return self.link.relation

    @property
    def near(self) -> bool:
        """The question is about it."""
        return self.link.near

    def lines(self) -> list[str]:
        """All of it."""
        return [self.head, *(line + self._told(name) for name, line in self.columns), *self.rest]

    def with_values(self, found: Samples, room: int) -> tuple["Outline", int]:
        """With the values of as many columns as there is room for, and the characters that they take."""
        kept: dict[str, tuple[str, ...]] = {}
        spent = 0
        for name, _ in self.columns:
            cost = len(_told(found.get(name, ())))
            if 0 < cost <= min(_VALUES, room - spent):
                kept[name] = found[name]
                spent += cost
        return replace(self, values=kept), spent

    def _told(self, name: str) -> str:
        return _told(self.values.get(name, ()))


def outline(view: SchemaView, link: Link, *, full: bool) -> Outline:
    """The relation as its caller may know it."""
    relation = link.relation
    estimate = view.estimated_rows(relation)
    rows = f", ~{estimate} rows" if estimate is not None else ""
    comment = f": {one_line(relation.comment, _COMMENT)}" if relation.comment and full else ""
    head = f"{qualified(relation.schema, relation.name)} ({relation.kind}{rows}){comment}"
    columns, readable = view.columns(relation), view.readable_columns(relation)
    masked = [column for column in columns if column not in readable and view.mask(relation, column)]
    unreadable = [column for column in columns if column not in readable and column not in masked]
    kept, cut = _kept(view, link, [column for column in columns if column not in unreadable])
    told = {
        "filtered": "  [filtered]" if (readable or masked) and view.filtered(relation) else "",
        "masked": f"  [masked]: {_names([column for column in kept if column in masked])}" if masked and not full else "",
        "no read": f"  [no read]: {_names(unreadable[:_MOST_COLUMNS])}" if unreadable else "",
    }
    marks = frozenset(mark for mark, line in told.items() if line) | ({"masked"} if masked else set())
    rest = [*filter(None, told.values()), *([f"  and {cut} more columns: describe shows them"] if cut else [])]
    if not full:
        names = [column for column in kept if column in readable]
        return Outline(link, full, head, (), (*([f"  {_names(names)}"] if names else []), *rest), marks)
    lines = tuple((column.name, _column(view, relation, column)) for column in kept)
    return Outline(link, full, head, lines, (*_keys(view, relation), *rest), marks)


def _kept(view: SchemaView, link: Link, usable: list[ColumnInfo]) -> tuple[list[ColumnInfo], int]:
    """The columns that are shown, in the table's order, and how many are not."""
    relation = link.relation
    keys = {name for key in visible_foreign_keys(view, relation) for name in key.columns} | set(relation.primary_key) | link.columns
    first = sorted(usable, key=lambda column: column.name not in keys)[:_MOST_COLUMNS]
    return [column for column in usable if column in first], len(usable) - len(first)


def _column(view: SchemaView, relation: Relation, column: ColumnInfo) -> str:
    mask = view.mask(relation, column)
    single = [key for key in visible_foreign_keys(view, relation) if key.columns == (column.name,)]
    words = [
        f"  {identifier(column.name)} {column.type}",
        "primary key" if relation.primary_key == (column.name,) else "",
        *(f"-> {_target(key)}" for key in single),
        f"[masked: {mask.kind}]" if mask else _told(labels(view, column), "one of ").strip(),
        f"-- {one_line(column.comment, _COMMENT)}" if column.comment else "",
    ]
    return " ".join(word for word in words if word)


def _keys(view: SchemaView, relation: Relation) -> Iterator[str]:
    """Keys of several columns."""
    if len(relation.primary_key) > 1 and {column.name for column in view.columns(relation)}.issuperset(relation.primary_key):
        yield f"  primary key ({', '.join(map(identifier, relation.primary_key))})"
    for key in visible_foreign_keys(view, relation):
        if len(key.columns) > 1:
            yield f"  ({', '.join(map(identifier, key.columns))}) -> {_target(key)}"


def _target(key: ForeignKey) -> str:
    place = qualified(key.target_schema, key.target_table)
    columns = ", ".join(map(identifier, key.target_columns))
    return f"{place}.{columns}" if len(key.columns) == 1 else f"{place} ({columns})"


def _told(values: tuple[str, ...], words: str = "e.g. ") -> str:
    return f" {words}{' | '.join(values)}" if values else ""


def _names(columns: list[ColumnInfo]) -> str:
    return ", ".join(identifier(column.name) for column in columns)
