"""The rows behind a collection as they are chosen by who creates it, and read by who indexes them.

A source is a part of what is run and judged again each time, for whoever asks; that its creator could read it grants nobody
anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ostiary_policies.model import Access, Statement
from ostiary_tools.chunking.template import parsed
from ostiary_tools.errors import Refused
from ostiary_tools.identifiers import quoted
from ostiary_tools.sql import bind, judge
from ostiary_tools.sql.outputs import names
from ostiary_tools.vectors.collection import Source
from ostiary_tools.vectors.following import followed
from ostiary_tools.vectors.sources import Lookup, lookup_of
from ostiary_tools.view import SchemaView

_MOST_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class RowsRead:
    """A statement over a source."""

    statement: Statement
    accesses: tuple[Access, ...]


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
    return source, unmasked(source, view).accesses


def unmasked(source: Source, view: SchemaView) -> Lookup:
    """How its rows are looked up by who has all of them as they are. Raises Refused."""
    found = lookup_of(source, view)
    if found.hidden or found.masked:
        raise masked()
    return found


def every(source: Source, columns: Sequence[str], view: SchemaView) -> RowsRead:
    """These columns of all rows, which begin with the key. Raises Refused."""
    listed = ", ".join(f"s.{quoted(name)} AS {quoted(name)}" for name in columns)
    judged = judge(f"SELECT {listed} FROM ({source.statement}) AS s", view)  # noqa: S608 judged, and its names are quoted
    return RowsRead(bind(judged, ()), judged.accesses)


def masked() -> Refused:
    """The refusal of rows that their caller reads masked: what is embedded ranks for everybody who searches."""
    hint = "leave the column out of the statement, or have somebody index it who may read it"
    return Refused("mask", "a column of the collection's rows is masked for you, and masks are not indexed", hint)
