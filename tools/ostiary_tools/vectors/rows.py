"""The rows behind a collection as one caller reads them: statements over its source, judged for that caller.

A source is a part of what is run and judged again each time, for whoever asks; that its creator could read it grants nobody
anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Statement
from ostiary_tools.chunking.template import parsed
from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import quoted
from ostiary_tools.sql import Judged, bind, judge
from ostiary_tools.sql.outputs import declared_types, names
from ostiary_tools.vectors.collection import Source
from ostiary_tools.vectors.following import followed
from ostiary_tools.view import SchemaView

_COMPARED = {
    "smallint": "smallint",
    "integer": "integer",
    "bigint": "bigint",
    "uuid": "uuid",
    "text": "text",
}
"""Types of keys that are compared as they are, so that an index of the table helps; others are compared as texts."""
_MOST_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class RowsRead:
    """A statement over a source: its first column is the key as text, and the others follow in their order."""

    statement: Statement
    accesses: tuple[Access, ...]
    columns: tuple[str, ...]
    """Those that follow."""

    @property
    def masked(self) -> bool:
        """It reads a column that its caller sees only masked."""
        return any(access.action is Action.READ_MASKED for access in self.accesses)


def source_of(
    sql: str, *, key: str, template: str, metadata: Sequence[str] = (), follows: str = "", view: SchemaView
) -> tuple[Source, tuple[Access, ...]]:
    """A source as its creator asks for it, and what is read for it. Raises Refused."""
    judged = judge(sql, view)
    text = judged.statement.text
    if judged.kind != "select" or judged.parameter_count or judged.catalogs:
        raise Refused("source", "rows of a collection come from one SELECT without parameters, of tables", "write one")
    if len(text) > _MOST_CHARS:
        raise Refused("source", f"the statement is longer than {_MOST_CHARS:,} characters", "make a view of it")
    given = names(text)
    for column in (key, *metadata):
        if given.count(column) != 1:
            problem = "has more than one column" if column in given else "has no column"
            raise Refused("source", f"the statement {problem} `{column}`", "name its columns with AS, each otherwise")
    parsed(template, given)
    followed(follows)
    source = Source(view.datasource, text, key, template, tuple(dict.fromkeys(metadata)), follows)
    whole = every(source, columns_of(source), view)
    if whole.masked:
        raise masked()
    return source, whole.accesses


def columns_of(source: Source) -> tuple[str, ...]:
    """What is read of it besides the key: columns of the template, then metadata."""
    shown = parsed(source.template, names(source.statement)).columns
    return tuple(dict.fromkeys((*sorted(shown), *source.metadata)))


def every(source: Source, columns: Sequence[str], view: SchemaView) -> RowsRead:
    """All rows. Raises Refused."""
    judged = judge(f"SELECT {_list(source, columns)} FROM ({source.statement}) AS s", view)  # noqa: S608 judged, and its names are quoted
    return _read(judged, bind(judged, ()), columns)


def by_keys(source: Source, columns: Sequence[str], view: SchemaView) -> RowsRead:
    """Those whose keys stand in the one parameter, an array. Raises Refused."""
    key = f"s.{quoted(source.key)}"
    type_ = _COMPARED.get(_type_of_key(source, view) or "", "")
    # Keys that are no such value fail as one: they were made from another type of key.
    condition = f"{key} = ANY (CAST($1 AS {type_}[]))" if type_ else f"CAST({key} AS text) = ANY (CAST($1 AS text[]))"
    text = f"SELECT {_list(source, columns)} FROM ({source.statement}) AS s WHERE {condition}"  # noqa: S608 likewise
    judged = judge(text, view)
    return _read(judged, bind(judged, ("{}",)), columns)


def masked() -> Refused:
    """The refusal of rows that their caller reads masked: what is embedded ranks for everybody who searches."""
    hint = "leave the column out of the statement, or have somebody index it who may read it"
    return Refused("mask", "a column of the collection's rows is masked for you, and masks are not indexed", hint)


def _read(judged: Judged, statement: Statement, columns: Sequence[str]) -> RowsRead:
    return RowsRead(statement, judged.accesses, tuple(columns))


def _list(source: Source, columns: Sequence[str]) -> str:
    told = [f"CAST(s.{quoted(source.key)} AS text) AS k", *(f"s.{quoted(name)} AS c{n}" for n, name in enumerate(columns))]
    return ", ".join(told)


def _type_of_key(source: Source, view: SchemaView) -> str | None:
    types = declared_types(source.statement, view)
    found = names(source.statement)
    return types[found.index(source.key)] if source.key in found and len(types) == len(found) else None
