"""The rows behind a collection, as one caller reads them now."""

from collections.abc import Iterator
from dataclasses import dataclass

from ostiary_policies.model import Statement
from ostiary_tools.chunking.template import Template, parsed
from ostiary_tools.errors import Refused
from ostiary_tools.result import Rows
from ostiary_tools.searching.sight import Row
from ostiary_tools.vectors.collection import Source
from ostiary_tools.vectors.filters import Filter, fields_of
from ostiary_tools.vectors.sources import Lookup, lookup_of, withheld
from ostiary_tools.view import SchemaView


@dataclass(frozen=True, slots=True)
class SourceRows:
    """What comes back of a lookup. Implements `sight.Reading`."""

    lookup: Lookup
    template: Template
    metadata: tuple[str, ...]
    """Columns that the caller has, as they are or masked."""
    withheld: bool
    """There may be rows that the caller has not."""

    @property
    def statement(self) -> Statement:
        """Of the permit."""
        return self.lookup.statement

    def rows(self, found: Rows) -> Iterator[tuple[str, Row]]:
        """Each with its key; one without a key stands for no document."""
        for values in found.rows:
            row = dict(zip(self.lookup.columns, values, strict=True))
            key = row[self.lookup.columns[0]]
            if key is not None:
                yield key, Row(self.template.filled(row), {name: row[name] for name in self.metadata})


def source_rows(source: Source, view: SchemaView) -> SourceRows:
    """Of a source, for the caller of the view."""
    lookup = lookup_of(source, view)
    metadata = tuple(name for name in source.metadata if name not in lookup.hidden)
    return SourceRows(lookup, parsed(source.template), metadata, withheld(lookup, view))


def may_ask(condition: Filter | None, source: Source, lookup: Lookup) -> None:
    """Raises Refused where it asks for a field that the caller does not have as it is, in the words for one that does not exist."""
    asked = fields_of(condition) if condition is not None else frozenset[str]()
    may = [name for name in source.metadata if name not in lookup.hidden and name not in lookup.masked]
    if not asked.issubset(may):
        [name, *_] = sorted(asked.difference(may))
        raise Refused("filter", f"unknown field `{name}`", f"fields that you may ask for: {', '.join(may[:20]) or 'none'}")
